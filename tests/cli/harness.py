"""Helpers of the command line tests."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from conftest import eventually

from glidemq_core import Job, Queue, UnrecoverableError
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker.worker import Worker

COMMAND = [sys.executable, "-m", "glidemq_console"]


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> Any:
        """The one JSON value on stdout."""
        [line] = self.out.splitlines()
        return json.loads(line)

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stderr."""
        [line] = self.err.splitlines()
        found: dict[str, Any] = json.loads(line)["error"]
        assert set(json.loads(line)) == {"error"}
        assert set(found) == {"type", "message", "exit_code"}
        assert found["exit_code"] == self.code
        return found


def within(url: str, body: Callable[[Connection], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine function with a connection of its own."""

    async def run() -> Any:
        async with connect(url) as connection:
            return await body(connection)

    return asyncio.run(run())


def spawn(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command as a process of its own, with pipes."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *words], **{**pipes, **options})


async def process(job: Job[Any, Any]) -> Any:
    """Run what the job's name says: `ok`, `fail`, `ask` (suspends until it is answered)."""
    if job.name == "ok":
        await job.stream_chunk("content", "Hello ")
        await job.stream_chunk("content", "world")
        await job.report_usage(
            model="gpt-5.4", tokens={"input": 5, "output": 7}, costs={"total": 0.25}, cost_unit="usd"
        )
        await job.log("one line")
        return {"answer": 42}
    if job.name == "fail":
        raise UnrecoverableError("boom")
    if not job.signals:
        if job.name != "silent":
            await job.stream_chunk("content", "a draft")
        await job.suspend(reason="awaiting-review", timeout=3_600_000)
    return job.signals[-1].data


async def work(connection: Connection, queue: str, **jobs: dict[str, Any]) -> None:
    """Add jobs (id -> {name, data, options}) and run a worker until each is completed, failed or suspended."""
    source = Queue(queue, connection)
    for job_id, job in jobs.items():
        options = job.get("options", {})
        assert await source.add(job["name"], job.get("data"), job_id=job_id, **options) is not None
    worker = Worker(queue, process, connection, log_errors=False)
    async with worker:
        for job_id in jobs:
            await eventually(lambda job_id=job_id: _settled(source, job_id))


async def _settled(source: Queue, job_id: str) -> bool:
    job = await source.get_job(job_id)
    return job is not None and job.state in ("completed", "failed", "suspended")


async def fill(connection: Connection) -> None:
    """Make queue `chat` with one job in each of the common states, named by its state."""
    await work(
        connection,
        "chat",
        completed={"name": "ok", "data": {"prompt": "hi", "api_key": "sk-abcdefghijklmnopqrstuvwx"}},
        failed={"name": "fail"},
        suspended={"name": "ask", "data": {"text": "send it?"}},
    )
    source = Queue("chat", connection)
    await source.add("later", {"n": 1}, job_id="delayed", delay=3_600_000)
    await source.add("next", {"n": 2}, job_id="waiting", attempts=3)


def words(text: str) -> list[str]:
    """Split a list of names."""
    return text.split()


def through_a_pty(*line: str, typed: bytes = b"") -> tuple[int, bytes]:
    """Run a command on a terminal and return its exit code and all that the terminal got."""
    master, slave = pty.openpty()
    child = subprocess.Popen([*COMMAND, *line], stdin=slave, stdout=slave, stderr=slave, close_fds=True)
    os.close(slave)
    # Whatever goes wrong, the terminal is closed in the end.
    alarm = threading.Timer(60, child.kill)
    alarm.start()
    os.write(master, typed)
    seen = bytearray()
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    code = child.wait(30)
    alarm.cancel()
    os.close(master)
    return code, bytes(seen)
