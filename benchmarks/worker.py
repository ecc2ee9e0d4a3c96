"""No-op jobs and bulk adds, ours beside BullMQ for Python: one process, one server, rounds taken in turns.

    python -m benchmarks.worker [--quick]

Both sides find the same number of jobs waiting. A round is measured from the first call of the processor until
the last job is in the set of completed jobs. Ours keeps events and metrics on, as they are by default.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

import bullmq  # type: ignore[import-untyped]

from glidemq_core import Job, NewJob, Queue, Worker
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import QueueKeys

from .common import fresh_server, main, rates

#: Concurrency: how many jobs a round, and how many times the peer's rate we want to reach.
LEVELS = {50: (8_000, 8.0), 10: (4_000, 4.0), 1: (1_500, 1.4)}
BULK = (5_000, 3.0)
ROUNDS = 5
PAYLOAD = {"prompt": "hello"}


class Meter:
    """Counts the calls of a processor, whichever side makes them."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs
        self.started = 0.0
        self.called = asyncio.Event()

    def call(self) -> None:
        """Note one call."""
        if not self.started:
            self.started = time.perf_counter()
        self.left -= 1
        if not self.left:
            self.called.set()


class Side(Protocol):
    """One of the two systems: adds jobs, runs them, knows where it keeps completed ones."""

    completed: str

    async def add(self, jobs: int) -> None:
        """Add jobs in bulk."""

    def working(self, concurrency: int, meter: Meter) -> Any:
        """Keep a worker running while the context is open."""

    async def close(self) -> None:
        """Let go of the queue."""


class Ours:
    """glidemq_core."""

    def __init__(self, name: str, url: str, connection: Connection) -> None:
        self._name, self._url = name, url
        self._queue: Queue[Any, Any] = Queue(name, url)
        self.completed = QueueKeys(connection.prefix, name).completed

    async def add(self, jobs: int) -> None:
        """Add jobs in bulk."""
        await self._queue.add_bulk([NewJob("answer", PAYLOAD) for _ in range(jobs)])

    @asynccontextmanager
    async def working(self, concurrency: int, meter: Meter) -> AsyncIterator[None]:
        """Keep a worker running."""

        async def process(job: Job[Any, Any]) -> None:
            meter.call()

        async with Worker(self._name, process, self._url, concurrency=concurrency):
            yield

    async def close(self) -> None:
        """Let go of the queue."""
        await self._queue.close()


class Theirs:
    """BullMQ for Python."""

    def __init__(self, name: str, url: str, connection: Connection) -> None:
        parts = urlsplit(url)
        self._name = name
        self._connection = {"host": parts.hostname, "port": parts.port, "password": parts.password}
        self._queue = bullmq.Queue(name, {"connection": self._connection})
        self.completed = self._queue.toKey("completed")

    async def add(self, jobs: int) -> None:
        """Add jobs in bulk."""
        await self._queue.addBulk([{"name": "answer", "data": PAYLOAD} for _ in range(jobs)])

    @asynccontextmanager
    async def working(self, concurrency: int, meter: Meter) -> AsyncIterator[None]:
        """Keep a worker running."""

        async def process(job: Any, token: str) -> None:
            meter.call()

        worker = bullmq.Worker(
            self._name, process, {"connection": self._connection, "concurrency": concurrency}
        )
        try:
            yield
        finally:
            await worker.close()

    async def close(self) -> None:
        """Let go of the queue."""
        await self._queue.close()


async def run_jobs(side: Side, connection: Connection, concurrency: int, jobs: int) -> float:
    """Return jobs a second of one round."""
    await side.add(jobs)
    meter = Meter(jobs)
    async with side.working(concurrency, meter):
        await meter.called.wait()
        while await connection.command("ZCARD", side.completed) < jobs:  # noqa: ASYNC110 - neither side tells
            await asyncio.sleep(0.001)
        return jobs / (time.perf_counter() - meter.started)


async def add_jobs(side: Side, jobs: int) -> float:
    """Return jobs a second of one bulk add."""
    started = time.perf_counter()
    await side.add(jobs)
    return jobs / (time.perf_counter() - started)


async def compare(url: str, connection: Connection, rounds: int, concurrency: int, jobs: int) -> Any:
    """Take rounds in turns, each on an emptied server; concurrency 0 measures the bulk add."""
    samples: dict[str, list[float]] = {"glidemq": [], "bullmq": []}
    for number in range(rounds):
        pairs: list[tuple[str, type[Ours] | type[Theirs]]] = [("glidemq", Ours), ("bullmq", Theirs)]
        for name, kind in pairs if number % 2 == 0 else reversed(pairs):
            await connection.command("FLUSHALL")
            side: Side = kind(f"bench-{number}", url, connection)
            try:
                if concurrency:
                    samples[name].append(await run_jobs(side, connection, concurrency, jobs))
                else:
                    samples[name].append(await add_jobs(side, jobs))
            finally:
                await side.close()
    return {name: rates(values) for name, values in samples.items()}


async def measure(quick: bool) -> dict[str, Any]:
    """Run every level and the bulk add."""
    rounds, part = (2, 4) if quick else (ROUNDS, 1)
    rows = []
    async with fresh_server() as (url, connection):
        await compare(url, connection, 1, 10, 500)  # imports, functions, scripts
        for concurrency, (jobs, reach) in [*LEVELS.items(), (0, BULK)]:
            count = jobs // part
            measured = await compare(url, connection, rounds, concurrency, count)
            ours, theirs = measured["glidemq"], measured["bullmq"]
            rows.append(
                {
                    "what": f"no-op jobs, concurrency {concurrency}" if concurrency else "bulk add",
                    "concurrency": concurrency,
                    "jobs": count,
                    **measured,
                    "ratio": round(ours["best"] / theirs["best"], 2),
                    "ratio_median": round(ours["median"] / theirs["median"], 2),
                    "reach": reach,
                }
            )
    return {"benchmark": "worker", "peer": f"BullMQ for Python {bullmq_version()}", "rows": rows}


def bullmq_version() -> str:
    """Say which release of the peer was measured."""
    from importlib.metadata import version

    return version("bullmq")


if __name__ == "__main__":
    main("No-op jobs and bulk adds, beside BullMQ for Python.", measure)
