"""A job: what was read of it, and what may be done with it. Inside a processor it is also the run's handle."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn, ParamSpec, Self, TypeVar, Unpack, overload

from .ai.steps import Steps
from .ai.streams.chunks import append_chunk
from .ai.usage.report import UsageKeywords, report_tokens, report_usage
from .errors import JobStateError
from .jobs import control
from .jobs.active_run import NO_RESOURCES, ActiveRun, ControlCall, RunCalls
from .jobs.read import current_state, get_children_values, get_job, get_parents
from .jobs.snapshot import DataT, JobSnapshot, ResultT
from .jobs.wait import wait_for_result, wait_until_finished
from .options.fields import Duration, Instant, delay_ms, refuse
from .options.job import Actor, JobRef
from .records import Signal, Usage
from .records.outcomes import FinalState, JobState
from .records.usage import usage_fields
from .search.store import store_vector
from .server.context import QueueContext
from .wire.numbers import number_text

ReadT = TypeVar("ReadT")
StepT = TypeVar("StepT")
Params = ParamSpec("Params")


class Job(JobSnapshot[DataT, ResultT]):
    """Snapshot of a job; `refresh()` reads it again, `get_state()` asks for the state now."""

    __slots__ = ("_run", "discarded")

    def __init__(
        self, context: QueueContext, job_id: str, fields: dict[str, bytes], run: ActiveRun | None = None
    ) -> None:
        super().__init__(context, job_id, fields)
        self._run = run
        self.discarded = False

    @classmethod
    def of(cls, snapshot: JobSnapshot[Any, Any]) -> Self:
        """Return the job of which a snapshot was read; a job is returned as it is."""
        job = snapshot if isinstance(snapshot, cls) else cls(snapshot._context, snapshot.id, snapshot.fields)
        job._is_slim = snapshot._is_slim
        return job

    def adopt(self, newer: Job[Any, Any]) -> None:
        """Become another object of the same job: what was read there, and its run."""
        self.fields, self._run, self._is_slim = newer.fields, newer._run, newer._is_slim
        self.discarded, self.data_error = newer.discarded, newer.data_error
        self._forget()

    # Reading again -------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read the record again. Raises JobNotFoundError when it is gone."""
        found = await get_job(self._context, self.id)
        if found is None:
            raise self._context.missing(self.id)
        self.fields, self._is_slim = found.fields, False
        self._forget()

    async def get_state(self) -> JobState:
        """Ask for the state now; `unknown` when the job is gone."""
        return await current_state(self._context, self.id)

    async def is_completed(self) -> bool:
        """Whether it has completed."""
        return await self.get_state() == "completed"

    async def is_failed(self) -> bool:
        """Whether it has failed for good."""
        return await self.get_state() == "failed"

    async def is_delayed(self) -> bool:
        """Whether it waits for a point in time."""
        return await self.get_state() == "delayed"

    async def is_active(self) -> bool:
        """Whether a worker runs it."""
        return await self.get_state() == "active"

    async def is_waiting(self) -> bool:
        """Whether it is ready to run."""
        return await self.get_state() == "waiting"

    async def is_revoked(self) -> bool:
        """Whether someone asked for its end."""
        flag = await self._context.connection.command("HGET", self._context.keys.job(self.id), "revoked")
        return bool(flag == b"1")

    async def wait_until_finished(
        self, *, poll_interval: Duration = 500, timeout: Duration = 30_000
    ) -> FinalState:
        """Poll until it completed or failed.

        Raises WaitTimeoutError after `timeout` (ms, timedelta or text), JobNotFoundError when the job vanished.
        """
        return await wait_until_finished(self._context, self.id, poll_interval, timeout)

    async def wait(self, *, timeout: Duration = 30_000) -> ResultT:
        """Wait for its end, woken by events, and return its result.

        Args:
            timeout: ms, timedelta or text; the job goes on afterwards.
        Raises: JobFailedError, WaitTimeoutError; JobNotFoundError when it was removed; SerializationError for a result
            that cannot be read; InvalidOptionError.
        """
        return await wait_for_result(self._context, self.id, timeout)  # type: ignore[no-any-return]  # as annotated

    # While it runs -------------------------------------------------------------------------------------------

    @property
    def aborted(self) -> bool:
        """Whether this run should stop: revoked, aborted, timed out or closing by force."""
        return self._run is not None and self._run.aborted

    @property
    def resources(self) -> Mapping[str, Any]:
        """What the lifespan of the worker that runs it holds open; empty without one."""
        return NO_RESOURCES if self._run is None else self._run.resources

    async def wait_aborted(self) -> None:
        """Return when this run should stop."""
        await self._running("wait_aborted").wait_aborted()

    def _running(self, operation: str) -> ActiveRun:
        if self._run is None or self._run.ended:
            raise JobStateError(
                f"{operation}() can only be used while the job is active in a Worker",
                queue=self.queue,
                job_id=self.id,
                operation=operation,
                state=self.state,
                needed="active",
            )
        return self._run

    @property
    def _calls(self) -> RunCalls | None:
        """What keeps calls of a running job up through an outage; None outside its run."""
        run = self._run
        return None if run is None or run.ended or run.shared else run.calls

    def discard(self) -> None:
        """Make the next failure final, whatever attempts are left."""
        self.discarded = True

    async def log(self, message: str) -> None:
        """Append one line to the job's log. Raises PayloadTooLargeError over 1 MiB."""
        await control.append_log(self._context, self.id, message, self._calls)

    async def update_progress(self, progress: Any) -> None:
        """Store progress (a number or anything JSON) and tell listeners.

        Raises JobNotFoundError when the job was removed, PayloadTooLargeError over 1 MiB.
        """
        await control.update_progress(self._context, self.id, progress, self._calls)
        self._progress = progress

    async def update_data(self, data: DataT) -> None:
        """Replace the payload. Raises JobNotFoundError, PayloadTooLargeError."""
        await control.update_data(self._context, self.id, data, self._calls)
        if self._run is not None and self._run.steps is not None:
            self._run.steps.forget()
        self.fields.pop("steps", None)
        self._data, self.data_error = data, None

    async def report_usage(
        self, usage: Usage | Mapping[str, Any] | None = None, **keywords: Unpack[UsageKeywords]
    ) -> Usage | None:
        """Report what this attempt has used so far; replaces the earlier report, fills in totals. One round trip.

        Args:
            usage: the report as one object; a keyword beside it wins.
            keywords: `tokens` by category, `costs` by category in `cost_unit`, `latency` in ms or as a timedelta.
        Raises: InvalidOptionError, JobNotFoundError, LockBusyError.
        """
        worker = self._run.worker if self._run else None
        stored = await report_usage(
            self._context, self.id, usage, worker=worker, calls=self._calls, **keywords
        )
        if self._run is not None:
            self._run.reported, self._run.used = True, stored
        for name in [n for n in self.fields if n.startswith("usage:")]:
            del self.fields[name]
        if stored is not None:
            self.fields.update(usage_fields(stored))
        return stored

    async def report_tokens(self, count: float) -> None:
        """Tell the token limiter what this job used. Raises InvalidOptionError below 0."""
        await report_tokens(self._context, self.id, count, self._calls)
        if self._run is not None:
            self._run.reported = True
        self.fields["tpmTokens"] = number_text(count).encode()

    async def stream(self, chunk: Mapping[str, str]) -> str:
        """Append one chunk to the job's token stream; returns its entry id.

        Many may be awaited together: they keep their order and share round trips.
        Raises InvalidOptionError (empty, not text), PayloadTooLargeError, JobNotFoundError.
        """
        if self._run is not None and self._run.first_chunk_at is None:
            self._run.first_chunk_at = time.monotonic()
        return await append_chunk(self._context, self.id, chunk, self._calls)

    async def stream_chunk(self, type: str, content: str | None = None) -> str:
        """Append a chunk `{type, content}`; types by convention: reasoning, content, tool_call, error, done."""
        return await self.stream({"type": type} if content is None else {"type": type, "content": content})

    async def store_vector(
        self,
        field: str,
        embedding: Any,
        *,
        where: Literal["job", "side"] = "job",
        on_node_worker: Literal["warn", "refuse", "allow"] = "warn",
    ) -> None:
        """Store a vector for `vector_search`; replaces the former one of that field.

        A vector in the record of a job that is still to run stops glide-mq's Node workers at it.

        Args:
            embedding: sequence of numbers, or buffer of float32.
            where: `job`, the record, as glide-mq does; `side`, beside it, where no Node worker stumbles.
            on_node_worker: what to do when a Node worker serves the queue and the job is still to run.
        Raises: InvalidOptionError, also for a name of the record and a length other than the index's;
            JobNotFoundError.
        """
        name, packed = await store_vector(
            self._context,
            self.id,
            field,
            embedding,
            where=where,
            on_node_worker=on_node_worker,
            running=self._calls is not None,
        )
        if where == "job":
            self.fields[name] = packed
        else:
            self.fields.pop(name, None)

    @overload
    async def step(
        self,
        name: str,
        function: Callable[Params, Awaitable[StepT]],
        /,
        *args: Params.args,
        **kwargs: Params.kwargs,
    ) -> StepT: ...
    @overload
    async def step(
        self, name: str, function: Callable[Params, StepT], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> StepT: ...
    async def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Do something once: the result is kept, and a run that starts over gets it in place of a call.

        A call whose run dies before the result is kept is made again. The value is what the serializer makes of the
        result, in the first run too: of a dataclass, a dict. Kept until the job completes or gets another payload, for
        30 days after the latest step, and longer while it is suspended with a deadline.

        Args:
            name: once a run.
            function: plain or async, called with the arguments that follow.
        Raises: what the function raises, nothing is kept then; InvalidOptionError for a name used twice;
            PayloadTooLargeError (a result over 1 MiB, all over 16 MiB), SerializationError; JobStateError.
        """
        steps = self._steps()
        is_known, value = await steps.find(name)
        if is_known:
            return value
        result = function(*args, **kwargs)
        return await steps.keep(name, await result if inspect.isawaitable(result) else result)

    def _steps(self) -> Steps:
        run = self._running("step")
        if run.shared:
            refuse("step", self.id, "a job of a queue", "messages of a broadcast have no steps")
        if run.steps is None:
            run.steps = Steps(self, run.calls)
        steps: Steps = run.steps
        return steps

    def suspend(
        self,
        *,
        reason: str | None = None,
        timeout: Duration | None = None,
        on_resume: Callable[[Sequence[Signal]], Any] | None = None,
    ) -> ControlCall:
        """Park the job until a signal comes; never returns. The processor starts from the top when resumed.

        Args:
            timeout: ms, timedelta or text until the job fails for good; None waits for ever.
            on_resume: runs in place of the processor if the job comes back to this worker; best effort.
        Raises: InvalidOptionError; JobStateError outside a worker.
        """

        async def suspend() -> NoReturn:
            self._running("suspend").suspend(reason, timeout, on_resume)

        return self._running("suspend").control("suspend", suspend)

    def move_to_delayed(self, until: Instant, next_step: str | None = None) -> ControlCall:
        """Sleep until an instant and start from the top then; never returns, counts no attempt.

        Args:
            next_step: stored as `data["step"]` in the same call.
        Raises: InvalidOptionError when `next_step` is given and the data is no object.
        """

        async def delay() -> NoReturn:
            self._running("move_to_delayed").delay(until, next_step)

        return self._running("move_to_delayed").control("move_to_delayed", delay)

    def move_to_waiting_children(self) -> ControlCall:
        """Wait until every child added with this job as parent has completed; never returns.

        The processor then starts from the top; called again with all children done it runs again at once.
        Raises: JobStateError without children or outside a worker.
        """

        async def wait() -> NoReturn:
            await self._running("move_to_waiting_children").wait_for_children()

        return self._running("move_to_waiting_children").control("move_to_waiting_children", wait)

    def rate_limit_group(
        self,
        duration: Duration,
        *,
        current_job: Literal["requeue", "fail"] = "requeue",
        requeue_position: Literal["front", "back"] = "front",
        extend: Literal["max", "replace"] = "max",
    ) -> ControlCall:
        """Hold back the parked jobs of this job's ordering group for `duration` (ms, timedelta or text); never returns.

        Args:
            current_job: what becomes of this one: parked again (`requeue`) or failed (`fail`).
            requeue_position: `front` or `back` of the parked jobs.
            extend: `max` never shortens an earlier hold, `replace` sets it as given.
        Raises: InvalidOptionError when the job has no ordering key; JobStateError outside a processor.
        """

        async def limit() -> NoReturn:
            self._running("rate_limit_group").limit_group(duration, current_job, requeue_position, extend)

        return self._running("rate_limit_group").control("rate_limit_group", limit)

    async def get_children_values(self) -> dict[str, Any]:
        """Results of completed children by their key `<prefix>:{queue}:id`. Raises SerializationError."""
        return await self._read(lambda: get_children_values(self._context, self.id))

    async def get_parents(self) -> list[JobRef]:
        """Jobs that wait for this one (in a DAG: its dependents)."""
        return await self._read(lambda: get_parents(self._context, self.id, self.fields))

    async def _read(self, call: Callable[[], Awaitable[ReadT]]) -> ReadT:
        """Make a reading call, through an outage while the job runs."""
        calls = self._calls
        return await (call() if calls is None else calls.repeat(lambda _: call()))

    # Acting on it --------------------------------------------------------------------------------------------

    async def remove(self, *, force: bool = False, actor: Actor | None = None) -> bool:
        """Delete the job and all that describes it. Raises JobStateError when active, unless forced."""
        return await control.remove_job(self._context, self.id, force=force, actor=actor)

    async def retry(
        self, *, reset_fallback: bool = False, clear_signals: bool = False, actor: Actor | None = None
    ) -> None:
        """Run a failed job again with all its attempts. Raises JobStateError, JobNotFoundError."""
        await control.retry_job(
            self._context, self.id, reset_fallback=reset_fallback, clear_signals=clear_signals, actor=actor
        )
        self.fields |= {"attemptsMade": b"0", "failedReason": b"", "finishedOn": b""}

    async def promote(self, *, actor: Actor | None = None) -> None:
        """Make a delayed job ready now. Raises JobStateError, JobNotFoundError."""
        await control.promote_job(self._context, self.id, actor=actor)
        self._take_over(delay=0)

    async def change_priority(self, priority: int, *, actor: Actor | None = None) -> None:
        """Give a job that has not started another priority, 0..2048. Raises JobStateError, JobNotFoundError."""
        await control.change_job_priority(self._context, self.id, priority, actor=actor)
        self._take_over(priority=int(priority))

    async def change_delay(self, delay: Duration, *, actor: Actor | None = None) -> None:
        """Make a job that has not started wait `delay` (ms, timedelta or text) from now. Raises JobStateError."""
        await control.change_job_delay(self._context, self.id, delay, actor=actor)
        self._take_over(delay=delay_ms(delay))
