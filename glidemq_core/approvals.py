"""What an approver must see of a suspended job, and the decision, bound to it and made in one call."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .audit import audit_blob, canonical_json
from .base import Scope
from .decoding import (
    SUSPEND_FIELDS,
    USAGE_FIELDS,
    Fields,
    budget_of,
    decode_signals,
    decode_suspend,
    decode_usage,
    picked_fields,
)
from .errors import JobStateError
from .numbers import parse_number
from .option_fields import EPOCH, UNSET, Unset, from_epoch_ms, instance_of, refuse, some_text, text
from .options import Actor, JobRef
from .payload import Decoded, as_text, decode_data, decode_progress
from .records import Approval, Decision, StreamChunk, ToolCall
from .signals import signal_head
from .stream_tail import Page, decode_page
from .tool_calls import tool_call_of

#: Fields of the hash that an `Approval` is made of.
APPROVAL_FIELDS = (
    *SUSPEND_FIELDS,
    *USAGE_FIELDS.values(),
    "name",
    "data",
    "progress",
    "budgetKey",
    "groupKey",
    "parentId",
    "processedOn",
)
#: Tool calls that are shown with a draft, and characters of one; longer ones are left to the stream.
MAX_CALLS, CALL_LIMIT = 20, 16_384
#: Characters of a draft that are shown; what is cut is marked.
MAX_DRAFT = 1_048_576
_DRAFT_PAGE = 500
#: Bytes that are shown of a payload that cannot be read.
RAW_LIMIT = 65_536
#: Fields of the hash that a review hash covers.
BOUND_FIELDS = ("suspendedAt", "suspendReason", "data", "progress")


def review_hash(ref: JobRef, fields: Fields, last_chunk: str) -> str:
    """Return the hash of what an approver was shown: suspension, payload, progress and stream, as stored."""
    shown = {name: as_text(fields.get(name)) for name in BOUND_FIELDS}
    shown |= {"queue": ref.queue, "id": ref.id, "stream": last_chunk}
    return hashlib.sha256(canonical_json(shown).encode()).hexdigest()


def newest_chunk(scope: Scope, job_id: str) -> tuple[str | int, ...]:
    """Command that reads the last entry of a job's stream, which a review hash names."""
    return ("XREVRANGE", scope.keys.jstream(job_id), "+", "-", "COUNT", 1)


