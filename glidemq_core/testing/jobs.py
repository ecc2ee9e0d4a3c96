"""Jobs for tests of processors: no server, no worker; what the processor does is kept on the job."""

from __future__ import annotations

import contextvars
import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Literal, NoReturn, Unpack, cast

from ..ai.steps import Steps
from ..ai.streams.chunks import encode_chunk
from ..ai.usage.report import UsageKeywords, read_report
from ..ai.usage.summary import BUCKET_MS
from ..errors import JobStateError, WaitingChildrenError
from ..job import Job
from ..jobs.active_run import NO_RESOURCES, ControlCall, RunCalls
from ..options.fields import UNSET, Duration, Unset, refuse, to_ms, whole
from ..options.job import Actor, JobKeywords, JobOptions, JobRef, job_options
from ..records import Usage
from ..records.decoding import decode_state
from ..records.outcomes import JobState
from ..records.usage import usage_fields
from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.numbers import number_text
from ..wire.payload import encode_data, encode_result
from ..wire.serializer import JSON_SERIALIZER, Serializer
from ..worker.execution.run import JobRun, SuspendRequest
from .entries import Entry, now_ms

_ids = count(1)
_PRIORITY = whole(0, 2048)


class _NoServer:
    """In place of a connection: says what is wrong when something needs one after all."""

    def __getattr__(self, name: str) -> NoReturn:
        raise JobStateError(
            "this job was made by make_job() and has no server: use a queue of the embedded server for this test",
            queue="test",
            job_id="",
            operation=name,
            state="active",
            needed="a server",
        )


class _RecordedSteps(Steps):
    """Steps that are kept on the job."""

    def __init__(self, job: RecordedJob, calls: RunCalls) -> None:
        super().__init__(job, calls)
        self._recorded = job.steps

    async def _load(self) -> dict[str, bytes]:
        return {
            name: encode_result(value, JSON_SERIALIZER).encode() for name, value in self._recorded.items()
        }

    async def _store(self, name: str, text: str) -> bytes:
        self._recorded[name] = json.loads(text)
        return text.encode()

    def forget(self) -> None:
        super().forget()
        self._recorded.clear()


