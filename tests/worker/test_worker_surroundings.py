"""Workers whose surroundings fail: handlers, lost replies, a spoilt queue, rude neighbours."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import asked, sent
from kits.worker import P, clean, in_state, never, quick

from glidemq_core.errors import (
    CallTimeoutError,
    GlideMQError,
    JobLostError,
    ServerError,
)
from glidemq_core.options.job import Actor, JobOptions, NewJob
from glidemq_core.server.connection import Connection

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


async def test_a_queue_that_was_empty_from_the_start_is_not_drained(
    bench: Bench, connection: Connection
) -> None:
    """It is told when the last job has ended, not when there never was one: as Node tells it."""
    told: list[str] = []
    worker = quick(lambda job: None, connection)
    worker.on("drained", lambda: told.append("drained"))
    worker.on("completed", lambda job, _: told.append(job.id))
    async with worker:
        await worker.wait_until_ready()
        await asyncio.sleep(0.1)
        assert told == []
        only = await bench.add()
        await eventually(lambda: told == [only, "drained"])


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


def lose_ends(connection: Connection) -> None:
    """From now on the first reply about runs that ended is lost, with whatever its call has claimed."""
    call = connection.call

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange" and sent(args) and asked(args)[3] != "emr":
            raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    connection.call = lossy  # type: ignore[method-assign]


@pytest.mark.parametrize("keep", [True, 1])
async def test_a_lost_reply_about_jobs_that_are_not_kept_is_no_lost_job(
    bench: Bench, connection: Connection, keep: Any
) -> None:
    """The server settled and removed them; the repeated call finds nothing, and that was their own wish."""
    errors, told = list[Exception](), Counter[str]()

    async def process(job: Any) -> None:
        if job.name == "fails":
            raise ValueError("no")

    options = JobOptions(remove_on_complete=keep, remove_on_fail=keep)
    await bench.queue.add_bulk([NewJob(name, options=options) for name in ("works", "fails") * 5])
    lose_ends(connection)
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
    errors, told = list[Exception](), Counter[str]()

    async def process(job: Any) -> None:
        if job.attempts_made < 2:
            raise ValueError("no")

    options = JobOptions(attempts=3)
    await bench.queue.add_bulk([NewJob("n", options=options) for _ in range(5)])
    lose_ends(connection)
    worker = quick(process, connection, concurrency=5)
    worker.on("error", errors.append)
    worker.on("completed", lambda job, _: told.update(["completed"]))
    worker.on("failed", lambda job, _: told.update([job.state]))
    async with worker:
        await eventually(lambda: told["completed"] == 5)
    assert told == {"completed": 5, "delayed": 10}
    assert not [error for error in errors if isinstance(error, JobLostError)]


async def test_a_claim_that_arrives_after_its_repeat_takes_no_job(
    bench: Bench, connection: Connection
) -> None:
    """It lay on a connection that was given up: nobody would run what it claimed."""
    call, held = connection.call, list[tuple[Any, ...]]()

    async def late(function: str, *args: Any) -> Any:
        if function == "exchange" and not held:
            held.append((function, *args))
            raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return await call(function, *args)

    connection.call = late  # type: ignore[method-assign]
    async with quick(never, connection, grace=10) as worker:
        first = await bench.add()
        await eventually(lambda: worker.active_jobs)
        second = await bench.add()
        with pytest.raises(ServerError, match="repeated before it came"):
            await call(*held[0])
        assert await bench.field(first, "state") == "active"
        assert await bench.field(second, "state") == "waiting"


@pytest.mark.parametrize("options", [{}, {"lifo": True}])
async def test_a_lost_claim_of_a_job_whose_end_is_not_told_yet_is_found(
    bench: Bench, connection: Connection, options: dict[str, Any]
) -> None:
    """One call ends an attempt, another claims the next; both replies are lost, the claim is looked for first."""
    call, read, looked, ended = connection.call, connection.read, False, False

    async def lossy(function: str, *args: Any) -> Any:
        nonlocal ended
        reply = await call(function, *args)
        if function == "exchange" and not looked:
            settles = bool(sent(args))
            ended = ended or settles
            if settles or (ended and reply[1]):
                raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    async def looking(function: str, *args: Any) -> Any:
        nonlocal looked
        reply = await read(function, *args)
        looked = looked or function == "owned"
        return reply

    async def process(job: Any) -> None:
        if not job.attempts_made:
            raise ValueError("no")

    job_id = await bench.add(attempts=2, **options)
    connection.call, connection.read = lossy, looking  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=2):
        await eventually(lambda: in_state(bench, job_id, "completed"))
    assert looked
    assert await bench.field(job_id, "stalledCount") is None


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
        await eventually(lambda: worker._exchange.nothing_ready)
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
