"""Jobs whose worker fell silent: swept beside Node workers, counted once."""

from __future__ import annotations

import asyncio

import pytest
from kits.bench import Bench
from kits.recording import advance
from kits.wire import dump, replay

from glidemq_core.worker import sweeps
from glidemq_core.worker.exchange_call import owned

LOCK = 30_000


async def stalls(bench: Bench, max_stalled: int = 1) -> sweeps.Stalled:
    return await sweeps.sweep_stalls(
        bench.scope, "sweeper", min_idle_ms=0, lock_ms=LOCK, max_stalled=max_stalled
    )


async def test_a_beating_job_is_left_alone_even_past_its_ttl(bench: Bench) -> None:
    job_id = await bench.add(ttl=1000)
    [run] = await bench.claim()
    advance(bench.connection, LOCK - 5000)
    assert await stalls(bench) == sweeps.Stalled()
    assert await bench.settle(run) == "ok"
    assert await bench.field(job_id, "state") == "completed"


async def test_a_silent_job_runs_again_then_fails(bench: Bench) -> None:
    job_id = await bench.add()
    [run] = await bench.claim()
    advance(bench.connection, LOCK)
    assert await stalls(bench) == sweeps.Stalled(requeued=[job_id])
    assert await bench.field(job_id, "state") == "waiting"
    assert await bench.field(job_id, "lastActive") is None
    assert await bench.settle(run) == "lost"
    [again] = await bench.claim()
    assert again[0] == job_id
    advance(bench.connection, LOCK)
    assert await stalls(bench) == sweeps.Stalled(failed=[job_id])
    assert await bench.field(job_id, "failedReason") == "job stalled more than maxStalledCount"
    assert await bench.field(job_id, "stalledCount") == "2"
    assert await bench.settle(again) == "lost"
    keys = bench.scope.keys
    assert await bench.command("XLEN", keys.stream) == 0
    assert (await bench.command("ZCARD", keys.failed), await bench.command("EXISTS", keys.completed)) == (
        1,
        0,
    )
    assert [event for event, _ in await bench.events()] == ["added", "stalled", "failed"]


async def test_the_jobs_own_lock_duration_decides(bench: Bench) -> None:
    short, long = await bench.add(lock_duration=1000), await bench.add(lock_duration=60_000)
    await bench.claim(2)
    advance(bench.connection, 1000)
    assert (await stalls(bench)).requeued == [short]
    advance(bench.connection, LOCK)
    assert (await stalls(bench)).requeued == []
    assert await bench.field(long, "state") == "active"


async def _seem_idle(bench: Bench, entry: str) -> None:
    """Let an entry look as if it had been pending for a minute, by the server's clock."""
    await bench.command(
        "XCLAIM", bench.scope.keys.stream, "workers", "worker-1-0badcafe", 0, entry, "IDLE", 60_000
    )


async def _idle_ms(bench: Bench, entry: str) -> int:
    [[_, _, idle, _]] = await bench.command("XPENDING", bench.scope.keys.stream, "workers", entry, entry, 1)
    return int(idle)


async def test_a_short_lock_that_ran_out_is_seen_without_claiming(bench: Bench) -> None:
    """Claiming would begin the idle time of all entries anew, and peers would not look at them for as long."""
    now = bench.connection.now_ms()
    bench.connection.now_ms = lambda: now  # type: ignore[method-assign]  # a clock that stands still
    short, other, longer = (
        await bench.add(lock_duration=2_000),
        await bench.add(),
        await bench.add(lock_duration=9_000),
    )
    entries = {job_id: entry for job_id, entry, _ in await bench.claim(3)}
    for entry in entries.values():
        await _seem_idle(bench, entry)
    advance(bench.connection, 1_999)
    assert await sweeps.sweep_locks(bench.scope, max_stalled=1) == (sweeps.Stalled(), 2_000)
    advance(bench.connection, 1)
    found, shortest = await sweeps.sweep_locks(bench.scope, max_stalled=1)
    assert found == sweeps.Stalled(requeued=[short])
    assert shortest == 2_000
    assert await bench.field(short, "state") == "waiting"
    assert await bench.stream_ids() == [other, longer, short]
    assert await _idle_ms(bench, entries[other]) >= 60_000
    assert await sweeps.sweep_locks(bench.scope, max_stalled=1) == (sweeps.Stalled(), 9_000)
    advance(bench.connection, 10 * LOCK)
    assert (await sweeps.sweep_locks(bench.scope, max_stalled=0))[0] == sweeps.Stalled(failed=[longer])
    assert await bench.field(other, "state") == "active", "the stalled interval is for jobs without one"


