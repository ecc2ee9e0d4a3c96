"""A job: what was read of it, and what may be done with it. Inside a processor it is also the run's handle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .errors import JobStateError
from .jobs.control_call import ControlCall
from .jobs.snapshot import DataT, JobFields, ResultT
from .options.job import JobRef
from .records.usage import usage_fields
from .server.context import QueueContext
from .wire.numbers import number_text
from .wire.replies import hash_fields

if TYPE_CHECKING:
    from .jobs.run_calls import RunCalls
    from .options.job import Actor, Duration, Instant
    from .records.jobs import Signal, Usage
    from .worker.execution.run import JobRun


class Job(JobFields[DataT, ResultT]):
    """Snapshot of a job; `refresh()` reads it again, `get_state()` asks for the state now."""

    __slots__ = ()

    @classmethod
    def from_hash(cls, scope: QueueContext, job_id: str, fields: Mapping[str, bytes] | None) -> Job[Any, Any]:
        """Build from the fields of a stored hash; any may be missing, vectors in it may be no text."""
        return cls(scope, job_id, dict(fields or {}))

    # Reading again -------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read the record again. Raises JobNotFoundError when it is gone."""
        flat = await self._scope.connection.command("HGETALL", self._scope.keys.job(self.id))
        fields = hash_fields(flat)
        if not fields:
            raise self._scope.missing(self.id)
        self.fields = fields
        self._forget()

    async def get_state(self) -> str:
        """Ask for the state now; `unknown` when the job is gone."""
        state = await self._scope.connection.command("HGET", self._scope.keys.job(self.id), "state")
        return state.decode() if state else "unknown"

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
        flag = await self._scope.connection.command("HGET", self._scope.keys.job(self.id), "revoked")
        return bool(flag == b"1")

    async def wait_until_finished(
        self, *, poll_interval: Duration = 500, timeout: Duration = 30_000
    ) -> Literal["completed", "failed"]:
        """Poll until it completed or failed.

        Raises WaitTimeoutError after `timeout` (ms or timedelta), JobNotFoundError when the job vanished.
        """
        from .jobs.wait import wait_until_finished

        return await wait_until_finished(self._scope, self.id, poll_interval, timeout)

    # While it runs -------------------------------------------------------------------------------------------

    @property
    def aborted(self) -> bool:
        """Whether this run should stop: revoked, aborted, timed out or closing by force."""
        return self._run is not None and self._run.aborted

    async def wait_aborted(self) -> None:
        """Return when this run should stop."""
        await self._running("wait_aborted").wait_aborted()

    def _running(self, operation: str) -> JobRun:
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
        return self._run.calls if self._run is not None and not self._run.ended else None

    def discard(self) -> None:
        """Make the next failure final, whatever attempts are left."""
        self.discarded = True

    async def log(self, message: str) -> None:
        """Append one line to the job's log. Raises PayloadTooLargeError over 1 MiB."""
        from .jobs.control import append_log

        await append_log(self._scope, self.id, message, self._calls)

    async def update_progress(self, progress: Any) -> None:
        """Store progress (a number or anything JSON) and tell listeners.

        Raises JobNotFoundError when the job was removed, PayloadTooLargeError over 1 MiB.
        """
        from .jobs.control import update_progress

        await update_progress(self._scope, self.id, progress, self._calls)
        self._progress = progress

    async def update_data(self, data: DataT) -> None:
        """Replace the payload. Raises JobNotFoundError, PayloadTooLargeError."""
        from .jobs.control import update_data

        await update_data(self._scope, self.id, data, self._calls)
        self._data, self.data_error = data, None

    async def report_usage(
        self,
        usage: Usage | Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        tokens: Mapping[str, float] | None = None,
        total_tokens: float | None = None,
        costs: Mapping[str, float] | None = None,
        total_cost: float | None = None,
        cost_unit: str | None = None,
        latency: Duration | None = None,
        cached: bool | None = None,
    ) -> Usage | None:
        """Report what this attempt has used so far; replaces the earlier report, fills in totals. One round trip.

        Args:
            tokens: tokens by category; costs: amounts by category in `cost_unit`; latency: ms or timedelta.
        Raises: InvalidOptionError, JobNotFoundError, LockBusyError.
        """
        from .ai.usage import report_usage

        stored = await report_usage(
            self._scope,
            self.id,
            usage,
            model=model,
            provider=provider,
            tokens=tokens,
            total_tokens=total_tokens,
            costs=costs,
            total_cost=total_cost,
            cost_unit=cost_unit,
            latency=latency,
            cached=cached,
            worker=self._run.worker if self._run else None,
            calls=self._calls,
        )
        if self._run is not None:
            self._run.reported = True
        for name in [n for n in self.fields if n.startswith("usage:")]:
            del self.fields[name]
        if stored is not None:
            self.fields.update(usage_fields(stored))
        return stored

    async def report_tokens(self, count: float) -> None:
        """Tell the token limiter what this job used. Raises InvalidOptionError below 0."""
        from .ai.usage import report_tokens

        await report_tokens(self._scope, self.id, count, self._calls)
        if self._run is not None:
            self._run.reported = True
        self.fields["tpmTokens"] = number_text(count).encode()

    async def stream(self, chunk: Mapping[str, str]) -> str:
        """Append one chunk to the job's token stream; returns its entry id.

        Many may be awaited together: they keep their order and share round trips.
        Raises InvalidOptionError (empty, not text), PayloadTooLargeError, JobNotFoundError.
        """
        from .ai.streams import append_chunk

        return await append_chunk(self._scope, self.id, chunk, self._calls)

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
        from .search.store import store_vector

        running = self._run is not None and not self._run.ended
        await store_vector(
            self._scope, self, field, embedding, where=where, on_node_worker=on_node_worker, running=running
        )

    def suspend(
        self,
        *,
        reason: str | None = None,
        timeout: Duration | None = None,
        on_resume: Callable[[Sequence[Signal]], Any] | None = None,
    ) -> ControlCall:
        """Park the job until a signal comes; never returns. The processor starts from the top when resumed.

        Args:
            timeout: ms or timedelta until the job fails for good; None waits for ever.
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
        """Hold back the parked jobs of this job's ordering group for `duration` (ms or timedelta); never returns.

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
        from .jobs.children import get_children_values

        if self._calls is not None:
            return await self._calls.repeat(lambda _: get_children_values(self._scope, self.id))
        return await get_children_values(self._scope, self.id)

    async def get_parents(self) -> list[JobRef]:
        """Jobs that wait for this one (in a DAG: its dependents)."""
        from .jobs.children import get_parents

        if self._calls is not None:
            return await self._calls.repeat(lambda _: get_parents(self._scope, self))
        return await get_parents(self._scope, self)

    # Acting on it --------------------------------------------------------------------------------------------

    async def remove(self, *, force: bool = False, actor: Actor | None = None) -> bool:
        """Delete the job and all that describes it. Raises JobStateError when active, unless forced."""
        from .jobs.control import remove_job

        return await remove_job(self._scope, self.id, force=force, actor=actor)

    async def retry(
        self, *, reset_fallback: bool = False, clear_signals: bool = False, actor: Actor | None = None
    ) -> None:
        """Run a failed job again with all its attempts. Raises JobStateError, JobNotFoundError."""
        from .jobs.control import retry_job

        await retry_job(
            self._scope, self.id, reset_fallback=reset_fallback, clear_signals=clear_signals, actor=actor
        )

    async def promote(self, *, actor: Actor | None = None) -> None:
        """Make a delayed job ready now. Raises JobStateError, JobNotFoundError."""
        from .jobs.control import promote_job

        await promote_job(self._scope, self.id, actor=actor)

    async def change_priority(self, priority: int, *, actor: Actor | None = None) -> None:
        """Give a job that has not started another priority, 0..2048. Raises JobStateError, JobNotFoundError."""
        from .jobs.control import change_job_priority

        await change_job_priority(self._scope, self.id, priority, actor=actor)

    async def change_delay(self, delay: Duration, *, actor: Actor | None = None) -> None:
        """Make a job that has not started wait `delay` (ms or timedelta) from now. Raises JobStateError."""
        from .jobs.control import change_job_delay

        await change_job_delay(self._scope, self.id, delay, actor=actor)
