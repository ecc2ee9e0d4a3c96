"""The public names, their signatures and their fields: whoever changes one must say so here.

To write the list anew after a change that is meant:
`python tests/house/test_public_names.py > tests/house/public_names.txt`.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import glidemq_core

LISTED = Path(__file__).with_name("public_names.txt")
#: Made by the library, never by callers: their constructors are ours to change.
MADE_BY_US = ("Connection", "Job")


def _signature(function: Any) -> str:
    """What it takes: names, order and defaults. Types are what the type checker looks at."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    parameters = [q for p in found.parameters.values() for q in _keywords(function, p)]
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return re.sub(r"<[^>]* at 0x\w+>", "<object>", str(inspect.Signature(bare)))


def _keywords(function: Any, parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """The parameter, or the keywords that it unpacks."""
    unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
    if unpacked is None:
        return [parameter]
    maker = function.__init__ if isinstance(function, type) else function
    names = maker.__globals__[unpacked[1]].__annotations__
    return [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in names]


def _members(kind: type) -> Iterator[str]:
    names = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if names:
        yield f"  fields {', '.join(names)}"
    for name, member in sorted(inspect.getmembers_static(kind)):
        defined = next((c for c in kind.__mro__ if name in vars(c)), object)
        if name.startswith("_") or name in names or not defined.__module__.startswith("glidemq_core"):
            continue
        if isinstance(member, property):
            yield f"  {name}"
        elif isinstance(member, (staticmethod, classmethod)):
            yield f"  {type(member).__name__} {name}{_signature(member.__func__)}"
        elif inspect.isfunction(member):
            word = "async " if inspect.iscoroutinefunction(member) else ""
            yield f"  {word}{name}{_signature(member)}"


def listed() -> Iterator[str]:
    """One line a public name, with what it takes and, for classes, what it has."""
    for name in sorted(glidemq_core.__all__):
        found = getattr(glidemq_core, name)
        if inspect.isclass(found) and found.__module__.startswith("glidemq_core"):
            bases = ", ".join(base.__name__ for base in found.__mro__[1:-1] if issubclass(base, Exception))
            takes = "" if name in MADE_BY_US else _signature(found)
            yield f"class {name}{takes}" + (f" is {bases}" if bases else "")
            yield from _members(found)
        elif inspect.isfunction(found):
            yield f"{'async ' if inspect.iscoroutinefunction(found) else ''}def {name}{_signature(found)}"
        else:
            yield name


def test_no_public_name_or_signature_changes_unnoticed() -> None:
    before, now = LISTED.read_text("utf-8").splitlines(), list(listed())
    changes = list(difflib.unified_diff(before, now, "listed", "code", lineterm="", n=0))
    assert before == now, "\n".join(changes)


if __name__ == "__main__":
    print("\n".join(listed()))
