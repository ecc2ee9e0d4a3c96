"""How large a function, a file and a room may be; exceptions stand in `pyproject.toml` with their reasons."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("glidemq_core", "glidemq_console")
CODE = (".py", ".lua")
STYLES = ".tcss"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["glidemq"]["bounds"]


def files(*suffixes: str) -> list[Path]:
    return [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*")) if path.suffix in suffixes]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, Function]]:
    """Yield each function and method with its dotted name within the file, outer ones first."""
    for node in ast.iter_child_nodes(tree):
        name = owner
        if isinstance(node, Function | ast.ClassDef):
            name = f"{owner}.{node.name}" if owner else node.name
        if isinstance(node, Function):
            yield name, node
        yield from functions(node, name)


def docstring_lines(function: ast.AST) -> set[int]:
    """Return the lines that hold docstrings and other statements that are only a string."""
    return {
        line
        for node in ast.walk(function)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def code_lines(function: Function, source: list[str]) -> int:
    """Count the lines of a function from its `def` on, without docstrings, comments and empty lines."""
    lines = set(range(function.lineno, (function.end_lineno or 0) + 1)) - docstring_lines(function)
    texts = (source[line - 1].strip() for line in lines)
    return sum(1 for text in texts if text and not text.startswith("#"))


@cache
def oversized() -> dict[str, int]:
    """Return what is larger than the bounds allow: functions, files and rooms by name, with their size."""
    sizes: dict[str, int] = {}
    for path in files(".py"):
        text = path.read_text()
        for name, function in functions(ast.parse(text)):
            size = code_lines(function, text.splitlines())
            if size > SETTINGS["function_lines"]:
                sizes[f"{place(path)}:{name}"] = size
    for path in files(*CODE, STYLES):
        if (size := len(path.read_text().splitlines())) > SETTINGS["file_lines"]:
            sizes[place(path)] = size
    modules = (path for path in files(*CODE) if path.stem not in ("__init__", "__main__"))
    for room, count in Counter(place(path.parent) for path in modules).items():
        if count > SETTINGS["room_modules"]:
            sizes[f"{room}/"] = count
    return sizes


def test_nothing_is_larger_than_the_bounds_allow() -> None:
    allowed = SETTINGS["exceptions"].keys() | SETTINGS["shrinking"].keys()

    assert {name: size for name, size in oversized().items() if name not in allowed} == {}


def test_every_exception_is_still_needed_and_says_why() -> None:
    listed = {**SETTINGS["exceptions"], **SETTINGS["shrinking"]}

    assert sorted(listed.keys() - oversized().keys()) == []
    assert [name for name, reason in listed.items() if not reason] == []


def names(tree: ast.AST) -> Iterator[str]:
    """Yield every name and attribute that is read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def imports_by_string(path: Path) -> bool:
    """Whether a file imports modules whose name is a value, which import contracts cannot see."""
    importers = {"import_module", "__import__", "run_module", "resolve_name"}
    return not importers.isdisjoint(names(ast.parse(path.read_text())))


def test_modules_imported_by_a_string_are_listed() -> None:
    found = {place(path) for path in files(".py") if imports_by_string(path)}

    assert sorted(found) == sorted(SETTINGS["string_imports"])


def test_import_contracts_count_hidden_imports() -> None:
    """Imports in functions always count; those under TYPE_CHECKING unless the settings leave them out."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

    assert not contracts.get("exclude_type_checking_imports", False)
