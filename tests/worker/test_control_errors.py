"""Control errors that a processor raises itself, without the call that raises them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench

from glidemq_core import (
    DelayedError,
    GroupRateLimitError,
    JobOptions,
    Ordering,
    SuspendError,
    WaitingChildrenError,
    Worker,
)
from glidemq_core.errors import JobControl
from glidemq_core.server.connection import Connection
from glidemq_core.testing import TestQueue, TestWorker

LATER = 60_000


async def ended(bench: Bench, error: JobControl, state: str, **options: Any) -> str:
    """Run a job whose processor raises; its id, once it is in that state."""
    job_id = await bench.add("asks", **options)

    async def process(job: Any) -> None:
        if job.id == job_id:
            if isinstance(error, WaitingChildrenError):
                await bench.add("child", parent=job.ref, delay=LATER)
            raise error

    async with Worker(bench.queue.name, process, bench.connection, log_errors=False, promotion_interval=50):
        await eventually(lambda: bench.has(job_id, state))
    assert await bench.field(job_id, "attemptsMade") == "0"
    return job_id


async def test_a_delayed_error_delays(bench: Bench) -> None:
    due = bench.scope.now_ms() + LATER
    job_id = await ended(bench, DelayedError(due), "delayed")
    assert int(await bench.command("ZSCORE", bench.scope.keys.scheduled, job_id)) == due


async def test_a_suspend_error_suspends_without_reason(bench: Bench) -> None:
    job_id = await ended(bench, SuspendError(), "suspended")
    info = await bench.queue.get_suspend_info(job_id)
    assert info is not None
    assert (info.reason, info.deadline_at) == (None, None)


async def test_a_waiting_children_error_waits_for_children(bench: Bench) -> None:
    await ended(bench, WaitingChildrenError(), "waiting-children")


async def test_a_group_rate_limit_error_holds_the_group(bench: Bench) -> None:
    job_id = await ended(bench, GroupRateLimitError(LATER), "group-waiting", ordering=Ordering("k"))
    assert await bench.command("ZSCORE", bench.scope.keys.ratelimited, "k")
    assert await bench.command("ZSCORE", bench.scope.keys.groupq("k"), job_id) is not None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (partial(DelayedError, -1), "until"),
        (partial(GroupRateLimitError, LATER), "no ordering key"),
        (WaitingChildrenError, "no children"),
        (JobControl, "JobControl was raised without the call"),
    ],
    ids=["delayed", "group", "children", "unknown"],
)
async def test_what_cannot_be_done_fails_the_attempt(
    bench: Bench, connection: Connection, make: Callable[[], JobControl], why: str
) -> None:
    job_id = await bench.add()

    async def process(_: Any) -> None:
        raise make()

    async with Worker(bench.queue.name, process, connection, log_errors=False):
        await eventually(lambda: bench.has(job_id, "failed"))
    assert why in str(await bench.field(job_id, "failedReason"))


async def test_in_memory_too() -> None:
    queue: TestQueue[Any, Any] = TestQueue("memory")
    ran: list[str] = []

    async def process(job: Any) -> None:
        ran.append(job.name)
        if ran.count(job.name) == 1:
            raise {"sleeps": DelayedError(0), "asks": SuspendError()}[job.name]

    for name in ("sleeps", "asks"):
        await queue.add(name, options=JobOptions(attempts=1))
    async with TestWorker(queue, process) as worker:
        await worker.drain()
    assert ran.count("sleeps") == 2
    counts = await queue.get_job_counts()
    assert (counts.completed, counts.suspended, counts.failed) == (1, 1, 0)
