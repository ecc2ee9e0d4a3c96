"""What somebody sets for a queue reaches workers that run already, with the next call about jobs."""

from __future__ import annotations

import asyncio
from typing import Any

from conftest import eventually

from glidemq_core import Job, NewJob, Queue, RateLimit, Worker
from glidemq_core.server.connection import Connection


class Held:
    """A processor whose jobs end when they are let go; counts how many run."""

    def __init__(self) -> None:
        self.running = self.most = self.ended = 0
        self._gate = asyncio.Semaphore(0)

    async def __call__(self, job: Job) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._gate.acquire()
        finally:
            self.running -= 1
            self.ended += 1

    def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self._gate.release()


class Exchanges:
    """Counts the exchanges of a connection that brought jobs since they were watched."""

    def __init__(self, connection: Connection) -> None:
        self.made = 0
        self._call = connection.call
        connection.call = self._counted  # type: ignore[method-assign]

    async def _counted(self, function: str, *args: Any) -> Any:
        self.made += function == "exchange"
        return await self._call(function, *args)


async def test_a_cap_on_running_jobs_holds_from_the_next_exchange(
    connection: Connection, server_url: str
) -> None:
    held = Held()
    async with Queue("q", server_url) as console, Worker("q", held, connection, concurrency=4):
        await console.add_bulk([NewJob("a")] * 12)
        await eventually(lambda: held.running == 4)
        await console.set_global_concurrency(1)
        exchanges = Exchanges(connection)
        held.let_go(3)
        # The very exchange that brings these results claims no more than the cap.
        await eventually(lambda: exchanges.made >= 1 and held.ended == 3)
        held.most = held.running
        for done in range(4, 8):
            held.let_go()
            await eventually(lambda done=done: held.ended == done)
        assert held.most == 1

        await console.set_global_concurrency(0)
        held.let_go()
        await eventually(lambda: held.running == 4)
        held.let_go(8)
        await eventually(lambda: held.ended == 12)


async def test_a_cap_on_starts_holds_from_the_next_exchange(connection: Connection, server_url: str) -> None:
    held = Held()
    async with Queue("q", server_url) as console, Worker("q", held, connection, concurrency=2):
        await console.add_bulk([NewJob("a")] * 8)
        await eventually(lambda: held.running == 2)
        # The window counts starts that a limit has seen: one more, then no other for an hour.
        await console.set_global_rate_limit(RateLimit(1, 3_600_000))
        held.let_go(2)
        await eventually(lambda: held.running == 1)
        held.let_go()
        await eventually(lambda: held.ended == 3)
        await asyncio.sleep(0.1)
        assert (held.running, held.ended) == (0, 3)

        await console.remove_global_rate_limit()
        held.let_go(5)
        await eventually(lambda: held.ended == 8)


async def test_a_pause_of_the_queue_holds_from_the_next_exchange(
    connection: Connection, server_url: str
) -> None:
    held = Held()
    async with Queue("q", server_url) as console, Worker("q", held, connection, concurrency=2):
        await console.add_bulk([NewJob("a")] * 6)
        await eventually(lambda: held.running == 2)
        await console.pause()
        held.let_go(2)
        await eventually(lambda: held.ended == 2)
        await asyncio.sleep(0.1)
        assert held.running == 0

        await console.resume()
        held.let_go(4)
        await eventually(lambda: held.ended == 6)
