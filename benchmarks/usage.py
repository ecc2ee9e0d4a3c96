"""Round trips of `report_usage`, counted by the server, and what one takes.

python -m benchmarks.usage [--quick]
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from glidemq_core import Job, Queue, Worker

from .common import fresh_server, main, spread

REPORTS = 500


@asynccontextmanager
async def monitored(url: str) -> AsyncIterator[list[bytes]]:
    """Gather what clients send while the context is open; commands inside functions are not sent."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"AUTH {parts.password}\r\nMONITOR\r\n".encode())
    assert [await reader.readline(), await reader.readline()] == [b"+OK\r\n"] * 2
    commands: list[bytes] = []

    async def listen() -> None:
        async for line in reader:
            if b" lua]" not in line:
                commands.append(line)

    async with asyncio.TaskGroup() as group:
        listening = group.create_task(listen())
        yield commands
        writer.write(b"QUIT\r\n")
        await listening
    writer.close()


async def measure(quick: bool) -> dict[str, Any]:
    """Report again and again from one job, and ask the server how many calls came in."""
    reports = REPORTS // 5 if quick else REPORTS
    queue: Queue[Any, Any]
    async with fresh_server() as (url, _), Queue("usage", url) as queue:
        outcome: dict[str, Any] = {}

        async def process(job: Job[Any, Any]) -> None:
            report: dict[str, Any] = {
                "tokens": {"input": 50, "output": 200},
                "costs": {"total": 0.003},
                "cost_unit": "usd",
            }
            await job.report_usage(model="model-a", **report)
            samples = []
            for _ in range(reports):
                started = time.perf_counter()
                await job.report_usage(model="model-a", **report)
                samples.append((time.perf_counter() - started) * 1000)
            async with monitored(url) as commands:
                for _ in range(reports):
                    await job.report_usage(model="model-a", **report)
            outcome.update(report=spread(samples), round_trips=round(len(commands) / reports, 2))

        job = await queue.add("answer")
        assert job is not None
        async with Worker("usage", process, url, lock_duration=600_000):
            await job.wait_until_finished(poll_interval=100, timeout=120_000)
    return {"benchmark": "usage", **outcome, "reach": {"round_trips": 1}}


if __name__ == "__main__":
    main("Round trips of report_usage.", measure)
