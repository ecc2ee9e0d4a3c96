"""What Node's known defects leave behind is worked on without harm, and ours adds none of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.wire import dump, replay

from glidemq_core.errors import InvalidOptionError
from glidemq_core.options.job import JobOptions, NewJob, Ordering, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.worker import Worker, sweeps

P = "glide:{q}"


class Recorder:
    """A processor that notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, job: Any) -> None:
        self.seen.append(job.id)


def worker(connection: Connection, process: Any, name: str = "q", **options: Any) -> Worker:
    return Worker(name, process, connection, **{"promotion_interval": 50, **options})


async def has_state(bench: Bench, job_id: str, state: str) -> bool:
    return await bench.field(job_id, "state") == state


async def completed(bench: Bench, job_id: str) -> None:
    await eventually(lambda: has_state(bench, job_id, "completed"))


# D1: numbers that never start --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["expire", "expire_parked", "revoke", "remove", "drain", "cost"])
async def test_d1_no_end_before_the_start_blocks_a_key(
    bench: Bench, connection: Connection, how: str
) -> None:
    dear = Ordering("k", token_bucket=TokenBucket(10, 1000))
    if how.startswith("expire"):
        first = await bench.add(ordering=Ordering("k"), ttl=1)
        clock = connection.now_ms
        connection.now_ms = lambda: clock() + 10
    elif how == "cost":
        first = await bench.add(ordering=dear, cost=8)
    else:
        first = await bench.add(ordering=Ordering("k"))
    if how == "expire_parked":
        await bench.command("XTRIM", f"{P}:stream", "MAXLEN", 0)
        await bench.command("HSET", f"{P}:job:{first}", "state", "group-waiting")
        await bench.command("ZADD", f"{P}:groupq:k", 1, first)
        await bench.command("ZADD", f"{P}:ratelimited", 0, "k")
    if how == "revoke":
        await bench.queue.revoke(first)
    elif how == "remove":
        assert await bench.scope.call("remove", bench.scope.now_ms(), "", first, "")
    elif how == "drain":
        await bench.queue.drain()
    last = Ordering("k", token_bucket=TokenBucket(5, 1000)) if how == "cost" else Ordering("k")
    second = await bench.add(ordering=last)
    record = Recorder()
    async with worker(connection, record):
        await completed(bench, second)
    assert record.seen == [second]
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"


async def test_d1_a_key_blocked_by_a_peer_is_freed_by_marker_and_wake(
    bench: Bench, connection: Connection
) -> None:
    first, second = await bench.add(ordering="k"), await bench.add(ordering="k")
    await bench.command("DEL", f"{P}:job:{first}")
    record = Recorder()
    async with worker(connection, record):
        await eventually(lambda: has_state(bench, second, "group-waiting"))
        await bench.command("HSET", f"{P}:group:k", "skip:1", 1)
        await bench.command("ZADD", f"{P}:ratelimited", 0, "k")
        await completed(bench, second)
    assert record.seen == [second]


@pytest.mark.parametrize("order", [1, -1])
async def test_d1_a_long_row_of_ends_before_the_start_blocks_nobody(
    bench: Bench, connection: Connection, order: int
) -> None:
    """More than the 128 markers that one look of a peer steps over, and none wakes whom it parked behind them."""
    ids = [await bench.add(ordering="k") for _ in range(200)]
    for job_id in ids[::order]:
        await bench.queue.revoke(job_id)
    assert await bench.command("HLEN", f"{P}:group:k") < 128
    last = await bench.add(ordering="k")
    async with worker(connection, Recorder()):
        await completed(bench, last)


async def test_d1_markers_of_a_peer_are_stepped_over_however_many(
    bench: Bench, connection: Connection
) -> None:
    await bench.command("HSET", f"{P}:ordering", "k", 300)
    last = await bench.add(ordering="k")
    await bench.command("HSET", f"{P}:group:k", *[word for n in range(1, 301) for word in (f"skip:{n}", "1")])
    async with worker(connection, Recorder()):
        await completed(bench, last)


