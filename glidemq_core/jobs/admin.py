"""Whole-queue operations: pause, limits, drain, clean, retry all, obliterate."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from ..errors import QueueBusyError
from ..options.fields import Duration, from_epoch_ms, instance_of, one_of, positive_ms, refuse, to_ms, whole
from ..options.job import Actor, RateLimit
from ..records.outcomes import FinalState
from ..server.commands import Arg
from ..server.context import QueueContext
from ..server.retry import retry_lost_reply
from ..wire.numbers import to_int
from ..wire.replies import as_texts
from .audit import audit_blob
from .registry import forget_queue

#: Jobs a server call, so that no call holds the server for long.
_SLICE = 500
#: How long a part of such an operation is asked for again, s.
_RETRY_S = 10.0


async def pause(context: QueueContext, *, actor: Actor | None = None) -> str:
    """Stop Python workers from starting jobs; `paused` or `already_paused`."""
    return await _set_paused(context, "1", "pause", actor)


async def resume(context: QueueContext, *, actor: Actor | None = None) -> str:
    """Let workers start jobs again; `resumed` or `already_running`."""
    return await _set_paused(context, "0", "resume", actor)


async def _set_paused(context: QueueContext, flag: str, action: str, actor: Actor | None) -> str:
    blob = await audit_blob(context, actor, action, (), context.now_ms())
    [outcome] = await context.call("pause", flag, blob)
    return str(outcome.decode())


async def is_paused(context: QueueContext) -> bool:
    """Whether the queue is paused. Node workers do not obey the switch."""
    return bool(await context.connection.command("HGET", context.keys.meta, "paused") == b"1")


class _Parts:
    """Run an operation over many jobs in parts, one call each; a part whose reply was lost is not carried out twice."""

    def __init__(self, context: QueueContext, function: str) -> None:
        self._context, self._function = context, function
        self._name = uuid.uuid4().hex
        self._number = 0
        #: Jobs of the parts so far.
        self.count = 0

    async def make(self, *words: Arg, blob: str) -> list[Any]:
        """Make the next part; `blob` is the audit of the operation."""
        self._number += 1
        marks = (self._name, self._number, self.count)

        async def call() -> Any:
            return await self._context.call(self._function, *words, *marks, blob)

        reply: list[Any] = await retry_lost_reply(call, _RETRY_S)
        return reply


async def drain(context: QueueContext, *, delayed: bool = False, actor: Actor | None = None) -> int:
    """Delete the jobs that wait (and the scheduled ones if `delayed`); running and parked ones stay."""
    parts = _Parts(context, "drain")
    cursor, last = "-", ""
    while True:
        now = context.now_ms()
        blob = await audit_blob(context, actor, "drain", (), now, detail={"delayed": delayed})
        status, count, at, until = await parts.make(
            now, "1" if delayed else "", _SLICE, cursor, last, blob=blob
        )
        parts.count += count
        cursor, last = at.decode(), until.decode()
        if status == b"done":
            return parts.count


async def clean(
    context: QueueContext,
    state: FinalState,
    *,
    grace: Duration,
    limit: int = 1000,
    actor: Actor | None = None,
) -> list[str]:
    """Delete old results; see `Queue.clean`."""
    one_of("completed", "failed")(state, "state")
    grace_ms = to_ms(grace, "grace")
    whole(0)(limit, "limit")
    cleaned: list[str] = []
    status, oldest, parts = b"", context.now_ms() - grace_ms, _Parts(context, "clean")
    while len(cleaned) < limit and status != b"done":
        detail = {"state": state, "older_than_ms": grace_ms, "limit": limit}
        blob = await audit_blob(context, actor, "clean", (), context.now_ms(), detail=detail)
        status, *ids = await parts.make(state, oldest, _SLICE, limit - len(cleaned), blob=blob)
        cleaned += as_texts(ids)
        parts.count = len(cleaned)
    return cleaned


async def retry_jobs(context: QueueContext, count: int = 0, *, actor: Actor | None = None) -> int:
    """Retry the oldest failed jobs, `count` of them or all (0); how many were."""
    whole(0)(count, "count")
    newest, parts = context.now_ms(), _Parts(context, "retry_all")
    while True:
        now = context.now_ms()
        blob = await audit_blob(context, actor, "retry", (), now, detail={"all_failed": True, "count": count})
        left = count - parts.count if count else ""
        status, part = await parts.make(now, newest, _SLICE, left, blob=blob)
        parts.count += part
        if status == b"done":
            return parts.count


async def obliterate(context: QueueContext, *, force: bool = False, actor: Actor | None = None) -> None:
    """Delete the queue: at once everything that leads to a job, then the records, a slice a call."""
    now = context.now_ms()
    blob = await audit_blob(context, actor, "obliterate", (), now, detail={"force": force})
    status, *active = await context.call("obliterate", "1" if force else "", blob)
    if status == b"busy":
        raise QueueBusyError(
            f"queue '{context.queue}' has {active[0]} active job(s)",
            hint="wait for them, or use force",
            queue=context.queue,
            active=int(active[0]),
        )
    cursor = b""
    while cursor != b"0":
        [cursor, *_] = await context.call("obliterate_rest", cursor or "0", context.keys.pattern("*"), now)
    await forget_queue(context)


async def set_global_concurrency(context: QueueContext, limit: int, *, actor: Actor | None = None) -> str:
    """Cap the active jobs of all workers together, 0 = off; `set` or `cleared`."""
    value = whole(0)(limit, "concurrency")
    blob = await audit_blob(
        context, actor, "set_limits", (), context.now_ms(), detail={"global_concurrency": value or None}
    )
    await context.call("configure", "globalConcurrency", value, blob)
    return "set" if value else "cleared"


async def set_limits(
    context: QueueContext,
    values: Mapping[str, str],
    expect: Mapping[str, str] | None = None,
    *,
    actor: Actor | None = None,
) -> dict[str, str] | None:
    """Set limits of the queue, all of them or none.

    Args:
        values: `globalConcurrency`, `rateLimitMax`, `rateLimitDuration` (ms) as stored; empty takes one away.
        expect: what each of them is, empty for none; None does not compare.

    Returns:
        What each was before; None, and nothing is set, when one is not what was expected.
    """
    detail = {"limits": dict(values)}
    blob = await audit_blob(context, actor, "set_limits", (), context.now_ms(), detail=detail)
    triples = [word for name, value in values.items() for word in (name, value, (expect or {}).get(name, ""))]
    status, *was = await context.call("set_limits", "" if expect is None else "1", *triples, blob)
    return dict(zip(values, as_texts(was), strict=True)) if status == b"ok" else None


async def get_global_concurrency(context: QueueContext) -> int | None:
    """Return the cap on active jobs; None when there is none."""
    stored = await context.connection.command("HGET", context.keys.meta, "globalConcurrency")
    return to_int(stored) or None


async def set_global_rate_limit(
    context: QueueContext, limit: RateLimit | None, *, actor: Actor | None = None
) -> str:
    """Cap job starts of all workers together, None = off; `set` or `cleared`."""
    if limit is not None:
        instance_of(RateLimit)(limit, "limit")
    detail = {"rpm": {"max": limit.max, "window_ms": limit.duration} if limit else None}
    blob = await audit_blob(context, actor, "set_limits", (), context.now_ms(), detail=detail)
    most, duration = (limit.max, limit.duration) if limit else ("", "")
    outcome, *_ = await context.call("configure", "rateLimitMax", most, "rateLimitDuration", duration, blob)
    return str(outcome.decode())


async def get_global_rate_limit(context: QueueContext) -> RateLimit | None:
    """Return the cap on job starts; None when there is none."""
    stored = await context.connection.command("HMGET", context.keys.meta, "rateLimitMax", "rateLimitDuration")
    most, duration = map(to_int, stored)
    return RateLimit(most, duration) if most > 0 and duration > 0 else None


async def rate_limit_group(
    context: QueueContext,
    key: str,
    duration: Duration,
    *,
    extend: Literal["max", "replace"] = "max",
    actor: Actor | None = None,
) -> datetime:
    """Hold back the parked jobs of an ordering group; when they may go on."""
    if not isinstance(key, str) or not 0 < len(key) <= 256:
        refuse("key", key, "an ordering key of 1 to 256 characters")
    duration_ms = positive_ms(duration, "duration")
    one_of("max", "replace")(extend, "extend")
    now = context.now_ms()
    detail = {"key": key, "duration_ms": duration_ms, "extend": extend}
    blob = await audit_blob(context, actor, "limit_group", (), now, detail=detail)
    reply = await context.call("limit_group", key, duration_ms, extend, now, blob)
    resume_at = from_epoch_ms(int(reply[1]))
    if resume_at is None:
        refuse("duration", duration, "a time the calendar reaches")
    return resume_at
