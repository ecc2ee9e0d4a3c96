"""`graceful_shutdown`: a signal closes everything once, and the handlers of before are back."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from glidemq_core import InvalidOptionError, Queue, Worker, graceful_shutdown
from glidemq_core.server.connection import Connection


class Recorder:
    def __init__(self, error: Exception | None = None) -> None:
        self.closed = 0
        self._error = error

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_all(connection: Connection, number: signal.Signals) -> None:
    before = signal.getsignal(number)

    async def process(_: Any) -> None: ...

    async with Worker("q", process, connection) as worker, Queue("q", connection) as queue:
        recorder = Recorder()
        handle = graceful_shutdown(worker, queue, recorder)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        await asyncio.wait_for(handle, 10)

        assert recorder.closed == 1
        assert not worker.is_running
    assert signal.getsignal(number) is before


async def test_shutdown_closes_once_and_logs_what_cannot_be_closed(caplog: pytest.LogCaptureFixture) -> None:
    """As in the peer: who shuts down goes on whatever happens, and awaits the handle as before."""
    first, second = Recorder(ValueError("no")), Recorder()
    handle = graceful_shutdown(first, second)

    results = await asyncio.gather(handle.shutdown(), handle.shutdown(), handle, return_exceptions=True)
    await handle.shutdown()

    assert results == [None, None, None]
    assert (first.closed, second.closed) == (1, 1)
    [record] = caplog.records
    assert (record.name, record.levelname, record.message) == (
        "glidemq.worker",
        "ERROR",
        "cannot close Recorder: no",
    )
    assert record.exc_info is not None


async def test_a_disposed_handle_closes_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    recorder = Recorder()
    handle = graceful_shutdown(recorder)
    handle.dispose()
    await asyncio.wait_for(handle, 5)

    assert recorder.closed == 0
    assert signal.getsignal(signal.SIGTERM) is before


async def test_what_cannot_be_closed_is_refused() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InvalidOptionError, match="takes what has a close"):
        graceful_shutdown(object())  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loop_that_ends_without_waiting_for_it_lets_signals_through() -> None:
    """Else Ctrl-C would do nothing for the rest of the program."""
    term, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    async def main() -> None:
        graceful_shutdown()
        await asyncio.sleep(0)

    asyncio.run(main())
    try:
        assert signal.getsignal(signal.SIGTERM) is term
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, interrupt)
