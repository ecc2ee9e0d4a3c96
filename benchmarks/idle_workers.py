"""What workers that have nothing to do cost the server: their sweeps, heartbeats, registrations and blocking reads.

    python -m benchmarks.idle_workers [--quick]

Each worker has connections of its own, as in a process of its own.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

from glidemq_core import Job, Worker

from .common import fresh_server, main

WORKERS, SECONDS = 100, 60
#: Workers register and sweep for stalls when they start: what comes regularly begins after that.
SETTLE_S = 5
#: Percent of a core of the server.
REACH = 1.0
SENT = re.compile(r"^cmdstat_(fcall|fcall_ro|xread):calls=(\d+),usec=(\d+)", re.MULTILINE)


async def process(job: Job[Any, Any]) -> None:
    """Do nothing: there are no jobs."""


async def measure(quick: bool) -> dict[str, Any]:
    """Let workers wait for a while and count what they ask for."""
    workers, seconds = (WORKERS // 4, SECONDS // 6) if quick else (WORKERS, SECONDS)
    async with fresh_server() as (url, connection), AsyncExitStack() as running:
        for _ in range(workers):
            await running.enter_async_context(Worker("bench", process, url))

        async def sent() -> tuple[int, int]:
            info = (await connection.command("INFO", "commandstats")).decode()
            found = SENT.findall(info)
            return sum(int(calls) for _, calls, _ in found), sum(int(usec) for *_, usec in found)

        await asyncio.sleep(SETTLE_S)
        before = await sent()
        await asyncio.sleep(seconds)
        after = await sent()
    return {
        "benchmark": "idle_workers",
        "workers": workers,
        "seconds": seconds,
        "commands_per_s": round((after[0] - before[0]) / seconds, 1),
        "percent_of_a_core": round((after[1] - before[1]) / seconds / 10_000, 2),
        "reach": {"percent_of_a_core": REACH},
    }


if __name__ == "__main__":
    main("What idle workers cost the server.", measure)