async def test_more_short_locks_than_a_page_are_all_seen(bench: Bench) -> None:
    ids = [await bench.add(lock_duration=1_000) for _ in range(230)]
    for _, entry, _ in await bench.claim(230):
        await _seem_idle(bench, entry)
    advance(bench.connection, 1_000)
    found, _ = await sweeps.sweep_locks(bench.scope, max_stalled=1)
    assert found.requeued == ids


async def test_a_list_job_with_a_short_lock_goes_back_to_its_list(bench: Bench) -> None:
    short, other = await bench.add(lifo=True, lock_duration=1_000), await bench.add(lifo=True)
    await bench.claim(2)
    advance(bench.connection, 1_000)
    found, _ = await sweeps.sweep_locks(bench.scope, max_stalled=1)
    assert found == sweeps.Stalled(requeued=[short])
    assert await bench.command("LRANGE", bench.scope.keys.lifo, 0, -1) == [short.encode()]
    assert await bench.command("GET", bench.scope.keys.list_active) == b"1"
    assert await bench.field(other, "state") == "active"


@pytest.mark.leaves_records
async def test_entries_without_a_live_job_are_cleaned_up(bench: Bench) -> None:
    """What Node leaves pending: hash gone, a late heartbeat's hash, a job that is finished."""
    keys = bench.scope.keys
    await bench.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    for job_id in ("gone", "beat", "done"):
        await bench.command("XADD", keys.stream, "*", "jobId", job_id, "name", "")
    await bench.command("XADD", keys.stream, "*", "foreign", "entry")
    await bench.command("HSET", keys.job("beat"), "lastActive", "1")
    await bench.command("HSET", keys.job("done"), "state", "completed")
    await bench.command("XREADGROUP", "GROUP", "workers", "node", "STREAMS", keys.stream, ">")
    before = await dump(bench.connection, "*:job:*")
    assert await stalls(bench) == sweeps.Stalled()
    assert await bench.command("XLEN", keys.stream) == 0
    assert await dump(bench.connection, "*:job:*") == before


async def test_an_entry_read_but_never_started_comes_back(bench: Bench) -> None:
    job_id, keys = await bench.add(), bench.scope.keys
    await bench.command("XGROUP", "CREATE", keys.stream, "workers", "0")
    await bench.command("XREADGROUP", "GROUP", "workers", "node", "STREAMS", keys.stream, ">")
    assert (await stalls(bench)).requeued == [job_id]
    assert [run[0] for run in await bench.claim()] == [job_id]


async def test_sweep_without_a_stream(bench: Bench) -> None:
    assert await stalls(bench) == sweeps.Stalled()
    assert await dump(bench.connection) == {}


async def test_a_silent_job_out_of_its_ttl_expires(bench: Bench) -> None:
    job_id = await bench.add(ttl=1000)
    await bench.claim()
    advance(bench.connection, LOCK)
    assert await stalls(bench) == sweeps.Stalled()
    assert await bench.field(job_id, "failedReason") == "expired"
    assert await bench.command("XLEN", bench.scope.keys.stream) == 0


async def test_two_sweepers_count_one_stall(bench: Bench) -> None:
    jobs = [await bench.add() for _ in range(120)]
    await bench.claim(200)
    advance(bench.connection, LOCK)
    both = await asyncio.gather(stalls(bench), stalls(bench))
    assert sorted(both[0].requeued + both[1].requeued, key=int) == jobs
    assert {await bench.field(job_id, "stalledCount") for job_id in jobs} == {"1"}


async def test_silent_list_jobs_go_back_to_their_list(bench: Bench) -> None:
    lifo, ranked = await bench.add(lifo=True), await bench.add(priority=3)
    await sweeps.tick(bench.scope)
    runs = await bench.claim(2)
    keys = bench.scope.keys
    assert await bench.command("GET", keys.list_active) == b"2"
    assert await sweeps.sweep_list_stalls(bench.scope, lock_ms=LOCK, max_stalled=1) == sweeps.Stalled()
    advance(bench.connection, LOCK)
    found = await sweeps.sweep_list_stalls(bench.scope, lock_ms=LOCK, max_stalled=1)
    assert sorted(found.requeued) == sorted([lifo, ranked])
    assert await bench.command("LRANGE", keys.lifo, 0, -1) == [lifo.encode()]
    assert await bench.command("LRANGE", keys.priority, 0, -1) == [ranked.encode()]
    assert await bench.command("GET", keys.list_active) == b"0"
    assert [await bench.settle(run) for run in runs] == ["lost", "lost"]
    assert await bench.command("GET", keys.list_active) == b"0"
    await bench.claim(2)
    advance(bench.connection, LOCK)
    found = await sweeps.sweep_list_stalls(bench.scope, lock_ms=LOCK, max_stalled=1)
    assert sorted(found.failed) == sorted([lifo, ranked])
    assert await bench.command("GET", keys.list_active) == b"0"


