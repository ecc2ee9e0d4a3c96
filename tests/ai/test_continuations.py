"""`on_resume`: what runs in place of the processor when a job comes back to the worker that suspended it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conftest import eventually
from kits.budget import worker_of

from glidemq_core.job import Job
from glidemq_core.options.job import TokenLimit
from glidemq_core.queue import Queue
from glidemq_core.records import Signal
from glidemq_core.server.connection import Connection


async def suspended(connection: Connection, job_id: str = "1") -> None:
    async def is_there() -> bool:
        return await connection.command("ZSCORE", "glide:{q}:suspended", job_id) is not None

    await eventually(is_there)


async def test_a_continuation_may_do_all_that_a_processor_may(connection: Connection) -> None:
    """The job that it closes over speaks for the run that goes on: it reports, and suspends again."""
    queue = Queue[Any, Any]("q", connection)
    seen: list[Any] = []

    async def process(job: Job[Any, Any]) -> None:
        seen.append("run")

        async def resumed(signals: Sequence[Signal]) -> int:
            seen.append([signal.data for signal in job.new_signals])
            await job.report_usage(model="m", tokens={"t": 50})
            if len(signals) < 3:
                await job.suspend(reason=f"round {len(signals)}", on_resume=resumed)
            return len(signals)

        await job.suspend(reason="round 0", on_resume=resumed)

    job = await queue.add("n")
    assert job is not None
    limit = TokenLimit(1_000, 3_600_000)
    async with worker_of(connection, "q", process, token_limiter=limit):
        for number in range(3):
            await suspended(connection)
            info = await queue.get_suspend_info("1")
            assert info is not None
            assert info.reason == f"round {number}"
            assert await queue.signal("1", "go", number)
        await eventually(job.is_completed)

    await job.refresh()
    assert job.result == 3
    assert seen == ["run", [0], [1], [2]]
    [window] = await connection.command("KEYS", "glide:{q}:tpm:*")
    assert await connection.command("GET", window) == b"150", "what it reports counts"
    ledger = await queue.get_ledger("1")
    assert ledger is not None
    outcomes = [(run.outcome, run.total_tokens) for run in ledger]
    assert outcomes == [("suspended", None), ("suspended", 50), ("suspended", 50), ("completed", 50)]


async def test_a_plain_function_goes_on_in_a_thread(connection: Connection) -> None:
    """Its job's methods block, which on the event loop would stop the whole worker."""
    queue = Queue[Any, Any]("q", connection)

    def process(job: Any) -> None:
        def resumed(signals: Sequence[Signal]) -> str:
            job.stream_chunk("content", signals[-1].data)
            if len(signals) < 2:
                job.suspend(on_resume=resumed)
            return "done"

        job.suspend(on_resume=resumed)

    job = await queue.add("n")
    assert job is not None
    async with worker_of(connection, "q", process):
        for word in ("a", "b"):
            await suspended(connection)
            assert await queue.signal("1", "go", word)
        await eventually(job.is_completed)

    assert [chunk.text for chunk in await queue.read_stream("1")] == ["a", "b"]


async def test_a_failed_continuation_is_retried_by_the_processor(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)
    seen: list[str] = []

    async def process(job: Job[Any, Any]) -> str:
        seen.append(f"run {job.attempts_made}")

        def resumed(_: Sequence[Signal]) -> None:
            seen.append("resumed")
            raise RuntimeError("no")

        if not job.signals:
            await job.suspend(on_resume=resumed)
        return "done"

    job = await queue.add("n", attempts=2)
    assert job is not None
    async with worker_of(connection, "q", process):
        await suspended(connection)
        assert await queue.signal("1", "go")
        await eventually(job.is_completed)

    assert seen == ["run 0", "resumed", "run 1"]


async def test_a_continuation_left_behind_does_not_fire_at_a_later_suspension(
    connection: Connection,
) -> None:
    queue = Queue[Any, Any]("q", connection)
    seen: list[tuple[str, str, int]] = []

    def processor(name: str) -> Any:
        async def process(job: Job[Any, Any]) -> str:
            seen.append((name, "run", len(job.signals)))
            if len(job.signals) < 2:
                await job.suspend(on_resume=lambda signals: seen.append((name, "resumed", len(signals))))
            return name

        return process

    job = await queue.add("n")
    assert job is not None
    async with worker_of(connection, "q", processor("first")) as first:
        await suspended(connection)
        await first.pause()
        assert await queue.signal("1", "one")
        async with worker_of(connection, "q", processor("second")):
            await eventually(lambda: len(seen) == 2)
            await suspended(connection)
        await first.resume()
        assert await queue.signal("1", "two")
        await eventually(job.is_completed)

    assert seen == [("first", "run", 0), ("second", "run", 1), ("first", "run", 2)]
