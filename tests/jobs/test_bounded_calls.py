"""One call does a bounded part of what may be very much; the next ones do the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import asked
from kits.worker import quick

from glidemq_core.errors import FlowDefinitionError
from glidemq_core.flows.nodes import DagNode
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.options.job import Actor, NewJob, Ordering
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker


async def ticks(bench: Bench) -> int:
    """Tick until nothing is left to do at once; how many calls that took."""
    for number in range(1, 1_000):
        status, *_ = await bench.scope.call("tick", bench.scope.now_ms())
        if status == b"ok":
            return number
    raise AssertionError("it never ends")


@pytest.mark.leaves_records
async def test_a_long_row_of_removed_places_is_stepped_over_in_parts(bench: Bench) -> None:
    """120,000 jobs of a key were removed before their turn: the one behind them runs all the same."""
    keys = bench.scope.keys
    first, last = await bench.add(ordering=Ordering("k")), await bench.add(ordering=Ordering("k"))
    for start in range(2, 120_002, 1_000):
        words = [word for seq in range(start, start + 1_000) for word in (f"skip:{seq}", "1")]
        await bench.command("HSET", keys.group("k"), *words)
    await bench.command("HSET", keys.job(last), "orderingSeq", 120_002)
    [run] = await bench.claim(5)
    assert run[0] == first
    await bench.settle(run)
    await bench.claim(5)

    async def comes() -> bool:
        await ticks(bench)
        return [run[0] for run in await bench.claim(5)] == [last]

    await eventually(comes)
    assert await bench.command("HGET", keys.group("k"), "nextSeq") == b"120003"


async def test_a_key_without_limit_lets_its_parked_jobs_go_in_parts(bench: Bench) -> None:
    keys = bench.scope.keys
    ids = [await bench.add(ordering=Ordering("k", concurrency=1)) for _ in range(1_200)]
    await bench.command("UNLINK", keys.stream)
    for number, job_id in enumerate(ids):
        await bench.command("HSET", keys.job(job_id), "state", "group-waiting", "orderingSeq", 0)
        await bench.command("ZADD", keys.groupq("k"), number, job_id)
    await bench.command("HSET", keys.group("k"), "maxConcurrency", 0)
    await bench.command("ZADD", keys.ratelimited, 1, "k")
    status, *_ = await bench.scope.call("tick", bench.scope.now_ms())
    assert (status, await bench.command("XLEN", keys.stream)) == (b"more", 1_000)
    await ticks(bench)
    assert await bench.stream_ids() == ids


async def test_a_full_set_of_results_is_trimmed_in_parts(bench: Bench) -> None:
    keys = bench.scope.keys
    for start in range(0, 2_400, 400):
        words = [word for n in range(start, start + 400) for word in (n, f"old{n}")]
        await bench.command("ZADD", keys.completed, *words)
    for _ in range(12):
        await bench.add(remove_on_complete=5)

    async def trimmed() -> bool:
        kept = await bench.command("ZRANGE", keys.completed, 0, -1)
        return len(kept) == 5 and not any(job_id.startswith(b"old") for job_id in kept)

    async with Worker("q", lambda job: 1, bench.connection, concurrency=2):
        await eventually(trimmed)


@pytest.mark.parametrize("kind", ["lifo", "priority"])
async def test_jobs_are_taken_out_of_long_lists(bench: Bench, kind: str) -> None:
    keys = bench.scope.keys
    options: dict[str, Any] = {"lifo": True} if kind == "lifo" else {"priority": 3}
    ids = [await bench.add(**options) for _ in range(30)]
    await ticks(bench)
    if kind == "priority":
        for job_id in ids:
            await bench.queue.change_job_delay(job_id, 1)
        await eventually(lambda: _all_in(bench, keys.priority, 30))
    assert await bench.queue.revoke(ids[0]) == "revoked"
    assert await bench.queue.remove_job(ids[15])
    assert await bench.command("LLEN", f"{keys.root}:{kind}") == 28


async def _all_in(bench: Bench, key: str, count: int) -> bool:
    await bench.scope.call("tick", bench.scope.now_ms())
    return bool(await bench.command("LLEN", key) == count)


async def test_very_many_who_wait_for_one_job_all_hear_of_its_end(
    bench: Bench, producer: FlowProducer
) -> None:
    nodes = [DagNode("a", "q"), *(DagNode(f"d{n}", "q", deps=["a"]) for n in range(1_300))]
    jobs = await producer.add_dag(nodes)
    [run] = await bench.claim(1)
    assert run[0] == jobs["a"].id
    await bench.settle(run)
    assert await bench.command("LLEN", bench.scope.keys.outbox) == 1_100

    async with Worker("q", lambda job: 1, bench.connection, concurrency=50):
        await eventually(lambda: _completed(bench, 1_301), timeout=60)


async def _completed(bench: Bench, count: int) -> bool:
    return bool(await bench.command("ZCARD", bench.scope.keys.completed) == count)


async def test_more_waiters_than_a_call_can_tell_are_refused(producer: FlowProducer) -> None:
    nodes = [DagNode("a", "q"), *(DagNode(f"d{n}", "q", deps=["a"]) for n in range(10_001))]
    with pytest.raises(FlowDefinitionError, match='10001 nodes wait for "a", at most 10000 may'):
        await producer.add_dag(nodes)


@pytest.mark.leaves_records
async def test_a_parent_goes_on_without_very_many_children_in_parts(bench: Bench) -> None:
    parent = await bench.add()
    members = [f"glide:{{q}}:gone{n}" for n in range(450)]
    await bench.command("SADD", bench.scope.keys.deps(parent), *members)
    await bench.command("UNLINK", bench.scope.keys.stream)
    await bench.command("HSET", bench.scope.keys.job(parent), "state", "waiting-children")

    assert len(await bench.queue.release_parent(parent, actor=Actor("ada"))) == 450
    assert await bench.stream_ids() == [parent]
    trail = [(entry.outcome, entry.count) for entry in reversed(await bench.queue.get_audit())]
    assert trail == [("counted", 100)] * 4 + [("released", 50)]


async def test_a_worker_of_thousands_of_slots_makes_calls_of_bounded_size(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.queue.add_bulk([NewJob("a", {}) for _ in range(3_000)])
    call, beaten, wanted = connection.call, list[int](), list[int]()
    stop = asyncio.Event()

    async def counted(function: str, key: str, *args: Any) -> Any:
        if function == "beat":
            beaten.append((len(args) - 1) // 3)
        elif function == "exchange":
            wanted.append(int(asked((key, *args))[2]))
        return await call(function, key, *args)

    async def process(_: Any) -> None:
        await stop.wait()

    monkeypatch.setattr(connection, "call", counted)
    async with quick(process, connection, concurrency=3_000, lock_duration=1_000) as worker:
        await eventually(lambda: worker.active_jobs == 3_000, timeout=60)
        beaten.clear()
        await eventually(lambda: sum(beaten) >= 3_000, timeout=60)
        stop.set()
    assert max(beaten) <= 500
    assert max(wanted) <= 1_000
    assert (await bench.queue.get_job_counts()).completed == 3_000
