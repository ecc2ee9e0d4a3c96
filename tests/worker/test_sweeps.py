"""Sweeps: promotion, deadlines of suspended jobs."""

from __future__ import annotations

from typing import Any

from kits.bench import Bench
from kits.exchange import answers, claims, end, exchange
from kits.recording import advance
from kits.wire import assert_same_records, dump, recording

from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.options.job import Ordering, RateLimit
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import NO_DEADLINE, PRIORITY_STEP
from glidemq_core.worker import sweeps

QUEUE = "mail"


# Promotion --------------------------------------------------------------------------------------------------


async def test_promotion_writes_what_node_writes(connection: Connection) -> None:
    bench = Bench(connection, "add_priority_promoted")
    bench.scope = await bench.queue.context()
    await bench.scope.call("register_worker", "worker-1-0badcafe", "{}", 1000, "", bench.scope.now_ms())
    for priority in (9, 3, 7):
        await bench.add(f"p{priority}", {"p": priority}, priority=priority)
    assert (await sweeps.tick(bench.scope)).promoted == 3
    assert [run[0] for run in await bench.claim()] == ["2"]
    written = await dump(connection, "glide:{add_priority_promoted}*")
    assert_same_records(recording("add_priority_promoted"), written, ignore=("*:w:*",))


async def test_due_jobs_go_where_they_belong(bench: Bench) -> None:
    keys = bench.scope.keys
    fifo = await bench.add(delay=1000)
    ranked = await bench.add(delay=1000, priority=2)
    lifo = await bench.add(delay=1000, lifo=True, priority=1)
    urgent = await bench.add(priority=1)
    far = await bench.add(delay=3_600_000)
    first = await sweeps.tick(bench.scope)
    assert first.promoted == 1
    assert first.next_due_ms is not None
    assert 0 < first.next_due_ms - bench.scope.now_ms() <= 1000
    advance(bench.connection, 1000)
    second = await sweeps.tick(bench.scope)
    assert second.promoted == 3
    assert await bench.command("LRANGE", keys.priority, 0, -1) == [ranked.encode(), urgent.encode()]
    assert await bench.command("LRANGE", keys.lifo, 0, -1) == [lifo.encode()]
    assert await bench.stream_ids() == [fifo]
    assert await bench.command("ZRANGE", keys.scheduled, 0, -1) == [far.encode()]
    assert [await bench.field(job_id, "state") for job_id in (fifo, ranked, lifo, urgent)] == ["waiting"] * 4
    assert await bench.field(fifo, "delay") == "1000"


async def test_next_due_sees_past_a_far_off_job_of_another_priority(bench: Bench) -> None:
    await bench.add(delay=3_600_000)
    await bench.add(delay=5_000, priority=9)
    due = (await sweeps.tick(bench.scope)).next_due_ms
    assert due is not None
    assert due - bench.scope.now_ms() <= 5_000


async def test_more_than_one_page_is_promoted_whole(bench: Bench) -> None:
    keys = bench.scope.keys
    for start in range(0, 2500, 500):
        part = range(start, start + 500)
        await bench.connection.pipeline([("HSET", keys.job(f"j{i}"), "state", "delayed") for i in part])
        await bench.connection.pipeline([("ZADD", keys.scheduled, 1, f"j{i}") for i in part])
    assert (await sweeps.tick(bench.scope)).promoted == 2500
    assert await bench.command("XLEN", keys.stream) == 2500


async def test_removed_jobs_are_not_brought_back_by_promotion(bench: Bench) -> None:
    keys = bench.scope.keys
    running = await bench.add()
    await bench.claim()
    for member in ("gone", running):
        await bench.command("ZADD", keys.scheduled, 1, member)
    assert (await sweeps.tick(bench.scope)).promoted == 0
    assert not await bench.command("EXISTS", keys.job("gone"), keys.scheduled)
    assert await bench.field(running, "state") == "active"
    assert await bench.command("XLEN", keys.stream) == 1


async def test_a_peers_retry_is_not_lost_when_a_tick_comes_between(bench: Bench) -> None:
    """Node retries a job by three commands: out of `failed`, into `scheduled`, then the state."""
    keys = bench.scope.keys
    job_id = await bench.fail()
    await bench.command("ZREM", keys.failed, job_id)
    await bench.command("ZADD", keys.scheduled, bench.scope.now_ms(), job_id)
    advance(bench.connection, 10)
    assert (await sweeps.tick(bench.scope)).promoted == 0
    await bench.command(
        "HSET", keys.job(job_id), "state", "delayed", "attemptsMade", 0, "failedReason", "", "finishedOn", ""
    )
    advance(bench.connection, 1010)
    assert (await sweeps.tick(bench.scope)).promoted == 1
    assert [run[0] for run in await bench.claim()] == [job_id]


async def test_members_with_bars(bench: Bench) -> None:
    """A broadcast retry is split; a custom id that holds the bars is promoted whole."""
    keys = bench.scope.keys
    await bench.command("HSET", keys.job("a||b"), "state", "delayed", "name", "odd")
    await bench.command("HSET", keys.job("7"), "state", "delayed", "name", "news")
    await bench.command("ZADD", keys.scheduled, 1, "a||b", 2, "7||mailing||list")
    assert (await sweeps.tick(bench.scope)).promoted == 2
    stream = await bench.command("XRANGE", keys.stream, "-", "+")
    assert [dict(map(tuple, pairs)) for pairs in stream.values()] == [
        {b"jobId": b"a||b", b"name": b"odd"},
        {b"jobId": b"7", b"name": b"news", b"retryGroup": b"mailing||list"},
    ]
    assert not await bench.command("EXISTS", keys.job("a"))


