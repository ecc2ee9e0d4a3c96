"""What a row tells of trouble: failures of the last hour, parked jobs, runs of schedulers that nobody made."""

from __future__ import annotations

from typing import Any

import pytest
from kits.budget import exceeded_flow
from kits.watch import quick_watch, viewer_url

from glidemq_core import FlowProducer, Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import NO_DEADLINE, QueueKeys
from glidemq_core.wire.strict_json import compact_json

__all__ = ["quick_watch"]
HOUR_MS = 3_600_000


async def _trouble(connection: Connection) -> None:
    """Leave failures, schedulers and a parked job in `q`."""
    await exceeded_flow(connection, FlowProducer(connection))
    keys, now = QueueKeys("glide", "q"), connection.now_ms()
    for job_id, ago in {"old": HOUR_MS + 60_000, "new": HOUR_MS - 60_000, "now": 0}.items():
        await connection.command("ZADD", keys.failed, now - ago, job_id)
    entries: dict[str, dict[str, Any]] = {
        "missed": {"every": 60_000, "nextRun": now - 60_000},
        "soon": {"every": 60_000, "nextRun": now + 5_000},
        "just due": {"every": 60_000, "nextRun": now - 1_000},
        "over": {"every": 60_000, "nextRun": now - 60_000, "endDate": now - 120_000},
        "used up": {"every": 60_000, "nextRun": now - 60_000, "limit": 2, "iterationCount": 2},
    }
    for name, entry in entries.items():
        await connection.command("HSET", keys.schedulers, name, compact_json(entry))
    await connection.command("HSET", keys.schedulers, "broken", "no JSON")


@pytest.mark.parametrize("may_call", [True, False])
async def test_a_row_counts_trouble_with_and_without_functions(
    connection: Connection, server_url: str, may_call: bool
) -> None:
    await _trouble(connection)
    reading = connection if may_call else await connect(await viewer_url(connection, server_url))

    async with Watch(reading, queues=["q"]) as watch:
        [row] = (await watch.snapshot(("q",))).queues

    assert (row.failed_1h, row.parked, row.missed) == (2, 1, 1)
    await connection.command("ZREM", QueueKeys("glide", "q").failed, "old", "new", "now")
    if not may_call:
        await reading.close()


@pytest.mark.parametrize("may_call", [True, False])
async def test_a_row_tells_when_the_first_suspended_job_times_out(
    connection: Connection, server_url: str, may_call: bool
) -> None:
    keys, at = QueueKeys("glide", "q"), connection.now_ms() + 180_000
    reading = connection if may_call else await connect(await viewer_url(connection, server_url))

    async with Watch(reading, queues=["q"]) as watch:
        await connection.command("ZADD", keys.suspended, NO_DEADLINE, "1")
        [row] = (await watch.snapshot(("q",))).queues
        assert row.next_timeout_at is None

        await connection.command("ZADD", keys.suspended, at, "2")
        [row] = (await watch.snapshot(("q",))).queues
        assert row.next_timeout_at is not None
        assert row.next_timeout_at.timestamp() * 1_000 == pytest.approx(at, abs=1)

    await connection.command("UNLINK", keys.suspended)
    if not may_call:
        await reading.close()


async def test_parked_jobs_are_counted_until_they_go_on(connection: Connection, watch: Watch) -> None:
    node = await exceeded_flow(connection, FlowProducer(connection))

    async def parked() -> int | None:
        [row] = (await watch.snapshot(("q",))).queues
        return row.parked

    assert await parked() == 1
    assert 0 < await connection.command("TTL", QueueKeys("glide", "q").parked) <= 90_000

    async with Queue("q", connection) as queue:
        answer = await queue.top_up_budget(node.job.id, add_tokens=500)
    assert len(answer.released) == 1
    assert await parked() == 0


async def test_keys_of_other_types_are_named_and_the_rest_is_counted(
    connection: Connection, watch: Watch
) -> None:
    keys = QueueKeys("glide", "q")
    await connection.command("SET", keys.parked, "x")
    await connection.command("SET", keys.schedulers, "x")
    await connection.command("ZADD", keys.failed, connection.now_ms(), "1")

    [row] = (await watch.snapshot(("q",))).queues

    assert (row.failed_1h, row.parked, row.missed) == (1, None, None)
    assert {"parked", "schedulers"} <= set(row.unreadable)
    await connection.command("UNLINK", keys.parked, keys.schedulers, keys.failed)
