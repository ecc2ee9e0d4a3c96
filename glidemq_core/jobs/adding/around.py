"""Middleware around adding: one job at a time, or many that are stored together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ...errors import GlideMQError
from ...options.fields import refuse
from ...options.middleware import AddNext, AddRequest, Middleware
from ..snapshot import JobSnapshot

Snapshot = JobSnapshot[Any, Any]
#: What became of a request: the job, None when it was skipped, or why it was refused.
Outcome = Snapshot | BaseException | None
#: Stores jobs together; one outcome a request, in order.
StoreAll = Callable[[Sequence[AddRequest]], Awaitable[Sequence[Outcome]]]

#: Once no further request has come through for so long, those that have are stored without the others, s.
_QUIET_S = 0.05
#: How long the requests of what can only be stored as a whole may take to come through, s.
_WHOLE_S = 30.0


async def add_through(
    middleware: Sequence[Middleware],
    request: AddRequest,
    store: Callable[[AddRequest], Awaitable[Snapshot | None]],
) -> Snapshot | None:
    """Add one job through middleware, outermost first."""

    async def innermost(wanted: AddRequest) -> Snapshot | None:
        _check_request(wanted, request)
        return await store(wanted)

    call_next: AddNext = innermost
    for one in reversed(middleware):
        call_next = partial(_layer, one, call_next)
    return _checked(await call_next(request))


async def _layer(middleware: Middleware, call_next: AddNext, request: AddRequest) -> Any:
    """Call one middleware; it may pass its request on once."""
    passed = False

    async def once(wanted: AddRequest) -> Any:
        nonlocal passed
        if passed:
            refuse(
                "call_next", wanted, "called once", f"{type(middleware).__name__}.add called call_next twice"
            )
        passed = True
        return await call_next(wanted)

    return await middleware.add(request, once)


def _check_request(wanted: Any, given: AddRequest) -> None:
    if not isinstance(wanted, AddRequest):
        refuse("request", wanted, "an AddRequest: call_next(request)")
    if wanted.queue != given.queue:
        refuse("queue", wanted.queue, f"'{given.queue}'", "middleware cannot move a job to another queue")


def _checked(added: Any) -> Snapshot | None:
    if added is not None and not isinstance(added, JobSnapshot):
        refuse("middleware", added, "what call_next gave, or None", "add() must return what call_next gave")
    return added


class _Gathering:
    """Jobs that wait to be stored together, each held up in the `call_next` of its innermost middleware."""

    def __init__(self, middleware: Sequence[Middleware], requests: Sequence[AddRequest]) -> None:
        self._waiting: dict[int, tuple[AddRequest, asyncio.Future[Snapshot | None]]] = {}
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._going_on = len(requests)
        self.tasks = [
            asyncio.create_task(add_through(middleware, request, partial(self._wait, place)))
            for place, request in enumerate(requests)
        ]
        for task in self.tasks:
            task.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[Any]) -> None:
        self._going_on -= 1
        self._changed.set()

    async def _wait(self, place: int, request: AddRequest) -> Snapshot | None:
        """Return the job once it is stored."""
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[Snapshot | None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = request, future
        self._changed.set()
        return await future

    @property
    def held_back(self) -> int:
        """Jobs that have not come through yet, and may."""
        return self._going_on - len(self._waiting)

    async def change(self, timeout_s: float | None) -> bool:
        """Wait until another job has come through or is done with; False after a while without either."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def store(self, store: StoreAll) -> None:
        """Store what waits, in the order in which it was asked for, and let it go on."""
        taken = [self._waiting.pop(place) for place in sorted(self._waiting)]
        outcomes: Sequence[Outcome]
        try:
            outcomes = await store([request for request, _ in taken])
        except Exception as error:  # noqa: BLE001 - each middleware learns of it; it is raised at the end
            self._failure, outcomes = error, [error] * len(taken)
        for (_, future), outcome in zip(taken, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        await asyncio.sleep(0)

    async def store_in_parts(self, store: StoreAll) -> None:
        """Store what comes through together; what is held back for long, later."""
        while self._going_on:
            # Middleware that lets one job through at a time waits for the end of the one before.
            quiet = self._waiting and not (self.held_back and await self.change(_QUIET_S))
            if quiet:
                await self.store(store)
            elif not self._waiting:
                await self.change(None)

    async def store_whole(self, store: StoreAll) -> None:
        """Store all jobs at once, or none."""
        while self.held_back or self._going_on < len(self.tasks):
            for task in self.tasks if self._going_on < len(self.tasks) else ():
                if task.done():
                    task.result()  # raises why it did not come through
                    raise GlideMQError(
                        "middleware left out a job of a flow, which is added as a whole or not at all"
                    )
            if not await self.change(_WHOLE_S):
                raise GlideMQError(
                    f"middleware has held back {self.held_back} of {len(self.tasks)} jobs of a flow for "
                    f"{_WHOLE_S:.0f} s",
                    hint="its add() must not wait for other jobs of the flow to be added",
                )
        await self.store(store)

    async def results(self) -> list[Outcome]:
        """Wait for the end of every chain. Raises what kept jobs from being stored."""
        outcomes = await asyncio.gather(*self.tasks, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return outcomes

    async def stop(self) -> None:
        """Cancel what still goes on."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def add_all_through(
    middleware: Sequence[Middleware], requests: Sequence[AddRequest], store: StoreAll, *, whole: bool
) -> list[Outcome]:
    """Add jobs through middleware, each by its own chain, and store together those that have come through.

    Args:
        whole: they can only be stored all at once; else those that are held back for long are stored later, so that
            middleware which lets one job through at a time does not wait for ever.
    Raises: what `store` raises; with `whole` also why a job did not come through.
    """
    gathering = _Gathering(middleware, requests)
    try:
        await (gathering.store_whole(store) if whole else gathering.store_in_parts(store))
        return await gathering.results()
    finally:
        await gathering.stop()
