"""A job: what was read of it, and what may be done with it. Inside a processor it is also the run's handle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

from . import decoding, payload
from .base import Scope
from .errors import JobNotFoundError, JobStateError
from .keys import split_member
from .numbers import number_text, to_int
from .options import Fallback, JobOptions, JobRef

if TYPE_CHECKING:
    from .options import Actor, Duration, Instant
    from .records import Signal, Usage
    from .worker.run import Run

DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")

_UNREAD: Any = object()


class Job(Generic[DataT, ResultT]):
    """Snapshot of a job; `refresh()` reads it again, `get_state()` asks for the state now.

    Fields decode on first access. Any field may be missing on the server (records of removed jobs): text is
    then empty, numbers are 0, times None.
    """

    __slots__ = (
        "_data",
        "_options",
        "_progress",
        "_result",
        "_run",
        "_scope",
        "data_error",
        "discarded",
        "fields",
        "id",
    )

    def __init__(self, scope: Scope, job_id: str, fields: dict[str, bytes], run: Run | None = None) -> None:
        self._scope = scope
        self.id = job_id
        self.fields = fields
        self._run = run
        self.discarded = False
        self.data_error: str | None = None
        self._data = self._result = self._progress = self._options = _UNREAD

    @classmethod
    def from_hash(cls, scope: Scope, job_id: str, fields: Mapping[str, bytes] | None) -> Job[Any, Any]:
        """Build from the fields of a stored hash; any may be missing, vectors in it may be no text."""
        return cls(scope, job_id, dict(fields or {}))

    def __repr__(self) -> str:
        return f"<Job {self.ref} {self.name!r} {self.state}>"

    # What is stored ------------------------------------------------------------------------------------------

    def _text(self, name: str) -> str:
        return payload.as_text(self.fields.get(name))

    def _int(self, name: str) -> int:
        return to_int(self.fields.get(name))

    def _time(self, name: str) -> datetime | None:
        return decoding.instant(self.fields.get(name))

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._scope.queue

    @property
    def ref(self) -> JobRef:
        """The job with its queue; prints as `queue:id`."""
        return JobRef(self._scope.queue, self.id)

    @property
    def name(self) -> str:
        """Kind of job, as the producer named it."""
        return self._text("name")

    @property
    def data(self) -> DataT:
        """Payload; `{}` with `data_error` set when it cannot be decoded."""
        if self._data is _UNREAD:
            decoded = payload.decode_data(self.fields.get("data"), self._scope.serializer)
            self._data, self.data_error = decoded.value, decoded.error
        return self._data  # type: ignore[no-any-return]  # the caller's own type

    @property
    def options(self) -> JobOptions:
        """Options as the producer gave them."""
        if self._options is _UNREAD:
            self._options = decoding.decode_options(self.fields)
        return self._options  # type: ignore[no-any-return]  # filled right above

    @property
    def state(self) -> str:
        """State when it was read (`waiting`, `active`, ...); `unknown` without one."""
        return self._text("state") or "unknown"

    @property
    def attempts_made(self) -> int:
        """Failed attempts so far."""
        return self._int("attemptsMade")

    @property
    def result(self) -> ResultT | None:
        """Decoded result; None while there is none."""
        if self._result is _UNREAD:
            self._result = payload.decode_result(self.fields.get("returnvalue"), self._scope.serializer).value
        return self._result  # type: ignore[no-any-return]  # the caller's own type

    @property
    def failed_reason(self) -> str | None:
        """Why the latest failed attempt failed; may stay on a job that completed later."""
        return self._text("failedReason") or None

    @property
    def progress(self) -> Any:
        """Number or object last reported; 0 before the first report."""
        if self._progress is _UNREAD:
            self._progress = payload.decode_progress(self.fields.get("progress"))
        return self._progress

    @property
    def priority(self) -> int:
        """0 none, else 1 (first) to 2048."""
        return self._int("priority")

    @property
    def delay_ms(self) -> int:
        """Delay last asked for, ms."""
        return self._int("delay")

    @property
    def created_at(self) -> datetime | None:
        """When it was added."""
        return self._time("timestamp")

    @property
    def processed_at(self) -> datetime | None:
        """When it was last started; of a failed attempt, when it failed."""
        return self._time("processedOn")

    @property
    def finished_at(self) -> datetime | None:
        """When it completed or failed for good."""
        return self._time("finishedOn")

    @property
    def expires_at(self) -> datetime | None:
        """After this it fails as `expired` when next looked at."""
        return self._time("expireAt")

    @property
    def last_active_at(self) -> datetime | None:
        """Latest heartbeat of a run."""
        return self._time("lastActive")

    @property
    def parent(self) -> JobRef | None:
        """The job that waits for this one."""
        return decoding.decode_parent(self.fields)

    @property
    def parents(self) -> list[JobRef]:
        """All jobs that wait for this one, as its own record names them."""
        return list(decoding.decode_parents(self.fields))

    @property
    def ordering_key(self) -> str | None:
        """Jobs of one key start in the order in which they were added."""
        return self._text("groupKey") or None

    @property
    def ordering_seq(self) -> int | None:
        """Place in that order, from 1."""
        return self._int("orderingSeq") or None

    @property
    def cost(self) -> float | None:
        """Tokens it takes from its group's bucket; None means 1."""
        stored = self.fields.get("cost")
        return to_int(stored) / 1000 if stored else None

    @property
    def scheduler(self) -> str | None:
        """Scheduler that made it, if one that waits for its end."""
        return self._text("schedulerName") or None

    @property
    def fallback_index(self) -> int:
        """Fallback steps taken; 0 is the primary model."""
        return self._int("fallbackIndex")

    @property
    def current_fallback(self) -> Fallback | None:
        """Entry of the fallback chain for this attempt; None at the primary model and past the end."""
        chain, index = self.options.fallbacks or (), self.fallback_index
        return chain[index - 1] if 0 < index <= len(chain) else None

    @property
    def usage(self) -> Usage | None:
        """Latest usage report, of whichever attempt made it."""
        return decoding.decode_usage(self.fields)

    @property
    def tpm_tokens(self) -> int | None:
        """Tokens reported for the token limiter alone."""
        stored = self.fields.get("tpmTokens")
        return to_int(stored) if stored else None

    @property
    def signals(self) -> list[Signal]:
        """All signals since the job was added, oldest first."""
        return decoding.decode_signals(self.fields.get("signals"))

    @property
    def new_signals(self) -> list[Signal]:
        """Signals since the latest suspension."""
        return decoding.decode_new_signals(self.fields)

    @property
    def revoked(self) -> bool:
        """Whether someone asked for its end."""
        return self.fields.get("revoked") == b"1"

    @property
    def stalled_count(self) -> int:
        """How often a run of it was taken for dead."""
        return self._int("stalledCount")

    @property
    def budget(self) -> JobRef | None:
        """Root of the flow whose budget this job draws on."""
        root, marker, flow_id = self._text("budgetKey").rpartition(":budget:")
        member = split_member(f"{root}:{flow_id}", self._scope.keys.prefix) if marker else None
        return JobRef(*member) if member else None

    # Reading again -------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read the record again. Raises JobNotFoundError when it is gone."""
        flat = await self._scope.connection.command("HGETALL", self._scope.keys.job(self.id))
        fields = decoding.hash_fields(flat)
        if not fields:
            raise JobNotFoundError(f"job '{self.ref}' not found", queue=self.queue, job_id=self.id)
        self.fields = fields
        self._data = self._result = self._progress = self._options = _UNREAD

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
        from .waiting import wait_until_finished

        return await wait_until_finished(self._scope, self.id, poll_interval, timeout)

    # While it runs -------------------------------------------------------------------------------------------

    @property
    def aborted(self) -> bool:
        """Whether this run should stop: revoked, aborted, timed out or closing by force."""
        return self._run is not None and self._run.aborted

    async def wait_aborted(self) -> None:
        """Return when this run should stop."""
        await self._running("wait_aborted").wait_aborted()

    def _running(self, operation: str) -> Run:
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

    def discard(self) -> None:
        """Make the next failure final, whatever attempts are left."""
        self.discarded = True

    async def log(self, message: str) -> None:
        """Append one line to the job's log. Raises PayloadTooLargeError over 1 MiB."""
        from .control import append_log

        await append_log(self._scope, self.id, message)

    async def update_progress(self, progress: Any) -> None:
        """Store progress (a number or anything JSON) and tell listeners.

        Raises JobNotFoundError when the job was removed, PayloadTooLargeError over 1 MiB.
        """
        from .control import update_progress

        await update_progress(self._scope, self.id, progress)
        self._progress = progress

    async def update_data(self, data: DataT) -> None:
        """Replace the payload. Raises JobNotFoundError, PayloadTooLargeError."""
        from .control import update_data

        await update_data(self._scope, self.id, data)
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
        from .usage import report_usage

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
        )
        if self._run is not None:
            self._run.reported = True
        for name in [n for n in self.fields if n.startswith("usage:")]:
            del self.fields[name]
        if stored is not None:
            self.fields.update(decoding.usage_fields(stored))
        return stored

    async def report_tokens(self, count: float) -> None:
        """Tell the token limiter what this job used. Raises InvalidOptionError below 0."""
        from .usage import report_tokens

        await report_tokens(self._scope, self.id, count)
        if self._run is not None:
            self._run.reported = True
        self.fields["tpmTokens"] = number_text(count).encode()

    async def stream(self, chunk: Mapping[str, str]) -> str:
        """Append one chunk to the job's token stream; returns its entry id.

        Many may be awaited together: they keep their order and share round trips.
        Raises InvalidOptionError (empty, not text), PayloadTooLargeError, JobNotFoundError.
        """
        from .streams import append_chunk

        return await append_chunk(self._scope, self.id, chunk)

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
        from .vector_store import store_vector

        running = self._run is not None and not self._run.ended
        await store_vector(
            self._scope, self, field, embedding, where=where, on_node_worker=on_node_worker, running=running
        )

    async def suspend(
        self,
        *,
        reason: str | None = None,
        timeout: Duration | None = None,
        on_resume: Callable[[Sequence[Signal]], Any] | None = None,
    ) -> NoReturn:
        """Park the job until a signal comes; never returns. The processor starts from the top when resumed.

        Args:
            timeout: ms or timedelta until the job fails for good; None waits for ever.
            on_resume: runs in place of the processor if the job comes back to this worker; best effort.
        Raises: InvalidOptionError; JobStateError outside a worker.
        """
        self._running("suspend").suspend(reason, timeout, on_resume)

    async def move_to_delayed(self, until: Instant, next_step: str | None = None) -> NoReturn:
        """Sleep until an instant and start from the top then; never returns, counts no attempt.

        Args:
            next_step: stored as `data["step"]` in the same call.
        Raises: InvalidOptionError when `next_step` is given and the data is no object.
        """
        self._running("move_to_delayed").delay(until, next_step)

    async def move_to_waiting_children(self) -> NoReturn:
        """Wait until every child added with this job as parent has completed; never returns.

        The processor then starts from the top; called again with all children done it runs again at once.
        Raises: JobStateError without children or outside a worker.
        """
        await self._running("move_to_waiting_children").wait_for_children()

    async def rate_limit_group(
        self,
        duration: Duration,
        *,
        current_job: Literal["requeue", "fail"] = "requeue",
        requeue_position: Literal["front", "back"] = "front",
        extend: Literal["max", "replace"] = "max",
    ) -> NoReturn:
        """Hold back the parked jobs of this job's ordering group for a while; never returns.

        Raises: InvalidOptionError when the job has no ordering key.
        """
        self._running("rate_limit_group").limit_group(duration, current_job, requeue_position, extend)

    async def get_children_values(self) -> dict[str, Any]:
        """Results of completed children by their key `<prefix>:{queue}:id`. Raises SerializationError."""
        from .children import get_children_values

        return await get_children_values(self._scope, self.id)

    async def get_parents(self) -> list[JobRef]:
        """Jobs that wait for this one (in a DAG: its dependents)."""
        from .children import get_parents

        return await get_parents(self._scope, self)

    # Acting on it --------------------------------------------------------------------------------------------

    async def remove(self, *, force: bool = False, actor: Actor | None = None) -> bool:
        """Delete the job and all that describes it. Raises JobStateError when active, unless forced."""
        from .control import remove_job

        return await remove_job(self._scope, self.id, force=force, actor=actor)

    async def retry(
        self, *, reset_fallback: bool = False, clear_signals: bool = False, actor: Actor | None = None
    ) -> None:
        """Run a failed job again with all its attempts. Raises JobStateError, JobNotFoundError."""
        from .control import retry_job

        await retry_job(
            self._scope, self.id, reset_fallback=reset_fallback, clear_signals=clear_signals, actor=actor
        )

    async def promote(self, *, actor: Actor | None = None) -> None:
        """Make a delayed job ready now. Raises JobStateError, JobNotFoundError."""
        from .control import promote_job

        await promote_job(self._scope, self.id, actor=actor)

    async def change_priority(self, priority: int, *, actor: Actor | None = None) -> None:
        """Give a job that has not started another priority, 0..2048. Raises JobStateError, JobNotFoundError."""
        from .control import change_job_priority

        await change_job_priority(self._scope, self.id, priority, actor=actor)

    async def change_delay(self, delay: Duration, *, actor: Actor | None = None) -> None:
        """Make a job that has not started wait `delay` (ms or timedelta) from now. Raises JobStateError."""
        from .control import change_job_delay

        await change_job_delay(self._scope, self.id, delay, actor=actor)
