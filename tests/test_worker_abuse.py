"""Workers under abuse: processors, handlers and neighbours that do what they should not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from test_control import Bench

from glidemq_core.connection import Connection
from glidemq_core.errors import (
    CallTimeoutError,
    GlideMQError,
    JobControl,
    JobStateError,
    RateLimitError,
    ServerError,
    UnrecoverableError,
)
from glidemq_core.options import (
    Actor,
    Backoff,
    JobOptions,
    NewJob,
    Ordering,
    RateLimit,
    TokenBucket,
    TokenLimit,
)
from glidemq_core.worker import Worker
from glidemq_core.worker import exchange as worker_exchange
from glidemq_core.worker import run as worker_run
from glidemq_core.worker.runner import Runner

P = "glide:{q}"


@pytest.fixture
async def bench(connection: Connection) -> Bench:
    made = Bench(connection, "q")
    made.scope = await made.queue.scope()
    return made


def quick(process: Any, connection: Connection, **options: Any) -> Worker:
    return Worker("q", process, connection, **{"promotion_interval": 50, "log_errors": False, **options})


async def never(_: Any) -> None:
    await asyncio.Event().wait()


async def clean(bench: Bench) -> None:
    """Nothing runs, nothing is counted as running."""
    await eventually(lambda: _idle(bench))


async def _idle(bench: Bench) -> bool:
    with contextlib.suppress(ServerError):
        if (await bench.command("XPENDING", f"{P}:stream", "workers"))[0]:
            return False
    return (
        int(await bench.command("GET", f"{P}:list-active") or 0) == 0
        and await bench.command("ZCARD", f"{P}:list-runs") == 0
    )


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
        (SystemExit(3), "3"),
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
        await eventually(lambda: _state(bench, job_id, "delayed"))
    assert await bench.field(job_id, "suspendedAt") is None
    assert await bench.field(job_id, "returnvalue") is None
    await clean(bench)


async def _state(bench: Bench, job_id: str, *wanted: str) -> bool:
    return await bench.field(job_id, "state") in wanted


async def test_a_kept_job_cannot_be_steered_after_its_end(bench: Bench, connection: Connection) -> None:
    kept: list[Any] = []

    async def process(job: Any) -> None:
        kept.append(job)

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: _state(bench, job_id, "completed"))
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
        await eventually(lambda: _state(bench, good, "completed"))
        for job_id in bad:
            await eventually(lambda job_id=job_id: _state(bench, job_id, "failed"))


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "failed"))
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
            await eventually(lambda: _state(bench, job_id, "completed"))
            assert await bench.field(job_id, "returnvalue") == "1"
        else:
            score = float(await bench.command("ZSCORE", f"{P}:scheduled", job_id))
            assert score < bench.scope.now_ms() + 2_000
        assert worker.is_running


async def test_a_rate_limit_holds_the_starts_of_a_limited_worker(
    bench: Bench, connection: Connection
) -> None:
    async def process(_: Any) -> None:
        raise RateLimitError(delay_ms=3_600_000)

    first, second = await bench.add(), await bench.add()
    async with quick(process, connection, limiter=RateLimit(1000, 1000)) as worker:
        await eventually(lambda: _state(bench, first, "delayed"))
        third = await bench.add()
        worker._exchange.wake()
        await eventually(lambda: worker._exchange.idle)
        assert await bench.field(third, "state") == "waiting"
        assert await bench.field(second, "state") == "waiting"


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "failed"))
            assert await bench.field(job_id, "attemptsMade") == "1"


# Closing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifo", [False, True])
@pytest.mark.parametrize("force", [False, True])
async def test_closing_at_any_moment_loses_and_abandons_nothing(
    bench: Bench, connection: Connection, lifo: bool, force: bool
) -> None:
    """Also in the moment between a claim and the first step of its processor."""
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1

    added = await bench.queue.add_bulk([NewJob("n", n, JobOptions(lifo=lifo)) for n in range(300)])
    for turns in range(40):
        worker = quick(process, connection, concurrency=7, grace=0)
        await worker.start()
        for _ in range(turns * 3):
            await asyncio.sleep(0)
        await asyncio.gather(worker.close(force=force), worker.close())
        assert worker.active_jobs == 0
        assert await _idle(bench), f"after {turns} turns a job was left active"
    async with quick(process, connection, concurrency=7):
        for job in added:
            await eventually(lambda job=job: _state(bench, job.id, "completed"))
    stalls = [await bench.field(job.id, "stalledCount") for job in added]
    assert set(stalls) == {None}
    assert max(ran.values()) == 1


async def test_a_job_stopped_before_its_first_step_is_handed_back(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    async def process(job: Any) -> None:
        started.append(job.id)
        await never(job)

    worker = quick(process, connection)
    closing: list[asyncio.Task[None]] = []
    begin = Runner.begin

    def interrupted(runner: Runner, claim: Any) -> None:
        begin(runner, claim)
        for run in worker._running.values():
            run.abort("closing")
        closing.append(asyncio.ensure_future(worker.close()))

    monkeypatch.setattr(Runner, "begin", interrupted)
    job_id = await bench.add()
    await worker.start()
    await eventually(lambda: closing)
    await closing[0]
    assert started == []
    assert await bench.field(job_id, "state") == "waiting"
    assert await bench.field(job_id, "processedOn") is None
    assert await _idle(bench)


async def test_closing_during_start(bench: Bench, connection: Connection) -> None:
    for turns in range(0, 60, 5):
        worker = quick(never, connection)
        starting = asyncio.ensure_future(worker.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        await worker.close()
        await asyncio.gather(starting, return_exceptions=True)
        assert not worker.is_running
    await eventually(lambda: _no_workers(bench))


async def _no_workers(bench: Bench) -> bool:
    return not await bench.command("KEYS", f"{P}:w:*")


async def test_closing_and_pausing_from_within(bench: Bench, connection: Connection) -> None:
    async def process(job: Any) -> str:
        if job.name == "pause":
            await worker.pause()
        else:
            await worker.close()
        return "done"

    paused, closed = await bench.add("pause"), await bench.add("close")
    worker = quick(process, connection, grace=50)
    await worker.start()
    await eventually(lambda: _state(bench, paused, "completed"))
    assert worker.is_paused
    assert await bench.field(closed, "state") == "waiting"
    await worker.resume()
    await eventually(lambda: not worker.is_running, timeout=20)
    assert await _state(bench, closed, "waiting", "completed")
    assert await _idle(bench)


async def test_a_handler_may_close_its_worker(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add()

    async def process(_: Any) -> None: ...

    worker = quick(process, connection)

    @worker.on("drained")
    async def _() -> None:
        await worker.close()

    await asyncio.wait_for(worker.run(), 10)
    assert await bench.field(job_id, "state") == "completed"


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"))
        await eventually(lambda: len(heard) == 3)
        worker.on("completed", never)
        job_id = await bench.add()
        await eventually(lambda: _state(bench, job_id, "completed"))


async def test_a_deaf_processor_does_not_keep_the_worker(bench: Bench, connection: Connection) -> None:
    """It swallows every cancellation; its job stays active and is recovered as stalled."""
    free = asyncio.Event()

    async def process(_: Any) -> None:
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()

    job_id = await bench.add()
    worker = quick(process, connection, grace=10)
    await worker.start()
    await eventually(lambda: worker.active_jobs)
    await worker.close()
    assert await bench.field(job_id, "state") == "active"
    free.set()


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


async def test_pausing_waits_for_claims_under_way(bench: Bench, connection: Connection) -> None:
    """A claim that was on its way when the pause began runs, and is waited for."""
    await bench.queue.add_bulk([NewJob("x")] * 60)
    call = connection.call

    async def slow(*args: Any) -> Any:
        reply = await call(*args)
        await asyncio.sleep(0.01)
        return reply

    async def process(_: Any) -> None:
        await asyncio.sleep(0.002)

    worker = quick(process, connection, concurrency=4)
    async with worker:
        connection.call = slow  # type: ignore[method-assign]
        for _ in range(8):
            await worker.resume()
            await asyncio.sleep(0.02)
            await worker.pause()
            assert worker.active_jobs == 0
            await asyncio.sleep(0.02)
            assert worker.active_jobs == 0


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


@pytest.mark.parametrize("lose", range(0, 12, 3))
async def test_replies_lost_within_one_millisecond_cost_and_repeat_nothing(
    bench: Bench, connection: Connection, lose: int
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

    ids = [job.id for job in await bench.queue.add_bulk([NewJob("x")] * 120)]
    connection.call = lossy  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=6):
        for job_id in ids:
            await eventually(lambda job_id=job_id: bench.has(job_id, "completed"), timeout=20)
    assert ran == Counter(ids)


CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from glidemq_core.worker import Worker

    async def process(job):
        print("started", job.id, flush=True)
        await asyncio.sleep(0.2 if job.name == "short" else 3600)
        return "done"

    asyncio.run(Worker("q", process, sys.argv[1], concurrency=2, grace=1000).run())
    """
)


