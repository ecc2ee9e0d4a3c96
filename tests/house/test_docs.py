"""The pages of docs/ do what they say: each `python` block is a program that runs as it stands, against a server.

What the programs of a page print must be what its `output` blocks show, if there are any.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kits.snippets import ROOT, blocks, dead_links, run_programs

from glidemq_core import Connection
from glidemq_core.server.functions import LIBRARY

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.thorough
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.stem)
async def test_the_page_runs(page: Path, connection: Connection, server_url: str, tmp_path: Path) -> None:
    shown = [block.text for block in blocks(page, "output")]
    # Whoever runs a program again reads the same. In one process: loading the driver takes longer than most programs.
    times = 2 if shown else 1
    printed = run_programs(blocks(page, "python"), server_url, tmp_path, times)
    # What prints nothing has no block.
    assert not shown or [text for text in printed if text] == shown * times


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_rooms_are_there(page: str) -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert rows
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        beside = (ROOT / first).parent
        assert any(ROOT.glob(first.rstrip("/"))), first
        for name in others:
            assert any(ROOT.glob(name.rstrip("/"))) or any(beside.glob(name.rstrip("/"))), name


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    assert not dead_links(page)


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert [page.name for page in PAGES if f"]({page.name})" not in index and page.name != "README.md"] == []


def test_pages_name_the_functions_of_this_release() -> None:
    """All but the page about versions, which tells how former ones are removed."""
    named = {
        (page.name, found)
        for page in PAGES
        for found in re.findall(r"\bgmq\d+", page.read_text("utf-8"))
        if page.name != "versions.md"
    }
    assert {found for _, found in named} == {LIBRARY}, named
