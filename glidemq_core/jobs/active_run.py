"""What a job and its functions need of the run that has it: repeated calls, calls that end it, and the run itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Mapping, Sequence
from itertools import count
from types import MappingProxyType, TracebackType
from typing import Any, Final, NoReturn, Protocol, TypeVar

from ..errors import GlideMQError
from ..options.fields import Duration, Instant
from ..records import Signal, Usage
from ..server.retry import is_outage, retry_through_outage

T = TypeVar("T")

#: What the jobs of a worker without a lifespan have.
NO_RESOURCES: Final[Mapping[str, Any]] = MappingProxyType({})


class RunCalls:
    """What the calls of one run share. They are repeated until the run has ended, timed out or lost its job.

    Args:
        processed_on: stamp of the activation.
        is_over: whether the run has ended or is to stop.
    """

    __slots__ = ("_answered", "_is_over", "_lanes", "_made", "appenders", "last_chunk", "processed_on")

    def __init__(self, processed_on: str, is_over: Callable[[], bool]) -> None:
        self.processed_on = processed_on
        #: Appenders in use, as `Appender` keeps them.
        self.appenders: dict[Hashable, Any] = {}
        #: Id of the last stream entry that the server has acknowledged to this run.
        self.last_chunk = ""
        self._is_over = is_over
        self._made = 0
        #: Where calls of a kind wait for those before them, once one had to be repeated.
        self._lanes: dict[str, asyncio.Lock] = {}
        #: Number of the latest call of a kind that was answered.
        self._answered: dict[str, int] = {}

    def next_mark(self) -> str:
        """Return a mark by which the server knows this call when it comes again: `<processedOn>:<n>`."""
        return f"{self.processed_on}:{self._next()}"

    def _next(self) -> int:
        self._made += 1
        return self._made

    async def repeat(self, call: Callable[[bool], Awaitable[T]]) -> T:
        """Make a call through an outage; its argument tells whether an earlier try may have been carried out."""
        answer, _ = await retry_through_outage(call, is_over=self._is_over)
        return answer

    async def repeat_numbered(self, call: Callable[[bool, str], Awaitable[T]]) -> T:
        """The same; the second argument, `<n>.<try>`, lets the server know an earlier try that comes too late."""
        number, tries = self._next(), count()
        return await self.repeat(lambda repeated: call(repeated, f"{number}.{next(tries)}"))

    async def replace(self, kind: str, call: Callable[[str], Awaitable[None]]) -> None:
        """Make a call that replaces what an earlier one of its kind wrote; repeated, it never undoes a later one.

        Args:
            call: gets `<n>.<try>`.
        """
        number, tries = self._next(), count()
        if kind not in self._lanes:
            try:
                await call(f"{number}.{next(tries)}")
            except GlideMQError as error:
                if not is_outage(error) or self._is_over():
                    raise
                self._lanes.setdefault(kind, asyncio.Lock())
            else:
                self._answered[kind] = max(number, self._answered.get(kind, 0))
                return
        async with self._lanes[kind]:
            if self._answered.get(kind, 0) < number:
                await self.repeat(lambda _: call(f"{number}.{next(tries)}"))
                self._answered[kind] = number


class ControlCall(Coroutine[Any, Any, NoReturn]):
    """What `job.suspend()` and the other calls that end a run return. Awaiting it never returns.

    No coroutine exists before the first await, so that one that is never awaited causes no warning: its run fails
    and names it instead.
    """

    __slots__ = ("_inner", "_start", "awaited", "name")

    def __init__(self, name: str, start: Callable[[], Coroutine[Any, Any, NoReturn]]) -> None:
        #: Name of the method, for messages.
        self.name = name
        self.awaited = False
        self._start = start
        self._inner: Coroutine[Any, Any, NoReturn] | None = None

    def __await__(self) -> Generator[Any, Any, NoReturn]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(  # type: ignore[override]  # one of the forms that the interface knows
        self, kind: Any, error: BaseException | None = None, where: TracebackType | None = None
    ) -> Any:
        return self._begun().throw(kind if error is None else error)

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def _begun(self) -> Coroutine[Any, Any, NoReturn]:
        if self._inner is None:
            self.awaited = True
            self._inner = self._start()
        return self._inner


class ActiveRun(Protocol):
    """One run of a job by a worker, as the job's methods see it."""

    worker: str
    """Id of the worker."""
    ended: bool
    """Whether the run is over: its job may run elsewhere by now."""
    reported: bool
    """Whether it has reported usage or tokens."""
    used: Usage | None
    """The latest usage it has reported."""
    first_chunk_at: float | None
    """When it appended its first chunk, s of the monotonic clock."""
    resources: Mapping[str, Any]
    """What the lifespan of the worker holds open."""
    steps: Any
    """The steps of this run, once there is one."""
    shared: bool
    """Whether other subscriptions run the same job: its calls are then made as from outside of a run."""

    @property
    def aborted(self) -> bool:
        """Whether it should stop."""

    @property
    def calls(self) -> RunCalls:
        """What the calls of this run about its job share."""

    async def wait_aborted(self) -> None:
        """Return when it should stop."""

    def control(self, name: str, start: Callable[[], Coroutine[Any, Any, NoReturn]]) -> ControlCall:
        """Note a control call that is to be awaited."""

    def suspend(
        self,
        reason: str | None,
        timeout: Duration | None,
        on_resume: Callable[[Sequence[Signal]], Any] | None,
    ) -> NoReturn:
        """End the run by suspending the job; see `Job.suspend`."""

    def delay(self, until: Instant, next_step: str | None) -> NoReturn:
        """End the run by delaying the job; see `Job.move_to_delayed`."""

    async def wait_for_children(self) -> NoReturn:
        """End the run until all children have completed; see `Job.move_to_waiting_children`."""

    def limit_group(self, duration: Duration, current_job: str, position: str, extend: str) -> NoReturn:
        """End the run and hold its ordering group; see `Job.rate_limit_group`."""
