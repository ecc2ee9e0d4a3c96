"""A job as it was read: its stored fields, decoded when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from ..options.job import Fallback, JobOptions, JobRef
from ..options.types import merge_options
from ..records import ReviewDecision, Signal, Usage, decoding
from ..records.outcomes import JobState
from ..records.usage import decode_usage
from ..server.context import QueueContext
from ..wire import payload
from ..wire.numbers import to_int
from ..wire.replies import as_text

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # What is left out is Any: `Job` alone is a whole type. Only type checkers know defaults before Python 3.13.
    DataT = TypeVar("DataT", default=Any)
    ResultT = TypeVar("ResultT", default=Any)
else:
    from typing import TypeVar

    DataT, ResultT = TypeVar("DataT"), TypeVar("ResultT")

_UNREAD: Any = object()


class PayloadTypes(NamedTuple):
    """How payloads of a job become objects, and results JSON values."""

    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]


class JobSnapshot(Generic[DataT, ResultT]):
    """The record of a job as it was when it was read.

    Fields decode on first access. Any field may be missing on the server (records of removed jobs): text is
    then empty, numbers are 0, times None.
    """

    __slots__ = (
        "_context",
        "_data",
        "_is_slim",
        "_options",
        "_progress",
        "_result",
        "_types",
        "data_error",
        "fields",
        "id",
    )

    def __init__(self, context: QueueContext, job_id: str, fields: dict[str, bytes]) -> None:
        self._context = context
        self.id = job_id
        self.fields = fields
        self.data_error: str | None = None
        #: Read without payload and result.
        self._is_slim = False
        self._types: PayloadTypes | None = None
        self._data = self._result = self._progress = self._options = _UNREAD

    def _forget(self) -> None:
        """Drop what was decoded of former fields."""
        self._data = self._result = self._progress = self._options = _UNREAD

    def _take_over(self, **options: int) -> None:
        """Know what was changed on the server through this object, as the peer's jobs do."""
        self.fields.update({name: str(value).encode() for name, value in options.items()})
        self._options = merge_options(JobOptions, self.options, options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ref} {self.name!r} {self.state}>"

    def _text(self, name: str) -> str:
        return as_text(self.fields.get(name))

    def _int(self, name: str) -> int:
        return to_int(self.fields.get(name))

    def _time(self, name: str) -> datetime | None:
        return decoding.instant(self.fields.get(name))

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._context.queue

    @property
    def ref(self) -> JobRef:
        """The job with its queue; prints as `queue:id`."""
        return JobRef(self._context.queue, self.id)

    @property
    def name(self) -> str:
        """Kind of job, as the producer named it."""
        return self._text("name")

    @property
    def data(self) -> DataT:
        """Payload; `{}` with `data_error` set when it cannot be decoded, None when it was not read (`exclude_data`)."""
        if self._is_slim:
            return None  # type: ignore[return-value]  # who leaves it out does not ask for it
        if self._data is _UNREAD:
            decoded = payload.decode_data(self.fields.get("data"), self._context.serializer)
            self.data_error = decoded.error
            types = self._types if decoded.error is None else None
            self._data = decoded.value if types is None else types.decode(decoded.value)
        return self._data  # type: ignore[no-any-return]  # the caller's own type

    def use_types(self, types: PayloadTypes) -> None:
        """Hand out `data` as an object of a type from now on, also when the record is read again."""
        self._types, self._data = types, _UNREAD

    def as_result(self, value: Any) -> Any:
        """Return a result as the types of the job write it."""
        return value if self._types is None else self._types.encode(value)

    @property
    def options(self) -> JobOptions:
        """Options as the producer gave them, but for what was changed through this object."""
        if self._options is _UNREAD:
            self._options = decoding.decode_options(self.fields)
        return self._options  # type: ignore[no-any-return]  # filled right above

    @property
    def state(self) -> JobState:
        """State when it was read (`waiting`, `active`, ...); `unknown` without one."""
        return decoding.decode_state(self.fields.get("state"))

    @property
    def attempts_made(self) -> int:
        """Failed attempts so far."""
        return self._int("attemptsMade")

    @property
    def result(self) -> ResultT | None:
        """Decoded result; None while there is none."""
        if self._result is _UNREAD:
            stored = self.fields.get("returnvalue")
            self._result = payload.decode_result(stored, self._context.serializer).value
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
        return decode_usage(self.fields)

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
    def decision(self) -> ReviewDecision | None:
        """What a person decided since the latest suspension; None if nobody approved or rejected.

        This is what a processor should go by: a signal may come from anybody, and `is_current` tells whether the
        payload is still the one that was decided on.
        """
        return decoding.review_decision(self.fields, lambda: self.data)

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
        return decoding.budget_of(self.fields, self._context.keys.prefix)
