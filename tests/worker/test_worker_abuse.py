"""Workers under abuse: processors that do what they should not, retries of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import P, clean, in_state, quick

from glidemq_core.errors import (
    JobControl,
    JobStateError,
    RateLimitError,
    UnrecoverableError,
)
from glidemq_core.options.job import Backoff
from glidemq_core.server.connection import Connection
from glidemq_core.worker.execution import run as worker_run

# What processors may do ------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _deep() -> Any:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (StopAsyncIteration("x"), "x"),
        (JobControl(), "JobControl was raised"),
        (Mute(), "Mute"),
        (ValueError("\x1b[31m\ud800" + "x" * 100_000), "\x1b[31m?xxx"),
        (object(), "not serialisable"),
        ({1, 2}, "not serialisable"),
        (float("nan"), "NaN"),
        ("x" * 1_048_576, "1048576"),
        (_deep(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("lifo", [False, True])
async def test_whatever_a_processor_does_its_job_ends(
    bench: Bench, connection: Connection, ends: Any, reason: str, lifo: bool
) -> None:
    async def process(job: Any) -> Any:
        if job.name == "good":
            return 1
        if isinstance(ends, BaseException):
            raise ends
        return ends

    job_id = await bench.add(lifo=lifo)
    good = await bench.add("good")
    async with quick(process, connection):
        await eventually(lambda: bench.field(good, "finishedOn"))
        await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(good, "state") == "completed"
    assert await bench.field(job_id, "state") == "failed"
    stored = await bench.field(job_id, "failedReason")
    assert stored
    assert len(stored) <= 64 * 1024
    if reason and "serialis" not in reason and "NaN" not in reason:
        assert reason in stored
    await clean(bench)


@pytest.mark.parametrize("ends", [SystemExit(3), StopIteration("x"), ValueError("bad")], ids=str)
async def test_plain_functions_may_raise_anything(bench: Bench, connection: Connection, ends: Any) -> None:
    def process(_: Any) -> None:
        raise ends

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(job_id, "state") == "failed"


async def test_a_thread_that_outlives_its_timeout_changes_nothing(
    bench: Bench, connection: Connection
) -> None:
    go_on, told = threading.Event(), threading.Event()

    def process(job: Any) -> str:
        go_on.wait(10)
        if job.aborted:
            told.set()
        return "late"

    job_id = await bench.add(timeout=50)
    async with quick(process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
        go_on.set()
        await eventually(told.is_set)
    assert await bench.field(job_id, "failedReason") == "Job timeout exceeded"
    assert await bench.field(job_id, "returnvalue") is None


async def test_swallowed_control_flow_still_counts(bench: Bench, connection: Connection) -> None:
    async def process(job: Any) -> str:
        for call in (
            lambda: job.suspend(reason="a"),
            lambda: job.move_to_delayed(bench.scope.now_ms() + 3_600_000),
        ):
            with contextlib.suppress(BaseException):
                await call()
        return "ignored"

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, job_id, "delayed"))
    assert await bench.field(job_id, "suspendedAt") is None
    assert await bench.field(job_id, "returnvalue") is None
    await clean(bench)


async def test_a_kept_job_cannot_be_steered_after_its_end(bench: Bench, connection: Connection) -> None:
    kept: list[Any] = []

    async def process(job: Any) -> None:
        kept.append(job)

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, job_id, "completed"))
        with pytest.raises(JobStateError):
            await kept[0].suspend()
        with pytest.raises(JobStateError):
            await kept[0].move_to_delayed(1)


@pytest.mark.parametrize(
    "opts",
    [
        "nonsense",
        "[]",
        "null",
        '{"timeout":"x","attempts":-3,"lockDuration":"y","backoff":7,"fallbacks":3}',
        "",
    ],
)
async def test_options_that_make_no_sense_do_not_stop_the_worker(
    bench: Bench, connection: Connection, opts: str
) -> None:
    bad = [await bench.add("bad") for _ in range(3)]
    for job_id in bad:
        await bench.command("HSET", f"{P}:job:{job_id}", "opts", opts, "data", "gz:!!!")

    async def process(job: Any) -> Any:
        assert job.data == {}
        if job.name == "bad":
            raise ValueError("no")

    good = await bench.add("good")
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, good, "completed"))
        for job_id in bad:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "failed"))


@pytest.mark.parametrize("how", ["timeout", "revoke", "remove"])
async def test_a_deaf_processor_keeps_neither_job_nor_slot(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It swallows its cancellation and runs on: the job ends without it, and what it returns later is nothing."""
    monkeypatch.setattr(worker_run, "UNRESPONSIVE_S", 0.1)
    free, heard, failed = asyncio.Event(), [], []

    async def process(job: Any) -> Any:
        if job.name == "next":
            return 1
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()
        return "late"

    job_id = await bench.add(timeout=50 if how == "timeout" else 0)
    worker = quick(process, connection, lock_duration=200)
    worker.on("error", heard.append)
    worker.on("failed", lambda job, error: failed.append((job.id, str(error))))
    async with worker:
        await eventually(lambda: worker.active_jobs)
        if how == "revoke":
            await bench.queue.revoke(job_id)
        elif how == "remove":
            await bench.queue.remove_job(job_id, force=True)
        follower = await bench.add("next")
        await eventually(lambda: bench.has(follower, "completed"))
        reason = {"timeout": "Job timeout exceeded", "revoke": "revoked", "remove": None}[how]
        assert await bench.field(job_id, "failedReason") == reason
        free.set()
        await asyncio.sleep(0.05)
        assert await bench.field(job_id, "returnvalue") is None
    assert failed == ([(job_id, reason)] if reason else [])
    assert "ignores its cancellation" in str(heard[0])
    await clean(bench)


