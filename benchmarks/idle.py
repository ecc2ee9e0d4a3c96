"""From idle to started: `add` on an empty queue with a waiting worker, until the processor runs.

python -m benchmarks.idle [--quick]
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from glidemq_core import Job, Queue, Worker

from .common import fresh_server, main, spread

JOBS = 500
#: Between jobs, so that the worker has gone back to its blocking read, s.
PAUSE = 0.02


async def measure(quick: bool) -> dict[str, Any]:
    """Add one job at a time."""
    queue: Queue[Any, Any]
    samples = []
    started: asyncio.Queue[float] = asyncio.Queue()

    async def process(job: Job[Any, Any]) -> None:
        started.put_nowait(time.perf_counter())

    async with (
        fresh_server() as (url, _),
        Queue("idle", url) as queue,
        Worker("idle", process, url) as worker,
    ):
        await worker.wait_until_ready()
        for _ in range(JOBS // 5 if quick else JOBS):
            await asyncio.sleep(PAUSE)
            before = time.perf_counter()
            _, at = await asyncio.gather(queue.add("answer"), started.get())
            samples.append((at - before) * 1000)
    return {"benchmark": "idle", "idle_to_started": spread(samples), "reach": {"p50_ms": 2, "p99_ms": 10}}


if __name__ == "__main__":
    main("Idle to started.", measure)