class RecordedJob(Job[Any, Any]):
    """A job that runs in a test. Control calls (`suspend` and the like) raise what they raise in a worker.

    Attributes:
        streamed: chunks of its token stream, in order.
        logged: lines of its log.
        suspended: the suspension that it asked for; None if it asked for none.
        children: results of its children by key, for `get_children_values`.
        steps: results of steps by name: those that earlier runs have kept, then those of this one.
    """

    __slots__ = ("children", "entry", "logged", "steps", "streamed")

    def __init__(self, context: QueueContext, job_id: str, fields: dict[str, bytes]) -> None:
        started = str(now_ms())
        variables = contextvars.copy_context()
        run = JobRun(
            "0-1", started, "test", "", lambda _: None, NO_RESOURCES, False, variables, lambda _: None
        )
        super().__init__(context, job_id, fields, run)
        run.job = self
        #: Where a `TestQueue` keeps the job; None of a job that stands alone.
        self.entry: Entry | None = None
        self.streamed: list[dict[str, str]] = []
        self.logged: list[str] = []
        self.children: dict[str, Any] = {}
        self.steps: dict[str, Any] = {}
        run.steps = _RecordedSteps(self, run.calls)

    def keep_steps_in(self, kept: dict[str, Any]) -> None:
        """Read and keep results of steps in `kept`, which outlives this run."""
        run = cast("JobRun", self._run)
        self.steps = kept
        run.steps = _RecordedSteps(self, run.calls)

    def _write(self, **words: bytes) -> None:
        """Write fields of the job: here, and where its queue keeps it."""
        self.fields.update(words)
        if self.entry is not None:
            self.entry.fields.update(words)

    def _erase(self, prefix: str) -> None:
        for fields in (self.fields, {} if self.entry is None else self.entry.fields):
            for name in [name for name in fields if name.startswith(prefix)]:
                del fields[name]

    async def get_state(self) -> JobState:
        """Return the state that its queue has it in now; `unknown` when it was removed."""
        if self.entry is None:
            return await super().get_state()
        return "unknown" if self.entry.is_gone else decode_state(self.entry.fields["state"])

    async def refresh(self) -> None:
        """Take over what its queue has of it now. Raises JobNotFoundError when it was removed."""
        if self.entry is None:
            await super().refresh()
        elif self.entry.is_gone:
            raise self._context.missing(self.id)
        else:
            self.fields, self._is_slim = dict(self.entry.fields), False
            self._forget()

    async def change_priority(self, priority: int, *, actor: Actor | None = None) -> None:
        """Note another priority; jobs in memory run in the order in which they were added."""
        self._write(priority=str(_PRIORITY(priority, "priority")).encode())

    async def change_delay(self, delay: Duration, *, actor: Actor | None = None) -> None:
        """Note another delay; jobs in memory do not wait for it."""
        self._note_delay(to_ms(delay, "delay"))

    async def promote(self, *, actor: Actor | None = None) -> None:
        """Note that it waits for no time any more."""
        self._note_delay(0)

    def _note_delay(self, delay_ms: int) -> None:
        self._write(delay=str(delay_ms).encode())
        if self.entry is not None and self.entry.state in ("waiting", "delayed"):
            self._write(state=b"delayed" if delay_ms else b"waiting")

    @property
    def suspended(self) -> SuspendRequest | None:
        """Reason and timeout (ms, 0: none) of the suspension that it asked for."""
        requests = cast("JobRun", self._run).requests or ()
        return next((request for request in requests if isinstance(request, SuspendRequest)), None)

    def abort(self) -> None:
        """Let the processor see that it should stop."""
        cast("JobRun", self._run).abort("revoked")

    async def log(self, message: str) -> None:
        """Keep one line of the log."""
        self.logged.append(message)

    async def update_progress(self, progress: Any) -> None:
        """Keep progress as `job.progress`."""
        self._write(progress=json.dumps(progress).encode())
        self._progress = progress

    async def update_data(self, data: Any) -> None:
        """Replace the payload."""
        self._write(data=encode_data(data, self._context.serializer).encode())
        self._data, self.data_error = data, None
        cast("JobRun", self._run).steps.forget()

    async def report_usage(
        self, usage: Usage | Mapping[str, Any] | None = None, **keywords: Unpack[UsageKeywords]
    ) -> Usage | None:
        """Keep the report as `job.usage`; checked as in a worker."""
        report = read_report(usage, keywords)
        self._erase("usage:")
        cast("JobRun", self._run).reported = True
        if not report:
            return None
        stored = Usage(**report)
        minute = str(now_ms() // BUCKET_MS * BUCKET_MS).encode()
        self._write(**usage_fields(stored), **{"usage:bucketTs": minute})
        return stored

    async def report_tokens(self, count: float) -> None:
        """Keep the tokens as `job.tpm_tokens`."""
        if not isinstance(count, (int, float)) or not count >= 0:
            refuse("count", count, "a number, not negative", "Token count must not be negative")
        cast("JobRun", self._run).reported = True
        self._write(tpmTokens=number_text(count).encode())

    async def stream(self, chunk: Mapping[str, str]) -> str:
        """Keep one chunk; checked as in a worker."""
        encode_chunk(chunk)
        self.streamed.append(dict(chunk))
        return f"{len(self.streamed)}-0"

    async def store_vector(
        self,
        field: str,
        embedding: Any,
        *,
        where: Literal["job", "side"] = "job",
        on_node_worker: Literal["warn", "refuse", "allow"] = "warn",
    ) -> None:
        """Keep a vector in `job.fields` under the name of its field."""
        from ..search.vectors import pack

        self._write(**{field: pack(embedding)})

    def move_to_waiting_children(self) -> ControlCall:
        """End the run as in a worker, whether there are children or not."""

        async def wait() -> NoReturn:
            raise WaitingChildrenError

        return self._running("move_to_waiting_children").control("move_to_waiting_children", wait)

    async def get_children_values(self) -> dict[str, Any]:
        """Return what the test put into `children`."""
        return dict(self.children)

    async def get_parents(self) -> list[JobRef]:
        """A job of a test has no parents."""
        return []


def make_job(
    name: str,
    data: Any = None,
    *,
    queue: str = "test",
    attempts_made: int = 0,
    fallback_index: int = 0,
    signals: Sequence[tuple[str, Any]] = (),
    decision: Literal["approve", "reject"] | None = None,
    decision_data: Any | Unset = UNSET,
    by: str = "tester",
    resources: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] | None = None,
    **options: Unpack[JobKeywords],
) -> RecordedJob:
    """Make a job to call a processor with: `await process(make_job("answer", {...}))`.

    Args:
        data: payload; goes through JSON as on the wire.
        attempts_made: attempts that have failed before.
        fallback_index: fallback steps taken.
        signals: name and data of the signals that it got, oldest first.
        decision: what a person decided, as `job.decision` tells it; its signal comes last.
        decision_data: payload as edited by that person.
        by: who decided.
        steps: results of steps that earlier runs have kept, by name.
        resources: what the lifespan of a worker would hold open, as `job.resources`.
        options: those of `Queue.add`.

    Raises:
        SerializationError, InvalidOptionError: as `Queue.add`.
    """
    at_ms = now_ms()
    encoded = encode_data(data, JSON_SERIALIZER)
    chosen = job_options(None, options)
    fields = new_fields(chosen.job_id or str(next(_ids)), name, encoded, chosen, at_ms)
    received = [{"name": word, "data": said, "receivedAt": at_ms} for word, said in signals]
    if decision is not None:
        received.append(decision_signal(decision, encoded, decision_data, by, at_ms))
    words = {
        "attemptsMade": str(attempts_made),
        "fallbackIndex": str(fallback_index),
        "state": "active",
        "processedOn": str(at_ms),
        "lastActive": str(at_ms),
        "signals": json.dumps(received),
    }
    fields.update({key: value.encode() for key, value in words.items()})
    job = RecordedJob(memory_context(queue, JSON_SERIALIZER), fields["id"].decode(), fields)
    job.steps.update(steps or {})
    cast("JobRun", job._run).resources = NO_RESOURCES if resources is None else resources
    return job


