"""Workers against a real Valkey: jobs run, fail, retry, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually

from glidemq_core.errors import ClosedError
from glidemq_core.job import Job
from glidemq_core.options.job import NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker
from glidemq_core.worker.execution.run import JobRun

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


async def test_a_failing_job_retries_with_backoff_and_then_fails(connection: Connection) -> None:
    async def process(job: Any) -> None:
        raise ValueError(f"attempt {job.attempts_made}")

    queue = Queue("q", connection)
    job = await queue.add("n", {}, attempts=3, backoff=20)
    assert job is not None

    async with Worker("q", process, connection):
        await eventually(lambda: job.is_failed())

    await job.refresh()
    assert job.attempts_made == 3
    assert job.failed_reason == "attempt 2"


async def test_a_priority_job_added_while_idle_starts_without_waiting_for_the_interval(
    connection: Connection,
) -> None:
    started = asyncio.Event()

    async def process(job: Any) -> None:
        started.set()

    queue = Queue("q", connection)
    async with Worker("q", process, connection, promotion_interval=60_000, block_timeout=60_000) as worker:
        await eventually(lambda: worker._exchange.nothing_ready)
        await queue.add("n", {}, priority=5)
        await asyncio.wait_for(started.wait(), 20)


async def test_a_suspended_job_resumes_with_its_signal(connection: Connection) -> None:
    async def process(job: Any) -> Any:
        if not job.signals:
            await job.suspend(reason="review", timeout=60_000)
        return job.signals[-1].data

    queue = Queue("q", connection)
    job = await queue.add("n", {})
    assert job is not None

    async with Worker("q", process, connection):
        await eventually(lambda: _is(job, "suspended"))
        assert await queue.signal(job.id, "approve", {"ok": True})
        await eventually(lambda: job.is_completed())

    await job.refresh()
    assert job.result == {"ok": True}


async def test_a_job_streams_tokens_to_a_reader(connection: Connection) -> None:
    async def process(job: Any) -> None:
        for word in ("a", "b", "c"):
            await job.stream_chunk("content", word)

    queue = Queue("q", connection)
    job = await queue.add("n", {})
    assert job is not None

    async with Worker("q", process, connection):
        texts = [chunk.text async for chunk in queue.stream(job.id)]

    assert texts == ["a", "b", "c"]


async def test_a_timeout_cancels_the_processor(connection: Connection) -> None:
    cancelled = asyncio.Event()

    async def process(job: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    queue = Queue("q", connection)
    job = await queue.add("n", {}, timeout=50)
    assert job is not None

    async with Worker("q", process, connection):
        await asyncio.wait_for(cancelled.wait(), 5)
        await eventually(lambda: job.is_failed())

    await job.refresh()
    assert job.failed_reason == "Job timeout exceeded"


async def test_a_plain_function_runs_in_a_thread_with_blocking_methods(connection: Connection) -> None:
    def process(job: Any) -> str:
        job.log("from a thread")
        job.stream_chunk("content", "x")
        return job.name

    queue = Queue("q", connection)
    job = await queue.add("threaded", {})
    assert job is not None

    async with Worker("q", process, connection):
        await eventually(lambda: job.is_completed())

    assert (await queue.get_job_logs(job.id)).logs == ("from a thread",)


async def test_draining_serves_what_is_there_and_closes(connection: Connection) -> None:
    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(20)])
    await queue.add("n", delay=100)
    await queue.add("n", priority=3)
    ran = []

    async def process(job: Any) -> None:
        ran.append(job.id)
        if job.id == "1" and job.attempts_made == 0:
            await queue.add("n", lifo=True)

    worker = Worker("q", process, connection, concurrency=4)
    async with asyncio.timeout(30):
        await worker.drain()
    assert len(ran) == 23
    assert not worker.is_running


async def test_a_closed_worker_does_not_start_again(connection: Connection) -> None:
    worker = Worker("q", print, connection)
    await worker.start()
    await worker.close()
    for again in (worker.start, worker.run, worker.drain):
        with pytest.raises(ClosedError):
            await again()


async def test_closing_ends_a_drain(connection: Connection) -> None:
    await Queue("q", connection).add("n", delay=3_600_000)
    worker = Worker("q", print, connection)
    draining = asyncio.create_task(worker.drain())
    await worker.wait_until_ready()
    await worker.close()
    async with asyncio.timeout(20):
        await draining


async def one_that_runs_on(
    connection: Connection,
) -> tuple[Queue[Any, Any], Job[Any, Any], Callable[[Any], Awaitable[None]], asyncio.Event]:
    """A queue with one job, a processor that does not end by itself, and what it sets when it begins."""
    started = asyncio.Event()

    async def process(_: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    queue = Queue[Any, Any]("q", connection)
    job = await queue.add("n", {})
    assert job is not None
    return queue, job, process, started


async def test_revoking_a_running_job_cancels_it(connection: Connection) -> None:
    queue, job, process, started = await one_that_runs_on(connection)

    async with Worker("q", process, connection, lock_duration=1_000):
        await started.wait()
        assert await queue.revoke(job.id) == "flagged"
        await eventually(lambda: job.is_failed())

    await job.refresh()
    assert job.failed_reason == "revoked"


async def test_closing_hands_back_what_does_not_finish_in_time(connection: Connection) -> None:
    _, job, process, started = await one_that_runs_on(connection)

    async with Worker("q", process, connection, grace=50):
        await started.wait()

    await job.refresh()
    assert job.state == "waiting"
    assert job.processed_at is None
    assert await connection.command("XLEN", "glide:{q}:stream") == 1
    assert await connection.command("KEYS", "glide:{q}:w:*") == []


async def test_jobs_that_have_ended_do_not_wait_in_memory_for_the_garbage_collector(
    connection: Connection,
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        if job.data % 4 == 0:
            await job.stream({"t": "a"})
        elif job.data % 4 == 1:
            await job.step("once", lambda: 1)
        elif job.data % 4 == 2:
            raise ValueError("no")

    queue = Queue("q", connection)
    gc.collect()
    gc.disable()
    try:
        async with Worker("q", process, connection, concurrency=10, log_errors=False):
            await queue.add_bulk([NewJob("n", n) for n in range(100)])
            await eventually(lambda: _have_ended(connection, 100))
            await eventually(lambda: not [one for one in gc.get_objects() if isinstance(one, JobRun)])
    finally:
        gc.enable()


async def _have_ended(connection: Connection, count: int) -> bool:
    kept = [await connection.command("ZCARD", f"glide:{{q}}:{end}") for end in ("completed", "failed")]
    return bool(sum(kept) == count)


async def _is(job: Any, state: str) -> bool:
    return bool(await job.get_state() == state)
