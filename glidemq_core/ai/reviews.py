"""What an approver must see of a suspended job, and the hash that binds a decision to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import JobStateError, SerializationError
from ..jobs.audit import canonical_json
from ..options.job import JobRef
from ..records import Approval
from ..records.decoding import SUSPEND_FIELDS, Fields, budget_of, decode_suspend, optional_text
from ..records.usage import STORED_USAGE, decode_usage
from ..server.context import QueueContext
from ..wire.numbers import size_words
from ..wire.payload import decode_progress, unpack
from ..wire.replies import as_text, picked_fields
from ..wire.serializer import JSON_SERIALIZER, Serializer
from ..wire.strict_json import parse_for_show
from .rounds import Round, StreamFacts, limits_of, read_round, round_start, stream_facts

#: Fields of the hash that an `Approval` is made of, without `signals`, which may be of any length.
APPROVAL_FIELDS: Final = (
    *(name for name in SUSPEND_FIELDS if name != "signals"),
    *STORED_USAGE,
    "name",
    "data",
    "progress",
    "budgetKey",
    "groupKey",
    "parentId",
    "processedOn",
    "roundFrom",
    "suspendBase",
)
#: Fields of the hash that a review hash covers, and those that say where the round of the stream begins.
BOUND_FIELDS: Final = ("name", "suspendedAt", "suspendReason", "data", "progress")
ROUND_FIELDS: Final = ("processedOn", "roundFrom")
_MARKED: Final = ("name", "suspendedAt", "suspendReason", *ROUND_FIELDS)
#: Bytes of signals that are decoded at most, in lists and in a whole review.
LIST_SIGNALS, ALL_SIGNALS = 65_536, 4_194_304
#: Bytes that a list shows of a payload that cannot be read; levels of nesting that can be shown.
_RAW, _DEPTH = 65_536, 200


def review_hash(ref: JobRef, fields: Fields, streamed: Round) -> str:
    """Return the hash of what an approver was shown: suspension, name, payload, progress and round, as stored."""
    shown: dict[str, Any] = {name: _exact(fields.get(name)) for name in BOUND_FIELDS}
    stream = {"last": streamed.last, "entries": streamed.entries, "sha256": streamed.sha256}
    shown |= {"queue": ref.queue, "id": ref.id, "stream": stream}
    return hashlib.sha256(canonical_json(shown).encode()).hexdigest()


def _exact(stored: bytes | None) -> str:
    """Turn stored bytes into text; different bytes give different text."""
    try:
        return (stored or b"").decode()
    except UnicodeDecodeError:
        return "bytes " + (stored or b"").hex()


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload as an approver is shown it; with an `error`, `raw` holds its text and there is no value."""

    data: Any = None
    error: str | None = None
    raw: str | None = None