async def test_sigterm_drains_and_hands_back(bench: Bench, server_url: str, tmp_path: Path) -> None:
    short, long, rest = [await bench.add(kind) for kind in ("short", "long", "rest")]
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    with subprocess.Popen([sys.executable, str(script), server_url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(2):
            await asyncio.to_thread(child.stdout.readline)
        os.kill(child.pid, signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 20) == 0
    assert await bench.field(short, "state") == "completed"
    assert await bench.field(long, "state") == "waiting"
    assert await bench.field(long, "stalledCount") is None
    assert await bench.field(rest, "state") == "waiting"
    assert await _idle(bench)
    assert await _no_workers(bench)


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
        await eventually(lambda: _state(bench, job_id, "completed"))


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"))
        go_on.set()
        await eventually(lambda: _state(bench, held, "completed"))
        await eventually(lambda: _state(bench, delayed, "delayed"))
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
        await eventually(lambda: _state(bench, job_id, "completed"))
    assert await bench.command("EXISTS", f"{P}:job:2") == 0


# Limits shared by workers ------------------------------------------------------------------------------------


async def test_many_parked_jobs_do_not_hide_what_is_behind_them(bench: Bench, connection: Connection) -> None:
    """The first of an ordering key runs long; two hundred of its key stand before a free one."""
    for _ in range(200):
        await bench.add("ordered", ordering="k")
    free = await bench.add("free")

    async def process(job: Any) -> None:
        if job.name == "ordered":
            await never(job)

    async with quick(process, connection, concurrency=2, block_timeout=60_000, grace=0):
        await eventually(lambda: _state(bench, free, "completed"))


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
        await eventually(lambda: _state(bench, free, "completed"))


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"), timeout=20)
    assert most <= 3
    await clean(bench)


async def test_the_queues_rate_is_never_exceeded(bench: Bench, connection: Connection) -> None:
    await bench.queue.set_global_rate_limit(RateLimit(5, 300))
    ids = [await bench.add() for _ in range(25)]

    async def process(_: Any) -> None: ...

    async with quick(process, connection, concurrency=10), quick(process, connection, concurrency=10):
        for job_id in ids:
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"), timeout=20)
    starts = sorted([int(await bench.field(job_id, "processedOn") or 0) for job_id in ids])
    # A window begins with its first start: cut the starts the way the windows fell.
    while starts:
        window = [at for at in starts if at < starts[0] + 300]
        assert len(window) <= 5
        starts = starts[len(window) :]


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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"), timeout=15)
    assert set(ran.values()) <= {1}
    assert [await bench.field(job_id, "stalledCount") for job_id in ids] == [None, None]


async def test_two_approvers_race_with_a_running_worker(bench: Bench, connection: Connection) -> None:
    async def process(job: Any) -> Any:
        if not job.signals:
            await job.suspend(reason="review")
        return [s.name for s in job.signals]

    ids = [await bench.add() for _ in range(20)]
    async with quick(process, connection, concurrency=5):
        for job_id in ids:
            await eventually(lambda job_id=job_id: _state(bench, job_id, "suspended"))
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
            await eventually(lambda job_id=job_id: _state(bench, job_id, "completed"))
            results = await bench.field(job_id, "returnvalue")
            assert results in ('["approve"]', '["reject"]')
    assert Counter(d.outcome for d in decisions)["sent"] == 20


async def test_a_dearer_group_frees_the_slot_of_a_job_that_can_no_longer_pay(
    bench: Bench, connection: Connection
) -> None:
    """A retrying job holds its slot; its group's bucket shrinks below its cost meanwhile."""
    big = Ordering("k", token_bucket=TokenBucket(10, 1000))
    first = await bench.add(ordering=big, cost=8, attempts=2)
    [run] = await bench.claim()
    stopped = (*run, "f", "2", "0", "", "", "", "")
    await bench.scope.call(
        "exchange", bench.scope.now_ms(), "worker-1-0badcafe", 0, "em", 0, 0, 0, 0, "\x1f".join(stopped), "x"
    )
    assert await bench.field(first, "state") == "delayed"
    second = await bench.add(ordering=Ordering("k", token_bucket=TokenBucket(5, 1000)), cost=1)

    async def process(_: Any) -> None: ...

    async with quick(process, connection):
        await eventually(lambda: _state(bench, first, "failed"))
        await eventually(lambda: _state(bench, second, "completed"))
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"
