"""What tests of observation share: recorded queues, filled queues, a user who may only read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys


async def viewer_url(connection: Connection, url: str) -> str:
    """A user with nothing but reading rights on the queues."""
    await connection.command(
        "ACL", "SETUSER", "viewer", "reset", "on", ">secret", "%R~glide:*", "+@read", "+ping"
    )
    return url.replace("valkey://", "valkey://viewer:secret@")


@pytest.fixture(name="watch")
async def quick_watch(connection: Connection) -> AsyncIterator[Watch]:
    async with Watch(connection, calls_per_s=5_000) as opened:
        yield opened


async def add(connection: Connection, keys: QueueKeys, job_id: str, **fields: str) -> None:
    given = {"name": "answer", "data": "{}", "opts": "{}", "timestamp": "1000", "state": "waiting"} | fields
    await connection.command("HSET", keys.job(job_id), *(word for pair in given.items() for word in pair))


async def fill(connection: Connection, queue: str, waiting: int) -> None:
    """Add `waiting` FIFO jobs."""
    keys = QueueKeys("glide", queue)
    for first in range(1, waiting + 1, 1_000):
        batch: list[list[str]] = []
        for number in range(first, min(first + 1_000, waiting + 1)):
            fields = ["id", str(number), "name", "n", "state", "waiting", "timestamp", str(number)]
            batch.append(["HSET", keys.job(str(number)), *fields])
            batch.append(["XADD", keys.stream, f"{number}-0", "jobId", str(number), "name", "n"])
        await connection.pipeline(batch)


async def calls(connection: Connection) -> dict[str, int]:
    """Commands the server has run so far, those inside functions too, by name."""
    text = (await connection.command("INFO", "commandstats")).decode()
    lines = [line.split(":calls=") for line in text.splitlines() if line.startswith("cmdstat_")]
    return {name.removeprefix("cmdstat_").split("|")[0]: int(rest.split(",")[0]) for name, rest in lines}
