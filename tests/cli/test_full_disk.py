"""Standard output on a disk that is full: every command says so in one line, and none takes it for a defect."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glidemq_console.cli import main
from glidemq_console.cli.errors import report
from glidemq_console.config import private_file
from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connection import Connection

from .harness import COMMAND, within

FULL = Path("/dev/full")
WORDS = "cannot write to standard output: No space left on device"
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")


def _run(*words: str, unbuffered: bool = False) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    with FULL.open("wb") as full:
        return subprocess.run(
            [*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60, check=False
        )


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("line", ["--version", "jobs --help", "config", "completion bash"])
def test_it_is_told_without_a_server(line: str, unbuffered: bool, environment: None) -> None:
    done = _run(*line.split(), unbuffered=unbuffered)

    assert (done.returncode, done.stderr.decode()) == (1, f"glidemq: {WORDS}\n")


@pytest.mark.parametrize(
    "line", ["jobs work", "jobs work --json", "tail work:1", "tail work:1 --json", "snapshot", "metrics"]
)
def test_it_is_told_of_what_was_read(
    line: str, server: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async def fill(connection: Connection) -> None:
        async def process(job: Job[Any, Any]) -> str:
            await job.stream({"t": "words"})
            return "done"

        async with Queue("work", connection) as queue, Worker("work", process, connection):
            job = await queue.add("write", {})
            assert job is not None
            await job.wait_until_finished()

    within(server, fill)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(FULL.open("wb")))
    code = main(line.split())

    [said] = capfdbinary.readouterr().err.decode().splitlines()[-1:]
    if "--json" in line:
        assert json.loads(said) == {"error": {"type": "Refused", "message": WORDS, "exit_code": 1}}
    else:
        assert said == f"glidemq: {WORDS}"
    assert code == 1


def test_a_file_that_finds_no_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    path = tmp_path / "config.toml"
    with pytest.raises(OSError, match="No space left") as caught:
        private_file.replace_private(path, "x")

    assert report(caught.value).message == f"{path}: No space left on device"
    assert list(tmp_path.iterdir()) == []
