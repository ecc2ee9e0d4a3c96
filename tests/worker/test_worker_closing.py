"""Workers that close, pause or are told to stop, at any moment: nothing is lost and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import sent
from kits.worker import P, in_state, is_idle, never, quick

from glidemq_core.errors import CallTimeoutError
from glidemq_core.options.job import JobOptions, NewJob, Ordering, RateLimit
from glidemq_core.server.connection import Connection
from glidemq_core.worker import exchange
from glidemq_core.worker.context import WorkerContext
from glidemq_core.worker.execution import run as worker_run
from glidemq_core.worker.execution.runner import Runner


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
        assert await is_idle(bench), f"after {turns} turns a job was left active"
    async with quick(process, connection, concurrency=7):
        for job in added:
            await eventually(lambda job=job: in_state(bench, job.id, "completed"))
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

    def interrupted(runner: Runner, claim: Any, on_end: Any) -> None:
        begin(runner, claim, on_end)
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
    assert await is_idle(bench)


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


async def test_a_paused_worker_has_started_and_does_not_run(bench: Bench, connection: Connection) -> None:
    worker = quick(never, connection)
    seen = [(worker.has_started, worker.is_running, worker.is_paused)]
    for change in (worker.start, worker.pause, worker.resume, worker.close):
        await change()
        seen.append((worker.has_started, worker.is_running, worker.is_paused))

    started, paused, gone = (True, True, False), (True, False, True), (False, False, False)
    assert seen == [gone, started, paused, started, gone]


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
    await eventually(lambda: in_state(bench, paused, "completed"))
    assert worker.is_paused
    assert await bench.field(closed, "state") == "waiting"
    await worker.resume()
    await eventually(lambda: not worker.is_running, timeout=20)
    assert await in_state(bench, closed, "waiting", "completed")
    assert await is_idle(bench)


async def _nothing_goes_on(before: set[asyncio.Task[Any]]) -> None:
    await eventually(lambda: not asyncio.all_tasks() - before)


async def test_a_close_that_is_cut_short_hands_back_at_once(bench: Bench, connection: Connection) -> None:
    before = asyncio.all_tasks()
    job_id = await bench.add()
    worker = quick(never, connection, grace=60_000)
    await worker.start()
    await eventually(lambda: worker.active_jobs)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.close(), 0.1)

    assert not worker.is_running
    assert await bench.field(job_id, "state") == "waiting"
    assert await is_idle(bench)
    assert await _no_workers(bench)
    await _nothing_goes_on(before)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_job_is_handed_back_although_a_reply_is_lost(
    bench: Bench, connection: Connection, executed: bool
) -> None:
    call, lost = connection.call, list[str]()

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args) if executed or function != "hand_back" or lost else None
        if function == "hand_back" and not lost:
            lost.append(function)
            raise CallTimeoutError("lost", command=function, timeout_ms=1)
        return reply

    job_id = await bench.add(lifo=True)
    connection.call = lossy  # type: ignore[method-assign]
    worker = quick(never, connection, grace=10)
    await worker.start()
    await eventually(lambda: worker.active_jobs)

    await worker.close()

    assert lost
    assert await bench.field(job_id, "state") == "waiting"
    assert await bench.command("LRANGE", f"{P}:lifo", 0, -1) == [job_id.encode()]
    assert await is_idle(bench)


async def test_a_worker_whose_run_is_cancelled_closes(bench: Bench, connection: Connection) -> None:
    before = asyncio.all_tasks()
    job_id = await bench.add()
    worker = quick(never, connection, grace=10)
    serving = asyncio.ensure_future(worker.run())
    await eventually(lambda: worker.active_jobs)

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert not worker.is_running
    assert await bench.field(job_id, "state") == "waiting"
    assert await _no_workers(bench)
    await _nothing_goes_on(before)


async def test_a_drain_that_is_cancelled_leaves_nothing_behind(bench: Bench, connection: Connection) -> None:
    await bench.add()
    async with quick(never, connection, grace=10) as worker:
        await eventually(lambda: worker.active_jobs)
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.drain(), 0.1)
        await _nothing_goes_on(before)


async def test_a_handler_may_close_its_worker(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add()

    async def process(_: Any) -> None: ...

    worker = quick(process, connection)

    @worker.on("drained")
    async def _() -> None:
        await worker.close()

    await asyncio.wait_for(worker.run(), 10)
    assert await bench.field(job_id, "state") == "completed"


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


@pytest.mark.parametrize("lifo", [False, True])
async def test_a_job_claimed_while_closing_is_handed_back_and_never_started(
    bench: Bench, connection: Connection, lifo: bool
) -> None:
    """Its claim is under way when closing begins; a start would only be cancelled at once."""
    started, told = list[str](), list[str]()

    async def process(job: Any) -> None:
        started.append(job.id)
        await never(job)

    call, under_way, go_on = connection.call, asyncio.Event(), asyncio.Event()

    async def slow(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange" and reply[1]:
            under_way.set()
            await go_on.wait()
        return reply

    ids = [await bench.add(lifo=lifo) for _ in range(3)]
    connection.call = slow  # type: ignore[method-assign]
    worker = quick(process, connection, concurrency=3, grace=60_000)
    worker.on("active", lambda job: told.append(job.id))
    await worker.start()
    await under_way.wait()
    closing = asyncio.ensure_future(worker.close())
    await eventually(lambda: worker._state == "closing")
    go_on.set()
    await asyncio.wait_for(closing, 20)

    assert (started, told) == ([], [])
    for job_id in ids:
        assert await bench.field(job_id, "state") == "waiting"
        assert await bench.field(job_id, "stalledCount") is None
        assert await bench.field(job_id, "attemptsMade") == "0"
    assert await is_idle(bench)


async def test_pausing_returns_when_the_results_are_recorded(bench: Bench, connection: Connection) -> None:
    call, go_on = connection.call, asyncio.Event()

    async def slow(function: str, *args: Any) -> Any:
        if function == "exchange" and sent(args):
            await go_on.wait()
        return await call(function, *args)

    finish = asyncio.Event()

    async def process(_: Any) -> str:
        await finish.wait()
        return "done"

    job_id = await bench.add()
    connection.call = slow  # type: ignore[method-assign]
    async with quick(process, connection) as worker:
        await eventually(lambda: worker.active_jobs)
        pausing = asyncio.ensure_future(worker.pause())
        await asyncio.sleep(0)
        finish.set()
        await eventually(lambda: not worker.active_jobs)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not pausing.done()
        go_on.set()
        await pausing
        assert await bench.field(job_id, "state") == "completed"


async def test_a_deaf_processor_does_not_keep_a_pause(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_run, "UNRESPONSIVE_S", 0.1)
    free = asyncio.Event()

    async def process(_: Any) -> None:
        while not free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await free.wait()

    job_id = await bench.add(timeout=50)
    async with quick(process, connection) as worker:
        await eventually(lambda: worker.active_jobs)
        await asyncio.wait_for(worker.pause(), 10)
        assert await bench.field(job_id, "failedReason") == "Job timeout exceeded"
        free.set()


async def test_draining_waits_for_jobs_behind_their_ordering_key(
    bench: Bench, connection: Connection
) -> None:
    """The key's rate holds them back: nothing waits, runs or is scheduled meanwhile."""
    limited = Ordering("k", concurrency=5, rate_limit=RateLimit(1, 300))
    ids = [await bench.add(ordering=limited) for _ in range(4)]

    async def process(_: Any) -> None: ...

    async with asyncio.timeout(30):
        await quick(process, connection, concurrency=5).drain()
    assert [await bench.field(job_id, "state") for job_id in ids] == ["completed"] * 4


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


