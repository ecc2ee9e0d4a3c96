"""Batch workers: one call for several jobs, each with an end of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import eventually
from kits.recording import same

from glidemq_core import (
    Batch,
    BatchError,
    Budget,
    FlowJob,
    FlowProducer,
    InvalidOptionError,
    Job,
    NewJob,
    Queue,
    SyncJob,
    UnrecoverableError,
    Worker,
)
from glidemq_core.server.connection import Connection
from glidemq_core.worker.execution.batches import BatchProcessor

Jobs = Sequence[Job[Any, Any]]


def worker(connection: Connection, process: Any, size: int = 3, timeout: int = 100, **options: Any) -> Worker:
    return Worker(
        "q",
        process,
        connection,
        batch=Batch(size, timeout),
        log_errors=False,
        promotion_interval=50,
        **options,
    )


async def ended(queue: Queue, count: int) -> list[Job[Any, Any]]:
    """Wait until so many jobs have ended; by id."""

    async def all_ended() -> list[Job[Any, Any]] | None:
        jobs = [*await queue.get_jobs("completed"), *await queue.get_jobs("failed")]
        return sorted(jobs, key=lambda job: int(job.id)) if len(jobs) == count else None

    found: list[Job[Any, Any]] = await eventually(all_ended)
    return found


async def test_the_recorded_batch(connection: Connection) -> None:
    async def process(jobs: Jobs) -> Any:
        raise BatchError(
            [ValueError("bad row") if job.data["i"] == 1 else {"i": job.data["i"]} for job in jobs]
        )

    queue = Queue("batch_processing", connection)
    for i in range(3):
        await queue.add("b", {"i": i})
    async with Worker(
        "batch_processing", process, connection, batch=Batch(3, 500), log_errors=False, promotion_interval=50
    ):
        await same(connection, "batch_processing")


async def test_jobs_come_by_size_and_after_the_wait(connection: Connection) -> None:
    sizes: list[int] = []

    async def process(jobs: Jobs) -> list[int]:
        sizes.append(len(jobs))
        return [job.data * 2 for job in jobs]

    async with Queue("q", connection) as queue:
        await queue.add_bulk([NewJob("a", n) for n in range(7)])
        async with worker(connection, process):
            jobs = await ended(queue, 7)

    assert sum(sizes) == 7
    assert max(sizes) == 3
    assert len(sizes) <= 4
    assert [job.result for job in jobs] == [job.data * 2 for job in jobs]


async def test_only_so_many_batches_run_at_once(connection: Connection) -> None:
    running, most = 0, 0

    async def process(jobs: Jobs) -> list[None]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return [None for _ in jobs]

    async with Queue("q", connection) as queue:
        await queue.add_bulk([NewJob("a", n) for n in range(40)])
        async with worker(connection, process, concurrency=2, timeout=0):
            await ended(queue, 40)

    assert most == 2


async def test_each_job_has_its_own_end(connection: Connection) -> None:
    calls: list[list[Any]] = []

    async def process(jobs: Jobs) -> Any:
        calls.append([(job.data, job.attempts_made) for job in jobs])
        outcomes: list[Any] = []
        for job in jobs:
            if job.data == "final":
                outcomes.append(UnrecoverableError("never"))
            elif job.data == "again" and job.attempts_made == 0:
                outcomes.append(RuntimeError("once more"))
            else:
                await job.report_usage(tokens={"input": 5}, model="m")
                outcomes.append(job.data)
        raise BatchError(outcomes)

    async with Queue("q", connection) as queue:
        for data in ("good", "final", "again"):
            await queue.add("a", data, attempts=3)
        async with worker(connection, process):
            good, final, again = await ended(queue, 3)
        ledger = await queue.get_ledger(again.id)

    assert (good.state, good.result) == ("completed", "good")
    assert (final.state, final.failed_reason, final.attempts_made) == ("failed", "never", 1)
    assert (again.state, again.result, again.attempts_made) == ("completed", "again", 1)
    assert good.usage is not None
    assert ledger is not None
    assert [attempt.outcome for attempt in ledger][-1] == "completed"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([1], "Batch processor returned 1 results for 2 jobs"),
        ("ab", "Batch processor returned str, not a list of 2 results"),
        (None, "Batch processor returned NoneType, not a list of 2 results"),
        (ValueError("all of them"), "all of them"),
        (BatchError([]), "No result in BatchError"),
    ],
)
async def test_what_fails_every_job(connection: Connection, answer: Any, reason: str) -> None:
    async def process(jobs: Jobs) -> Any:
        assert len(jobs) == 2
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Queue("q", connection) as queue:
        await queue.add_bulk([NewJob("a", n) for n in range(2)])
        async with worker(connection, process, size=2, timeout=2_000):
            jobs = await ended(queue, 2)

    assert [(job.state, job.failed_reason) for job in jobs] == [("failed", reason)] * 2


async def test_a_cancelled_await_or_an_exit_in_the_processor_fails_the_jobs(connection: Connection) -> None:
    async def cancelled(_: Jobs) -> Any:
        raise asyncio.CancelledError

    def exits(_: Sequence[SyncJob[Any, Any]]) -> Any:
        raise SystemExit("enough")

    for count, (process, reason) in enumerate(((cancelled, "CancelledError"), (exits, "enough")), 1):
        async with Queue("q", connection) as queue:
            await queue.add_bulk([NewJob("a", n) for n in range(2)])
            async with worker(connection, process, size=2):
                jobs = await ended(queue, 2 * count)

        assert [(job.state, job.failed_reason) for job in jobs[-2:]] == [("failed", reason)] * 2


async def test_a_stopped_job_that_still_waits_is_in_no_batch() -> None:
    """A call may end between the stop of a run and the moment when the run takes itself out."""
    seen: list[Any] = []

    async def process(jobs: Jobs) -> list[Any]:
        seen.append(jobs)
        return list(jobs)

    def run(job: Any) -> Any:
        return SimpleNamespace(
            job=job, context=copy_context(), start_timer=lambda: None, drop_requests=lambda: None
        )

    batches = BatchProcessor(process, Batch(2, 60_000), 1)
    waiting = [asyncio.create_task(batches.process(run("stopped")))]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting += [asyncio.create_task(batches.process(run(name))) for name in ("good", "better")]
    batches._due()

    assert (await asyncio.gather(*waiting, return_exceptions=True))[1:] == ["good", "better"]
    assert "stopped" not in [job for jobs in seen for job in jobs]


async def test_jobs_of_a_batch_cannot_suspend(connection: Connection) -> None:
    async def process(jobs: Jobs) -> Any:
        await jobs[0].suspend(reason="look")

    async with Queue("q", connection) as queue:
        await queue.add_bulk([NewJob("a", n) for n in range(2)])
        async with worker(connection, process, size=2, timeout=2_000):
            jobs = await ended(queue, 2)

    assert {job.failed_reason for job in jobs} == {"SuspendError: jobs of a batch can only complete or fail"}


async def test_one_that_takes_too_long_or_is_revoked_leaves_the_others(connection: Connection) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def process(jobs: Jobs) -> list[str]:
        started.set()
        await go_on.wait()
        return ["done" for _ in jobs]

    async with Queue("q", connection) as queue:
        await queue.add("slow", 1, timeout=100)
        await queue.add("revoked", 2)
        await queue.add("good", 3)
        async with worker(connection, process, stalled_interval=1_000, lock_duration=1_000):
            await started.wait()
            await queue.revoke("2")

            async def two_have_ended() -> bool:
                return len(await queue.get_jobs("failed")) == 2

            await eventually(two_have_ended)
            go_on.set()
            slow, revoked, good = await ended(queue, 3)

    assert (slow.state, slow.failed_reason) == ("failed", "Job timeout exceeded")
    assert (revoked.state, revoked.failed_reason) == ("failed", "revoked")
    assert (good.state, good.result) == ("completed", "done")


async def test_a_call_whose_jobs_were_all_stopped_is_cancelled(connection: Connection) -> None:
    stopped = asyncio.Event()

    async def process(_: Jobs) -> list[None]:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return []

    async with Queue("q", connection) as queue:
        await queue.add("slow", 1, timeout=50)
        await queue.add("slow", 2, timeout=50)
        async with worker(connection, process, size=2):
            await asyncio.wait_for(stopped.wait(), 10)
            assert [job.state for job in await ended(queue, 2)] == ["failed", "failed"]


async def test_closing_hands_back_what_waits_for_a_batch(connection: Connection) -> None:
    async def process(jobs: Jobs) -> list[None]:
        return [None for _ in jobs]

    async with Queue("q", connection) as queue:
        await queue.add("a", 1)
        batches = worker(connection, process, size=5, timeout=60_000, grace=0)
        async with batches:

            async def is_claimed() -> bool:
                job = await queue.get_job("1")
                return job is not None and job.state == "active"

            await eventually(is_claimed)
        job = await queue.get_job("1")
        assert job is not None
        assert (job.state, job.stalled_count) == ("waiting", 0)


async def test_plain_functions_and_budgets(connection: Connection) -> None:
    def process(jobs: Sequence[SyncJob[Any, Any]]) -> list[str]:
        for job in jobs:
            job.report_usage(tokens={"input": 100})
        return [job.name for job in jobs]

    async with Queue("q", connection) as queue, FlowProducer(connection) as producer:
        leaves = tuple(FlowJob(f"leaf{n}", "q") for n in range(2))
        flow = await producer.add(
            FlowJob("root", "q", children=leaves), budget=Budget(max_total_tokens=1_000)
        )
        async with worker(connection, process, size=2):
            jobs = await ended(queue, 3)
        budget = await queue.get_flow_budget(flow.job.id)

    assert sorted(job.result for job in jobs) == ["leaf0", "leaf1", "root"]
    assert budget is not None
    assert budget.used_tokens == 300


async def test_wrong_sizes_are_refused() -> None:
    for size in (0, 1_001, "3"):
        with pytest.raises(InvalidOptionError):
            Batch(size)  # type: ignore[arg-type]