def memory_context(queue: str, serializer: Serializer) -> QueueContext:
    """Return the context of a queue that has no server."""
    return QueueContext(cast("Connection", _NoServer()), QueueKeys("test", queue), serializer)


def new_fields(job_id: str, name: str, encoded: str, chosen: JobOptions, now_ms: int) -> dict[str, bytes]:
    """Return the fields of a job that was just added, but for its state."""
    fields = {
        "id": job_id,
        "name": name,
        "data": encoded,
        "opts": chosen.to_wire(),
        "timestamp": str(now_ms),
        "attemptsMade": "0",
        "maxAttempts": str(chosen.attempts),
        "delay": str(chosen.delay),
        "priority": str(chosen.priority),
    }
    if chosen.ordering is not None:
        fields["groupKey"] = chosen.ordering.key
    return {key: value.encode() for key, value in fields.items()}


def decision_signal(decision: str, encoded: str, data: Any, by: str, now_ms: int) -> dict[str, Any]:
    """Return the signal that an approval or a rejection leaves."""
    payload = encoded if data is UNSET else encode_data(data, JSON_SERIALIZER)
    said: dict[str, Any] = {
        "action": decision,
        "approved": decision == "approve",
        "by": by,
        "data_sha256": hashlib.sha256(payload.encode()).hexdigest(),
    }
    if data is not UNSET:
        said["data"] = data
    return {"name": decision, "data": said, "receivedAt": now_ms}