async def test_results_go_out_while_anybody_waits_for_them_at_the_end_of_the_loop(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause that waits, too, is cancelled; the close that waits beside it still records what ends."""
    answered, ends = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
    real = exchange.call_exchange

    async def slow(*args: Any, **keywords: Any) -> Any:
        await answered.wait()
        return await real(*args, **keywords)

    async def process(job: Any) -> None:
        await ends[int(job.id) - 1].wait()

    ids = [await bench.add() for _ in ends]
    worker = quick(process, connection, concurrency=2, promotion_interval=60_000)
    await worker.start()
    await eventually(lambda: worker.active_jobs == 2)
    monkeypatch.setattr(exchange, "call_exchange", slow)
    ends[0].set()
    await eventually(lambda: worker.active_jobs == 1)
    with monkeypatch.context() as patch:
        patch.setattr(WorkerContext, "is_abandoned", True)
        pausing, closing = (asyncio.create_task(worker._exchange.flush()) for _ in range(2))
        await asyncio.sleep(0)
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
        ends[1].set()
        await eventually(lambda: worker.active_jobs == 0)
        answered.set()
        await asyncio.wait_for(closing, 5)
    for job_id in ids:
        assert await in_state(bench, job_id, "completed")
    await worker.close()


ABANDONS = textwrap.dedent(
    """
    import asyncio, sys
    from glidemq_core.worker import Worker

    async def main():
        started = asyncio.Event()

        async def process(job):
            started.set()
            await asyncio.sleep(3600)

        await Worker("q", process, sys.argv[1], concurrency=2).start()
        await started.wait()

    asyncio.run(main())
    """
)


async def test_a_worker_left_open_at_the_end_of_its_loop_fails_no_job(
    bench: Bench, server_url: str, tmp_path: Path
) -> None:
    """The program ends without closing it: its job was cancelled, did not fail, and will be taken for stalled."""
    ids = [await bench.add() for _ in range(4)]
    script = tmp_path / "child.py"
    script.write_text(ABANDONS)
    command = [sys.executable, str(script), server_url]

    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert [await bench.field(job_id, "failedReason") for job_id in ids] == [None] * 4


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
    assert await is_idle(bench)
    assert await _no_workers(bench)
