"""A queue whose clock stands still, and its usage records."""

from __future__ import annotations

import pytest

from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

NOW = 1_795_467_240_050


MINUTE = 1_795_467_240_000


@pytest.fixture(name="queue")
def clocked_queue(connection: Connection) -> Queue:
    connection.now_ms = lambda: NOW
    return Queue("usage", connection)


async def added(queue: Queue, count: int = 1) -> list[str]:
    jobs = [await queue.add("n", {}) for _ in range(count)]
    return [job.id for job in jobs if job is not None]


async def bucket(connection: Connection, minute: int = MINUTE) -> dict[str, str]:
    reply = await connection.command("HGETALL", f"glide:{{usage}}:usage:{minute}")
    return {name.decode(): value.decode() for name, value in (reply or {}).items()}
