"""Serving until a signal comes, and closing what a program names then: the one place for signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Protocol

from ..options.fields import refuse
from .events import logger

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: One Ctrl-C may arrive twice, from the terminal and from a parent that passes it on; a person takes longer, s.
_SAME_KEY_S = 0.4


class Service(Protocol):
    """What can be served: a worker."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def wait_until_closed(self) -> None: ...


class StopRequest:
    """What signals ask of one that serves, in the event loop where it was made."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        #: To end, finishing what runs.
        self.asked = asyncio.Event()
        #: To end now.
        self.hurried = asyncio.Event()
        self._asked_at = 0.0

    def take(self, number: int) -> None:
        """Note a signal. A second Ctrl-C hurries; SIGTERM never does, supervisors like to repeat it."""
        if not self.asked.is_set():
            self._asked_at = self.loop.time()
            self.asked.set()
        elif number == signal.SIGINT and self.loop.time() - self._asked_at >= _SAME_KEY_S:
            self.hurried.set()


class _SignalHandlers:
    """Signal handlers of the process, shared by all that serve in it: a signal stops every one of them."""

    def __init__(self) -> None:
        self._stops: list[StopRequest] = []
        self._former: dict[signal.Signals, Any] = {}
        #: One bound method, so that a handler set later can be recognised.
        self._handler = self._stop_all

    def add(self, stop: StopRequest) -> None:
        for number in _SIGNALS:
            if number not in self._former:
                with suppress(ValueError):  # not the main thread: the program calls close() itself
                    self._former[number] = signal.signal(number, self._handler)
        self._stops.append(stop)

    def remove(self, stop: StopRequest) -> None:
        self._stops = [entry for entry in self._stops if entry is not stop]
        if self._stops:
            return
        for number, former in self._former.items():
            # None: a handler that was not set from Python cannot be put back from here.
            if signal.getsignal(number) is self._handler and former is not None:
                with suppress(ValueError):
                    signal.signal(number, former)
        self._former.clear()

    def _stop_all(self, number: int, *_: Any) -> None:
        for stop in self._stops:
            if not stop.loop.is_closed():
                stop.loop.call_soon_threadsafe(stop.take, number)


_handlers = _SignalHandlers()


@contextmanager
def stopped_by_signals(stop: StopRequest) -> Iterator[None]:
    """Note SIGTERM and SIGINT in `stop` meanwhile, instead of what they did before."""
    _handlers.add(stop)
    try:
        yield
    finally:
        _handlers.remove(stop)


async def serve_until_stopped(
    services: Sequence[Service], *, signals: bool, on_ready: Callable[[], None] | None = None
) -> None:
    """Start services, serve until SIGTERM, SIGINT or until all are closed, and close them all together.

    A second Ctrl-C while they close cancels closing: what runs is handed back at once.

    Args:
        signals: False leaves the signals to the program.
        on_ready: called when all have started.
    """
    stop = StopRequest()
    with stopped_by_signals(stop) if signals else nullcontext():
        try:
            for service in services:
                await service.start()
            if on_ready is not None:
                on_ready()
            await first_of(stop.asked.wait(), _all_closed(services))
        finally:
            ends = await _close_all(services, stop)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _close_all(services: Sequence[Service], stop: StopRequest) -> list[BaseException | None]:
    """Close services at the same time; returns what each raised."""
    closing = [asyncio.ensure_future(service.close()) for service in services]
    hurrying = asyncio.ensure_future(_cancel_when(stop.hurried, closing))
    try:
        return await asyncio.gather(*closing, return_exceptions=True)
    finally:
        hurrying.cancel()


async def _cancel_when(hurried: asyncio.Event, tasks: Sequence[asyncio.Future[None]]) -> None:
    await hurried.wait()
    for task in tasks:
        task.cancel()


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


class Closeable(Protocol):
    """What `graceful_shutdown` can close."""

    def close(self) -> Awaitable[Any]:
        """Release what it holds."""
        ...


async def _close_one(one: Closeable) -> None:
    try:
        await one.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be closed
        logger.error("cannot close %s: %s", type(one).__name__, error, exc_info=error)


class ShutdownHandle:
    """Await it to serve until a signal has come and everything is closed."""

    def __init__(self, closeables: tuple[Closeable, ...]) -> None:
        self._closeables = closeables
        self._stop = StopRequest()
        self._listening = stopped_by_signals(self._stop)
        self._listening.__enter__()
        self._is_disposed = False
        self._closing: asyncio.Task[None] | None = None
        self._waiting = asyncio.create_task(self._on_signal(), name="glidemq-shutdown")
        self._waiting.add_done_callback(self._on_waited)

    async def _on_signal(self) -> None:
        await self._stop.asked.wait()
        if not self._is_disposed:
            self._begin()

    def _on_waited(self, waiting: asyncio.Task[None]) -> None:
        if waiting.cancelled():  # the loop ends: handlers that stay would swallow every later signal
            self._unlisten()

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        await asyncio.shield(self._waiting)
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def shutdown(self) -> None:
        """Close everything now, at the same time; a second call waits for the first.

        What cannot be closed is logged.
        """
        await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="glidemq-shutdown")
            self._stop.asked.set()
        return self._closing

    async def _close(self) -> None:
        try:
            await asyncio.gather(*(_close_one(one) for one in self._closeables))
        finally:
            self._unlisten()

    def dispose(self) -> None:
        """Give up: nothing is closed when a signal comes, and who awaits this goes on."""
        self._unlisten()
        self._stop.asked.set()

    def _unlisten(self) -> None:
        if not self._is_disposed:
            self._is_disposed = True
            self._listening.__exit__(None, None, None)


def graceful_shutdown(*closeables: Closeable) -> ShutdownHandle:
    """Close workers, queues and whatever has a `close()` when SIGTERM or SIGINT comes.

    Call it in a running event loop; the handlers that were there before are put back at the end. An error of
    a `close()` keeps nothing else open and is logged (`glidemq.worker`). `Worker.run` and `serve` do not need it.

    Raises:
        InvalidOptionError: something has no `close()`.
    """
    for one in closeables:
        if not callable(getattr(one, "close", None)):
            refuse(
                "closeables",
                one,
                "workers, queues, producers, connections",
                f"graceful_shutdown() takes what has a close(), not {type(one).__name__}",
            )
    return ShutdownHandle(closeables)
