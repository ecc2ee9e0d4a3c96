"""Change one value in the text of the config file and leave everything else, comments too, as it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

_HEADER = re.compile(r"\s*\[")
#: A value on one line, as people write them here: text, a list, a word.
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]#]*\]|[^\s#"'\[]+)"""


def edited(text: str, table: str, key: str, value: str, wanted: Mapping[str, Any]) -> str | None:
    """Return the text with `key = value` in it, or None when that takes more than a change of one line.

    Args:
        table: header of the table that the key belongs to, as `[profiles.prod]`; empty: the top of the file.
        value: as TOML.
        wanted: what the new text has to mean; whatever means something else is not returned.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for candidate in _candidates(lines, table, key, value):
        try:
            if tomllib.loads(candidate) == wanted:
                return candidate
        except tomllib.TOMLDecodeError:
            continue
    return None


def _candidates(lines: list[str], table: str, key: str, value: str) -> Iterator[str]:
    line = re.compile(rf"(\s*{re.escape(key)}\s*=\s*){_VALUE}(\s*(?:#.*)?)", re.DOTALL)
    for at, old in enumerate(lines):
        if match := line.fullmatch(old):
            yield "".join([*lines[:at], match[1], value, match[2], *lines[at + 1 :]])
    new = f"{key} = {value}\n"
    headers = [at for at, old in enumerate(lines) if _HEADER.match(old)]
    if not table:
        at = _before(lines, headers[0] if headers else len(lines))
        yield "".join(
            [*lines[:at], new, *([] if at == len(lines) or not lines[at].strip() else ["\n"]), *lines[at:]]
        )
        return
    for at in headers:
        yield "".join([*lines[: at + 1], new, *lines[at + 1 :]])
    yield "".join([*lines, *(["\n"] if lines else []), f"{table}\n", new])


def _before(lines: list[str], header: int) -> int:
    """Where a line at the top ends up: after what stands there, before the comment that belongs to the header."""
    at = header
    while header < len(lines) and at and lines[at - 1].lstrip().startswith("#"):
        at -= 1
    while at and not lines[at - 1].strip():
        at -= 1
    return at
