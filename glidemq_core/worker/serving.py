"""Serving until a signal comes: the one place for signals, which puts back what was there before."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOptionError
from ..options.job import Duration, merge_options
from ..options.worker import WorkerOptions

if TYPE_CHECKING:
    from .worker import Worker

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Listening:
    """Signal handlers of the process, shared by all that serve in it: a signal stops every one of them."""

    def __init__(self) -> None:
        self._stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._former: dict[signal.Signals, Any] = {}
        #: One bound method, so that it can be told from a handler that came later.
        self._handler = self._told

    def add(self, stop: asyncio.Event) -> None:
        for number in _SIGNALS:
            if number not in self._former:
                with suppress(ValueError):  # not the main thread: whoever runs that one calls close()
                    self._former[number] = signal.signal(number, self._handler)
        self._stops.append((asyncio.get_running_loop(), stop))

    def remove(self, stop: asyncio.Event) -> None:
        self._stops = [entry for entry in self._stops if entry[1] is not stop]
        if self._stops:
            return
        for number, former in self._former.items():
            # None: a handler that was not set from Python cannot be put back from here.
            if signal.getsignal(number) is self._handler and former is not None:
                with suppress(ValueError):
                    signal.signal(number, former)
        self._former.clear()

    def _told(self, *_: Any) -> None:
        for loop, stop in self._stops:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)


_listening = _Listening()


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    _listening.add(stop)
    try:
        yield
    finally:
        _listening.remove(stop)


async def serve(
    *workers: Worker,
    signals: bool = True,
    grace: Duration | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Start workers, serve until SIGTERM, SIGINT or until all are closed, and close them all together.

    Args:
        signals: False leaves the signals to the program (a web server, for example): it ends the serving by cancelling
            this call, or by closing the workers.
        grace: ms or timedelta that running jobs get at the end; None leaves each worker's own.
        on_ready: called when all have started.
    Raises:
        InvalidOptionError: no worker is given, or something else.
        GlideMQError: what kept one of them from starting; those that had started are closed first.
    """
    from .worker import Worker

    if not workers or not all(isinstance(worker, Worker) for worker in workers):
        raise InvalidOptionError(
            "serve() takes one Worker or more, each as an argument",
            option="workers",
            value=workers,
            allowed="serve(worker, ...)",
        )
    if grace is not None:
        for worker in workers:
            worker.options = merge_options(WorkerOptions, worker.options, {"grace": grace})
    stop = asyncio.Event()
    with _stopped_by_signals(stop) if signals else nullcontext():
        try:
            for worker in workers:
                await worker.start()
            if on_ready is not None:
                on_ready()
            await first_of(stop.wait(), _all_closed(workers))
        finally:
            ends = await asyncio.gather(*(worker.close() for worker in workers), return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _all_closed(workers: tuple[Worker, ...]) -> None:
    for worker in workers:
        await worker.wait_until_closed()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait until one of them ends and cancel the others; their answers or errors, in order."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
