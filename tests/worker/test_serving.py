"""Serving until a signal: several workers together, inside programs that have signal handlers of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import in_state, never, quick

from glidemq_core import InvalidOptionError, serve
from glidemq_core.server.connection import Connection

GATHERED = textwrap.dedent(
    """
    import asyncio, sys
    from glidemq_core import Worker

    async def process(job): ...

    async def main():
        workers = [Worker(name, process, sys.argv[1], grace=100) for name in ("q", "r")]
        for worker in workers:
            worker.on("ready", lambda: print("ready", flush=True))
        await asyncio.gather(*(worker.run() for worker in workers))

    asyncio.run(main())
    print("ended", flush=True)
    """
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_every_worker_that_runs(
    server_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "child.py"
    script.write_text(GATHERED)
    with subprocess.Popen([sys.executable, str(script), server_url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(2):
            await asyncio.to_thread(child.stdout.readline)
        os.kill(child.pid, number)
        assert await asyncio.to_thread(child.stdout.readline) == b"ended\n"
        assert await asyncio.to_thread(child.wait, 20) == 0


async def test_the_signal_handlers_of_the_program_are_put_back(bench: Bench, connection: Connection) -> None:
    heard: list[int] = []

    def own(number: int, _: Any) -> None:
        heard.append(number)

    former = signal.signal(signal.SIGTERM, own)
    try:
        workers = [quick(never, connection, grace=10), quick(never, connection, grace=10)]
        serving = asyncio.ensure_future(serve(*workers))
        await eventually(lambda: all(worker.is_running for worker in workers))
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        assert not any(worker.is_running for worker in workers)
        assert heard == []
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, former)


@pytest.mark.parametrize("signals", [True, False])
async def test_signals_stay_with_a_web_server_that_has_them(
    bench: Bench, connection: Connection, signals: bool
) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    try:
        worker = quick(never, connection, grace=10)
        serving = asyncio.ensure_future(worker.run(signals=signals))
        await eventually(lambda: worker.is_running)
        os.kill(os.getpid(), signal.SIGTERM)
        if signals:
            await serving
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stopped.wait(), 10)
        if not signals:
            assert worker.is_running
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_one_grace_for_all_that_are_served(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add()
    worker = quick(never, connection)
    serving = asyncio.ensure_future(serve(worker, signals=False, grace=10))
    await eventually(lambda: worker.active_jobs)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(serving, 10)
    assert await in_state(bench, job_id, "waiting")


async def test_serving_ends_when_all_were_closed(connection: Connection) -> None:
    first, second = quick(never, connection), quick(never, connection)
    serving = asyncio.ensure_future(serve(first, second, signals=False))
    await eventually(lambda: second.is_running)
    await first.close()
    assert not serving.done()
    await second.close()
    await asyncio.wait_for(serving, 10)


async def test_one_that_cannot_start_takes_the_others_along(connection: Connection) -> None:
    good = quick(never, connection)
    closed = quick(never, connection)
    await closed.close()
    with pytest.raises(Exception, match="is closed"):
        await serve(good, closed, signals=False)
    assert not good.is_running


@pytest.mark.parametrize("workers", [(), ([],)])
async def test_what_is_no_worker_is_refused(workers: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidOptionError, match="one Worker or more"):
        await serve(*workers)
