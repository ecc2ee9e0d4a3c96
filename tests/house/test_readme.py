"""The README does what it says: its programs and commands run against a real server."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.snippets import ROOT, blocks, environment, inline_commands, run_programs

from glidemq_console.cli import main
from glidemq_console.cli.program import GLOBAL_PARAMETERS
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough

README = ROOT / "README.md"


@contextmanager
def running(words: list[str], folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs while the context is open, ended as a person would end it."""
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment(url, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def shell(line: str, folder: Path, url: str) -> str:
    """Run one line as a shell does and return its stdout."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=environment(url, folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


async def test_programs_and_commands_work_together(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    programs = {block.title: block.text for block in blocks(README, "python")}
    for title, text in programs.items():
        assert title is not None, "a program of the README has no file name"
        (tmp_path / title).write_text(text, encoding="utf-8")
    first, *more = blocks(README, "bash")

    queue: Queue[Any, Any] = Queue("inference", connection)
    with (
        running(["glidemq", "worker", "app:worker"], tmp_path, server_url),
        running(["python", "quickstart.py"], tmp_path, server_url) as reader,
    ):
        [waiting] = await eventually(queue.get_suspended_jobs, timeout=30, interval=0.1)
        assert str(waiting.ref) == "inference:1"
        told = {line: shell(line, tmp_path, server_url) for line in first.text.splitlines()}
        out, err = reader.communicate(timeout=30)

    assert reader.returncode == 0, err
    told_first = out.splitlines()[0]
    assert told_first.startswith("inference:1 ")
    assert told_first.endswith("glidemq approve inference:1")
    assert "blue light scatters most." in out
    assert any(line.startswith("glidemq tail") and "scatters most." in text for line, text in told.items())
    for block in more:
        for line in block.text.splitlines():
            shell(line, tmp_path, server_url)


def test_commands_in_the_text_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = inline_commands(README)
    assert any(line[0] == "tail" and "embedded:demo" in line for line in lines)
    known = {f"--{name.replace('_', '-')}" for name in GLOBAL_PARAMETERS}
    for name, *words in lines:
        assert main([name, "--help"]) == 0, name
        described = capsys.readouterr().out
        for word in words:
            if word.startswith("-"):
                assert word in known or f" {word} " in described, (name, word)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = re.findall(r"^    make ([\w-]+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert asked == ["demo", "test", "test-all"]
    for target in asked:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


async def test_the_program_of_the_core_runs(connection: Connection, server_url: str, tmp_path: Path) -> None:
    page = ROOT / "packaging" / "core" / "README.md"
    [shown] = blocks(page, "output")
    assert run_programs(blocks(page, "python"), server_url, tmp_path) == [shown.text]
