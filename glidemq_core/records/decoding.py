"""From the fields of a stored job hash to records: pure, and tolerant of everything a queue may hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..options.fields import EPOCH, from_epoch_ms
from ..options.job import JobOptions, JobRef
from ..wire.keys import NO_DEADLINE, split_member
from ..wire.numbers import number_text, parse_number, to_int
from ..wire.payload import json_list
from ..wire.replies import as_text
from ..wire.strict_json import compact_json, parse_json
from .jobs import Signal, StreamChunk, SuspendInfo, Usage

#: A hash as stored: its values may be any bytes (vectors are).
Fields = Mapping[str, bytes]
USAGE_FIELDS: Final = {
    "model": "usage:model",
    "provider": "usage:provider",
    "tokens": "usage:tokens",
    "totalTokens": "usage:totalTokens",
    "costs": "usage:costs",
    "totalCost": "usage:totalCost",
    "costUnit": "usage:costUnit",
    "latencyMs": "usage:latencyMs",
    "cached": "usage:cached",
}
SUSPEND_FIELDS: Final = ("state", "suspendReason", "suspendedAt", "suspendTimeout", "signals")


def optional_text(stored: bytes | None) -> str | None:
    """Return text, None if missing or empty."""
    return as_text(stored) or None


def instant(stored: bytes | str | None) -> datetime | None:
    """Read a time; missing, empty, zero and what no calendar has are None."""
    number = parse_number(stored)
    return from_epoch_ms(number) if number else None


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


def decode_usage(fields: Fields) -> Usage | None:
    """Read the latest usage report of a job, None if there is none. Numbers keep their fractions."""
    cached = as_text(fields.get("usage:cached"))
    usage = Usage(
        model=optional_text(fields.get("usage:model")),
        provider=optional_text(fields.get("usage:provider")),
        tokens=amounts_text(fields.get("usage:tokens")),
        total_tokens=parse_number(fields.get("usage:totalTokens")),
        costs=amounts_text(fields.get("usage:costs")),
        total_cost=parse_number(fields.get("usage:totalCost")),
        cost_unit=optional_text(fields.get("usage:costUnit")),
        latency_ms=parse_number(fields.get("usage:latencyMs")),
        cached={"1": True, "0": False}.get(cached),
    )
    return usage if usage != Usage() else None


def usage_fields(usage: Usage) -> dict[str, bytes]:
    """Return the hash fields of a usage report, without the minute it was booked in."""
    report = usage_json(usage)
    return {USAGE_FIELDS[key]: _usage_text(value).encode() for key, value in report.items()}


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return a usage report as it stands in events and ledgers (camelCase keys), only what was reported."""
    values = {
        "model": usage.model,
        "provider": usage.provider,
        "tokens": dict(usage.tokens) or None,
        "totalTokens": usage.total_tokens,
        "costs": dict(usage.costs) or None,
        "totalCost": usage.total_cost,
        "costUnit": usage.cost_unit,
        "latencyMs": usage.latency_ms,
        "cached": usage.cached,
    }
    return {key: value for key, value in values.items() if value is not None}


def _usage_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return compact_json(value)
    return value if isinstance(value, str) else number_text(value)


def usage_from_json(report: Any) -> Usage | None:
    """Read a usage report as it stands in events and ledgers (camelCase keys), None if it is empty."""
    if not isinstance(report, Mapping):
        return None
    usage = Usage(
        model=_json_text(report.get("model")),
        provider=_json_text(report.get("provider")),
        tokens=_amounts(report.get("tokens")),
        total_tokens=_json_number(report.get("totalTokens")),
        costs=_amounts(report.get("costs")),
        total_cost=_json_number(report.get("totalCost")),
        cost_unit=_json_text(report.get("costUnit")),
        latency_ms=_json_number(report.get("latencyMs")),
        cached=report["cached"] if isinstance(report.get("cached"), bool) else None,
    )
    return usage if usage != Usage() else None


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
        name=name if isinstance(name, str) else "",
        data=_decoded_once(data) if isinstance(data, str) else data,
        received_at=(from_epoch_ms(received) if usable and received is not None else None) or EPOCH,
    )


def _decoded_once(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def amounts_text(stored: bytes | None) -> dict[str, float]:
    try:
        return _amounts(parse_json(stored)) if stored else {}
    except ValueError:
        return {}


def _amounts(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    numbers = {key: _json_number(item) for key, item in value.items()}
    return {key: number for key, number in numbers.items() if number is not None}


def _json_number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) <= sys.float_info.max else None


def _json_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
