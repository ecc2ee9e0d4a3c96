"""What a budget adds to a job: flows of no-op jobs with and without one, in turns on one server.

python -m benchmarks.budget [--quick]
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from glidemq_core import Budget, FlowJob, FlowProducer, Job, Worker
from glidemq_core.server.connection import Connection

from .common import fresh_server, main, rates

JOBS, ROUNDS, CONCURRENCY = 4_000, 9, 50
BUDGET = Budget(max_total_tokens=1_000_000, max_tokens={"output": 500_000}, max_total_cost=100.0)


async def run_flow(url: str, connection: Connection, jobs: int, budget: Budget | None) -> float:
    """Return jobs a second of one flow, from the first call of the processor to the last."""
    await connection.command("FLUSHALL")
    async with FlowProducer(url) as producer:
        children = [FlowJob("step", "bench", {"prompt": "hello"}) for _ in range(jobs)]
        await producer.add(FlowJob("root", "bench", children=children), budget=budget)
    left, started, done = jobs, 0.0, asyncio.Event()

    async def process(job: Job[Any, Any]) -> None:
        nonlocal left, started
        started = started or time.perf_counter()
        left -= 1
        if not left:
            done.set()

    async with Worker("bench", process, url, concurrency=CONCURRENCY):
        await done.wait()
        return jobs / (time.perf_counter() - started)


async def measure(quick: bool) -> dict[str, Any]:
    """Take rounds in turns."""
    jobs, rounds = (JOBS // 4, 3) if quick else (JOBS, ROUNDS)
    plain, budgeted = [], []
    async with fresh_server() as (url, connection):
        await run_flow(url, connection, 200, BUDGET)  # imports, functions
        for number in range(rounds):
            for budget in (None, BUDGET) if number % 2 == 0 else (BUDGET, None):
                rate = await run_flow(url, connection, jobs, budget)
                (budgeted if budget else plain).append(rate)
    without, with_one = rates(plain), rates(budgeted)
    return {
        "benchmark": "budget",
        "jobs": jobs,
        "without": without,
        "with": with_one,
        "adds_percent": round((without["best"] / with_one["best"] - 1) * 100, 1),
        "reach": {"adds_percent": 5},
    }


if __name__ == "__main__":
    main("What a budget adds to a job.", measure)
