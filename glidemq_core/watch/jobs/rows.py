"""Jobs as a list shows them: small fields of many jobs in one round trip, no payloads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glidemq_core.flows.walk import by_queue
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader, read_fields
from glidemq_core.reading.running import is_overdue
from glidemq_core.records import JobRow, Usage
from glidemq_core.records.decoding import (
    Fields,
    decode_parent,
    decode_state,
    decode_suspend,
    instant,
    optional_text,
)
from glidemq_core.records.usage import decode_usage
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.wire.numbers import parse_number, to_int
from glidemq_core.wire.payload import decode_progress
from glidemq_core.wire.replies import as_text, failed, integer, number

#: Fields that rows of jobs and nodes of flows are made of.
SHARED_FIELDS = (
    "name",
    "state",
    "timestamp",
    "attemptsMade",
    "fallbackIndex",
    "processedOn",
    "finishedOn",
    "failedReason",
    "budgetKey",
    "budgetPausedAt",
    "delay",
    "lastActive",
    "opts",
)
ROW_FIELDS = (
    *SHARED_FIELDS,
    "maxAttempts",
    "priority",
    "progress",
    "parentId",
    "parentQueue",
    "usage:model",
    "usage:totalTokens",
    "usage:totalCost",
    "usage:costUnit",
    "suspendedAt",
    "suspendReason",
    "suspendTimeout",
)
#: How long a budget delays a job that it parks, ms.
_DAY_MS = 86_400_000


def row_facts(queue: str, job_id: str, fields: Fields, score: float | None, now_ms: int) -> dict[str, Any]:
    """Return the fields of a JobRow; `score` is that in `P:scheduled`, or of a suspended job its deadline."""
    usage = decode_usage(fields)
    shared = shared_facts(JobRef(queue, job_id), fields, usage, now_ms)
    state, due = shared["state"], None
    if state in ("delayed", "prioritized") and score is not None:
        due = instant(score % PRIORITY_STEP)
    return {
        **shared,
        "priority": to_int(fields.get("priority")),
        "max_attempts": to_int(fields.get("maxAttempts")),
        "delay_ms": to_int(fields.get("delay")),
        "due_at": due,
        "progress": decode_progress(fields.get("progress")),
        "parent": decode_parent(fields),
        "cost_unit": usage.cost_unit if usage else None,
        "suspend": decode_suspend(fields, score),
        "parked": state == "delayed" and bool(fields.get("budgetKey")) and is_parked(fields, score),
    }


def shared_facts(ref: JobRef, fields: Fields, usage: Usage | None, now_ms: int) -> dict[str, Any]:
    """Return the fields that JobRow and FlowNode have in common."""
    return {
        "queue": ref.queue,
        "id": ref.id,
        "name": as_text(fields.get("name")),
        "state": decode_state(fields.get("state")),
        "attempts_made": to_int(fields.get("attemptsMade")),
        "fallback_index": to_int(fields.get("fallbackIndex")),
        "model": usage.model if usage else None,
        "total_tokens": usage.total_tokens if usage else None,
        "total_cost": usage.total_cost if usage else None,
        "created_at": instant(fields.get("timestamp")),
        "processed_at": instant(fields.get("processedOn")),
        "finished_at": instant(fields.get("finishedOn")),
        "failed_reason": optional_text(fields.get("failedReason")),
        "stalled": is_overdue(fields, now_ms),
    }


def is_parked(fields: Fields, score: float | None) -> bool:
    """Tell whether a delayed job of a budget is parked by it: by our mark, or by what Node leaves when it parks.

    Args:
        fields: with processedOn, delay and budgetPausedAt.
        score: that in `P:scheduled`; None for a job that is not there.
    """
    if score is None:
        return False
    started, delay = parse_number(fields.get("processedOn")), to_int(fields.get("delay"))
    by_node = (
        started is not None
        and _DAY_MS - 1_000 <= delay <= _DAY_MS
        and abs(score % PRIORITY_STEP - started - _DAY_MS) <= 60_000
    )
    marked = parse_number(fields.get("budgetPausedAt"))
    return by_node or (marked is not None and (started or 0) <= marked)


async def read_rows(reader: Reader, refs: Iterable[JobRef]) -> dict[JobRef, JobRow | None]:
    """Read jobs of any queues as rows, by a call for each queue; None for one that is gone."""
    queues = by_queue(refs)
    found = await asyncio.gather(
        *(read_fields(reader, queue, ids, ROW_FIELDS) for queue, ids in queues.items())
    )
    fields = {
        JobRef(queue, job_id): values
        for (queue, ids), rows in zip(queues.items(), found, strict=True)
        for job_id, values in zip(ids, rows, strict=True)
    }
    scores = await _scores(reader, fields)
    now_ms = reader.now_ms()
    return {ref: _row(ref.queue, ref.id, values, scores.get(ref), now_ms) for ref, values in fields.items()}


async def _scores(reader: Reader, fields: Mapping[JobRef, Fields]) -> dict[JobRef, float | None]:
    """Read the due times of delayed jobs and the deadlines of suspended ones, a command for each set."""
    waiting: dict[str, list[JobRef]] = {}
    for ref, values in fields.items():
        state, keys = as_text(values.get("state")), reader.keys(ref.queue)
        if state in ("delayed", "prioritized"):
            waiting.setdefault(keys.scheduled, []).append(ref)
        elif state == "suspended":
            waiting.setdefault(keys.suspended, []).append(ref)
    answers = await reader.read(
        [("ZMSCORE", key, *(ref.id for ref in refs)) for key, refs in waiting.items()]
    )
    return {
        ref: number(score)
        for refs, scores in zip(waiting.values(), answers, strict=True)
        if not failed(scores)
        for ref, score in zip(refs, scores, strict=True)
    }


async def have_streamed(reader: Reader, refs: Sequence[JobRef]) -> set[JobRef]:
    """Tell which jobs have a token stream with something in it."""
    lengths = await reader.read([("XLEN", reader.keys(ref.queue).jstream(ref.id)) for ref in refs])
    return {ref for ref, length in zip(refs, lengths, strict=True) if not failed(length) and integer(length)}


def _row(queue: str, job_id: str, fields: Fields, score: float | None, now_ms: int) -> JobRow | None:
    return JobRow(**row_facts(queue, job_id, fields, score, now_ms)) if fields else None


async def job_rows(
    reader: Reader, queue: str, ids: Sequence[str], scores: Sequence[float | None] = ()
) -> list[JobRow | None]:
    """Read jobs of one queue as rows; None for one that is gone.

    Args:
        scores: of each job its score in `P:scheduled` or `P:suspended`, as far as it is known.
    """
    found = await read_fields(reader, queue, ids, ROW_FIELDS)
    now_ms = reader.now_ms()
    listed = zip(ids, found, scores or [None] * len(ids), strict=True)
    return [_row(queue, job_id, fields, score, now_ms) for job_id, fields, score in listed]
