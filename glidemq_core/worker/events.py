"""Events of a worker for its own process: handlers run in order, beside the work."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeVar, get_args, overload

from ..errors import GlideMQError
from ..job import Job
from ..jobs.snapshot import DataT, ResultT
from ..options.fields import refuse
from ..server.retry import is_outage

EventName = Literal[
    "ready",
    "active",
    "completed",
    "failed",
    "suspended",
    "stalled",
    "budget_exceeded",
    "drained",
    "error",
    "closing",
    "closed",
]
Handler = Callable[..., Any]

_Plain = Callable[[], Any]
_OfJob = Callable[[Job[DataT, ResultT]], Any]
_OfResult = Callable[[Job[DataT, ResultT], ResultT], Any]
_OfFailure = Callable[[Job[DataT, ResultT], BaseException], Any]
_OfId = Callable[[str], Any]
_OfError = Callable[[BaseException], Any]
_FunctionT = TypeVar("_FunctionT", bound=Handler)
_Decorator = Callable[[_FunctionT], _FunctionT]

#: How long closing waits for handlers, s.
_DRAIN_S = 5.0
#: Events that wait for handlers at most; what comes on top is dropped and counted.
_LIMIT = 10_000
#: Events of the worker itself: few, and never dropped.
_KEPT: Final = frozenset({"ready", "drained", "closing", "closed"})
#: Errors of an outage, and reports of dropped events, are passed on this often at most, s.
_REPORT_EVERY_S = 1.0

logger = logging.getLogger("glidemq.worker")


class IntervalGate:
    """Lets something pass once an interval and counts what it held back."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = 0.0
        self.held = 0

    def due(self) -> bool:
        """Whether the next one may pass; one that may not is counted in `held`."""
        now = time.monotonic()
        if now < self._next:
            self.held += 1
            return False
        self._next = now + self._interval_s
        return True

    def take(self) -> int:
        """Return how many were held back and begin to count anew."""
        held, self.held = self.held, 0
        return held


#: All workers of the process share one line a second about a server that is away.
_log_gate = IntervalGate(_REPORT_EVERY_S)


class WorkerEvents:
    """Queue of events and the one task that hands them to handlers. Costs nothing while there are no handlers."""

    def __init__(self, log_errors: bool) -> None:
        self._handlers: dict[str, list[Handler]] = {}
        self._queue: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._handling: asyncio.Task[Any] | None = None
        self._log_errors = log_errors
        self._dropped: Counter[str] = Counter()
        self._drop_gate = IntervalGate(_REPORT_EVERY_S)
        self._outage_gate = IntervalGate(_REPORT_EVERY_S)
        self.context = contextvars.copy_context()

    def add(self, event: str, handler: Handler) -> None:
        if event not in get_args(EventName):
            allowed = ", ".join(get_args(EventName))
            refuse("event", event, allowed, f"unknown worker event '{event}'; there are: {allowed}")
        if not callable(handler):
            refuse("handler", handler, "a function")
        self._handlers.setdefault(event, []).append(handler)

    def listening(self, event: str) -> bool:
        return event in self._handlers

    def emit(self, event: EventName, *args: Any) -> None:
        if event == "error" and not self._passes(args[0]):
            return
        if event not in self._handlers:
            return
        if len(self._queue) >= _LIMIT and event not in _KEPT:
            self._dropped[event] += 1
            return
        self._queue.append((event, args))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._dispatch(), context=self.context)

    async def drain(self) -> None:
        """Return when every event emitted so far was handled, or after some seconds of a handler that hangs.

        What then still waits is dropped, and the log says how much.
        """
        # A handler that closes its worker cannot wait for itself: what it left is handled after it returns.
        if self._task is None or asyncio.current_task() in (self._task, self._handling):
            return
        await asyncio.wait({self._task}, timeout=_DRAIN_S)
        self._dropped.update(event for event, _ in self._queue)
        self._queue.clear()
        if self._dropped:
            logger.warning("%s", self._take_dropped("closed"))

    def _passes(self, error: BaseException) -> bool:
        """Whether handlers get an error; logs one that has no handler. Of an outage, one a second passes."""
        if "error" in self._handlers:
            gate = self._outage_gate
        elif self._log_errors:
            gate = _log_gate
        else:
            return False
        if is_outage(error):
            if not gate.due():
                return False
            if held := gate.take():
                error.add_note(f"({held} more since the last one)")
        if "error" not in self._handlers:
            notes = " ".join(getattr(error, "__notes__", ()))
            logger.warning("%s: %s", type(error).__name__, f"{error} {notes}".rstrip())
        return True

    def _take_dropped(self, when: str) -> str:
        counts = ", ".join(f"{count} {event}" for event, count in self._dropped.most_common())
        total = sum(self._dropped.values())
        self._dropped.clear()
        return f"{when}: {total} events were dropped, handlers are slower than the work ({counts})"

    async def _dispatch(self) -> None:
        while self._queue:
            event, args = self._queue.popleft()
            await self._handle(event, args)
            if self._dropped and self._drop_gate.due():
                words = self._take_dropped("running")
                logger.warning("%s", words)
                await self._handle("error", (GlideMQError(words),))

    async def _handle(self, event: str, args: tuple[Any, ...]) -> None:
        run = getattr(args[0], "_run", None) if args else None
        for handler in self._handlers.get(event, ()):
            # In a copy of its job's context: log fields and the like are there, what it sets stays its own.
            context = (run.context if run is not None else self.context).copy()
            try:
                answer = context.run(handler, *args)
                if inspect.isawaitable(answer):
                    self._handling = asyncio.get_running_loop().create_task(_awaited(answer), context=context)
                    await self._handling
            except Exception as error:
                if event == "error":
                    logger.exception("an error handler raised")
                else:
                    self.emit("error", error)