async def test_expired_jobs_fail_at_promotion_and_free_their_key(bench: Bench) -> None:
    late = await bench.add(delay=1000, ttl=500, ordering=Ordering("k"))
    after = await bench.add(ordering=Ordering("k"))
    assert await bench.claim() == []
    assert await bench.field(after, "state") == "group-waiting"
    advance(bench.connection, 1001)
    assert (await sweeps.tick(bench.scope)).promoted == 0
    assert (await bench.field(late, "state"), await bench.field(late, "failedReason")) == (
        "failed",
        "expired",
    )
    assert ("expired", late) in await bench.events()
    assert [run[0] for run in await bench.claim()] == [after]


async def test_a_retrying_job_that_expires_frees_its_slot(bench: Bench) -> None:
    first = await bench.add(ttl=500, attempts=3, ordering=Ordering("k"))
    after = await bench.add(ordering=Ordering("k"))
    [run] = await bench.claim()
    reply = await bench.scope.call(
        *exchange(bench.scope.now_ms(), "w", 1, "em"), *end(run, "f", "3", "600", "", "", "", "", value="x")
    )
    assert (answers(reply), claims(reply)) == (["retrying"], [])
    advance(bench.connection, 1001)
    await sweeps.tick(bench.scope)
    assert await bench.field(first, "failedReason") == "expired"
    assert [run[0] for run in await bench.claim()] == [after]


async def test_rate_limited_groups_wake_up(bench: Bench) -> None:
    jobs = [
        await bench.add(ordering=Ordering("k", concurrency=5, rate_limit=RateLimit(1, 1000)))
        for _ in range(2)
    ]
    assert [run[0] for run in await bench.claim(5)] == [jobs[0]]
    assert (await sweeps.tick(bench.scope)).next_due_ms is not None
    assert await bench.claim(5) == []
    advance(bench.connection, 1001)
    assert (await sweeps.tick(bench.scope)).next_due_ms is None
    assert [run[0] for run in await bench.claim(5)] == [jobs[1]]


# Suspended jobs ---------------------------------------------------------------------------------------------


async def suspend(bench: Bench, timeout: int, **options: Any) -> str:
    await bench.add(**options)
    [run] = await bench.claim()
    reply = await bench.scope.call("suspend", *run, bench.scope.now_ms(), "review", timeout, "")
    assert reply[0] == b"suspended"
    return run[0]


async def test_deadline_writes_what_node_writes(connection: Connection) -> None:
    bench = Bench(connection, "suspend_timed_out")
    bench.scope = await bench.queue.context()
    job_id = await suspend(bench, 100, name="moderate")
    assert await sweep_suspended(bench.scope) == (0, 0)
    advance(bench.connection, 101)
    assert await sweep_suspended(bench.scope) == (1, 0)
    assert_same_records(
        recording("suspend_timed_out"),
        await dump(connection, "glide:{suspend_timed_out}*"),
        ignore=("*:w:*", "*:stream"),
    )
    assert await bench.settle((job_id, "", "0")) == "lost"


async def test_all_overdue_jobs_fail_at_once(bench: Bench) -> None:
    keys = bench.scope.keys
    ids = [f"s{i}" for i in range(250)]
    await bench.connection.pipeline([("HSET", keys.job(i), "state", "suspended") for i in ids])
    await bench.connection.pipeline([("ZADD", keys.suspended, 5, i) for i in ids])
    assert (await sweep_suspended(bench.scope))[0] == 250
    assert await bench.command("ZCARD", keys.failed) == 250


async def test_the_sweep_frees_the_key_and_drops_leftovers(bench: Bench) -> None:
    await suspend(bench, 100, ordering=Ordering("k"))
    keys, after = bench.scope.keys, await bench.add(ordering=Ordering("k"))
    kept = f"{'z' * 3}kept"
    await bench.command("HSET", keys.job(kept), "state", "suspended")
    for i in range(30):
        await bench.command("ZADD", keys.suspended, NO_DEADLINE, f"left{i}")
    await bench.command("ZADD", keys.suspended, NO_DEADLINE, kept)
    assert await bench.claim() == []
    advance(bench.connection, 101)
    failed, rank = await sweep_suspended(bench.scope)
    assert failed == 1
    while rank:
        _, rank = await sweep_suspended(bench.scope, rank)
    await sweep_suspended(bench.scope)
    assert await bench.command("ZRANGE", keys.suspended, 0, -1) == [kept.encode()]
    assert [run[0] for run in await bench.claim()] == [after]


async def test_scores_stay_exact_at_the_highest_priority(bench: Bench) -> None:
    job_id = await bench.add(priority=2048, delay=60_000)
    score = await bench.command("ZSCORE", bench.scope.keys.scheduled, job_id)
    assert score >= 2048 * PRIORITY_STEP
    assert (await sweeps.tick(bench.scope)).promoted == 0
    advance(bench.connection, 60_010)
    assert (await sweeps.tick(bench.scope)).promoted == 1
