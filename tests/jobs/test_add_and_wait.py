"""Adding a job and waiting for its result, whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.recording import same

from glidemq_core.errors import (
    DuplicateJobError,
    InvalidOptionError,
    JobFailedError,
    JobNotFoundError,
    UnrecoverableError,
    WaitTimeoutError,
)
from glidemq_core.jobs import wait
from glidemq_core.options.job import Deduplication
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker


async def answer(job: Any) -> Any:
    if job.name == "bad":
        raise ValueError("boom")
    if job.name == "again" and job.attempts_made == 0:
        raise ValueError("not yet")
    return {"echo": job.data}


def serving(connection: Connection, name: str = "q", **options: Any) -> Worker:
    return Worker(name, answer, connection, **{"promotion_interval": 50, **options})


async def test_it_writes_what_node_writes(connection: Connection) -> None:
    name = "add_and_wait"
    async with serving(connection, name):
        assert await Queue(name, connection).add_and_wait("ask", {"q": 1}, wait_timeout=5_000) == {
            "echo": {"q": 1}
        }
        await same(connection, name)


@pytest.mark.parametrize("events", [True, False])
async def test_results_and_failures_come_back(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    """With and without `completed` events: the record is the truth."""
    monkeypatch.setattr(wait, "_BLIND_MS", 50)
    queue = Queue("q", connection, events=events)
    async with serving(connection, events=events, concurrency=5):
        answers = await asyncio.gather(*(queue.add_and_wait("good", n) for n in range(10)))
        assert answers == [{"echo": n} for n in range(10)]
        assert await queue.add_and_wait("again", 1, attempts=2) == {"echo": 1}
        with pytest.raises(JobFailedError, match="boom") as failed:
            await queue.add_and_wait("bad", attempts=2)
        assert (failed.value.failed_reason, failed.value.attempts_made) == ("boom", 2)
        with pytest.raises(JobFailedError, match="expired"):
            await queue.add_and_wait("late", delay=60, ttl=1)


async def test_it_waits_no_longer_than_asked(connection: Connection) -> None:
    queue = Queue("q", connection)
    with pytest.raises(WaitTimeoutError) as late:
        await queue.add_and_wait("x", wait_timeout=50)
    assert (late.value.state, late.value.timeout_ms) == ("waiting", 50)
    assert await queue.count() == 1


async def test_a_revoked_or_removed_job_is_told(connection: Connection) -> None:
    queue = Queue("q", connection)
    waiter = asyncio.create_task(queue.add_and_wait("x", delay=60_000))
    await eventually(lambda: queue.get_job("1"))
    await queue.revoke("1")
    with pytest.raises(JobFailedError, match="revoked"):
        await waiter
    waiter = asyncio.create_task(queue.add_and_wait("x", delay=60_000))
    await eventually(lambda: queue.get_job("2"))
    await queue.remove_job("2")
    with pytest.raises(JobNotFoundError):
        await waiter


async def test_what_cannot_be_waited_for_is_refused(connection: Connection) -> None:
    queue = Queue("q", connection)
    bad: list[dict[str, Any]] = [{"wait_timeout": 0}, {"remove_on_complete": True}, {"remove_on_fail": 5}]
    for options in bad:
        with pytest.raises(InvalidOptionError):
            await queue.add_and_wait("x", **options)
    assert await connection.command("DBSIZE") == 0
    await queue.add("x", job_id="mine", deduplication=Deduplication("d"))
    for options in ({"job_id": "mine"}, {"deduplication": Deduplication("d")}):
        with pytest.raises(DuplicateJobError):
            await queue.add_and_wait("x", **options)


async def test_a_job_is_waited_for_after_it_was_added(connection: Connection) -> None:
    async def process(job: Any) -> int:
        if job.data == 0:
            raise UnrecoverableError("nothing")
        await asyncio.sleep(0.05)
        return int(job.data) * 2

    async with Queue("q", connection) as queue, Worker("q", process, connection, log_errors=False):
        job = await queue.add("double", 4)
        assert await job.wait() == 8
        assert await job.wait(timeout=1) == 8  # it has ended long ago
        failing = await queue.add("double", 0)
        with pytest.raises(JobFailedError, match="nothing"):
            await failing.wait(timeout=5_000)
        later = await queue.add("double", 1, delay=60_000)
        with pytest.raises(WaitTimeoutError):
            await later.wait(timeout=50)
        await later.remove()
        with pytest.raises(JobNotFoundError):
            await later.wait()
        with pytest.raises(InvalidOptionError):
            await job.wait(timeout=0)