async def _awaited(answer: Any) -> Any:
    return await answer


class EventSource(Generic[DataT, ResultT]):
    """What a worker offers to those who listen to its events."""

    _events: WorkerEvents

    @overload
    def on(self, event: Literal["ready", "drained", "closing", "closed"]) -> _Decorator[_Plain]: ...
    @overload
    def on(
        self, event: Literal["active", "suspended", "budget_exceeded"]
    ) -> _Decorator[_OfJob[DataT, ResultT]]: ...
    @overload
    def on(self, event: Literal["completed"]) -> _Decorator[_OfResult[DataT, ResultT]]: ...
    @overload
    def on(self, event: Literal["failed"]) -> _Decorator[_OfFailure[DataT, ResultT]]: ...
    @overload
    def on(self, event: Literal["stalled"]) -> _Decorator[_OfId]: ...
    @overload
    def on(self, event: Literal["error"]) -> _Decorator[_OfError]: ...
    @overload
    def on(self, event: Literal["ready", "drained", "closing", "closed"], handler: _Plain) -> _Plain: ...
    @overload
    def on(
        self,
        event: Literal["active", "suspended", "budget_exceeded"],
        handler: _OfJob[DataT, ResultT],
    ) -> _OfJob[DataT, ResultT]: ...
    @overload
    def on(
        self, event: Literal["completed"], handler: _OfResult[DataT, ResultT]
    ) -> _OfResult[DataT, ResultT]: ...
    @overload
    def on(
        self, event: Literal["failed"], handler: _OfFailure[DataT, ResultT]
    ) -> _OfFailure[DataT, ResultT]: ...
    @overload
    def on(self, event: Literal["stalled"], handler: _OfId) -> _OfId: ...
    @overload
    def on(self, event: Literal["error"], handler: _OfError) -> _OfError: ...
    def on(self, event: EventName, handler: Handler | None = None) -> Any:
        """Call a function on an event; also as decorator `@worker.on("completed")`.

        Events: ready, active(job), completed(job, result), failed(job, error) after every failed attempt,
        suspended(job), stalled(job_id), budget_exceeded(job), drained, error(exception), closing, closed.
        """
        if handler is not None:
            self._events.add(event, handler)
            return handler

        def decorate(function: _FunctionT) -> _FunctionT:
            self._events.add(event, function)
            return function

        return decorate
