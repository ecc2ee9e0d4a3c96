"""One activation of a job by this worker: its identity on the server, and what the processor requested."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from ...errors import (
    DelayedError,
    GlideMQError,
    GroupRateLimitError,
    JobControl,
    JobStateError,
    SuspendError,
    WaitingChildrenError,
)
from ...job import Job
from ...jobs.active_run import ControlCall, RunCalls
from ...options.fields import Duration, Instant, deliberate_ms, refuse, to_epoch_ms, to_ms
from ...records import Signal, Usage
from ...wire.keys import PRIORITY_STEP
from ...wire.payload import encode_data

#: Time a coroutine gets to end after its cancellation, s; then its job ends without it.
UNRESPONSIVE_S = 5.0

AbortReason = Literal["timeout", "revoked", "aborted", "closing", "lost"]


@dataclass(frozen=True, slots=True)
class SuspendRequest:
    """Park until a signal comes."""

    reason: str | None
    timeout_ms: int
    on_resume: Callable[[Sequence[Signal]], Any] | None


@dataclass(frozen=True, slots=True)
class DelayRequest:
    """Sleep until an instant; `data` replaces the payload when a next step was named."""

    until_ms: int
    data: str | None


@dataclass(frozen=True, slots=True)
class WaitChildrenRequest:
    """Wait for the children."""


@dataclass(frozen=True, slots=True)
class LimitGroupRequest:
    """Hold the ordering group."""

    duration_ms: int
    current_job: str
    position: str
    extend: str


ControlRequest = DelayRequest | LimitGroupRequest | WaitChildrenRequest | SuspendRequest

#: Which request wins when a processor made several (the wire's order).
_PRECEDENCE: tuple[type[ControlRequest], ...] = (
    DelayRequest,
    LimitGroupRequest,
    WaitChildrenRequest,
    SuspendRequest,
)


@dataclass(eq=False, repr=False, slots=True)
class JobRun:
    """Facts of one activation. A request made by the processor stands even if it swallowed the control flow."""

    #: Stream entry id, "" for a list-sourced job.
    entry: str
    #: `processedOn` as stored: the mark of this activation.
    processed_on: str
    worker: str
    #: What the claim says about the job's budget: "" none is in the way, "fail", or "ask".
    stop: str
    on_unresponsive: Callable[[JobRun], None]
    resources: Mapping[str, Any]
    #: The job is a message of a broadcast, whose hash is shared: it bears no mark of this run.
    shared: bool
    #: Context variables of this run alone.
    context: contextvars.Context
    #: Gets the settle record, or None when the run has ended by a call of its own.
    on_end: Callable[..., None]
    job: Job[Any, Any] = field(init=False)
    steps: Any = None
    task: asyncio.Task[None] | None = None
    #: Fires at the job's timeout; after an abort, when the processor had long enough to obey.
    timer: asyncio.TimerHandle | None = None
    #: The job ended without its processor, which runs on.
    given_up: bool = False
    abort_reason: AbortReason | None = None
    requests: list[ControlRequest] | None = None
    #: Control calls that the processor has made, awaited or not.
    controls: list[ControlCall] | None = None
    reported: bool = False
    used: Usage | None = None
    first_chunk_at: float | None = None
    #: The processor was called.
    called: bool = False
    ended: bool = False
    _abort_event: asyncio.Event | None = None
    _begun: bool = False
    _calls: RunCalls | None = None

    @property
    def started_ms(self) -> int:
        return int(self.processed_on)

    @property
    def aborted(self) -> bool:
        return self.abort_reason is not None

    @property
    def calls(self) -> RunCalls:
        """What the calls of this run about its job share."""
        if self._calls is None:
            self._calls = RunCalls(self.processed_on, lambda: self.ended or self.aborted)
        return self._calls

    def forget(self) -> None:
        """Let go of what refers to this run in turn."""
        del self.job
        self.steps = self._calls = None

    def abort(self, reason: AbortReason) -> bool:
        """Ask the run to stop: cancels a coroutine, raises the flag for a thread. False when it is stopping already."""
        if self.ended or self.abort_reason is not None:
            return False
        self.abort_reason = reason
        if self._abort_event is not None:
            self._abort_event.set()
        # A task cancelled before its first step never runs at all, and could not end the run.
        if self.task is not None and self._begun:
            self.task.cancel()
            if reason != "closing":
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = asyncio.get_running_loop().call_later(UNRESPONSIVE_S, self.on_unresponsive, self)
        return True

    def start_timer(self) -> None:
        """Stop the run once it has taken as long as its job may."""
        timeout_ms = self.job.options.timeout
        if timeout_ms and not self.ended:
            self.timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self.abort, "timeout")

    def begin(self) -> bool:
        """Note that the task runs; False when the run was stopped before."""
        self._begun = True
        return self.abort_reason is None

    async def wait_aborted(self) -> None:
        if self.abort_reason is None:
            if self._abort_event is None:
                self._abort_event = asyncio.Event()
            await self._abort_event.wait()

    @property
    def request(self) -> ControlRequest | None:
        """The request that decides how this run ends, by the wire's precedence."""
        return min(self.requests or (), key=lambda request: _PRECEDENCE.index(type(request)), default=None)

    def control(self, name: str, start: Callable[[], Coroutine[Any, Any, NoReturn]]) -> ControlCall:
        """Note a control call that is to be awaited."""
        call = ControlCall(name, start)
        if self.controls is None:
            self.controls = []
        self.controls.append(call)
        return call

    @property
    def unawaited(self) -> str | None:
        """Name of a control call that was made and not awaited."""
        return next((call.name for call in self.controls or () if not call.awaited), None)

    def drop_requests(self) -> str | None:
        """Forget the control calls that the processor has made; returns the name of one."""
        asked = self.controls[0].name if self.controls else None
        self.requests = self.controls = None
        return asked

    async def heed(self, error: BaseException | None) -> BaseException | None:
        """Make the request of a control error that the processor raised without its call.

        Returns what ended the run: the error, or why the request was refused.
        """
        if not isinstance(error, JobControl) or self.requests:
            return error
        try:
            with suppress(JobControl):
                if isinstance(error, DelayedError):
                    self.delay(error.until_ms, None)
                elif isinstance(error, GroupRateLimitError):
                    self.limit_group(error.delay_ms, "requeue", "front", "max")
                elif isinstance(error, WaitingChildrenError):
                    await self.wait_for_children()
                elif isinstance(error, SuspendError):
                    self.suspend(None, None, None)
        except GlideMQError as refused:
            return refused
        return error

    def _ask(self, request: ControlRequest) -> None:
        if self.requests is None:
            self.requests = []
        self.requests.append(request)

    def suspend(
        self,
        reason: str | None,
        timeout: Duration | None,
        on_resume: Callable[[Sequence[Signal]], Any] | None,
    ) -> NoReturn:
        if reason is not None and not isinstance(reason, str):
            refuse("reason", reason, "text or None", "reason must be text")
        self._ask(SuspendRequest(reason, deliberate_ms(timeout, "timeout") if timeout else 0, on_resume))
        raise SuspendError(reason or "")

    def delay(self, until: Instant, next_step: str | None) -> NoReturn:
        until_ms = to_epoch_ms(until, "until")
        if until_ms >= PRIORITY_STEP:
            refuse("until", until, "before 2^42 epoch milliseconds (year 2109)")
        data = None
        if next_step is not None:
            current = self.job.data
            if not isinstance(current, dict):
                refuse("next_step", next_step, "None", "next_step needs job data that is an object")
            data = encode_data({**current, "step": next_step}, self.job._context.serializer)
        self._ask(DelayRequest(until_ms, data))
        raise DelayedError(until_ms)

    async def wait_for_children(self) -> NoReturn:
        context = self.job._context
        deps = context.keys.deps(self.job.id)
        if not await self.calls.repeat(lambda _: context.connection.command("SCARD", deps)):
            raise JobStateError(
                f"job '{self.job.ref}' has no children to wait for: add them with parent= first",
                queue=context.queue,
                job_id=self.job.id,
                operation="move_to_waiting_children",
                state="active",
                needed="children",
            )
        self._ask(WaitChildrenRequest())
        raise WaitingChildrenError

    def limit_group(self, duration: Duration, current_job: str, position: str, extend: str) -> NoReturn:
        if not self.job.ordering_key:
            refuse(
                "ordering",
                None,
                "a job with an ordering key",
                f"job '{self.job.ref}' has no ordering key, so there is no group to hold",
            )
        for option, value, allowed in (
            ("current_job", current_job, ("requeue", "fail")),
            ("requeue_position", position, ("front", "back")),
            ("extend", extend, ("max", "replace")),
        ):
            if value not in allowed:
                refuse(option, value, " ".join(allowed), f"{option} must be one of {', '.join(allowed)}")
        duration_ms = to_ms(duration, "duration")
        if duration_ms <= 0:
            refuse("duration", duration, "above 0 ms", "duration must be above 0")
        self._ask(LimitGroupRequest(duration_ms, current_job, position, extend))
        raise GroupRateLimitError(duration_ms)
