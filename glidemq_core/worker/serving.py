"""Serving until a signal comes: the one place for signals, which puts back what was there before."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Protocol

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Service(Protocol):
    """What can be served: a worker."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def wait_until_closed(self) -> None: ...


class _SignalHandlers:
    """Signal handlers of the process, shared by all that serve in it: a signal stops every one of them."""

    def __init__(self) -> None:
        self._stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._former: dict[signal.Signals, Any] = {}
        #: One bound method, so that it can be told from a handler that came later.
        self._handler = self._stop_all

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

    def _stop_all(self, *_: Any) -> None:
        for loop, stop in self._stops:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)


_handlers = _SignalHandlers()


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    _handlers.add(stop)
    try:
        yield
    finally:
        _handlers.remove(stop)


async def serve_until_stopped(
    services: Sequence[Service], *, signals: bool, on_ready: Callable[[], None] | None = None
) -> None:
    """Start services, serve until SIGTERM, SIGINT or until all are closed, and close them all together.

    Args:
        signals: False leaves the signals to the program.
        on_ready: called when all have started.
    """
    stop = asyncio.Event()
    with _stopped_by_signals(stop) if signals else nullcontext():
        try:
            for service in services:
                await service.start()
            if on_ready is not None:
                on_ready()
            await first_of(stop.wait(), _all_closed(services))
        finally:
            ends = await asyncio.gather(*(service.close() for service in services), return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _all_closed(services: Sequence[Service]) -> None:
    for service in services:
        await service.wait_until_closed()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait until one of them ends and cancel the others; their answers or errors, in order."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