async def test_d1_a_long_row_of_expired_parked_jobs_is_passed(bench: Bench, connection: Connection) -> None:
    first = await bench.add(ordering="k")
    await bench.queue.add_bulk([NewJob("x", None, JobOptions(ordering="k", ttl=1))] * 9_000)
    last = await bench.add(ordering="k")
    ids = [str(n) for n in range(2, 9_002)] + [last]
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        await connection.pipeline([("HSET", f"{P}:job:{i}", "state", "group-waiting") for i in part])
        await bench.command("ZADD", f"{P}:groupq:k", *[word for i in part for word in (i, i)])
    await bench.command("XTRIM", f"{P}:stream", "MINID", "9999999999999")
    await bench.command("XADD", f"{P}:stream", "*", "jobId", first, "name", "x")
    record, heard = Recorder(), []
    serving = worker(connection, record)
    serving.on("error", heard.append)
    async with serving:
        await completed(bench, last)
    assert record.seen == [first, last]
    assert heard == []
    assert await bench.command("ZCARD", f"{P}:failed") == 9_000


# D2, D3, D12: entries and elements of jobs that are none -----------------------------------------------------


GHOSTS: list[dict[str, str]] = [
    {},
    {"lastActive": "1795467237744"},
    {"state": "waiting"},
    {"state": "waiting", "stalledCount": "1"},
    {"state": "completed", "returnvalue": "null", "finishedOn": "1795467237744"},
    {"name": "n", "data": "{}", "opts": "{}"},
    {"name": "n", "data": "{}", "opts": "{}", "state": "failed", "revoked": "1", "attemptsMade": "0"},
    {"name": "n", "data": "{}", "opts": "{}", "state": "completed"},
]


@pytest.mark.parametrize("place", ["stream", "lifo", "priority"])
@pytest.mark.leaves_records
async def test_d2_d3_ghosts_are_dropped_and_never_run(
    bench: Bench, connection: Connection, place: str
) -> None:
    before: dict[str, Any] = {}
    for number, fields in enumerate(GHOSTS):
        job_id = f"ghost-{number}"
        if place == "stream":
            await bench.command("XADD", f"{P}:stream", "*", "jobId", job_id, "name", "")
        else:
            await bench.command("LPUSH", f"{P}:{place}", job_id)
        if fields:
            words = [word for pair in fields.items() for word in pair]
            await bench.command("HSET", f"{P}:job:{job_id}", *words)
    if place == "stream":
        await bench.command("XADD", f"{P}:stream", "*", "something", "else")
    before = await dump(connection, f"{P}:job:ghost-*")
    record = Recorder()
    real = await bench.add()
    async with worker(connection, record):
        await completed(bench, real)
    assert record.seen == [real]
    assert await dump(connection, f"{P}:job:ghost-*") == before
    assert await bench.command("XLEN", f"{P}:stream") == 0
    assert int(await bench.command("GET", f"{P}:list-active") or 0) == 0
    assert await bench.command("ZRANGE", f"{P}:completed", 0, -1) == [real.encode()]
    assert await bench.command("ZCARD", f"{P}:failed") == 0


@pytest.mark.leaves_records
async def test_d3_pending_entries_of_ghosts_are_cleaned_up(bench: Bench, connection: Connection) -> None:
    await bench.command("XGROUP", "CREATE", f"{P}:stream", "workers", "0", "MKSTREAM")
    for number, fields in enumerate(GHOSTS):
        await bench.command("XADD", f"{P}:stream", "*", "jobId", f"ghost-{number}", "name", "")
        if fields:
            words = [word for pair in fields.items() for word in pair]
            await bench.command("HSET", f"{P}:job:ghost-{number}", *words)
    await bench.command("XREADGROUP", "GROUP", "workers", "dead", "COUNT", 99, "STREAMS", f"{P}:stream", ">")
    record = Recorder()
    async with worker(connection, record, stalled_interval=100, lock_duration=1000):
        await eventually(lambda: _empty(bench))
    assert record.seen == []


async def _empty(bench: Bench) -> bool:
    return bool(await bench.command("XLEN", f"{P}:stream") == 0)


# D5 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "least"), [("007", 8), ("0", 1), ("99999999999999999999", 1), ("1e5", 1), ("-4", 1)]
)
async def test_d5_a_broken_counter_does_not_stop_automatic_ids(bench: Bench, stored: str, least: int) -> None:
    await bench.command("SET", f"{P}:id", stored)
    first, second = await bench.add(), await bench.add()
    assert least <= int(first)
    assert int(second) == int(first) + 1
    assert int(second) < 2**53


