"""The traffic of the demo: jobs keep coming, and in headless mode a reviewer decides on suspended ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from glidemq_core import Actor, GlideMQError, Job, Queue, Worker

from .pace import World
from .workloads.workload import Workload

#: Reasons of the reviewer, taken in turn.
_REASONS = ("tone is too harsh", "amount is not covered by the contract", "ask the customer first")
_REVIEWER = Actor("demo-reviewer", via="demo")
_REJECTS = 0.25
#: The longest pause between two jobs of a queue, in usual ones.
_LONGEST = 1.7


async def keep_adding(workload: Workload, queue: Queue[Any, Any]) -> None:
    """Add jobs at the pace of the workload, but no more than it can hold."""
    world, traffic = workload.world, workload.traffic
    rng, number = world.rng("traffic", workload.queue), traffic.opening
    while True:
        # Pauses vary, but none is so long that the screen looks idle.
        await world.wait(min(rng.expovariate(traffic.per_s), _LONGEST / traffic.per_s))
        counts = await queue.get_job_counts()
        if counts.waiting + (counts.prioritized or 0) >= traffic.backlog:
            continue
        number += 1
        await workload.add(queue, [number], counts.suspended < traffic.asking)


async def keep_deciding(world: World, queues: Sequence[Queue[Any, Any]]) -> None:
    """Decide on every job that waits for a person, after a short time, bound to the review hash."""
    deciding: set[asyncio.Task[None]] = set()
    seen: set[tuple[str, str, float | None]] = set()
    try:
        while True:
            for queue in queues:
                for job in await queue.get_suspended_jobs(0, 20, exclude_data=True):
                    key = (queue.name, job.id, job.processed_at.timestamp() if job.processed_at else None)
                    if key not in seen:
                        seen.add(key)
                        approve = len(seen) == 1 or world.rng("review", *key[:2]).random() >= _REJECTS
                        task = asyncio.create_task(_decide(world, queue, job.id, approve))
                        deciding.add(task)
                        task.add_done_callback(deciding.discard)
            await world.wait(0.3)
    finally:
        for task in deciding:
            task.cancel()


async def _decide(world: World, queue: Queue[Any, Any], job_id: str, approve: bool) -> None:
    rng = world.rng("thinking", queue.name, job_id)
    await world.wait(rng.uniform(0.4, 2.0))
    try:
        shown = await queue.review(job_id)
        if approve and shown.unshown is None:
            await queue.approve(job_id, actor=_REVIEWER, expect=shown.review_hash)
        else:
            reason = rng.choice(_REASONS)
            await queue.reject(job_id, actor=_REVIEWER, reason=reason, expect=shown.review_hash)
    except GlideMQError:
        # Someone else has decided, or the deadline has passed: nothing is left to decide.
        return


def count_outcomes(world: World, worker: Worker) -> None:
    """Count what becomes of the jobs of a worker."""
    tally = world.tally

    def completed(job: Job[Any, Any], _: Any) -> None:
        tally.completed += 1
        if any(tally.decisions.get((job.queue, job.id, s.received_at.timestamp())) for s in job.signals):
            tally.approved_and_completed += 1

    def failed(job: Job[Any, Any], _: BaseException) -> None:
        tally.failed += job.state == "failed"

    def suspended(_: Job[Any, Any]) -> None:
        tally.suspended += 1

    worker.on("completed", completed)
    worker.on("failed", failed)
    worker.on("suspended", suspended)
