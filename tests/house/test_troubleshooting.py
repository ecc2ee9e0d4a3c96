"""Each public error stands on the page of remedies, with what it means and what to do."""

from __future__ import annotations

import re

from kits.snippets import ROOT

import glidemq_core
from glidemq_console.cli.errors import Exit
from glidemq_core import errors

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")


def rows() -> dict[str, list[str]]:
    """Cells of the rows of both tables of errors, by the names in the first one."""
    found: dict[str, list[str]] = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`(\w+(?:Error|Warning|Control))`", cells[0]) if line.startswith("|") else ():
            assert name not in found, f"{name} stands twice"
            found[name] = cells[1:]
    return found


def test_each_error_has_its_remedy() -> None:
    public = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }
    assert public <= set(glidemq_core.__all__)
    assert rows().keys() == public
    assert all(len(cells) == 2 and all(cells) for cells in rows().values())


def test_each_exit_code_is_told() -> None:
    told = PAGE.partition("## Exit codes")[2]
    assert [int(code) for code in re.findall(r"\b(\d+) ", told)] == [int(code) for code in Exit]
