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
    ServerUnavailableError,
    UnrecoverableError,
    WaitTimeoutError,
)
from glidemq_core.jobs import wait
from glidemq_core.jobs.events.ends import JobEnds
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


# While the server is away --------------------------------------------------------------------------------------------


async def test_a_wait_outlives_an_outage(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job goes on, so who waits for it does; an outage that lasts longer than the wait is told as what it is."""
    queue, command, away = Queue("q", connection), connection.command, [0]

    async def lossy(*words: Any) -> Any:
        if words[0] in ("HMGET", "HGET") and away[0]:
            away[0] -= 1
            raise ServerUnavailableError("the connection was lost", address="it")
        return await command(*words)

    monkeypatch.setattr(connection, "command", lossy)
    async with serving(connection):
        job = await queue.add("good", 1)
        away[0] = 3
        assert await job.wait(timeout=10_000) == {"echo": 1}
        away[0] = 3
        assert await job.wait_until_finished(poll_interval=20, timeout=10_000) == "completed"
        away[0] = 3
        assert await queue.add_and_wait("good", 2, wait_timeout=10_000) == {"echo": 2}
        away[0] = 10_000
        with pytest.raises(ServerUnavailableError):
            await job.wait(timeout=1_000)
        away[0] = 0


# Many at once --------------------------------------------------------------------------------------------------------


async def test_a_thousand_waiting_at_once_use_one_connection_and_one_reader(connection: Connection) -> None:
    opened, dedicated = list[Connection](), connection.dedicated

    async def counted(**options: Any) -> Connection:
        opened.append(await dedicated(**options))
        return opened[-1]

    queue = Queue("q", connection)
    async with serving(connection, concurrency=50) as worker:
        await worker.wait_until_ready()
        await eventually(lambda: worker._exchange.nothing_ready)
        await queue.add_and_wait("good", -1)
        connection.dedicated = counted  # type: ignore[method-assign]
        answers = await asyncio.gather(*(queue.add_and_wait("good", n) for n in range(1_000)))
        connection.dedicated = dedicated  # type: ignore[method-assign]
    assert answers == [{"echo": n} for n in range(1_000)]
    assert len(opened) == 1
    assert opened[0].closed
    context = await queue.context()
    assert "ends" not in context.shared


async def test_an_end_that_is_told_before_the_add_returns_is_not_missed(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "_BLIND_MS", 60_000)  # events alone say when to look
    call = connection.call

    async def slow(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "add_plain":
            await asyncio.sleep(0.3)
        return reply

    queue = Queue("q", connection)
    async with serving(connection, concurrency=5):
        connection.call = slow  # type: ignore[method-assign]
        answers = await asyncio.gather(
            *(queue.add_and_wait("good", n, wait_timeout=20_000) for n in range(20))
        )
    assert answers == [{"echo": n} for n in range(20)]


async def test_one_who_gives_up_leaves_the_others_waiting(connection: Connection) -> None:
    queue, go_on = Queue("q", connection), asyncio.Event()

    async def process(job: Any) -> Any:
        await go_on.wait()
        return job.data

    async with Worker("q", process, connection, concurrency=9):
        waiting = [asyncio.create_task(queue.add_and_wait("a", n)) for n in range(6)]
        with pytest.raises(WaitTimeoutError):
            await queue.add_and_wait("a", 9, wait_timeout=300)
        waiting[2].cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [one for one in found if isinstance(one, int)] == [0, 1, 3, 4, 5]
    assert isinstance(found[2], asyncio.CancelledError)


async def test_events_that_cannot_be_read_are_told_to_all(connection: Connection) -> None:
    queue = Queue("q", connection)
    await connection.command("DEL", "glide:{q}:events")
    waiting = [asyncio.create_task(queue.add_and_wait("a", n)) for n in range(3)]
    await eventually(lambda: connection.command("XLEN", "glide:{q}:stream"))
    await connection.command("DEL", "glide:{q}:events")
    await connection.command("SET", "glide:{q}:events", "something else")
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {getattr(one, "code", None) for one in found} == {"WRONGTYPE"}
    await connection.command("DEL", "glide:{q}:events")


async def test_large_ends_of_other_jobs_are_not_kept(connection: Connection) -> None:
    queue = Queue("q", connection)
    context = await queue.context()
    ends = JobEnds.of(context)
    for n in range(40):
        ends._tell([[b"event", b"completed"], [b"jobId", b"%d" % n], [b"returnvalue", b"x" * 1_000_000]])
    assert len(ends._recent) == 16
    assert (await ends.next("39", 10))["event"] == "completed"
    assert await ends.next("0", 10) == {}
