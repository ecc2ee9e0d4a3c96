"""The page of the example application: its commands, as a reader types them, lead to what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kits.ports import free_port
from kits.snippets import ROOT, blocks, environment

PAGE = ROOT / "examples" / "chat_service" / "README.md"
FOLDER = ROOT / "examples"

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")]


def commands(port: int) -> list[str]:
    """The blocks of commands, for a port of our own."""
    return [block.text.replace("8000", str(port)) for block in blocks(PAGE, "bash")]


def bash(text: str, surroundings: dict[str, str], **given: int) -> subprocess.Popen[str]:
    """Type something into a shell."""
    words = ["bash", "-euo", "pipefail", "-c", text]
    return subprocess.Popen(
        words,
        cwd=FOLDER,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **given,
    )


def typed(text: str, surroundings: dict[str, str]) -> str:
    """Type something into a shell, and return what it printed."""
    shell = bash(text, surroundings)
    out, error = shell.communicate(timeout=60)
    assert shell.returncode == 0, error
    return out


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    return environment("", tmp_path)


@pytest.fixture
def port(surroundings: dict[str, str]) -> Iterator[int]:
    """The port of the service, as the first block of the page starts it."""
    chosen = free_port()
    start = commands(chosen)[0]
    service = bash(start + "wait\n", surroundings, process_group=0)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["curl", "-s", f"http://localhost:{chosen}/"], capture_output=True).returncode:
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)
        yield chosen
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.communicate(timeout=60)
        server = [sys.executable, "-m", "glidemq_console", "server", "stop", "--url", "embedded:chat"]
        subprocess.run(server, env=surroundings, capture_output=True, check=False)


def test_the_service_runs_as_printed(port: int, surroundings: dict[str, str]) -> None:
    _, ask, decide = commands(port)
    asked = typed(ask, surroundings)
    assert asked.strip() == blocks(PAGE, "output")[0].text.strip()

    (follow,) = re.findall(r"`(curl -sN [^`]+)`", PAGE.read_text("utf-8"))
    told = bash(follow.replace("8000", str(port)), surroundings)
    assert told.stdout is not None
    lines: list[str] = []
    for line in told.stdout:
        lines.append(line)
        if line == "event: suspended\n":
            decided = json.loads(typed(decide, surroundings))
            assert (decided["outcome"], decided["by"]) == ("sent", "ada")
    assert told.wait(10) == 0
    (shown,) = blocks(PAGE, "text")
    assert steady("".join(lines)) == steady(shown.text)


def steady(stream: str) -> list[str]:
    """The events of a stream, without what changes from run to run: ids of entries and the deadline.

    "resumed" may come a moment after the first token that follows it.
    """
    kept = re.sub(r"^(id: .*|: .*)\n", "", stream, flags=re.MULTILINE)
    kept = re.sub(r'"until": "[^"]*"', '"until": ""', kept)
    events = [event.strip() for event in kept.split("\n\n") if event.strip()]
    told = next(event for event in events if event.startswith("event: resumed"))
    return [event for event in events if event != told]
