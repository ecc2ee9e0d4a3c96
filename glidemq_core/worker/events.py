"""What a worker tells its own process: handlers run in order, beside the work."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

from ..errors import InvalidOptionError
from ..option_fields import refuse

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
HandlerT = TypeVar("HandlerT", bound=Handler)

#: How long closing waits for handlers.
_DRAIN_S = 5.0

logger = logging.getLogger("glidemq.worker")


class WorkerEvents:
    """Queue of events and the one task that hands them to handlers. Costs nothing while nobody listens."""

    def __init__(self, log_errors: bool) -> None:
        self._handlers: dict[str, list[Handler]] = {}
        self._queue: asyncio.Queue[tuple[str, tuple[Any, ...]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._log_errors = log_errors

    def add(self, event: str, handler: Handler) -> None:
        if event not in get_args(EventName):
            allowed = ", ".join(get_args(EventName))
            raise InvalidOptionError(
                f"unknown worker event '{event}'; there are: {allowed}",
                option="event",
                value=event,
                allowed=allowed,
            )
        if not callable(handler):
            refuse("handler", handler, "a function")
        self._handlers.setdefault(event, []).append(handler)

    def listening(self, event: str) -> bool:
        return event in self._handlers

    def emit(self, event: EventName, *args: Any) -> None:
        if event in self._handlers:
            self._queue.put_nowait((event, args))
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._dispatch())
        elif event == "error" and self._log_errors:
            logger.warning("%s: %s", type(args[0]).__name__, args[0])

    async def drain(self) -> None:
        """Return when every event emitted so far was handled, or after some seconds of a handler that hangs."""
        # A handler that closes its worker cannot wait for itself: what it left is handled after it returns.
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait({self._task}, timeout=_DRAIN_S)

    async def _dispatch(self) -> None:
        while not self._queue.empty():
            event, args = self._queue.get_nowait()
            for handler in self._handlers[event]:
                try:
                    answer = handler(*args)
                    if inspect.isawaitable(answer):
                        await answer
                except Exception as error:
                    if event == "error":
                        logger.exception("an error handler raised")
                    else:
                        self.emit("error", error)
