"""A dead worker's jobs are told from running ones: in rows, counts and the filter, Python's and Node's alike."""

from __future__ import annotations

import pytest
from kits.bench import Bench
from kits.watch import quick_watch, viewer_url

from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

__all__ = ["quick_watch"]

#: Jobs by how long they have been silent, ms, and their options.
JOBS = {
    "dead": (120_000, "{}"),
    "alive": (5_000, "{}"),
    "patient": (120_000, '{"lockDuration":600000}'),
    "hasty": (5_000, '{"lockDuration":2000}'),
}


async def _run(connection: Connection, queue: str) -> None:
    """Leave running jobs behind, as a worker that died has them: in the stream, one of them from a list."""
    keys, now = QueueKeys("glide", queue), connection.now_ms()
    for job_id, (silent, opts) in JOBS.items():
        beat = str(now - silent)
        fields = ["name", "answer", "state", "active", "opts", opts, "lastActive", beat, "processedOn", beat]
        await connection.command("HSET", keys.job(job_id), *fields)
        await connection.command("XADD", keys.stream, "*", "jobId", job_id)
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0")
    await connection.command("XREADGROUP", "GROUP", "workers", "w", "COUNT", 10, "STREAMS", keys.stream, ">")


async def test_a_silent_workers_jobs_are_stalled_in_lists_counts_and_filter(
    connection: Connection, watch: Watch
) -> None:
    await _run(connection, "chat")

    listed = await watch.jobs("chat", "active")
    stalled = await watch.jobs("chat", "stalled")
    [row] = (await watch.snapshot(("chat",))).queues
    detail = await watch.job("chat", "dead")

    assert {one.id for one in listed.rows if one.stalled} == {"dead", "hasty"}
    assert [one.id for one in stalled.rows] == ["dead", "hasty"]
    assert stalled.total == 2
    assert (row.active, row.stalled) == (4, 2)
    assert detail is not None
    assert detail.stalled
    flow = await watch.flow("chat", "dead")
    assert flow.nodes[0].stalled


async def test_who_may_only_read_sees_the_same(connection: Connection, server_url: str) -> None:
    await _run(connection, "chat")

    async with (
        connect(await viewer_url(connection, server_url)) as viewer,
        Watch(viewer, calls_per_s=5_000) as watch,
    ):
        [row] = (await watch.snapshot(("chat",))).queues
        assert row.stalled == 2
        assert [one.id for one in (await watch.jobs("chat", "stalled")).rows] == ["dead", "hasty"]


async def test_a_job_of_a_list_that_node_took_is_stalled_too(connection: Connection, watch: Watch) -> None:
    keys = QueueKeys("glide", "chat")
    beat = str(connection.now_ms() - 120_000)
    fields = ["name", "answer", "state", "active", "priority", "3", "lastActive", beat, "processedOn", beat]
    await connection.command("HSET", keys.job("7"), *fields)
    await connection.command("SET", keys.list_active, "1")

    assert [one.id for one in (await watch.jobs("chat", "stalled")).rows] == ["7"]


@pytest.mark.parametrize("state", ["active", "stalled"])
async def test_a_job_just_started_is_not_stalled(bench: Bench, watch: Watch, state: str) -> None:
    assert bench.scope is not None
    keys, now = bench.scope.keys, str(bench.scope.now_ms())
    await bench.scope.connection.command("HSET", keys.job("1"), "state", "active", "processedOn", now)
    await bench.scope.connection.command("XADD", keys.stream, "*", "jobId", "1")
    await bench.scope.connection.command("XGROUP", "CREATE", keys.stream, "workers", "0")
    await bench.scope.connection.command(
        "XREADGROUP", "GROUP", "workers", "w", "COUNT", 10, "STREAMS", keys.stream, ">"
    )

    page = await watch.jobs(bench.scope.queue, state)

    assert [row.stalled for row in page.rows] == ([False] if state == "active" else [])
