"""From the fields of a stored job hash to records: pure, and tolerant of everything a queue may hold."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from ..errors import SerializationError
from ..options.fields import EPOCH, from_epoch_ms
from ..options.job import JobOptions, JobRef
from ..wire.keys import NO_DEADLINE, split_member
from ..wire.numbers import parse_number, to_int
from ..wire.payload import encode_json, json_list
from ..wire.replies import as_text, number
from ..wire.strict_json import parse_json
from .approvals import ReviewDecision, Signal, SuspendInfo
from .outcomes import JobState
from .streams import StreamChunk

#: A hash as stored: its values may be any bytes (vectors are).
Fields = Mapping[str, bytes]
SUSPEND_FIELDS: Final = ("state", "suspendReason", "suspendedAt", "suspendTimeout", "signals")


def optional_text(stored: bytes | None) -> str | None:
    """Return text, None if missing or empty."""
    return as_text(stored) or None


def instant(stored: bytes | str | float | None) -> datetime | None:
    """Read a time, epoch ms; missing, empty, zero and what no calendar has are None."""
    found = number(stored)
    return from_epoch_ms(found) if found else None


def decode_state(stored: bytes | None) -> JobState:
    """Read the state of a job, `unknown` without one."""
    return cast(JobState, as_text(stored) or "unknown")  # a word that no peer writes is shown as it stands


def decode_options(fields: Fields) -> JobOptions:
    """Read the options a job was added with."""
    return JobOptions.from_wire(fields.get("opts"))


def decode_parents(fields: Fields) -> tuple[JobRef, ...]:
    """Read who waits for the job: all parents of a DAG node, or the one of a tree."""
    ids, queues = json_list(fields.get("parentIds")), json_list(fields.get("parentQueues"))
    pairs = zip(ids, queues, strict=False)
    several = tuple(JobRef(q, i) for i, q in pairs if isinstance(i, str) and isinstance(q, str))
    parent = decode_parent(fields)
    return several or ((parent,) if parent else ())


def decode_parent(fields: Fields) -> JobRef | None:
    """Read the parent of a tree's child."""
    queue, job = optional_text(fields.get("parentQueue")), optional_text(fields.get("parentId"))
    return JobRef(queue, job) if queue and job else None


def budget_of(fields: Fields, prefix: str) -> JobRef | None:
    """Root of the flow whose budget the job draws on, None without."""
    root, marker, flow_id = as_text(fields.get("budgetKey")).rpartition(":budget:")
    member = split_member(f"{root}:{flow_id}", prefix) if marker else None
    return JobRef(*member) if member else None


def decode_signals(stored: bytes | str | None) -> list[Signal]:
    """Read the `signals` field: all signals since the job was added, oldest first."""
    return _signals(json_list(stored))


def _signals(entries: Iterable[Any]) -> list[Signal]:
    return [_signal(entry) for entry in entries if isinstance(entry, dict)]


def decode_suspend(fields: Fields, deadline: float | bytes | None) -> SuspendInfo | None:
    """Read a suspension, None unless the job is in one; `deadline` is its score in `P:suspended`.

    Reason and timeout of an earlier suspension may still stand in the hash: they are shown only if they
    agree with the deadline.
    """
    if as_text(fields.get("state")) != "suspended":
        return None
    suspended_ms = parse_number(fields.get("suspendedAt")) or 0
    timeout = parse_number(fields.get("suspendTimeout")) or None
    # A deadline without end is a huge number or "inf", neither of which is a time.
    score = deadline if isinstance(deadline, (int, float)) else parse_number(deadline)
    due = score if score is not None and score < NO_DEADLINE else None
    agrees = deadline is None or _agree(due, suspended_ms, timeout)
    return SuspendInfo(
        reason=optional_text(fields.get("suspendReason")) if agrees else None,
        suspended_at=from_epoch_ms(suspended_ms) or EPOCH,
        timeout_ms=int(timeout) if timeout is not None and agrees else None,
        deadline_at=from_epoch_ms(due) if due is not None else None,
        signals=tuple(decode_signals(fields.get("signals"))),
    )


