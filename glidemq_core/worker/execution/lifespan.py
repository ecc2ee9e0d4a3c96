"""What the runs of a worker share, opened before its first job and closed after its last one."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from ...errors import GlideMQError
from ...jobs.active_run import NO_RESOURCES
from ...options.fields import refuse

#: How long leaving may take, and then what is left of it after its cancellation, s.
_EXIT_S = 30.0
_CANCELLED_S = 5.0


class Lifespan:
    """The lifespan of a worker. One task enters and leaves it, as task groups and cancel scopes demand.

    Args:
        report: gets errors of leaving, and of a lifespan that ends by itself.
        close: closes the worker when its lifespan has ended by itself.
    """

    def __init__(
        self, report: Callable[[BaseException], None], close: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._report, self._close = report, close
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._closer: asyncio.Task[None] | None = None
        #: What the jobs get as `job.resources`.
        self.resources: Mapping[str, Any] = NO_RESOURCES
        #: Every run begins with a copy of what was set when the worker had started.
        self.variables = contextvars.copy_context()

    async def enter(self, function: Callable[[Any], Any] | None, worker: Any) -> None:
        """Enter it, if there is one. Raises what it raises, and InvalidOptionError for what is no lifespan."""
        self.variables = contextvars.copy_context()
        if function is None:
            return
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(function, worker, entered))
        self._task.add_done_callback(lambda task: self._ended(task, entered))
        try:
            await entered
        except asyncio.CancelledError:
            await self._cancel()
            raise

    async def _live(self, function: Callable[[Any], Any], worker: Any, entered: asyncio.Future[None]) -> None:
        manager = function(worker)
        if not isinstance(manager, AbstractAsyncContextManager):
            allowed = "a function of the worker that returns an async context manager"
            hint = ": decorate it with @asynccontextmanager" if hasattr(manager, "__anext__") else ""
            message = f"lifespan must be {allowed}, not {type(manager).__name__}{hint}"
            refuse("lifespan", function, allowed, message)
        async with manager as resources:
            if resources is not None and not isinstance(resources, Mapping):
                message = f"a lifespan yields a mapping of resources, not {type(resources).__name__}"
                refuse("lifespan", resources, "a mapping of name to resource", message)
            self.resources = NO_RESOURCES if resources is None else resources
            self.variables = contextvars.copy_context()
            entered.set_result(None)
            await self._closing.wait()

    def _ended(self, task: asyncio.Task[None], entered: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not entered.done():
            entered.set_exception(error or GlideMQError("the lifespan did not yield"))
        elif self._closing.is_set():
            if error is not None:
                self._report(error)
        else:
            # What the jobs need is gone: none may be started any more.
            self._report(error or GlideMQError("the lifespan has ended before its worker"))
            self._closer = asyncio.create_task(self._close())

    async def leave(self) -> None:
        """Leave it; what goes wrong is reported."""
        self._closing.set()
        if self._task is None or self._task.done():
            return
        await asyncio.wait({self._task}, timeout=_EXIT_S)
        if not self._task.done():
            self._report(GlideMQError(f"the lifespan took more than {_EXIT_S:.0f} s to end: it is cancelled"))
            await self._cancel()

    async def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_CANCELLED_S)
