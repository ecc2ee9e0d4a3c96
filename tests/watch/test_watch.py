"""Observation: what every recording shows, what it costs, and what odd queues and poor rights do to it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from conftest import eventually
from kits.watch import add, calls, fill, quick_watch, viewer_url  # noqa: F401
from kits.wire import GOLDEN, replay

from glidemq_core.records import to_json
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import STATES, Watch
from glidemq_core.wire.keys import QueueKeys

RECORDINGS = sorted(path.stem for path in GOLDEN.glob("*.json"))
COUNTED = ("waiting", "active", "delayed", "completed", "failed")


def queues_of(recording: dict[str, Any]) -> list[str]:
    return sorted({key.split("{")[1].split("}")[0] for key in recording["keys"] if "{" in key})


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.leaves_records
async def test_recordings_read_the_same_with_and_without_functions(
    connection: Connection, server_url: str, name: str
) -> None:
    recording = await replay(connection, name)
    queues = queues_of(recording)
    frozen = 1_795_470_000_000
    connection.now_ms = lambda: frozen
    poor = await connect(await viewer_url(connection, server_url))
    poor.now_ms = connection.now_ms
    answers = []
    for used in (connection, poor):
        async with Watch(used, queues=queues, calls_per_s=5_000) as watch:
            fleet = await watch.snapshot()
            pages = [await watch.jobs(queue, state) for queue in queues for state in STATES]
            jobs = [await watch.job(row.queue, row.id) for page in pages for row in page.rows]
            answers.append(to_json([fleet, pages, jobs, await watch.approvals(), await watch.workers()]))
    await poor.close()
    assert answers[0] == answers[1]
    shown = [counts for counts in recording["results"] if isinstance(counts, dict) and "waiting" in counts]
    for queue, counts in zip(answers[0][0]["queues"], shown, strict=False):
        assert {state: queue[state] for state in COUNTED} == counts
    for page in answers[0][1]:
        assert page["total"] is None or page["total"] >= len(page["rows"])


async def test_a_snapshot_costs_the_same_whatever_the_number_of_jobs(
    connection: Connection, watch: Watch
) -> None:
    costs = []
    for queue, size in (("few", 10), ("many", 20_000)):
        await fill(connection, queue, size)
        await watch.snapshot([queue])
        before = await calls(connection)
        fleet = await watch.snapshot([queue])
        costs.append({name: count - before.get(name, 0) for name, count in (await calls(connection)).items()})
        assert fleet.queues[0].waiting == size
    few, many = ({name: n for name, n in cost.items() if n and name != "info"} for cost in costs)
    assert few == many
    assert few["fcall_ro"] == 1
    assert not few.keys() & {"scan", "keys", "hgetall", "smembers"}


@pytest.mark.leaves_records
async def test_a_broken_queue_does_not_spoil_the_others(connection: Connection, watch: Watch) -> None:
    await fill(connection, "good", 3)
    broken = QueueKeys("glide", "broken")
    await connection.command("SET", broken.stream, "not a stream")
    await connection.command("ZADD", broken.failed, 1, "1")
    await connection.command("SET", broken.metrics("completed"), "x")
    await connection.command("HSET", broken.suspended, "a", "b")
    fleet = await watch.snapshot(["broken", "good"])
    assert (fleet.queues[0].failed, fleet.queues[0].waiting) == (1, 0)
    assert set(fleet.queues[0].unreadable) >= {"stream", "suspended", "metrics:completed"}
    assert len(fleet.queues[0].unreadable) == len(set(fleet.queues[0].unreadable)), "each key is told once"
    assert (fleet.queues[1].waiting, fleet.queues[1].unreadable) == (3, ())
    assert (await watch.jobs("broken")).rows == ()
    assert (await watch.approvals(["broken", "good"])).total == 0
    assert (await watch.workers(["broken", "good"])).workers == ()


async def test_discovery_finds_registers_and_forgets(connection: Connection) -> None:
    await fill(connection, "plain", 1)
    await fill(connection, "odd*[name]", 1)
    await fill(connection, "going", 1)
    await connection.command("SADD", "glide:queues", "going", "never-was", "bad:name")
    await connection.command("SET", "glide:{flow:1}:meta", "x")
    await connection.command("SET", "elsewhere:{x}:id", "1")
    async with Watch(connection, queues=["given"], calls_per_s=5_000) as watch:
        assert await watch.known() == ("given", "going")
        steps = [step async for step in watch.discover(calls_per_s=1_000, keys_per_call=2)]
        assert {name for step in steps for name in step.found} == {"given", "going", "odd*[name]", "plain"}
        assert steps[-1].complete
        assert (await watch.snapshot()).complete
        keys = QueueKeys("glide", "going")
        await connection.command("DEL", keys.stream, keys.job("1"))
        steps = [step async for step in watch.discover(calls_per_s=1_000)]
        assert steps[-1].gone == ("going",)
        assert [queue.name for queue in (await watch.snapshot()).queues] == ["given", "odd*[name]", "plain"]


async def test_a_viewer_may_read_but_not_write(connection: Connection, server_url: str, watch: Watch) -> None:
    await fill(connection, "q", 2)
    await watch.snapshot(["q"])
    assert (await watch.permissions()).can_write
    viewer = await connect(await viewer_url(connection, server_url))
    async with Watch(viewer, queues=["q"]) as poor:
        may = await poor.permissions()
        assert (may.can_read, may.can_write) == (True, False)
        assert may.reason
        assert (await poor.snapshot()).queues[0].waiting == 2
        assert [row.id for row in (await poor.jobs("q", "waiting")).rows] == ["2", "1"]
        steps = [step async for step in poor.discover(calls_per_s=100)]
        assert steps[-1].complete
        assert (await poor.metrics("q", "completed")).points == ()
        assert await poor.schedulers("q") == {}
        assert await poor.ledger("q", "1") is None
        assert await poor.audit("q") == []
        assert (await poor.usage()).job_count == 0
        assert (await poor.server()).mode == "standalone"
        await connection.command(
            "XADD", QueueKeys("glide", "q").events, "1-0", "event", "paused", "jobId", "0"
        )
        happened = poor.events(start="0")
        assert (await anext(happened)).event == "paused"
        await happened.aclose()  # type: ignore[attr-defined]
    await viewer.close()
    half = server_url.replace("valkey://", "valkey://half:secret@")
    await connection.command(
        "ACL", "SETUSER", "half", "reset", "on", ">secret", "~glide:*", "+@read", "+@scripting", "+ping"
    )
    caller = await connect(half)
    async with Watch(caller, queues=["q"]) as watcher:
        assert not (await watcher.permissions()).can_write
    await caller.close()
    await connection.command(
        "ACL", "SETUSER", "half", "reset", "on", ">secret", "~glide:{q}:*", "+@read", "+ping"
    )
    neighbour = await connect(half)
    async with Watch(neighbour, queues=["q"]) as watcher:
        assert (await watcher.permissions()).can_read, "one queue is something to read"
    await neighbour.close()
    closed = await connect(server_url, read_only=True)
    async with Watch(closed, queues=["q"]) as watcher:
        assert (await watcher.permissions()).reason == "read-only mode"
        assert (await watcher.snapshot()).queues[0].waiting == 2
    await closed.close()


async def test_watching_writes_nothing(connection: Connection, watch: Watch) -> None:
    for name in ("suspended", "active", "flow_waiting", "worker_registration"):
        await replay(connection, name)
    before = await dump(connection)
    async for _ in watch.discover(calls_per_s=1_000):
        pass
    for name in (await watch.snapshot()).queues:
        for row in (await watch.jobs(name.name)).rows:
            await watch.job(row.queue, row.id)
        await watch.metrics(name.name, "failed")
        await watch.schedulers(name.name)
    await watch.approvals()
    await watch.workers()
    await watch.permissions()
    await watch.usage()
    assert await dump(connection) == before


async def dump(connection: Connection) -> dict[bytes, Any]:
    keys = sorted(await connection.command("KEYS", "*"))
    return dict(zip(keys, await connection.pipeline([("DUMP", key) for key in keys]), strict=True))


@pytest.mark.leaves_records
async def test_the_inbox_sees_every_change_and_reads_payloads_once(
    connection: Connection, watch: Watch
) -> None:
    for queue, deadline in (("later", 9_000_000), ("sooner", 5_000_000), ("never", 9_999_999_999_999)):
        keys = QueueKeys("glide", queue)
        await add(
            connection, keys, "1", state="suspended", suspendedAt="1000", processedOn="900", data='{"a":1}'
        )
        await connection.command("ZADD", keys.suspended, deadline, "1")
        await connection.command("ZADD", keys.suspended, 1, "gone")
    names = ["later", "never", "sooner"]
    first = await watch.approvals(names)
    assert [item.queue for item in first.items] == ["sooner", "later", "never"]
    assert first.total == 3
    before = (await calls(connection))["hmget"]
    assert (await watch.approvals(names)).items == first.items
    repeated = (await calls(connection))["hmget"] - before
    keys = QueueKeys("glide", "later")
    await connection.command("HSET", keys.job("1"), "data", '{"a":2}')
    await connection.command("XADD", keys.jstream("1"), "950-0", "type", "content", "content", "Dear")
    await connection.command("XADD", keys.jstream("1"), "951-0", "type", "reasoning", "content", "hm")
    second = await watch.approvals(names)
    assert (second.items[1].data, second.items[1].draft) == ({"a": 2}, "Dear")
    assert second.items[1].review_hash != first.items[1].review_hash
    assert (await calls(connection))["hmget"] - before - repeated == repeated + 1
    limited = await watch.approvals(names, limit=1, payload_limit=3)
    assert [item.truncated for item in limited.items] == [True]
    assert (limited.items[0].mark, limited.items[0].review_hash) == (first.items[0].mark, None)


@pytest.mark.leaves_records
async def test_rates_limits_and_usage_of_a_snapshot(connection: Connection, watch: Watch) -> None:
    keys, now = QueueKeys("glide", "q"), 1_795_470_030_000
    connection.now_ms = lambda: now
    minute = now - now % 60_000
    for back in (0, 1, 5, 6):
        at = minute - back * 60_000
        await connection.command("HSET", keys.metrics("completed"), f"m:{at}:c", 10, f"m:{at}:d", 500)
        await connection.command(
            "HSET", keys.usage(at), "totalTokens", 3_000, "totalCost", "0.5", "costUnit", "usd"
        )
    await connection.command("HSET", keys.rate, "windowStart", now - 1_000, "count", 7)
    live = {"v": 1, "rpm": {"max": 9, "duration": 60_000}, "until": now + 1}
    live["tpm"] = {"maxTokens": 1_000, "duration": 60_000, "scope": "both"}
    dead = live | {"rpm": {"max": 1, "duration": 60_000}, "until": now - 1}
    await connection.command("HSET", keys.limits, "a", json.dumps(live), "b", json.dumps(dead), "c", "{")
    await connection.command("SET", keys.tpm(now // 60_000), "250")
    [queue] = (await watch.snapshot(["q"])).queues
    assert (queue.completed_per_min, queue.avg_ms) == (4.0, 50.0)
    assert (queue.tokens_per_s, queue.cost_per_hour, queue.cost_unit) == (20.0, 12.0, "usd")
    assert to_json(queue.rpm) == {
        "used": 7,
        "max": 9,
        "window_ms": 60_000,
        "resets_ms": now + 59_000,
        "source": "worker",
    }
    assert (queue.tpm.used, queue.tpm.max, queue.tpm.source) == (250, 1_000, "worker")
    await connection.command(
        "HSET", keys.meta, "rateLimitMax", 5, "rateLimitDuration", 500, "globalConcurrency", 0
    )
    [queue] = (await watch.snapshot(["q"])).queues
    assert (queue.rpm.used, queue.rpm.max, queue.rpm.source) == (0, 5, "queue")
    assert queue.global_concurrency is None
    assert [point.count for point in (await watch.metrics("q", "completed", minutes=2)).points] == [10, 10]


async def test_workers_and_stalled_jobs(connection: Connection, watch: Watch) -> None:
    recording = await replay(connection, "worker_registration")
    connection.now_ms = lambda: int(time.time() * 1000)
    listed = await watch.workers(["worker_registration"])
    assert [worker.id for worker in listed.workers] == [item["id"] for item in recording["results"][0]]
    assert [row.id for row in listed.stalled] == ["1", "2"]
    key = QueueKeys("glide", "worker_registration").job("1")
    await connection.command("HSET", key, "lastActive", connection.now_ms())
    assert [row.id for row in (await watch.workers(["worker_registration"])).stalled] == ["2"]
    [queue] = (await watch.snapshot(["worker_registration"])).queues
    assert queue.workers == 2


async def test_events_of_all_queues_come_merged(connection: Connection, watch: Watch) -> None:
    for queue in ("a", "b"):
        await connection.command(
            "XADD", QueueKeys("glide", queue).events, "1-0", "event", "added", "jobId", "1"
        )
    stream = watch.events(["a", "b"], start="0")
    seen = [await anext(stream), await anext(stream)]
    assert {event.queue for event in seen} == {"a", "b"}
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await connection.command(
        "XADD", QueueKeys("glide", "b").events, "2-0", "event", "progress", "jobId", "1", "data", "7"
    )
    event = await waiting
    assert (event.queue, event.event, event.data) == ("b", "progress", {"data": 7})
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_queue_that_begins_later_joins_the_feed(connection: Connection, watch: Watch) -> None:
    old, new = QueueKeys("glide", "old"), QueueKeys("glide", "new")
    await connection.command("XADD", old.events, "1-0", "event", "added", "jobId", "1")
    await fill(connection, "old", 1)
    await connection.command("SADD", "glide:queues", "old")
    stream = watch.events()
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await eventually(lambda: watch_is_blocked(connection))
    await connection.command("XADD", new.events, "*", "event", "added", "jobId", "7")
    await fill(connection, "new", 1)
    await connection.command("SADD", "glide:queues", "new")
    assert await watch.known() == ("new", "old")
    async with asyncio.timeout(30):
        event = await waiting
    assert (event.queue, event.job_id) == ("new", "7")
    await stream.aclose()  # type: ignore[attr-defined]


async def watch_is_blocked(connection: Connection) -> bool:
    clients = (await connection.command("INFO", "clients")).decode()
    return "blocked_clients:1" in clients


async def test_stats_count_what_watching_costs(connection: Connection, watch: Watch) -> None:
    await watch.snapshot(["q"])
    stats = watch.stats
    assert stats.commands_per_s > 0
    assert stats.rtt_ms is not None
    server = await watch.server()
    assert (server.mode, server.nodes) == ("standalone", 1)