def decode_new_signals(fields: Fields) -> list[Signal]:
    """Read the signals since the latest suspension.

    Our suspensions note how many there were before; for others the times tell.
    """
    suspended_at = as_text(fields.get("suspendedAt"))
    noted_at, _, count = as_text(fields.get("suspendBase")).rpartition(":")
    if suspended_at and noted_at == suspended_at:
        return _signals(json_list(fields.get("signals"))[to_int(count) :])
    since = instant(suspended_at) or EPOCH
    return [signal for signal in decode_signals(fields.get("signals")) if signal.received_at >= since]


def review_decision(fields: Fields, own_data: Callable[[], Any]) -> ReviewDecision | None:
    """Read the newest decision since the latest suspension; None if nobody decided.

    Only what `approve` and `reject` sent is a decision, whatever else a signal says.

    Args:
        own_data: reads the job's own payload, for a decision that did not edit it.
    """
    signal = next(filter(_is_decision, reversed(decode_new_signals(fields))), None)
    return None if signal is None else _decision(fields, signal, own_data)


def _is_decision(signal: Signal) -> bool:
    said = signal.data
    return (
        isinstance(said, dict)
        and said.get("action") in ("approve", "reject")
        and said.get("approved") is (said["action"] == "approve")
        and isinstance(said.get("by"), str)
        and isinstance(said.get("data_sha256"), str)
    )


def _decision(fields: Fields, signal: Signal, own_data: Callable[[], Any]) -> ReviewDecision:
    said: dict[str, Any] = signal.data
    edited = "data" in said
    found = _sha256_of(said["data"]) if edited else hashlib.sha256(fields.get("data", b"")).hexdigest()
    return ReviewDecision(
        approved=said["approved"],
        by=said["by"],
        comment=_text(said.get("comment")),
        reason=_text(said.get("reason")),
        data=said["data"] if edited else own_data(),
        at=signal.received_at,
        review_hash=_text(said.get("review_hash")),
        is_current=found == said["data_sha256"],
    )


def _sha256_of(data: Any) -> str | None:
    try:
        return hashlib.sha256(encode_json(data, "signal data").encode()).hexdigest()
    except SerializationError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def decode_chunk(entry_id: bytes | str, pairs: Iterable[Sequence[bytes]]) -> StreamChunk:
    """Read a stream entry given as pairs of name and value."""
    return StreamChunk(as_text(entry_id), [(as_text(name), as_text(value)) for name, value in pairs])


def _agree(due: float | None, suspended_ms: float, timeout: float | None) -> bool:
    if due is None or timeout is None:
        return due is None and (timeout is None or suspended_ms + timeout >= NO_DEADLINE)
    return abs(suspended_ms + timeout - due) <= 1


def _signal(entry: dict[str, Any]) -> Signal:
    received = entry.get("receivedAt")
    usable = isinstance(received, (int, float)) and not isinstance(received, bool)
    name, data = entry.get("name"), entry.get("data", "")
    return Signal(
        name=_text(name) or "",
        data=_decoded_once(data) if isinstance(data, str) else data,
        received_at=(from_epoch_ms(received) if usable and received is not None else None) or EPOCH,
    )


def _decoded_once(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def amounts_text(stored: bytes | None) -> dict[str, float]:
    """Read amounts by category from JSON text; what is damaged is left out."""
    try:
        return json_amounts(parse_json(stored)) if stored else {}
    except ValueError:
        return {}


def json_amounts(value: Any) -> dict[str, float]:
    """Keep the finite numbers of a JSON object."""
    if not isinstance(value, Mapping):
        return {}
    numbers = {key: json_number(item) for key, item in value.items()}
    return {key: number for key, number in numbers.items() if number is not None}


def json_number(value: Any) -> float | None:
    """Keep a JSON number that a double can hold."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else None


def json_text(value: Any) -> str | None:
    """Keep JSON text that is not empty."""
    return value if isinstance(value, str) and value else None