# Retries -----------------------------------------------------------------------------------------------------


async def test_strategies_may_be_async_and_broken_ones_wait_the_delay(
    bench: Bench, connection: Connection
) -> None:
    asked: list[tuple[int, str]] = []

    async def mine(failures: int, error: BaseException) -> int:
        asked.append((failures, str(error)))
        return 10 * failures

    def broken(_: int, __: BaseException) -> Any:
        raise RuntimeError("strategy")

    async def process(_: Any) -> None:
        raise ValueError("no")

    first = await bench.add(attempts=3, backoff=Backoff("mine", 999_999))
    second = await bench.add(attempts=2, backoff=Backoff("broken", 7))
    third = await bench.add(attempts=2, backoff=Backoff("silly", 8))
    errors: list[BaseException] = []
    strategies = {"mine": mine, "broken": broken, "silly": lambda n, e: "soon"}
    worker = quick(process, connection, backoff_strategies=strategies)
    worker.on("error", errors.append)
    async with worker:
        for job_id in (first, second, third):
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "failed"))
    assert asked == [(1, "no"), (2, "no")]
    assert [str(e) for e in errors if isinstance(e, RuntimeError)] == ["strategy"]
    retries = await bench.command("XRANGE", f"{P}:events", "-", "+")
    delays = [
        (fields[b"jobId"], fields[b"delay"])
        for fields in (dict(map(tuple, pairs)) for pairs in retries.values())
        if fields[b"event"] == b"retrying"
    ]
    assert sorted(delays) == [(b"1", b"10"), (b"1", b"20"), (b"2", b"7"), (b"3", b"8")]


@pytest.mark.parametrize("said", [None, -5, 7.2, float("inf"), "soon", 2**60])
async def test_a_rate_limit_always_retries_and_counts_an_attempt(
    bench: Bench, connection: Connection, said: Any
) -> None:
    async def process(job: Any) -> int:
        if job.attempts_made == 0:
            raise RateLimitError(delay_ms=said)
        return job.attempts_made

    job_id = await bench.add()
    async with quick(process, connection) as worker:
        await eventually(lambda: bench.field(job_id, "failedReason"))
        if said == 7.2:
            await eventually(lambda: in_state(bench, job_id, "completed"))
            assert await bench.field(job_id, "returnvalue") == "1"
        else:
            score = float(await bench.command("ZSCORE", f"{P}:scheduled", job_id))
            assert score < bench.scope.now_ms() + 2_000
        assert worker.is_running


async def test_unrecoverable_and_discarded_jobs_keep_their_attempts_unused(
    bench: Bench, connection: Connection
) -> None:
    async def process(job: Any) -> None:
        if job.name == "discard":
            job.discard()
            raise ValueError("x")
        raise UnrecoverableError("x")

    ids = [await bench.add(kind, attempts=9) for kind in ("discard", "fatal")]
    async with quick(process, connection):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "failed"))
            assert await bench.field(job_id, "attemptsMade") == "1"