async def test_d5_automatic_ids_stay_different_beyond_what_a_double_holds(bench: Bench) -> None:
    await bench.add(job_id="9007199254740991")
    ids = [await bench.add() for _ in range(4)]
    ids += [job.id for job in await bench.queue.add_bulk([NewJob("x")] * 4)]
    assert ids[0] == "9007199254740992"
    assert len(set(ids)) == 8


@pytest.mark.parametrize("custom", ["007", "0", "99999999999999999999", "9007199254740992", "1e3", "-5"])
async def test_d5_no_custom_id_breaks_the_counter(bench: Bench, custom: str) -> None:
    await bench.add()
    await bench.add(job_id=custom)
    assert await bench.add() == "2"
    await bench.add(job_id="40")
    assert await bench.add() == "41"


# D6, D7 ------------------------------------------------------------------------------------------------------


async def test_d6_a_retried_ordered_job_comes_back_without_a_slot(
    bench: Bench, connection: Connection
) -> None:
    first = await bench.fail(ordering="k")
    second = await bench.add(ordering="k")
    await bench.scope.call("retry", bench.scope.now_ms(), "", "", first, "")
    async with worker(connection, Recorder()):
        await completed(bench, first)
        await completed(bench, second)
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"


async def test_d6_revoked_after_its_retry_it_frees_nobody_elses_slot(bench: Bench) -> None:
    first = await bench.fail(ordering="k")
    await bench.add(ordering="k")
    assert len(await bench.claim(5)) == 1
    await bench.scope.call("retry", bench.scope.now_ms(), "", "", first, "")
    await bench.scope.call("tick", bench.scope.now_ms() + 1)
    await bench.command("HSET", f"{P}:job:{first}", "revoked", 1)
    assert await bench.claim(5) == []
    assert await bench.field(first, "state") == "failed"
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"1"


async def test_d6_stalled_out_after_its_retry_it_frees_nobody_elses_slot(bench: Bench) -> None:
    """Read by a peer that died before it started it, once too often."""
    first = await bench.fail(ordering="k")
    await bench.add(ordering="k")
    assert len(await bench.claim(5)) == 1
    await bench.scope.call("retry", bench.scope.now_ms(), "", "", first, "")
    await bench.scope.call("tick", bench.scope.now_ms() + 1)
    await bench.command("XREADGROUP", "GROUP", "workers", "dead", "COUNT", 9, "STREAMS", f"{P}:stream", ">")
    await bench.command("HDEL", f"{P}:job:{first}", "lastActive")
    found = await sweeps.sweep_stalls(bench.scope, "s", min_idle_ms=0, lock_ms=30_000, max_stalled=0)
    assert found.failed == [first]
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"1"


async def test_d6_handed_back_after_its_retry_it_frees_nobody_elses_slot(bench: Bench) -> None:
    two = Ordering("k", concurrency=2)
    await bench.add(ordering=two)
    assert len(await bench.claim()) == 1
    second = await bench.fail(ordering=two)
    await bench.scope.call("retry", bench.scope.now_ms(), "", "", second, "")
    await bench.scope.call("tick", bench.scope.now_ms() + 1)
    [run] = await bench.claim(5)
    assert await bench.scope.call("hand_back", *run, bench.scope.now_ms()) == [b"ok"]
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"1"
    [run] = await bench.claim(5)
    await bench.settle(run)
    assert await bench.field(second, "state") == "completed"


async def test_d7_a_job_in_both_result_sets_is_read_and_left_alone(bench: Bench) -> None:
    job_id = await bench.add()
    [run] = await bench.claim()
    await bench.settle(run)
    await bench.command("ZADD", f"{P}:failed", 1, job_id)
    counts = await bench.queue.get_job_counts()
    assert (counts.completed, counts.failed) == (1, 1)
    assert await bench.scope.call("retry", bench.scope.now_ms(), "", "", job_id, "") == [b"ok", b"not_failed"]
    assert await bench.field(job_id, "state") == "completed"


