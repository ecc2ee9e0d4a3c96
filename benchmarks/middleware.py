"""What a middleware that does nothing costs a worker.

    python -m benchmarks.middleware [--quick]

CPU time of the process, driver included, in many short rounds: each compares two rounds with the middleware and two
without it, in changing order, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from typing import Any

from glidemq_core import Job, JobOptions, Middleware, NewJob, Queue, Worker
from glidemq_core.options.middleware import RunNext

from .common import fresh_server, main

NAME, JOBS, CONCURRENCY, ROUNDS = "bench", 1_000, 50, 60
#: Parts of a worker's CPU time that it may take.
REACH = 0.03
ORDERS = ((False, True, True, False), (True, False, False, True))


class Nothing(Middleware):
    """Passes on what it gets."""

    async def run(self, job: Any, call_next: RunNext) -> Any:
        """Run the rest."""
        return await call_next()


async def answer(job: Job[Any, Any]) -> None:
    """Do nothing."""


async def round_us(queue: Queue[Any, Any], *, behind: bool) -> float:
    """Return the CPU time of a job, microseconds; `behind` the middleware or not."""
    await queue.add_bulk([NewJob("answer", None, JobOptions(remove_on_complete=True))] * JOBS)
    chain = (Nothing(),) if behind else ()
    worker = Worker(NAME, answer, queue.connection, concurrency=CONCURRENCY, middleware=chain)
    done = asyncio.Event()
    worker.on("drained", done.set)
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        await worker.start()
        await done.wait()
        return (time.process_time() - started) / JOBS * 1e6
    finally:
        gc.enable()
        await worker.close()


async def measure(quick: bool) -> dict[str, Any]:
    """Compare workers with and without it."""
    plain: list[float] = []
    added: list[float] = []
    async with fresh_server() as (_, connection), Queue[Any, Any](NAME, connection) as queue:
        for behind in ORDERS[0]:
            await round_us(queue, behind=behind)
        for number in range(12 if quick else ROUNDS):
            costs: dict[bool, list[float]] = {False: [], True: []}
            for behind in ORDERS[number % 2]:
                costs[behind].append(await round_us(queue, behind=behind))
            plain.append(statistics.fmean(costs[False]))
            added.append(statistics.fmean(costs[True]) - plain[-1])
    job_us, added_us = statistics.median(plain), statistics.median(added)
    return {
        "job_us": round(job_us, 2),
        "added_us": round(added_us, 3),
        "share": round(added_us / job_us, 4),
        "reach": REACH,
    }


if __name__ == "__main__":
    main(__doc__ or "", measure)
