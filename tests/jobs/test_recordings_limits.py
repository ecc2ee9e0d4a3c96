"""The same orders and limits as a recording's: our queue and worker must leave the same records.

Where ours does better on purpose, the test names the difference.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.recording import HOUR, job, never, one, same, steady_minute, worker  # noqa: F401

from glidemq_core.errors import RateLimitError
from glidemq_core.options.job import Ordering, RateLimit, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection


@pytest.mark.parametrize(
    ("name", "ordering", "count", "concurrency"),
    [
        ("ordering", Ordering("tenant-1"), 3, 3),
        ("group_concurrency", Ordering("tenant-1", concurrency=2), 4, 4),
    ],
)
async def test_ordered_jobs(
    connection: Connection, name: str, ordering: Ordering, count: int, concurrency: int
) -> None:
    queue = Queue(name, connection)
    for i in range(count):
        await queue.add("o", {"i": i}, ordering=ordering)
    async with worker(connection, name, never, concurrency=concurrency, grace=0):
        await same(connection, name)


async def test_a_groups_rate_limit_and_bucket(connection: Connection) -> None:
    name = "group_rate_limit"
    queue = Queue(name, connection)
    frozen = connection.now_ms()
    connection.now_ms = lambda: frozen  # the level of the bucket must not depend on the machine
    limited = Ordering("r", concurrency=2, rate_limit=RateLimit(1, 60_000))
    for i in range(2):
        await queue.add("o", {"i": i}, ordering=limited)
    bucket = Ordering("tb", concurrency=2, token_bucket=TokenBucket(5, 2.5))
    await queue.add("b", {}, ordering=bucket, cost=2)
    async with worker(connection, name, one):
        await same(connection, name)


async def test_a_group_limited_from_outside(connection: Connection) -> None:
    name = "group_rate_limited_by_queue"
    queue = Queue(name, connection)
    for i in range(2):
        await queue.add("o", {"i": i}, ordering=Ordering("tenant", concurrency=2))
    await queue.rate_limit_group("tenant", HOUR)
    async with worker(connection, name, one):
        await same(connection, name)


async def test_a_processor_that_is_rate_limited(connection: Connection) -> None:
    name = "rate_limited_by_job"

    async def process(_: Any) -> None:
        raise RateLimitError(delay_ms=HOUR)

    await Queue(name, connection).add("a", {})
    async with worker(connection, name, process):
        await same(connection, name)


async def test_a_worker_limiter(connection: Connection) -> None:
    """Ours charges before it claims: what must wait stays `waiting`."""
    name = "rpm_limited"
    queue = Queue(name, connection)
    for i in range(5):
        await queue.add("a", {"i": i})

    def unclaimed(wanted: dict[str, Any]) -> None:
        third = job(wanted, name, "3")
        third["state"] = "waiting"
        del third["processedOn"], third["lastActive"]
        wanted[f"glide:{{{name}}}:stream"]["groups"][0]["pending_entries"] = []

    async with worker(connection, name, one, limiter=RateLimit(2, 60_000)):
        await same(connection, name, change=unclaimed)


async def test_global_concurrency(connection: Connection) -> None:
    name = "global_concurrency_active"
    queue = Queue(name, connection)
    await queue.set_global_concurrency(2)
    for i in range(5):
        await queue.add("slow", {"i": i})
    async with worker(connection, name, never, concurrency=5, grace=0):
        await same(connection, name)
        counts = await queue.get_job_counts()
        assert (counts.waiting, counts.active) == (3, 2)


async def test_paused_while_one_runs(connection: Connection) -> None:
    name = "paused_active"
    queue = Queue(name, connection)
    await queue.add("a", {})
    await queue.add("b", {})
    async with worker(connection, name, never, grace=0) as busy:
        await eventually(lambda: busy.active_jobs)
        await queue.pause()
        await same(connection, name)