# D10 ---------------------------------------------------------------------------------------------------------


async def test_d10_a_priority_job_that_returns_by_the_stream_is_one_job(
    bench: Bench, connection: Connection
) -> None:
    go_on = asyncio.Event()

    async def process(job: Any) -> None:
        if not job.signals:
            await job.suspend()
        await go_on.wait()

    job_id = await bench.add(priority=3)
    async with worker(connection, process):
        await eventually(lambda: has_state(bench, job_id, "suspended"))
        await bench.queue.signal(job_id, "go")
        await eventually(lambda: has_state(bench, job_id, "active"))
        assert int(await bench.command("GET", f"{P}:list-active") or 0) == 0
        assert [job.id for job in await bench.queue.get_jobs("active")] == [job_id]
        assert (await bench.queue.get_job_counts()).active == 1
        go_on.set()
        await completed(bench, job_id)
    assert int(await bench.command("GET", f"{P}:list-active") or 0) == 0


# D11 ---------------------------------------------------------------------------------------------------------


async def test_d11_pause_holds_every_python_worker_and_promotion_goes_on(
    bench: Bench, connection: Connection
) -> None:
    record = Recorder()
    async with worker(connection, record, concurrency=3):
        await bench.queue.pause()
        urgent = await bench.add(priority=2)
        ids = [await bench.add(), await bench.add(lifo=True)]
        await eventually(lambda: has_state(bench, urgent, "waiting"))
        assert record.seen == []
        await bench.queue.resume()
        for job_id in (*ids, urgent):
            await completed(bench, job_id)


# D14 ---------------------------------------------------------------------------------------------------------


async def test_d14_a_priority_beyond_the_limit_is_refused_and_read(
    bench: Bench, connection: Connection
) -> None:
    with pytest.raises(InvalidOptionError):
        JobOptions(priority=2049)
    job_id = await bench.add(priority=2048)
    await bench.command("HSET", f"{P}:job:{job_id}", "priority", 3000)
    await bench.command("ZADD", f"{P}:scheduled", 3000 * PRIORITY_STEP, job_id)
    async with worker(connection, Recorder()):
        await completed(bench, job_id)


# Counters and recordings -------------------------------------------------------------------------------------


async def test_a_list_count_left_too_high_does_not_hold_the_queue_for_ever(
    bench: Bench, connection: Connection
) -> None:
    await bench.queue.set_global_concurrency(2)
    await bench.command("SET", f"{P}:list-active", 5)
    job_id = await bench.add(lifo=True)
    async with worker(connection, Recorder(), promotion_interval=20):
        await completed(bench, job_id)
    assert await bench.command("GET", f"{P}:list-active") == b"0"


async def test_a_list_count_below_zero_is_none(bench: Bench, connection: Connection) -> None:
    await bench.command("SET", f"{P}:list-active", -3)
    await bench.queue.set_global_concurrency(1)
    await bench.add()
    await bench.add()
    assert len(await bench.claim(9)) == 1
    await bench.queue.set_global_concurrency(0)
    job_id = await bench.add(lifo=True)
    async with worker(connection, Recorder()):
        await completed(bench, job_id)


@pytest.mark.parametrize("name", ["active", "active_lifo", "signalled_waiting", "worker_registration"])
async def test_what_a_dead_node_worker_held_runs_here(connection: Connection, name: str) -> None:
    await replay(connection, name)
    root, queue = f"glide:{{{name}}}", Queue(name, connection)
    await connection.command("DEL", *[key for key in await dump(connection) if ":w:" in key] or ["none"])
    held = [
        key.rpartition(":")[2]
        for key, entry in (await dump(connection, f"{root}:job:*")).items()
        if entry["value"]["state"] in ("active", "waiting")
    ]
    record = Recorder()
    options = {"stalled_interval": 100, "lock_duration": 1000, "promotion_interval": 20}
    async with worker(connection, record, name, **options):
        for job_id in held:
            job = await queue.get_job(job_id)
            assert job is not None
            await eventually(job.is_completed)
    assert sorted(record.seen) == sorted(held)
    assert await connection.command("XLEN", f"{root}:stream") == 0
    assert int(await connection.command("GET", f"{root}:list-active") or 0) == 0
