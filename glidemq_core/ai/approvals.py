"""Decide on suspended jobs, bound to what was shown: signal and audit entry in one call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from ..jobs.audit import audit_blob
from ..options.fields import (
    EPOCH,
    UNSET,
    Instant,
    Unset,
    flag,
    from_epoch_ms,
    instance_of,
    refuse,
    some_text,
    text,
)
from ..options.job import Actor
from ..records import Approval, Decision
from ..records.decoding import decode_signals
from ..records.outcomes import DecisionAction, DecisionOutcome
from ..server.context import QueueContext
from ..wire.numbers import parse_number
from ..wire.payload import encode_json
from ..wire.replies import as_text
from .reviews import bound_facts
from .suspension import expected_ms, signal_head

#: How often a decision without a review hash is sent again because the payload has changed meanwhile.
_TRIES = 5
#: Facts that match no job.
_NO_FACTS = ("",) * 10


async def approve(
    context: QueueContext,
    job_id: str,
    *,
    actor: Actor,
    data: Any | Unset = UNSET,
    comment: str | None = None,
    expect: str | None = None,
    signal: str = "approve",
    expected_suspended_at: Instant | None = None,
    unseen: bool = False,
) -> Decision:
    """Approve a suspended job; see `Queue.approve`."""
    actor = instance_of(Actor)(actor, "actor")
    if comment is not None:
        actor = replace(actor, comment=text(comment, "comment"))
    message = {"approved": True, "action": "approve", "comment": actor.comment}
    audited = {"unseen": True} if flag(unseen, "unseen") else {}
    asked = data, expect, expected_suspended_at
    return await _decide(context, job_id, "approve", actor, message, signal, *asked, audited)


async def reject(
    context: QueueContext,
    job_id: str,
    *,
    actor: Actor,
    reason: str,
    data: Any | Unset = UNSET,
    expect: str | None = None,
    signal: str = "reject",
    expected_suspended_at: Instant | None = None,
) -> Decision:
    """Reject a suspended job; see `Queue.reject`."""
    actor = instance_of(Actor)(actor, "actor")
    if not some_text(reason, "reason").strip():
        refuse("reason", reason, "text, not blank")
    message = {"approved": False, "action": "reject", "comment": reason, "reason": reason}
    actor, asked = replace(actor, comment=reason), (data, expect, expected_suspended_at)
    return await _decide(context, job_id, "reject", actor, message, signal, *asked, {})


def not_shown(
    shown: Approval, action: DecisionAction, actor: Actor, now_ms: int, signal: str | None = None
) -> Decision:
    """Build the answer to a person who would decide without having been shown all of it; nothing is sent."""
    return Decision(
        queue=shown.queue,
        id=shown.id,
        action=action,
        ok=False,
        outcome="not_shown",
        signal=signal or action,
        by=actor.by,
        at=_moment(now_ms),
        state="suspended",
    )


async def _decide(
    context: QueueContext,
    job_id: str,
    action: DecisionAction,
    actor: Actor,
    message: Mapping[str, Any],
    signal: str,
    data: Any,
    shown_hash: str | None,
    expected_suspended_at: Instant | None,
    audited: dict[str, Any],
) -> Decision:
    """Send a decision; `message` is what only its kind of signal says, `audited` is added to its audit entry."""
    expect = None if shown_hash is None else text(shown_hash, "expect").lower()
    now, by, since = context.now_ms(), actor.by, expected_ms(expected_suspended_at)
    edited = {} if data is UNSET else {"data": data}
    replaces = bool(edited) and action == "approve"
    detail = {"signal": signal, **({"edited": True} if edited else {}), **audited}
    blob = await audit_blob(context, actor, action, [job_id], now, shown_hash=shown_hash, detail=detail)
    reply: list[bytes] = []
    for _ in range(_TRIES):
        sha1, sha256, facts = await _facts(context, job_id, expect)
        if edited:
            sha256 = hashlib.sha256(encode_json(data, "signal data").encode()).hexdigest()
        content = {**message, "by": by, "reviewer": by, "at": now}
        content |= {"review_hash": expect, "data_sha256": sha256, **edited}
        head = signal_head(signal, content)
        reply = await context.call(
            "decide", job_id, head, signal, now, blob, since, sha1, "1" if replaces else "", *facts
        )
        if reply[0] != b"other_data":
            break
    status, state, suspended_at, latest, is_new, seq = (as_text(item) for item in reply)
    # What the function answers, but that a payload which keeps changing is one that has changed.
    outcome = cast(DecisionOutcome, "changed" if status == "other_data" else status)
    decision = Decision(
        queue=context.queue,
        id=job_id,
        action=action,
        ok=outcome == "sent",
        outcome=outcome,
        signal=signal,
        by=by,
        at=_moment(now),
        review_hash=shown_hash,
        state=state or None,
        audit_seq=int(seq) if seq else None,
    )
    return _with_decider(decision, suspended_at, latest, is_new) if outcome == "not_suspended" else decision


async def _facts(
    context: QueueContext, job_id: str, expect: str | None
) -> tuple[str, str, tuple[str | int | bytes, ...]]:
    """Return SHA-1 and SHA-256 of the payload and, with a review hash, the facts that the deciding call checks.

    They are the facts as they were just read if their hash is `expect`, else facts that match no job.
    """
    if expect is None:
        stored = await context.connection.command("HGET", context.keys.job(job_id), "data") or b""
        return hashlib.sha1(stored).hexdigest(), hashlib.sha256(stored).hexdigest(), ()
    bound = await bound_facts(context, job_id)
    if bound is None or bound.hash != expect:
        return "", "", _NO_FACTS
    return bound.data_sha1, bound.data_sha256, bound.facts


def _with_decider(decision: Decision, suspended_at: str, latest: str, is_new: str) -> Decision:
    """Add who decided first: the sender of the latest signal, if that came after the suspension.

    Args:
        is_new: whether it did ("1", "0"); "" where nobody noted how many signals there were: then the times tell.
    """
    signals = decode_signals(f"[{latest}]") if latest else ()
    since = parse_number(suspended_at)
    if not signals or since is None or is_new == "0":
        return decision
    if is_new == "" and signals[-1].received_at < _moment(int(since)):
        return decision
    data = signals[-1].data
    said = data if isinstance(data, dict) else {}
    names = (said.get(key) for key in ("by", "reviewer"))
    by = next((name for name in names if isinstance(name, str) and name), None)
    return replace(decision, decided_by=by, decided_at=signals[-1].received_at)


def _moment(milliseconds: int) -> datetime:
    return from_epoch_ms(milliseconds) or EPOCH