def first_id(page: Page) -> str:
    """Id of the first entry of a page, "" if it is empty."""
    return as_text(next(iter(page))) if page else ""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a run streamed for an approver to look at: its content, and the tools it asked for."""

    draft: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    chunks: Mapping[str, int] = field(default_factory=dict)
    #: Words for what a limit kept out.
    hidden: tuple[str, ...] = ()


def streamed_of(chunks: Iterable[StreamChunk], limit: int = MAX_DRAFT) -> Streamed:
    """Join the content of chunks (no reasoning), cut at `limit` characters, and keep the latest tool calls."""
    parts: list[str] = []
    calls: deque[ToolCall] = deque(maxlen=MAX_CALLS)
    kinds: Counter[str] = Counter()
    size = 0
    for chunk in chunks:
        kinds[chunk.type] += 1
        if chunk.type == "tool_call":
            calls.append(tool_call_of(chunk, CALL_LIMIT))
        if chunk.type not in ("content", "done") or not chunk.text or size > limit:
            continue
        parts.append(chunk.text)
        size += len(chunk.text)
    text, hidden = "".join(parts), []
    if size > limit:
        hidden.append(f"draft after {limit} characters")
    if earlier := kinds["tool_call"] - len(calls):
        hidden.append(f"{earlier} earlier tool call{'' if earlier == 1 else 's'}")
    hidden += [f"1 tool call of {call.bytes} bytes" for call in calls if call.cut]
    return Streamed(text[:limit] or None, tuple(calls), dict(kinds), tuple(hidden))


def approval_of(
    scope: Scope,
    job_id: str,
    fields: Fields,
    *,
    deadline: float | bytes | None,
    last_chunk: str,
    streamed: Streamed,
    parked: int | None,
    payload_limit: int | None = None,
) -> Approval | None:
    """Put an approval together from APPROVAL_FIELDS; None unless the job is suspended.

    Args:
        parked: jobs that wait behind its ordering key; its parent waits too.
    """
    info = decode_suspend(fields, deadline)
    if info is None:
        return None
    stored = fields.get("data", b"")
    truncated = payload_limit is not None and len(stored) > payload_limit
    decoded = Decoded(None) if truncated else decode_data(stored, scope.serializer)
    mark = review_hash(JobRef(scope.queue, job_id), fields, last_chunk)
    whole = not truncated and not decoded.error and not streamed.hidden
    behind = [parked] if "groupKey" in fields and parked is not None else []
    behind += [1] if fields.get("parentId") else []
    return Approval(
        queue=scope.queue,
        id=job_id,
        name=as_text(fields.get("name")),
        data=None if decoded.error else decoded.value,
        data_bytes=len(stored),
        truncated=truncated,
        draft=streamed.draft,
        tool_calls=streamed.tool_calls,
        chunks=streamed.chunks,
        hidden=streamed.hidden,
        data_error=decoded.error,
        raw=as_text(stored[:RAW_LIMIT]) if decoded.error else None,
        mark=mark,
        progress=decode_progress(fields.get("progress")),
        signals=info.signals,
        usage=decode_usage(fields),
        budget=budget_of(fields, scope.keys.prefix),
        waiting_behind=sum(behind) if behind else None,
        reason=info.reason,
        suspended_at=info.suspended_at,
        timeout_ms=info.timeout_ms,
        deadline_at=info.deadline_at,
        review_hash=mark if whole else None,
    )


async def review(scope: Scope, job_id: str, *, payload_limit: int | None = None) -> Approval:
    """Read what an approver must see; see `Queue.review`. Plain commands: it works for read-only users."""
    keys, key = scope.keys, scope.keys.job(job_id)
    values, deadline, newest = await scope.gather(
        ("HMGET", key, *APPROVAL_FIELDS),
        ("ZSCORE", keys.suspended, job_id),
        newest_chunk(scope, job_id),
    )
    fields = picked_fields(APPROVAL_FIELDS, values)
    if not fields:
        raise scope.missing(job_id)
    last_chunk = first_id(newest)
    parked = None
    if group := fields.get("groupKey"):
        parked = await scope.connection.command("ZCARD", keys.groupq(as_text(group)))
    limit = MAX_DRAFT if payload_limit is None else min(MAX_DRAFT, payload_limit)
    approval = approval_of(
        scope,
        job_id,
        fields,
        deadline=deadline,
        last_chunk=last_chunk,
        streamed=await _streamed(scope, job_id, fields, last_chunk, limit),
        parked=parked,
        payload_limit=payload_limit,
    )
    if approval is None:
        state = as_text(fields.get("state")) or "unknown"
        raise JobStateError(
            f"job '{scope.queue}:{job_id}' is {state}, not suspended: there is nothing to decide",
            queue=scope.queue,
            job_id=job_id,
            operation="review",
            state=state,
            needed="suspended",
        )
    return approval


async def _streamed(scope: Scope, job_id: str, fields: Fields, last_chunk: str, limit: int) -> Streamed:
    """What the run that suspended streamed: entries from its start up to the one the review hash names."""
    started = parse_number(fields.get("processedOn"))
    if not last_chunk or as_text(fields.get("state")) != "suspended":
        return Streamed()
    chunks: list[StreamChunk] = []
    start, size = str(int(started)) if started else "-", 0
    while size <= limit:
        command = ("XRANGE", scope.keys.jstream(job_id), start, last_chunk, "COUNT", _DRAFT_PAGE)
        page = decode_page(await scope.connection.command(*command))
        chunks += page
        size += sum(len(chunk.text) for chunk in page if chunk.type in ("content", "done"))
        if len(page) < _DRAFT_PAGE:
            break
        start = f"({page[-1].id}"
    return streamed_of(chunks, limit)


async def approve(
    scope: Scope,
    job_id: str,
    *,
    actor: Actor,
    data: Any | Unset = UNSET,
    comment: str | None = None,
    expect: str | None = None,
    signal: str = "approve",
) -> Decision:
    """Approve a suspended job; see `Queue.approve`."""
    actor = instance_of(Actor)(actor, "actor")
    if comment is not None:
        actor = replace(actor, comment=text(comment, "comment"))
    message = {"approved": True, "action": "approve", "comment": actor.comment}
    return await _decide(scope, job_id, "approve", actor, message, data, expect, signal)


async def reject(
    scope: Scope,
    job_id: str,
    *,
    actor: Actor,
    reason: str,
    data: Any | Unset = UNSET,
    expect: str | None = None,
    signal: str = "reject",
) -> Decision:
    """Reject a suspended job; see `Queue.reject`."""
    actor = instance_of(Actor)(actor, "actor")
    if not some_text(reason, "reason").strip():
        refuse("reason", reason, "text, not blank")
    actor = replace(actor, comment=reason)
    message = {"approved": False, "action": "reject", "comment": reason, "reason": reason}
    return await _decide(scope, job_id, "reject", actor, message, data, expect, signal)


async def _decide(
    scope: Scope,
    job_id: str,
    action: str,
    actor: Actor,
    message: Mapping[str, Any],
    data: Any,
    expect: str | None,
    signal: str,
) -> Decision:
    now = scope.now_ms()
    content = {**message, "by": actor.by, "reviewer": actor.by, "at": now}
    if data is not UNSET:
        content["data"] = data
    head = signal_head(signal, content)
    detail = {"signal": signal} | ({"edited": True} if data is not UNSET else {})
    blob = audit_blob(actor, action, scope.queue, [job_id], now, shown_hash=expect, detail=detail)
    bound: tuple[str | bytes, ...] = ("", "", "", "", "", "")
    if expect is not None:
        bound = ("1", *await _facts(scope, job_id, text(expect, "expect")))
    reply = await scope.call("decide", job_id, head, signal, now, blob, *bound)
    outcome, state, suspended_at, latest, seq = (as_text(item) for item in reply)
    decision = Decision(
        queue=scope.queue,
        id=job_id,
        action=action,
        ok=outcome == "sent",
        outcome=outcome,
        signal=signal,
        by=actor.by,
        at=_moment(now),
        review_hash=expect,
        state=state or None,
        audit_seq=int(seq) if seq else None,
    )
    return _with_first(decision, suspended_at, latest) if outcome == "not_suspended" else decision


async def _facts(scope: Scope, job_id: str, expect: str) -> tuple[str | bytes, ...]:
    """Facts for the deciding call to check: those just read if they hash to `expect`, else none that fit."""
    values, newest = await scope.gather(
        ("HMGET", scope.keys.job(job_id), *BOUND_FIELDS), newest_chunk(scope, job_id)
    )
    fields = picked_fields(BOUND_FIELDS, values)
    last_chunk = first_id(newest)
    if review_hash(JobRef(scope.queue, job_id), fields, last_chunk) != expect.lower():
        return ("", "", "", "", "")
    digests = (hashlib.sha1(fields.get(name, b"")).hexdigest() for name in ("data", "progress"))
    return (fields.get("suspendedAt", b""), fields.get("suspendReason", b""), last_chunk, *digests)


def _with_first(decision: Decision, suspended_at: str, latest: str) -> Decision:
    """Name who was first: the latest signal, if it came after the suspension."""
    signals = decode_signals(f"[{latest}]") if latest else ()
    since = parse_number(suspended_at)
    if not signals or since is None or signals[-1].received_at < _moment(int(since)):
        return decision
    data = signals[-1].data
    said = data if isinstance(data, dict) else {}
    names = (said.get(key) for key in ("by", "reviewer"))
    by = next((name for name in names if isinstance(name, str) and name), None)
    return replace(decision, decided_by=by, decided_at=signals[-1].received_at)


def _moment(milliseconds: int) -> datetime:
    return from_epoch_ms(milliseconds) or EPOCH
