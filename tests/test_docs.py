"""The pages of docs/ do what they say: the `python` blocks of a page are one program, run against a server.

A page may await at the top level. Blocks with a title are files beside the program. What it prints must be what
the page's `output` blocks show, if there are any.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from snippets import ROOT, blocks, environment, links

from glidemq_core import Connection

PAGES = sorted((ROOT / "docs").glob("*.md"))
#: Runs a program that may await at the top level.
RUNNER = """
import ast, asyncio, inspect, sys
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
running = eval(code, {"__name__": "__main__"})
async def finish(): await running
if inspect.iscoroutine(running): asyncio.run(finish())
"""


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.stem)
async def test_the_page_runs(page: Path, connection: Connection, server_url: str, tmp_path: Path) -> None:
    program = []
    for block in blocks(page, "python"):
        if block.title:
            (tmp_path / block.title).write_text(block.text, "utf-8")
        else:
            program.append(block.text)
    (tmp_path / "page.py").write_text("\n".join(program), "utf-8")

    run = subprocess.run(
        [sys.executable, "-c", RUNNER, "page.py"],
        cwd=tmp_path,
        env=environment(server_url, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 0, run.stderr
    assert not run.stderr
    shown = [block.text for block in blocks(page, "output")]
    assert not shown or run.stdout == "".join(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        assert (page.parent / link.partition("#")[0]).exists(), link
