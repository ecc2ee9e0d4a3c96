"""Code blocks of Markdown pages, as files and commands that can be run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)(?: +title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(glidemq [^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its file name if the page gives one, its text."""

    language: str
    title: str | None
    text: str


def blocks(page: Path, language: str) -> list[Block]:
    """The fenced blocks of one language, in order."""
    found = [Block(*match) for match in _FENCE.findall(page.read_text(encoding="utf-8"))]
    return [block for block in found if block.language == language]


def inline_commands(page: Path) -> list[list[str]]:
    """Command lines that stand in running text."""
    return [shlex.split(line)[1:] for line in _INLINE.findall(page.read_text(encoding="utf-8"))]


def dead_links(page: Path) -> list[str]:
    """Links and pictures that should lead into the repository and do not, or to no heading of their page."""
    targets = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    return [link for link in targets if not _leads_somewhere(page, *link.partition("#")[::2])]


def _leads_somewhere(page: Path, path: str, anchor: str) -> bool:
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> list[str]:
    """What a reader's browser calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def environment(url: str, folder: Path) -> dict[str, str]:
    """The environment of a reader who has installed the command and named a server."""
    bin_folder = Path(sys.executable).parent
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")},
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "GLIDEMQ_URL": url,
        "GLIDEMQ_CONFIG": str(folder / "config.toml"),
        "GLIDEMQ_DATA": str(folder / "data"),
        "PYTHONUNBUFFERED": "1",
    }


#: Runs the files it is given one after the other, each as a program that imports the files beside it anew, and ends the
#: output of each by a mark.
_RUN = """
import os, runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(name, run_name="__main__")
    print(end="\\x1e", flush=True)
    for beside in [file[:-3] for file in os.listdir() if file.endswith(".py")]:
        sys.modules.pop(beside, None)
"""


def run_programs(programs: list[Block], url: str, folder: Path, times: int = 1) -> list[str]:
    """Run blocks as programs, one after the other, so many times, and return what each printed each time."""
    names = [block.title or f"snippet_{number}.py" for number, block in enumerate(programs)]
    assert len(set(names)) == len(names), "two programs of a page have the same file name"
    for name, block in zip(names, programs, strict=True):
        (folder / name).write_text(block.text, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, *names * times],
        cwd=folder,
        env=environment(url, folder),
        capture_output=True,
        text=True,
        timeout=120,
    )
    printed = ran.stdout.split("\x1e")[:-1]
    assert ran.returncode == 0, f"{programs[len(printed) % len(programs)].text}\n{ran.stderr}"
    assert not ran.stderr
    return printed
