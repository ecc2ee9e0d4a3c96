"""Every example as its reader runs it, on the test server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Connection, Queue

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(server_url: str, connection: Connection) -> dict[str, str]:
    """An empty server in GLIDEMQ_URL; the user's own settings stay out."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
    return {**plain, "GLIDEMQ_URL": server_url, "PYTHONUNBUFFERED": "1"}


async def ran(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to the end."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def run(environment: dict[str, str], *words: str) -> str:
    """Run Python with these arguments to the end and return what it printed."""
    done = await ran(environment, *words)
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


@asynccontextmanager
async def worker_of(environment: dict[str, str], app: str, *words: str) -> AsyncIterator[None]:
    """The workers of an application, run by the command line; they end cleanly at SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "glidemq_console", "worker", app, *words),
        cwd=ROOT,
        env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0


async def test_worker_for_the_command_line(environment: dict[str, str], connection: Connection) -> None:
    async with worker_of(environment, "examples.worker:worker"):
        queue: Queue[Any, Any] = Queue("inference", connection)
        await eventually(lambda: queue.get_workers(), timeout=30)
        data = json.dumps({"prompt": "Why?"})
        words = ("-m", "glidemq_console", "add", "inference", "answer", "--data", data, "--wait", "--json")
        job = json.loads(await run(environment, *words))["job"]
        assert job["state"] == "completed"
        assert job["result"]["answer"].startswith("You asked: Why?")
        assert job["usage"]["model"] == "echo-1"


PIPELINE = """\
flow rag:2: 4 documents; at most 2,000 tokens and 0.05 usd, then it pauses
embedded and stored: Pausing, Resuming, Billing, Passwords
asked: How do I pause a queue before a deployment?

  (gpt-5.4 reads Pausing, Resuming.) Pause a queue with glidemq
  (gpt-5.4-nano reads Pausing, Resuming.) Pause a queue with glidemq pause. Running jobs end first, then a \
deployment may begin. After the deployment, glidemq resume lets the waiting jobs of a paused queue go on.
  gpt-5.4 failed, 47 tokens: 429 too many requests: gpt-5.4 is over its quota
  gpt-5.4-nano completed, 72 tokens
waits for a person (the answer goes to customers); an operator would say
  glidemq approve rag:2 --expect-hash HASH
  glidemq reject rag:2 --reason TEXT
nobody has to: this program approves
published, approved by rag-pipeline: Pause a queue with glidemq pause. Running jobs end first, then a \
deployment may begin. After the deployment, glidemq resume lets the waiting jobs of a paused queue go on.
spent: 199 tokens, 0.000181 usd by gpt-5.4, gpt-5.4-nano, demo-embedding-256
budget: 199 of 2000 tokens used
token limit of rag-documents: N of 20000 used in this minute
"""


def steady(told: str) -> str:
    """What the pipeline prints, without what changes from run to run: the hash, what fell into this minute."""
    told = "".join(line.rstrip() + "\n" for line in told.splitlines())
    told = re.sub(r"--expect-hash [0-9a-f]{64}", "--expect-hash HASH", told)
    return re.sub(r": \d+ of 20000", ": N of 20000", told)


async def test_the_pipeline_from_documents_to_an_approved_answer(environment: dict[str, str]) -> None:
    assert steady(await run(environment, "examples/rag_pipeline.py")) == PIPELINE
    again = steady(await run(environment, "examples/rag_pipeline.py", "--url", environment["GLIDEMQ_URL"]))
    assert again.splitlines()[0].startswith("flow rag:4: 4 documents")
    assert again.splitlines()[4] == PIPELINE.splitlines()[4], "only documents of its own flow are found"


async def test_the_pipeline_with_workers_elsewhere_and_an_operator(
    environment: dict[str, str], server_url: str, connection: Connection
) -> None:
    elsewhere = {**environment}
    del elsewhere["GLIDEMQ_URL"]
    async with worker_of(elsewhere, "examples.rag_worker:workers", "--url", server_url):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "examples/rag_pipeline.py", "--wait-for-approval", "--no-workers"),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if line.split()[:2] == [b"glidemq", b"approve"]:
                break
        await run(
            environment, "-m", "glidemq_console", "reject", "rag:2", "--reason", "too long", "--by", "eve"
        )
        out, _ = await process.communicate()
    assert "not published: too long (eve)\n" in out.decode()
    assert "this program approves" not in out.decode()
    assert process.returncode == 0


async def test_the_pipeline_tells_in_one_line_what_is_missing(environment: dict[str, str]) -> None:
    done = await ran(environment, "examples/rag_pipeline.py", "--url", "valkey://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rag_pipeline: nothing listens on 127.0.0.1:1\n"
