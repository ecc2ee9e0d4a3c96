"""What holds starts back: rates, tokens, jobs at once and groups, for one worker and for several."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import end, exchange
from kits.worker import P, clean, in_state, never, quick

from glidemq_core.errors import RateLimitError
from glidemq_core.options.job import NewJob, Ordering, RateLimit, TokenBucket, TokenLimit
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import exchange as worker_exchange


@pytest.mark.parametrize(
    ("error", "delay_ms", "text"),
    [
        (RateLimitError(), None, "rate limited"),
        (RateLimitError(700), 700, "rate limited"),
        (RateLimitError(delay_ms=700), 700, "rate limited"),
        (RateLimitError(timedelta(seconds=2)), 2_000, "rate limited"),
        (RateLimitError("slow down"), None, "slow down"),
        (RateLimitError(message="slow down", delay_ms=5), 5, "slow down"),
    ],
)
def test_a_rate_limit_takes_its_delay_first(error: RateLimitError, delay_ms: int | None, text: str) -> None:
    assert (error.delay_ms, str(error)) == (delay_ms, text)


async def test_a_rate_limit_holds_the_starts_of_a_limited_worker(
    bench: Bench, connection: Connection
) -> None:
    async def process(_: Any) -> None:
        raise RateLimitError(delay_ms=3_600_000)

    first, second = await bench.add(), await bench.add()
    async with quick(process, connection, limiter=RateLimit(1000, 1000)) as worker:
        await eventually(lambda: in_state(bench, first, "delayed"))
        third = await bench.add()
        worker._exchange.wake()
        await eventually(lambda: worker._exchange.idle)
        assert await bench.field(third, "state") == "waiting"
        assert await bench.field(second, "state") == "waiting"


async def test_a_worker_can_hold_its_own_starts(bench: Bench, connection: Connection) -> None:
    """Without a limit of starts, too; what runs goes on and is recorded, and a shorter hold takes nothing back."""
    gate = asyncio.Event()

    async def process(_: Any) -> None:
        await gate.wait()

    first = await bench.add()
    async with quick(process, connection, concurrency=2) as worker:
        await eventually(lambda: in_state(bench, first, "active"))
        worker.rate_limit("1h")
        worker.rate_limit("1ms")
        second = await bench.add()
        gate.set()
        await eventually(lambda: in_state(bench, first, "completed"))
        await asyncio.sleep(0.2)
        assert await in_state(bench, second, "waiting")


async def test_a_hold_stands_though_a_call_under_way_finds_the_queue_full(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.queue.set_global_concurrency(1)
    await bench.queue.add_bulk([NewJob("x")] * 3)
    ran: list[str] = []
    held: list[str] = []
    call = connection.call

    async def process(job: Any) -> None:
        ran.append(job.id)

    worker = quick(process, connection, concurrency=4)

    async def held_before_the_reply_is_read(function: str, *words: Any) -> Any:
        reply = await call(function, *words)
        if function == "exchange" and not held:
            held.append(function)
            worker.rate_limit("1h")
        return reply

    monkeypatch.setattr(connection, "call", held_before_the_reply_is_read)
    async with worker:
        await eventually(lambda: bench.has("1", "completed"))
        await asyncio.sleep(0.2)
    assert ran == ["1"]


async def test_a_lifted_rate_limit_is_noticed_before_its_window_ends(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_exchange, "_LONGEST_LOOK", 0.05)
    await bench.queue.set_global_rate_limit(RateLimit(1, 3_600_000))
    first, second = await bench.add(), await bench.add()

    async def process(_: Any) -> None: ...

    async with quick(process, connection):
        await eventually(lambda: bench.has(first, "completed"))
        await bench.queue.remove_global_rate_limit()
        await eventually(lambda: bench.has(second, "completed"))


async def test_a_chatty_queue_does_not_hide_what_nobody_announced(
    bench: Bench, connection: Connection
) -> None:
    """A producer may leave `added` out, and a list has no entry to wait for: a look once a block timeout finds it."""

    async def process(_: Any) -> None: ...

    async def chatter() -> None:
        while True:
            await bench.command("XADD", f"{P}:events", "*", "event", "progress", "jobId", "0", "data", "1")
            await asyncio.sleep(0.01)

    async with quick(process, connection, block_timeout=200) as worker:
        await eventually(lambda: worker._exchange.nothing_ready)
        talking = asyncio.ensure_future(chatter())
        job = await Queue("q", connection, events=False).add("silent", lifo=True)
        assert job is not None
        await eventually(lambda: in_state(bench, job.id, "completed"))
        talking.cancel()


async def test_a_full_queue_does_not_open_other_limits(bench: Bench, connection: Connection) -> None:
    """Where running jobs are capped, one that ends makes room for another; not past tokens used up, nor in a hold."""
    await bench.queue.set_global_concurrency(1)
    await bench.queue.add_bulk([NewJob("x")] * 6)
    ran: list[str] = []

    async def process(job: Any) -> None:
        ran.append(job.id)
        await job.report_tokens(10)

    limit = TokenLimit(20, 3_600_000, scope="worker")
    async with quick(process, connection, concurrency=2, token_limiter=limit):
        await eventually(lambda: bench.has("2", "completed"))
        await asyncio.sleep(0.2)
    assert ran == ["1", "2"]

    async def refused(job: Any) -> None:
        ran.append(job.id)
        raise RateLimitError(delay_ms=3_600_000)

    async with quick(refused, connection, concurrency=2, limiter=RateLimit(100, 1000)):
        await eventually(lambda: bench.has("3", "delayed"))
        await asyncio.sleep(0.2)
    assert ran == ["1", "2", "3"]


async def test_many_parked_jobs_do_not_hide_what_is_behind_them(bench: Bench, connection: Connection) -> None:
    """The first of an ordering key runs long; two hundred of its key stand before a free one."""
    for _ in range(200):
        await bench.add("ordered", ordering="k")
    free = await bench.add("free")

    async def process(job: Any) -> None:
        if job.name == "ordered":
            await never(job)

    async with quick(process, connection, concurrency=2, block_timeout=60_000, grace=0):
        await eventually(lambda: in_state(bench, free, "completed"))


async def test_parked_jobs_of_the_lists_do_not_hide_what_is_behind_them(
    bench: Bench, connection: Connection
) -> None:
    for _ in range(100):
        await bench.add("ordered", ordering="k", priority=1)
    free = await bench.add("free", priority=2)

    async def process(job: Any) -> None:
        if job.name == "ordered":
            await never(job)

    async with quick(process, connection, concurrency=2, block_timeout=60_000, grace=0):
        await eventually(lambda: in_state(bench, free, "completed"))


async def test_global_concurrency_is_never_exceeded(bench: Bench, connection: Connection) -> None:
    await bench.queue.set_global_concurrency(3)
    running, most = 0, 0

    async def process(_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    options = [{"lifo": True}, {"priority": 3}, {}]
    ids = [await bench.add(**options[n % 3]) for n in range(120)]
    async with (
        quick(process, connection, concurrency=10, block_timeout=100),
        quick(process, connection, concurrency=10, block_timeout=100),
    ):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"), timeout=20)
    assert most <= 3
    await clean(bench)


async def test_the_queues_rate_is_never_exceeded(bench: Bench, connection: Connection) -> None:
    await bench.queue.set_global_rate_limit(RateLimit(5, 300))
    ids = [await bench.add() for _ in range(25)]

    async def process(_: Any) -> None: ...

    async with quick(process, connection, concurrency=10), quick(process, connection, concurrency=10):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"), timeout=20)
    starts = sorted([int(await bench.field(job_id, "processedOn") or 0) for job_id in ids])
    # A window begins with its first start: cut the starts the way the windows fell.
    while starts:
        window = [at for at in starts if at < starts[0] + 300]
        assert len(window) <= 5
        starts = starts[len(window) :]


async def test_a_dearer_group_frees_the_slot_of_a_job_that_can_no_longer_pay(
    bench: Bench, connection: Connection
) -> None:
    """A retrying job holds its slot; its group's bucket shrinks below its cost meanwhile."""
    big = Ordering("k", token_bucket=TokenBucket(10, 1000))
    first = await bench.add(ordering=big, cost=8, attempts=2)
    [run] = await bench.claim()
    stopped = end(run, "f", "2", "0", "", "", "", "", value="x")
    now = bench.scope.now_ms()
    await bench.scope.call(*exchange(now, "worker-1-0badcafe", 0, "em"), *stopped)
    assert await bench.field(first, "state") == "delayed"
    second = await bench.add(ordering=Ordering("k", token_bucket=TokenBucket(5, 1000)), cost=1)

    async def process(_: Any) -> None: ...

    async with quick(process, connection):
        await eventually(lambda: in_state(bench, first, "failed"))
        await eventually(lambda: in_state(bench, second, "completed"))
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"
