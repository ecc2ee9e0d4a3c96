"""Workers under abuse: processors, handlers and neighbours that do what they should not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from typing import Any

import pytest
from bench import Bench
from conftest import eventually
from worker_kit import P, clean, in_state, never, quick

from glidemq_core.connection import Connection
from glidemq_core.errors import (
    CallTimeoutError,
    GlideMQError,
    JobControl,
    JobLostError,
    JobStateError,
    RateLimitError,
    UnrecoverableError,
)
from glidemq_core.options import Actor, Backoff, JobOptions, NewJob
from glidemq_core.worker import run as worker_run


@pytest.fixture
async def bench(connection: Connection) -> Bench:
    made = Bench(connection, "q")
    made.scope = await made.queue.scope()
    return made


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
    monkeypatch.setattr(worker_run, "DEAF_S", 0.1)
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


# Handlers, clocks, lost replies -------------------------------------------------------------------------------


async def test_handlers_that_raise_or_hang_stop_nothing(bench: Bench, connection: Connection) -> None:
    heard: list[BaseException] = []

    async def process(_: Any) -> None: ...

    worker = quick(process, connection)
    worker.on("active", lambda _: 1 / 0)
    worker.on("error", heard.append)
    worker.on("error", lambda _: 1 / 0)

    ids = [await bench.add() for _ in range(3)]
    async with worker:
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
        await eventually(lambda: len(heard) == 3)
        worker.on("completed", never)
        job_id = await bench.add()
        await eventually(lambda: in_state(bench, job_id, "completed"))


async def test_times_are_those_of_the_clock_however_many_calls_a_second(
    bench: Bench, connection: Connection
) -> None:
    now = connection.now_ms()
    connection.now_ms = lambda: now  # type: ignore[method-assign]  # a clock that stands still
    ids = [job.id for job in await bench.queue.add_bulk([NewJob("x")] * 50)]

    async def process(_: Any) -> None: ...

    async with quick(process, connection):
        await eventually(lambda: bench.has(ids[-1], "completed"))
    assert {await bench.field(job_id, "processedOn") for job_id in ids} == {str(now)}
    assert {await bench.field(job_id, "finishedOn") for job_id in ids} == {str(now)}


async def test_drained_is_told_once_and_not_of_a_paused_queue(bench: Bench, connection: Connection) -> None:
    async def process(_: Any) -> None: ...

    told: list[str] = []
    worker = quick(process, connection, block_timeout=20)
    worker.on("drained", lambda: told.append("drained"))
    worker.on("completed", lambda job, _: told.append(job.id))
    await bench.queue.pause()
    first = await bench.add()
    async with worker:
        await asyncio.sleep(0.1)
        assert told == []
        await bench.queue.resume()
        await eventually(lambda: told == [first, "drained"])
        second = await bench.add()
        await eventually(lambda: told[2:] == [second, "drained"])
        await asyncio.sleep(0.1)
    assert told == [first, "drained", second, "drained"]


@pytest.mark.parametrize("options", [None, JobOptions(lifo=True), JobOptions(priority=3)])
@pytest.mark.parametrize("lose", range(0, 12, 3))
async def test_replies_lost_within_one_millisecond_cost_and_repeat_nothing(
    bench: Bench, connection: Connection, lose: int, options: JobOptions | None
) -> None:
    """All calls bear the same stamp: what is running or on its way is not taken for what the lost call claimed."""
    now, call, count = connection.now_ms(), connection.call, 0
    connection.now_ms = lambda: now  # type: ignore[method-assign]  # a clock that stands still

    async def lossy(function: str, *args: Any) -> Any:
        nonlocal count
        reply = await call(function, *args)
        if function == "exchange":
            count += 1
            if count % 12 == lose:
                raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(0.001 * (int(job.id) % 5))

    ids = [job.id for job in await bench.queue.add_bulk([NewJob("x", options=options)] * 120)]
    connection.call = lossy  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=6):
        for job_id in ids:
            await eventually(lambda job_id=job_id: bench.has(job_id, "completed"), timeout=20)
    assert ran == Counter(ids)


@pytest.mark.parametrize("keep", [True, 1])
async def test_a_lost_reply_about_jobs_that_are_not_kept_is_no_lost_job(
    bench: Bench, connection: Connection, keep: Any
) -> None:
    """The server settled and removed them; the repeated call finds nothing, and that was their own wish."""
    call, errors, told = connection.call, list[Exception](), Counter[str]()

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange" and len(args) > 9 and args[4] != "emr":
            raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    async def process(job: Any) -> None:
        if job.name == "fails":
            raise ValueError("no")

    options = JobOptions(remove_on_complete=keep, remove_on_fail=keep)
    await bench.queue.add_bulk([NewJob(name, options=options) for name in ("works", "fails") * 5])
    connection.call = lossy  # type: ignore[method-assign]
    worker = quick(process, connection, concurrency=10)
    worker.on("error", errors.append)
    worker.on("completed", lambda job, _: told.update(["completed"]))
    worker.on("failed", lambda job, _: told.update(["failed"]))
    async with worker:
        await eventually(lambda: sum(told.values()) == 10)
    assert told == {"completed": 5, "failed": 5}
    assert not [error for error in errors if isinstance(error, JobLostError)]


async def test_a_lost_reply_about_a_retry_that_has_begun_is_no_lost_job(
    bench: Bench, connection: Connection
) -> None:
    """The repeated call comes when the next attempt runs, or is over already."""
    call, errors, told = connection.call, list[Exception](), Counter[str]()

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange" and len(args) > 9 and args[4] != "emr":
            raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    async def process(job: Any) -> None:
        if job.attempts_made < 2:
            raise ValueError("no")

    options = JobOptions(attempts=3)
    await bench.queue.add_bulk([NewJob("n", options=options) for _ in range(5)])
    connection.call = lossy  # type: ignore[method-assign]
    worker = quick(process, connection, concurrency=5)
    worker.on("error", errors.append)
    worker.on("completed", lambda job, _: told.update(["completed"]))
    worker.on("failed", lambda job, _: told.update([job.state]))
    async with worker:
        await eventually(lambda: told["completed"] == 5)
    assert told == {"completed": 5, "delayed": 10}
    assert not [error for error in errors if isinstance(error, JobLostError)]


# The queue under the worker ----------------------------------------------------------------------------------


async def test_a_key_of_the_wrong_type_is_told_and_outlived(bench: Bench, connection: Connection) -> None:
    await bench.command("SET", f"{P}:stream", "no stream")
    with pytest.raises(GlideMQError, match="WRONGTYPE"):
        await quick(never, connection).start()
    await bench.command("DEL", f"{P}:stream")

    async def process(_: Any) -> None: ...

    heard: list[BaseException] = []
    worker = quick(process, connection)
    worker.on("error", heard.append)
    async with worker:
        await eventually(lambda: worker._exchange.dry)
        await bench.command("RENAME", f"{P}:stream", "aside")
        await bench.command("SET", f"{P}:stream", "no stream")
        worker._exchange.wake()
        await eventually(lambda: any("WRONGTYPE" in str(e) for e in heard))
        before = connection.stats.commands
        told = len(heard)
        await asyncio.sleep(0.5)  # what is measured is the absence of a busy loop
        assert connection.stats.commands - before < 60
        assert len(heard) - told < 60
        await bench.command("DEL", f"{P}:stream")
        job_id = await bench.add()
        await eventually(lambda: in_state(bench, job_id, "completed"))


async def test_a_lost_group_runs_nothing_twice(bench: Bench, connection: Connection) -> None:
    ran: Counter[str] = Counter()
    go_on = asyncio.Event()

    async def process(job: Any) -> str:
        ran[job.id] += 1
        if job.name == "hold":
            await go_on.wait()
            if job.data == "delay":
                await job.move_to_delayed(bench.scope.now_ms() + 3_600_000)
        return "ok"

    held = await bench.add("hold", "end")
    delayed = await bench.add("hold", "delay")
    async with quick(process, connection, concurrency=5) as worker:
        await eventually(lambda: worker.active_jobs == 2)
        await bench.command("XGROUP", "DESTROY", f"{P}:stream", "workers")
        after = [await bench.add() for _ in range(10)]
        worker._exchange.wake()
        for job_id in after:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
        go_on.set()
        await eventually(lambda: in_state(bench, held, "completed"))
        await eventually(lambda: in_state(bench, delayed, "delayed"))
    assert set(ran.values()) == {1}
    assert await bench.command("XLEN", f"{P}:stream") == 0
    await clean(bench)


async def test_an_obliterated_queue_goes_on_when_it_is_used_again(
    bench: Bench, connection: Connection
) -> None:
    go_on = asyncio.Event()

    async def process(job: Any) -> None:
        if job.name == "hold":
            await go_on.wait()

    await bench.add("hold")
    heard: list[BaseException] = []
    worker = quick(process, connection, concurrency=2)
    worker.on("error", heard.append)
    async with worker:
        await eventually(lambda: worker.active_jobs)
        await bench.queue.obliterate(force=True)
        go_on.set()
        await eventually(lambda: any("not owned" in str(e) for e in heard))
        job_id = await bench.add()
        await eventually(lambda: in_state(bench, job_id, "completed"))
    assert await bench.command("EXISTS", f"{P}:job:2") == 0


# Neighbours --------------------------------------------------------------------------------------------------


async def test_a_short_lock_of_a_job_is_kept_alive_beside_long_ones(
    bench: Bench, connection: Connection
) -> None:
    """The job's own lock is 1 s, its worker's 30 s; a second worker sweeps all the time."""
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(2.2)

    ids = [await bench.add(lock_duration=1_000), await bench.add(lock_duration=1_000, lifo=True)]
    async with (
        quick(process, connection, concurrency=2, promotion_interval=5_000),
        quick(never, connection, stalled_interval=200),
    ):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"), timeout=15)
    assert set(ran.values()) <= {1}
    assert [await bench.field(job_id, "stalledCount") for job_id in ids] == [None, None]


@pytest.mark.parametrize("lifo", [False, True])
async def test_a_short_lock_of_a_dead_worker_is_noticed_long_before_the_next_sweep(
    bench: Bench, connection: Connection, lifo: bool
) -> None:
    """Its worker never shows up again; who takes over has never seen a job with a lock of its own."""

    async def process(_: Any) -> str:
        return "done"

    job_id = await bench.add(lock_duration=1_000, lifo=lifo)
    await bench.claim()
    async with quick(process, connection, stalled_interval=600_000, promotion_interval=1_000):
        await eventually(lambda: in_state(bench, job_id, "completed"), timeout=15)
    assert await bench.field(job_id, "stalledCount") == "1"


async def test_two_approvers_race_with_a_running_worker(bench: Bench, connection: Connection) -> None:
    async def process(job: Any) -> Any:
        if not job.signals:
            await job.suspend(reason="review")
        return [s.name for s in job.signals]

    ids = [await bench.add() for _ in range(20)]
    async with quick(process, connection, concurrency=5):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "suspended"))
        decisions = await asyncio.gather(
            *(
                decide
                for job_id in ids
                for decide in (
                    bench.queue.approve(job_id, actor=Actor("ann")),
                    bench.queue.reject(job_id, actor=Actor("bob"), reason="no"),
                )
            )
        )
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
            results = await bench.field(job_id, "returnvalue")
            assert results in ('["approve"]', '["reject"]')
    assert Counter(d.outcome for d in decisions)["sent"] == 20
