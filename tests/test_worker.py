"""Workers against a real Valkey: jobs run, fail, retry, and nothing is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually

from glidemq_core.connection import Connection
from glidemq_core.options import NewJob
from glidemq_core.queue import Queue
from glidemq_core.worker import Worker

pytestmark = pytest.mark.usefixtures("connection")


async def state_of(connection: Connection, job_id: str, queue: str = "q") -> str:
    state = await connection.command("HGET", f"glide:{{{queue}}}:job:{job_id}", "state")
    return state.decode() if state else "gone"


async def test_a_job_runs_and_its_result_is_stored(connection: Connection) -> None:
    seen: list[Any] = []

    async def process(job: Any) -> dict[str, int]:
        seen.append(job.data)
        return {"sum": 3}

    queue = Queue("q", connection)
    job = await queue.add("add", {"a": 1, "b": 2})
    assert job is not None

    async with Worker("q", process, connection):
        await eventually(lambda: job.is_completed())

    await job.refresh()
    assert seen == [{"a": 1, "b": 2}]
    assert job.result == {"sum": 3}
    assert await connection.command("XLEN", "glide:{q}:stream") == 0


async def test_many_jobs_run_once_each_at_concurrency_fifty(connection: Connection) -> None:
    runs: dict[int, int] = {}

    async def process(job: Any) -> None:
        runs[job.data] = runs.get(job.data, 0) + 1

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(2_000)])

    async with Worker("q", process, connection, concurrency=50):
        await eventually(lambda: len(runs) == 2_000)

    assert set(runs.values()) == {1}
    assert await connection.command("ZCARD", "glide:{q}:completed") == 2_000
