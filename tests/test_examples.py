"""Every example as its reader runs it, on the test server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Connection, Queue

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment(server_url: str, connection: Connection) -> dict[str, str]:
    """An empty server in GLIDEMQ_URL; the user's own settings stay out."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
    return {**plain, "GLIDEMQ_URL": server_url, "PYTHONUNBUFFERED": "1"}


async def run(environment: dict[str, str], *words: str) -> str:
    """Run Python with these arguments to the end and return what it printed."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


async def test_quickstart(environment: dict[str, str]) -> None:
    assert await run(environment, "examples/quickstart.py") == "greetings:1 Hello, Ada!\n"


async def test_streaming(environment: dict[str, str]) -> None:
    assert await run(environment, "examples/streaming.py") == (
        "(Short, and with a happy end.)Once upon a time a job waited in a queue. A worker came, "
        "and the job was done. 完 🎉 \n"
    )


async def test_approval_by_itself(environment: dict[str, str]) -> None:
    first, second, third = (await run(environment, "examples/approval.py", "--auto")).splitlines()
    assert first.startswith("glidemq approve newsletter:1 ")
    assert second == "reads: Dear everybody, spring is here. 🌷"
    assert third == "newsletter:1 sent"


async def test_approval_from_another_terminal(environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "examples/approval.py", cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    told = (await process.stdout.readline()).decode().split()
    assert told[:2] == ["glidemq", "approve"]
    await run(environment, "-m", "glidemq_console", "reject", told[2], "--reason", "too early")
    out, _ = await process.communicate()
    assert out.decode() == f"{told[2]} not sent: too early\n"
    assert process.returncode == 0


async def test_worker_for_the_command_line(environment: dict[str, str], connection: Connection) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "glidemq_console",
        "worker",
        "examples.worker:worker",
        cwd=ROOT,
        env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        queue: Queue[Any, Any] = Queue("inference", connection)
        await eventually(lambda: queue.get_workers(), timeout=30)
        data = json.dumps({"prompt": "Why?"})
        words = ("-m", "glidemq_console", "add", "inference", "answer", "--data", data, "--wait", "--json")
        job = json.loads(await run(environment, *words))["job"]
        assert job["state"] == "completed"
        assert job["result"]["answer"].startswith("You asked: Why?")
        assert job["usage"]["model"] == "echo-1"
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0