async def test_a_worker_that_lost_a_reply_finds_its_list_jobs_and_no_others(bench: Bench) -> None:
    """Two workers may claim within one millisecond; a sweep in between spoils nothing."""
    lifo, priority = await bench.add(lifo=True), await bench.add(priority=1)
    await sweeps.tick(bench.scope)
    runs = await bench.claim(2)
    assert sorted(job_id for job_id, _, _ in runs) == [lifo, priority]
    stamp = runs[0][2]
    advance(bench.connection, 1_500)
    await sweeps.sweep_list_stalls(bench.scope, lock_ms=LOCK, max_stalled=1)

    assert sorted(await owned(bench.scope, "worker-1-0badcafe", int(stamp))) == [("", lifo), ("", priority)]
    for consumer in ("worker-1-0badcaff", "worker-2-0badcaef", "odd name", "-1f"):
        assert await owned(bench.scope, consumer, int(stamp)) == []
    assert await bench.settle(runs[0]) == "ok"
    assert len(await owned(bench.scope, "worker-1-0badcafe", int(stamp))) == 1


async def test_list_jobs_of_node_workers_are_found_by_the_walk(bench: Bench) -> None:
    await replay(bench.connection, "active_lifo")
    node = Bench(bench.connection, "active_lifo")
    node.scope = await node.queue.context()
    walk = sweeps.ListWalk(node.scope)
    started = int(await node.field("2", "lastActive") or 0)
    node.connection.now_ms = lambda: started + 1000  # type: ignore[method-assign]
    assert await walk.step(lock_ms=LOCK, max_stalled=1) == sweeps.Stalled()
    node.connection.now_ms = lambda: started + LOCK  # type: ignore[method-assign]
    assert await walk.step(lock_ms=LOCK, max_stalled=1) == sweeps.Stalled(requeued=["2"])
    keys = node.scope.keys
    assert await node.command("LRANGE", keys.lifo, 0, -1) == [b"1", b"2"]
    assert await node.command("GET", keys.list_active) == b"0"


async def test_the_walk_leaves_stream_jobs_with_a_priority_alone(bench: Bench) -> None:
    """A priority job that came back through the stream looks list-sourced; its entry says otherwise."""
    job_id, keys = await bench.add(), bench.scope.keys
    await bench.claim()
    await bench.command("HSET", keys.job(job_id), "priority", "3")
    await bench.command("SET", keys.list_active, "1")
    advance(bench.connection, LOCK)
    walk = sweeps.ListWalk(bench.scope)
    assert await walk.step(lock_ms=LOCK, max_stalled=1) == sweeps.Stalled()
    assert await bench.field(job_id, "state") == "active"


async def test_a_count_too_high_is_healed_after_two_rounds(bench: Bench) -> None:
    await bench.add(lifo=True)
    await bench.claim()
    keys = bench.scope.keys
    await bench.command("INCRBY", keys.list_active, 3)
    walk = sweeps.ListWalk(bench.scope)
    await walk.step(lock_ms=LOCK, max_stalled=1)
    assert await bench.command("GET", keys.list_active) == b"4"
    await walk.step(lock_ms=LOCK, max_stalled=1)
    assert await bench.command("GET", keys.list_active) == b"1"
    await walk.step(lock_ms=LOCK, max_stalled=1)
    assert await bench.command("GET", keys.list_active) == b"1"


async def test_a_long_walk_over_a_busy_queue_heals_nothing(bench: Bench) -> None:
    """Behind the cursor jobs come and go: what such a walk misses may well exist."""
    keys = bench.scope.keys
    for start in range(0, 15_000, 1000):
        part = range(start, start + 1000)
        await bench.connection.pipeline([("HSET", keys.job(f"c{i}"), "state", "completed") for i in part])
    await bench.command("SET", keys.list_active, "1")
    await bench.add(lifo=True)
    walk = sweeps.ListWalk(bench.scope)
    for _ in range(16):
        await walk.step(lock_ms=LOCK, max_stalled=1)
    assert await bench.command("GET", keys.list_active) == b"1"
    await bench.command("DEL", keys.lifo)
    for _ in range(16):
        await walk.step(lock_ms=LOCK, max_stalled=1)
    assert await bench.command("GET", keys.list_active) == b"0"
