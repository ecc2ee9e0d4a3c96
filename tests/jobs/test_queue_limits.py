"""RPM and TPM: starts are held before they are claimed, tokens counted whatever became of the run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from conftest import eventually
from kits.watch import viewer_url

from glidemq_core.job import Job
from glidemq_core.options.job import NewJob, RateLimit, TokenLimit
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker
from glidemq_core.worker.rate_limits import WorkerLimits

MINUTE = 60_000


async def test_two_workers_never_start_more_than_the_queue_allows(connection: Connection) -> None:
    started: list[str] = []

    async def process(job: Any) -> None:
        started.append(job.id)

    queue = Queue("q", connection)
    await queue.set_global_rate_limit(RateLimit(5, MINUTE))
    await queue.add_bulk([NewJob("n", n) for n in range(20)])

    async with (
        Worker("q", process, connection, concurrency=4),
        Worker("q", process, connection, concurrency=4),
    ):
        await eventually(lambda: len(started) == 5)
        await asyncio.sleep(0.3)

    assert len(started) == 5
    counts = await queue.get_job_counts()
    assert counts.waiting == 15, "what a limit holds back stays waiting"
    limits = await queue.get_limits()
    assert (limits.rpm.used, limits.rpm.max, limits.rpm.source) == (5, 5, "queue")


async def test_a_short_window_lets_the_rest_through_window_by_window(connection: Connection) -> None:
    async def process(job: Any) -> None:
        return None

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(12)])

    async with Worker("q", process, connection, concurrency=10, limiter=RateLimit(5, 300)):
        await eventually(lambda: _completed(connection, 12))

    window = await connection.command("HMGET", "glide:{q}:rate", "windowStart", "count")
    assert int(window[1]) <= 5


async def test_tokens_of_every_reporting_run_count_and_hold_further_starts(connection: Connection) -> None:
    started: list[str] = []

    async def process(job: Any) -> None:
        started.append(job.id)
        await job.report_usage(model="m", tokens={"input": 60.5})
        if len(started) == 1:
            raise ValueError("the provider counted it all the same")

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(5)])
    limit = TokenLimit(100, 3_600_000, "queue")

    async with Worker("q", process, connection, token_limiter=limit):
        await eventually(lambda: len(started) == 2)
        await asyncio.sleep(0.2)
        limits = await queue.get_limits()

    assert len(started) == 2
    assert (limits.tpm.used, limits.tpm.max, limits.tpm.window_ms) == (122, 100, 3_600_000)
    [key] = await connection.command("KEYS", "glide:{q}:tpm:*")
    assert await connection.command("PTTL", key) > 0


async def test_report_tokens_alone_feeds_the_limit(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.report_tokens(70)

    queue = Queue("q", connection)
    await queue.add("n", {})

    async with Worker("q", process, connection, token_limiter=TokenLimit(1_000, 3_600_000, "both")):
        await eventually(lambda: _completed(connection, 1))

    [key] = await connection.command("KEYS", "glide:{q}:tpm:*")
    assert await connection.command("GET", key) == b"70"


async def test_a_part_of_a_token_counts_as_one(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.report_tokens(70.5)

    await Queue("q", connection).add("n", {})

    async with Worker("q", process, connection, token_limiter=TokenLimit(1_000, 3_600_000, "queue")):
        await eventually(lambda: _completed(connection, 1))

    [key] = await connection.command("KEYS", "glide:{q}:tpm:*")
    assert await connection.command("GET", key) == b"71"


@pytest.mark.parametrize(
    ("held", "reported", "counted"),
    [("", 1e30, 2**53), ("no number", 5, 5), (str(2**63 - 1), 5, 2**53)],
    ids=["too large a report", "no number there", "a full counter"],
)
async def test_a_window_that_cannot_be_added_to_holds_up_no_settling(
    connection: Connection, held: str, reported: float, counted: int
) -> None:
    day, errors = 86_400_000, list[Exception]()

    async def process(job: Any) -> None:
        if held:
            await connection.command("SET", f"glide:{{q}}:tpm:{connection.now_ms() // day}", held)
        await job.report_usage(total_tokens=reported)

    await Queue("q", connection).add("n", {}, remove_on_complete=True)
    worker = Worker("q", process, connection, token_limiter=TokenLimit(2**52, day, "queue"))
    worker.on("error", errors.append)
    async with worker:
        await eventually(lambda: _gone(connection))

    assert errors == []
    [key] = await connection.command("KEYS", "glide:{q}:tpm:*")
    assert await connection.command("GET", key) == str(counted).encode()
    assert 0 < await connection.command("PTTL", key) <= day


async def _suspended(job: Job[Any, Any]) -> bool:
    return await job.get_state() == "suspended"


async def _counted(connection: Connection, text: bytes) -> bool:
    [key] = await connection.command("KEYS", "glide:{q}:tpm:*")
    kind = await connection.command("TYPE", key)
    return kind in (b"string", "string") and await connection.command("GET", key) == text


async def _gone(connection: Connection) -> bool:
    return not await connection.command("EXISTS", "glide:{q}:job:1")


async def test_what_is_no_counter_is_replaced_by_one(connection: Connection) -> None:
    day, errors = 86_400_000, list[Exception]()

    async def process(job: Any) -> None:
        await job.report_tokens(70)
        await connection.command("SADD", f"glide:{{q}}:tpm:{connection.now_ms() // day}", "foreign")
        await job.suspend(reason="review")

    job = await Queue("q", connection).add("n", {})
    assert job is not None
    worker = Worker("q", process, connection, token_limiter=TokenLimit(1_000, day, "queue"))
    worker.on("error", errors.append)
    async with worker:
        await eventually(lambda: _suspended(job))
        await eventually(lambda: _counted(connection, b"70"))

    assert errors == []


async def test_the_workers_own_window_needs_no_key(connection: Connection) -> None:
    started: list[str] = []

    async def process(job: Any) -> None:
        started.append(job.id)
        await job.report_tokens(70)

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(4)])

    async with Worker("q", process, connection, token_limiter=TokenLimit(100, 3_600_000, "worker")):
        await eventually(lambda: len(started) == 2)
        await asyncio.sleep(0.2)

    assert len(started) == 2
    assert await connection.command("KEYS", "glide:{q}:tpm:*") == []


async def test_a_worker_publishes_its_caps_while_it_lives(connection: Connection) -> None:
    async def process(job: Any) -> None:
        return None

    worker = Worker(
        "q", process, connection, limiter=RateLimit(60, MINUTE), token_limiter=TokenLimit(1_000, MINUTE)
    )
    async with worker, Watch(connection, queues=["q"]) as watch:
        stored = json.loads(await connection.command("HGET", "glide:{q}:limits", worker.id))
        [limits] = await watch.limits(["q"])

    assert stored["rpm"] == {"max": 60, "duration": MINUTE}
    assert stored["tpm"] == {"maxTokens": 1_000, "duration": MINUTE, "scope": "both"}
    assert stored["v"] == 1
    assert (limits.rpm.max, limits.rpm.source) == (60, "worker")
    assert limits.tpm.max == 1_000
    assert await connection.command("HEXISTS", "glide:{q}:limits", worker.id) == 0


async def test_tokens_counted_by_peers_show_with_the_cap_unknown(connection: Connection) -> None:
    window = connection.now_ms() // MINUTE
    await connection.command("SET", f"glide:{{q}}:tpm:{window}", "4321", "PX", MINUTE)

    limits = await Queue("q", connection).get_limits()

    assert limits.tpm.used == 4321
    assert limits.tpm.max is None
    assert limits.tpm.window_ms == MINUTE


async def test_groups_show_slots_waiting_jobs_and_buckets(connection: Connection) -> None:
    from glidemq_core.options.job import Ordering, TokenBucket

    release = asyncio.Event()

    async def process(job: Any) -> None:
        await release.wait()

    queue = Queue("q", connection)
    for _ in range(3):
        await queue.add("n", {}, ordering=Ordering("tenant", 1, token_bucket=TokenBucket(10, 1)))

    async with Worker("q", process, connection, concurrency=5):
        await eventually(lambda: _parked(connection, 2))
        limits = await queue.get_limits()
        release.set()

    [group] = limits.groups
    assert (group.key, group.active, group.max_concurrency, group.waiting) == ("tenant", 1, 1, 2)
    assert group.capacity == 10
    assert group.tokens is not None
    assert 8.9 < group.tokens <= 10
    assert limits.groups_total == 1


def test_a_wait_for_a_token_window_ends_shortly_after_the_window() -> None:
    limits = WorkerLimits(None, TokenLimit(10, 1_000, "worker"), chance=lambda: 1.0)
    limits.count(10, 5_200)

    assert limits.wait_ms(5_300) == 700 + 50
    assert limits.wait_ms(6_000) == 0


async def _completed(connection: Connection, wanted: int) -> bool:
    return bool(await connection.command("ZCARD", "glide:{q}:completed") == wanted)


async def _parked(connection: Connection, wanted: int) -> bool:
    return bool(await connection.command("ZCARD", "glide:{q}:groupq:tenant") == wanted)


async def test_a_cap_with_a_fraction_lets_jobs_start_below_it(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)

    async def process(job: Job[Any, Any]) -> None:
        await job.report_tokens(1)

    first, second = await queue.add("n"), await queue.add("n")
    assert first is not None
    assert second is not None
    limit = TokenLimit(0.5, 3_600_000)
    async with Worker("q", process, connection, token_limiter=limit, log_errors=False):
        await eventually(first.is_completed)
        assert await second.get_state() == "waiting"


async def test_a_quick_worker_does_not_shorten_what_a_slow_one_publishes(connection: Connection) -> None:
    async def process(job: Job[Any, Any]) -> None:
        return None

    limit = RateLimit(5, 60_000)
    slow = Worker("q", process, connection, limiter=limit, stalled_interval=30_000)
    quick = Worker("q", process, connection, limiter=limit, stalled_interval=2_000)
    async with slow, quick:
        assert await connection.command("HLEN", "glide:{q}:limits") == 2
        assert await connection.command("PTTL", "glide:{q}:limits") > 30_000


@pytest.mark.leaves_records
async def test_the_groups_of_a_queue_are_read_by_one_call_and_plainly_too(
    connection: Connection, server_url: str
) -> None:
    for number in range(30):
        key = f"customer-{number}"
        await connection.command("HSET", "glide:{q}:ordering", key, 3)
        await connection.command("HSET", f"glide:{{q}}:group:{key}", "maxConcurrency", 2, "active", 1)
        await connection.command(
            "ZADD", f"glide:{{q}}:groupq:{key}", *(("1", "a", "2", "b") if number == 7 else ("1", "a"))
        )
    await connection.command("HSET", "glide:{q}:group:customer-7", "rateMax", 5, "rateDuration", 1_000)
    await connection.command("ZADD", "glide:{q}:ratelimited", connection.now_ms() + 60_000, "customer-7")
    await connection.command("SET", "glide:{odd}:ordering", "of another type")

    async with Watch(connection) as watch, Watch(await viewer_url(connection, server_url)) as poor:
        await watch.limits(["q"])
        before = connection.stats.commands
        [found] = await watch.limits(["q"])
        assert connection.stats.commands - before == 2
        [plainly, odd] = await poor.limits(["q", "odd"])

    first = found.groups[0]
    assert (len(found.groups), found.groups_total) == (30, 30)
    assert (first.key, first.waiting, first.active, first.max_concurrency) == ("customer-7", 2, 1, 2)
    assert first.rate is not None
    assert first.resume_at is not None
    assert plainly.groups == found.groups
    assert (odd.groups, odd.groups_total) == ((), None)