def read_payload(stored: bytes, serializer: Serializer, raw_limit: int | None = None) -> Payload:
    """Read a payload for an approver; a payload that cannot be shown as the processor will see it is an error.

    Args:
        raw_limit: characters of the text that are kept with an error; None keeps all.
    """
    if not stored:
        return Payload({})
    text = as_text(stored)
    try:
        stored.decode()
        text = unpack(stored, strict=True)
        is_json = serializer is JSON_SERIALIZER
        return Payload(parse_for_show(text, _DEPTH) if is_json else serializer.deserialize(text))
    except SerializationError as error:
        return Payload(None, str(error), text[:raw_limit])
    except Exception as error:  # noqa: BLE001 - a serializer of the caller may raise anything
        return Payload(None, f"data: {error or type(error).__name__}", text[:raw_limit])


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a suspended job; `lengths` are of fields that may have been too long to read."""

    fields: Fields
    stream: StreamFacts
    round: Round
    deadline: float | bytes | None = None
    lengths: Mapping[str, int] = field(default_factory=dict)
    #: Jobs that wait for its ordering key.
    parked: int | None = None
    #: Whether its stream cannot be read.
    unreadable: bool = False


def approval_of(
    ref: JobRef, reading: Reading, prefix: str, serializer: Serializer, payload_limit: int | None = None
) -> Approval | None:
    """Build an approval; None unless the job is suspended.

    Args:
        payload_limit: bytes of stored data above which the payload is left out; None shows all of it.
    """
    fields, streamed = reading.fields, reading.round
    info = decode_suspend(fields, reading.deadline)
    if info is None:
        return None
    stored = fields.get("data", b"")
    truncated = payload_limit is not None and len(stored) > payload_limit
    payload = Payload() if truncated else read_payload(stored, serializer, payload_limit and _RAW)
    hidden = [*streamed.hidden, *(["its stream, which cannot be read"] if reading.unreadable else [])]
    progress = fields.get("progress")
    long_progress = payload_limit is not None and len(progress or b"") > max(payload_limit, 4_096)
    if long_progress:
        hidden.append(f"progress of {size_words(len(progress or b''))}")
    if "signals" not in fields and reading.lengths.get("signals"):
        hidden.append(f"its signals of {size_words(reading.lengths['signals'])}")
    whole = not truncated and payload.error is None and not hidden
    behind = [reading.parked] if "groupKey" in fields and reading.parked is not None else []
    behind += [1] if fields.get("parentId") else []
    return Approval(
        queue=ref.queue,
        id=ref.id,
        name=as_text(fields.get("name")),
        data=payload.data,
        data_bytes=len(stored),
        truncated=truncated,
        draft=streamed.draft,
        progress=None if long_progress else decode_progress(progress),
        signals=info.signals,
        usage=decode_usage(fields),
        budget=budget_of(fields, prefix),
        waiting_behind=sum(behind) if behind else None,
        tool_calls=streamed.tool_calls,
        chunks=streamed.chunks,
        hidden=tuple(hidden),
        data_error=payload.error,
        raw=payload.raw,
        mark=_mark(fields, reading.stream),
        reason=info.reason or _noted_reason(fields),
        suspended_at=info.suspended_at,
        timeout_ms=info.timeout_ms,
        deadline_at=info.deadline_at,
        review_hash=review_hash(ref, fields, streamed) if whole else None,
    )


def _noted_reason(fields: Fields) -> str | None:
    """Return the reason of a suspension by a Python worker, which removes earlier reasons; else None."""
    of = as_text(fields.get("suspendBase")).rpartition(":")[0]
    is_noted = of and of == as_text(fields.get("suspendedAt"))
    return optional_text(fields.get("suspendReason")) if is_noted else None


def _mark(fields: Fields, stream: StreamFacts) -> str:
    """Digest of what can be known of a job without reading its stream."""
    parts = [_exact(fields.get(name)) for name in _MARKED]
    parts += [hashlib.sha1(fields.get(name, b"")).hexdigest() for name in ("data", "progress")]
    return hashlib.sha1(canonical_json([*parts, stream.text]).encode()).hexdigest()


async def review(context: QueueContext, job_id: str, *, payload_limit: int | None = None) -> Approval:
    """Read what an approver must see; see `Queue.review`. Plain commands: it works for read-only users."""
    keys, key = context.keys, context.keys.job(job_id)
    values, length, deadline, stream = await context.connection.pipeline(
        (
            ("HMGET", key, *APPROVAL_FIELDS),
            ("HSTRLEN", key, "signals"),
            ("ZSCORE", keys.suspended, job_id),
            ("XINFO", "STREAM", keys.jstream(job_id)),
        )
    )
    for answer in (values, length, deadline):
        if isinstance(answer, Exception):
            raise answer
    fields = picked_fields(APPROVAL_FIELDS, values)
    if not fields:
        raise context.missing(job_id)
    state = as_text(fields.get("state")) or "unknown"
    if state != "suspended":
        raise JobStateError(
            f"job '{context.queue}:{job_id}' is {state}, not suspended: there is nothing to decide",
            queue=context.queue,
            job_id=job_id,
            operation="review",
            state=state,
            needed="suspended",
        )
    facts = stream_facts(stream)
    fields |= await _signals(context, key, length, payload_limit)
    parked = None
    if group := fields.get("groupKey"):
        parked = await context.connection.command("ZCARD", keys.groupq(as_text(group)))
    ask, start, limits = context.connection.command, round_start(fields), limits_of(payload_limit)
    streamed = await read_round(ask, keys.jstream(job_id), start, facts.last, limits)
    reading = Reading(fields, facts, streamed, deadline, {"signals": length}, parked)
    ref = JobRef(context.queue, job_id)
    approval = approval_of(ref, reading, keys.prefix, context.serializer, payload_limit)
    assert approval is not None  # its state was looked at
    return approval


async def _signals(
    context: QueueContext, key: str, length: int, payload_limit: int | None
) -> dict[str, bytes]:
    """Read the field of signals, unless it is too long to be decoded."""
    if not length or length > (ALL_SIGNALS if payload_limit is None else LIST_SIGNALS):
        return {}
    stored = await context.connection.command("HGET", key, "signals")
    return {} if stored is None else {"signals": stored}


@dataclass(frozen=True, slots=True)
class Bound:
    """Facts of a job as it was read, for the deciding call to check again."""

    hash: str
    data_sha1: str
    data_sha256: str
    data: bytes
    facts: tuple[str | int | bytes, ...]


async def bound_facts(context: QueueContext, job_id: str) -> Bound | None:
    """Read a job whole and return its review hash with the facts behind it; None if there is no such job."""
    names = (*BOUND_FIELDS, *ROUND_FIELDS)
    key = context.keys.jstream(job_id)
    values, stream = await context.connection.pipeline(
        (("HMGET", context.keys.job(job_id), *names), ("XINFO", "STREAM", key))
    )
    if isinstance(values, Exception):
        raise values
    fields, facts = picked_fields(names, values), stream_facts(stream)
    if not fields:
        return None
    start = round_start(fields)
    streamed = await read_round(context.connection.command, key, start, facts.last, limits_of(None))
    data, head, tail = fields.get("data", b""), streamed.head, streamed.tail
    shown = [fields.get(name, b"") for name in ("name", "suspendedAt", "suspendReason")]
    progress = hashlib.sha1(fields.get("progress", b"")).hexdigest()
    return Bound(
        review_hash(JobRef(context.queue, job_id), fields, streamed),
        hashlib.sha1(data).hexdigest(),
        hashlib.sha256(data).hexdigest(),
        data,
        (*shown, progress, start, facts.text, head.entries, head.sha1, tail.entries, tail.sha1),
    )
