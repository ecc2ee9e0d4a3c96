"""Round trips of `report_usage`, counted by the server, and what one takes.

python -m benchmarks.usage [--quick]
"""

from __future__ import annotations

import time
from typing import Any

from glidemq_core import Job, Queue, Worker

from .common import fresh_server, main, spread

REPORTS = 500


async def measure(quick: bool) -> dict[str, Any]:
    """Report again and again from one job, and ask the server how many calls came in."""
    reports = REPORTS // 5 if quick else REPORTS
    queue: Queue[Any, Any]
    async with fresh_server() as (url, connection), Queue("usage", url) as queue:

        async def calls() -> int:
            """Commands that clients have sent; those inside functions do not count."""
            clients = (await connection.command("CLIENT", "LIST")).decode()
            return sum(int(count.split()[0]) for count in clients.split("tot-cmds=")[1:])

        outcome: dict[str, Any] = {}

        async def process(job: Job[Any, Any]) -> None:
            report: dict[str, Any] = {
                "tokens": {"input": 50, "output": 200},
                "costs": {"total": 0.003},
                "cost_unit": "usd",
            }
            await job.report_usage(model="model-a", **report)
            samples = []
            before = await calls()
            for _ in range(reports):
                started = time.perf_counter()
                await job.report_usage(model="model-a", **report)
                samples.append((time.perf_counter() - started) * 1000)
            spent = await calls() - before - 1
            outcome.update(report=spread(samples), round_trips=round(spent / reports, 2))

        job = await queue.add("answer")
        assert job is not None
        async with Worker("usage", process, url, lock_duration=600_000):
            await job.wait_until_finished(poll_interval=100, timeout=120_000)
    return {"benchmark": "usage", **outcome, "reach": {"round_trips": 1}}


if __name__ == "__main__":
    main("Round trips of report_usage.", measure)
