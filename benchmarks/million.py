"""One worker through a million no-op jobs: does its memory stay flat, and its rate?

    python -m benchmarks.million [--quick]

The worker is a process of its own; another one adds jobs in parts, some ahead of it. The newest 1,000 that have
completed are kept. Rates are those of the second and the last tenth, memory that after the first and the last.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from glidemq_core import Job, JobOptions, NewJob, Queue, Worker
from glidemq_core.wire.keys import QueueKeys

from .common import fresh_server, main

JOBS, CONCURRENCY = 1_000_000, 200
#: Jobs of one add, and how many may wait.
PART, AHEAD = 5_000, 10_000
TENTHS = 10
#: How much more memory and how much less rate the end may show.
REACH = {"memory_growth_percent": 5, "rate_change_percent": -10}


async def work(url: str) -> None:
    """Run the worker until the process is ended."""

    async def process(job: Job[Any, Any]) -> None:
        """Do nothing."""

    await Worker("bench", process, url, concurrency=CONCURRENCY).run()


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1_024


async def measure(quick: bool) -> dict[str, Any]:
    """Feed the worker and look at it after each tenth that it has done."""
    jobs = JOBS // 10 if quick else JOBS
    looks: list[tuple[float, float]] = []
    async with fresh_server() as (url, connection):
        keys = QueueKeys(connection.prefix, "bench")
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.million", "--work", url
        )
        part = [
            NewJob("answer", {"prompt": "hello"}, JobOptions(remove_on_complete=1_000)) for _ in range(PART)
        ]
        added = 0
        try:
            async with Queue[Any, Any]("bench", connection) as queue:
                while len(looks) <= TENTHS:
                    left = await connection.command("XLEN", keys.stream)
                    if added - left >= len(looks) * jobs / TENTHS:
                        looks.append((time.perf_counter(), memory_mb(worker.pid)))
                    if added < jobs and left < AHEAD:
                        await queue.add_bulk(part)
                        added += PART
                    else:
                        await asyncio.sleep(0.02)
                failed = await connection.command("ZCARD", keys.failed)
        finally:
            worker.terminate()
            await worker.wait()
    rates = [jobs / TENTHS / (after - before) for (before, _), (after, _) in pairwise(looks)]
    first, last = rates[1], rates[-1]  # the worker starts during the first tenth
    return {
        "benchmark": "million",
        "jobs": jobs,
        "failed": failed,
        "first_per_s": round(first),
        "last_per_s": round(last),
        "rate_change_percent": round((last / first - 1) * 100, 1),
        "first_memory_mb": round(looks[1][1], 1),
        "last_memory_mb": round(looks[-1][1], 1),
        "memory_growth_percent": round((looks[-1][1] / looks[1][1] - 1) * 100, 1),
        "reach": REACH,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        asyncio.run(work(sys.argv[2]))
    else:
        main("A million jobs through one worker.", measure)
