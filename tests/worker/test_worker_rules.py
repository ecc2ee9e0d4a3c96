"""Exact rules: token buckets, backoff, retention, and a worker that outlives its server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kits.bench import Bench

from glidemq_core.errors import GlideMQError
from glidemq_core.options.job import Backoff, NewJob, Ordering, RateLimit, Retention, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.embedded.server import EmbeddedServer
from glidemq_core.worker import Worker
from glidemq_core.worker.execution.outcome import backoff_ms, retention_rule

P = "glide:{q}"


# Buckets and windows -----------------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    capacity=st.integers(1, 20_000),
    rate=st.integers(1, 50_000),
    level=st.integers(-20_000, 20_000),
    remainder=st.integers(0, 999),
    waited=st.integers(-5, 10**9),
)
@example(capacity=3_000, rate=1, level=0, remainder=999, waited=1)
@example(capacity=1_000, rate=333, level=999, remainder=700, waited=10**9)
@example(capacity=1_000, rate=1, level=1_000, remainder=0, waited=10)
async def test_a_bucket_refills_to_the_thousandth(
    connection: Connection, capacity: int, rate: int, level: int, remainder: int, waited: int
) -> None:
    """Level, time and remainder after one look are those that Node stores."""
    await connection.command("FLUSHALL")
    bench = Bench(connection, "q")
    bench.scope = await bench.queue.context()
    now = 1_795_467_250_000
    bucket = Ordering("k", concurrency=9, token_bucket=TokenBucket(capacity / 1000, rate / 1000))
    job_id = await bench.add(ordering=bucket, cost=capacity / 1000)
    stored = ("tbTokens", level, "tbLastRefill", now - waited, "tbRefillRemainder", remainder)
    await connection.command("HSET", f"{P}:group:k", *stored)
    await connection.command("DEL", f"{P}:stream")
    await connection.command("HSET", f"{P}:job:{job_id}", "state", "group-waiting")
    await connection.command("ZADD", f"{P}:groupq:k", 1, job_id)
    await connection.command("ZADD", f"{P}:ratelimited", now, "k")
    await bench.scope.call("tick", now)
    fields = ("tbTokens", "tbLastRefill", "tbRefillRemainder")
    written = [int(v) for v in await connection.command("HMGET", f"{P}:group:k", *fields)]
    tokens, since, rest = _refilled(level, now - waited, remainder, capacity, rate, now)
    assert written == [tokens, since, rest]
    if min(level, capacity) >= capacity or tokens >= capacity:
        assert await bench.field(job_id, "state") == "waiting"
    else:
        due = now + -(-(capacity - tokens) * 1000 // rate)
        assert float(await connection.command("ZSCORE", f"{P}:ratelimited", "k")) == due


def _refilled(
    tokens: int, since: int, remainder: int, capacity: int, rate: int, now: int
) -> tuple[int, int, int]:
    if tokens >= capacity or now <= since:
        return tokens, since, remainder
    raw = min(now - since, -(-capacity * 1000 // rate)) * rate + remainder
    return min(capacity, tokens + raw // 1000), now, raw % 1000


async def test_a_groups_window_opens_again_by_itself(bench: Bench, connection: Connection) -> None:
    limited = Ordering("k", concurrency=10, rate_limit=RateLimit(2, 150))
    ids = [await bench.add(ordering=limited) for _ in range(7)]

    async def process(_: Any) -> None: ...

    async with Worker("q", process, connection, concurrency=10):
        for job_id in ids:
            await eventually(lambda job_id=job_id: _completed(bench, job_id))
    starts = [int(await bench.field(job_id, "processedOn") or 0) for job_id in ids]
    assert starts == sorted(starts)
    for first, third in zip(starts, starts[2:], strict=False):
        assert third - first > 0
    windows = Counter((at - starts[0]) // 150 for at in starts)
    assert len(windows) >= 3


async def _completed(bench: Bench, job_id: str) -> bool:
    return await bench.field(job_id, "state") == "completed"


# Backoff -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff("fixed", 100), [100, 100, 100]),
        (Backoff("exponential", 100), [100, 200, 400]),
        (Backoff("of nobody", 70), [70, 70, 70]),
        (Backoff("exponential", 0), [0, 0, 0]),
        (Backoff("mine", 5), [1001, 1002, 1003]),
    ],
)
async def test_backoff_formulas(backoff: Backoff, waits: list[int]) -> None:
    async def mine(failures: int, error: BaseException) -> int:
        assert str(error) == "x"
        return 1000 + failures

    for failures, wait in enumerate(waits, 1):
        assert await backoff_ms(backoff, failures, ValueError("x"), {"mine": mine}) == wait


@given(st.integers(0, 10**9), st.floats(0, 5), st.integers(1, 5_000))
async def test_jitter_only_adds_and_scores_stay_in_their_priority(
    delay: int, jitter: float, failures: int
) -> None:
    wait = await backoff_ms(Backoff("exponential", delay, jitter), failures, ValueError(), {})
    assert wait + 1_795_467_250_000 < 2**42
    if failures == 1:
        assert delay <= wait <= Fraction(delay) * Fraction(1 + jitter) + 1


# Retention ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (None, ""),
        (False, ""),
        (0, ""),
        (True, "all"),
        (3, "n:3"),
        (Retention(), ""),
        (Retention(age=0, count=0), ""),
        (Retention(age=2_000), "a:2:0"),
        (Retention(count=5), "a:0:5"),
    ],
)
def test_retention_words(value: Any, rule: str) -> None:
    assert retention_rule(value) == rule


async def test_retention_counts_ages_and_its_cap(bench: Bench) -> None:
    now = bench.scope.now_ms()

    async def finish(**options: Any) -> str:
        job_id = await bench.add(**options)

        async def process(_: Any) -> None: ...

        async with Worker("q", process, bench.connection):
            await eventually(lambda: bench.command("ZSCORE", f"{P}:completed", job_id))
        return job_id

    for place in range(2_500):
        await bench.command("ZADD", f"{P}:completed", now - 10_000_000 + place, f"old-{place}")
    await bench.command("HSET", f"{P}:job:old-0", "state", "completed")
    await bench.command("RPUSH", f"{P}:log:old-0", "line")
    kept = await finish(remove_on_complete=False)
    assert await bench.command("ZCARD", f"{P}:completed") == 2_501
    await finish(remove_on_complete=10)
    assert await bench.command("ZCARD", f"{P}:completed") == 1_502, "at most 1000 a call"
    assert await bench.command("EXISTS", f"{P}:job:old-0", f"{P}:log:old-0") == 0
    await finish(remove_on_complete=Retention(age=3_600_000, count=2_000))
    assert await bench.command("ZCARD", f"{P}:completed") == 503
    await finish(remove_on_complete=Retention(age=3_600_000))
    assert await bench.command("ZCARD", f"{P}:completed") == 4
    assert await bench.field(kept, "state") == "completed"


async def test_failed_jobs_have_a_retention_of_their_own(bench: Bench, connection: Connection) -> None:
    async def process(_: Any) -> None:
        raise ValueError("x")

    ids = [await bench.add(remove_on_fail=2, remove_on_complete=True) for _ in range(5)]
    async with Worker("q", process, connection, log_errors=False):
        await eventually(lambda: bench.field(ids[-1], "finishedOn"))
    assert await bench.command("ZRANGE", f"{P}:failed", 0, -1) == [b"4", b"5"]
    assert await bench.command("EXISTS", f"{P}:job:1") == 0


# A server that dies ------------------------------------------------------------------------------------------


async def test_work_goes_on_when_the_server_came_back(tmp_path: Path) -> None:
    """Nothing acknowledged is lost with AOF; a job that ran when the server died is settled afterwards."""
    folder = tmp_path / "data"
    ran: Counter[str] = Counter()
    go_on = asyncio.Event()

    async def process(job: Any) -> str:
        ran[job.id] += 1
        if job.name == "hold":
            await go_on.wait()
        return "ok"

    try:
        async with connect(f"embedded:{folder}", request_timeout=1_000) as connection:
            server = EmbeddedServer(folder)
            queue = Queue("q", connection)
            held = await queue.add("hold", {})
            later = await queue.add("later", {}, delay=3_600_000)
            assert held is not None
            assert later is not None
            options: dict[str, Any] = {"promotion_interval": 50, "block_timeout": 200, "log_errors": False}
            async with Worker("q", process, connection, concurrency=2, **options):
                await eventually(lambda: ran["1"])
                before = await server.status()
                assert before.pid is not None
                await connection.command("WAITAOF", 1, 0, 1_000)
                os.kill(before.pid, signal.SIGKILL)
                await server.wait_stopped()
                go_on.set()
                await server.start()
                await eventually(lambda: _is(held, "completed"), timeout=30)
                await queue.add_bulk([NewJob("n") for _ in range(20)])
                await eventually(lambda: len(ran) == 21, timeout=30)
                assert await later.get_state() == "delayed"
            assert set(ran.values()) == {1}
            await server.close()
    finally:
        await EmbeddedServer(folder).stop()


async def _is(job: Any, state: str) -> bool:
    try:
        return bool(await job.get_state() == state)
    except GlideMQError:
        return False


@pytest.mark.leaves_records
async def test_an_id_that_is_no_text_costs_nobody_else(bench: Bench, connection: Connection) -> None:
    await bench.command(
        "HSET", f"{P}:job:".encode() + b"\xff\xfe", "name", "n", "data", "{}", "state", "waiting"
    )
    await bench.command("XADD", f"{P}:stream", "*", "jobId", b"\xff\xfe", "name", "n")
    ids = [await bench.add() for _ in range(3)]

    async def process(_: Any) -> None: ...

    async with Worker("q", process, connection, concurrency=4, log_errors=False):
        for job_id in ids:
            await eventually(lambda job_id=job_id: _completed(bench, job_id))
