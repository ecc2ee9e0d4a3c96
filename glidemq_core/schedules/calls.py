"""Setting, removing, reading and running schedulers of a queue."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LockBusyError, SchedulerNotFoundError
from ..jobs.add import created_job
from ..jobs.audit import audit_blob
from ..jobs.registry import register_queue
from ..jobs.snapshot import JobSnapshot
from ..options.fields import some_text
from ..options.job import Actor
from ..server.context import QueueContext
from ..server.retry import retry_lost_reply
from ..wire.replies import as_text
from ..wire.strict_json import parse_json
from .definition import Definition
from .entry import SchedulerEntry, decode_scheduler, decode_schedulers
from .template import template_job

#: Tries while a peer holds its lock on the schedulers, and the pause between two, s.
_TRIES = 200
_PAUSE_S = 0.025
#: How long a call whose reply was lost is asked for again, s.
_RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit made of a scheduler: its stored text before and now, empty where there is none."""

    name: str
    before: bytes
    now: bytes


async def upsert_scheduler(
    context: QueueContext, name: str, definition: Definition, *, actor: Actor | None = None
) -> SchedulerEntry:
    """Set a scheduler. One with the same timing keeps its count and its next run.

    Raises:
        InvalidOptionError: it would never run.
        LockBusyError: a peer holds its lock on the schedulers for 5 s.
    """
    change = await set_scheduler(context, name, definition, actor=actor)
    entry = decode_scheduler(change.now, context.now_ms())
    assert entry is not None
    return entry


async def set_scheduler(
    context: QueueContext, name: str, definition: Definition, *, actor: Actor | None = None
) -> Change:
    """As `upsert_scheduler`; what it returns can be given to `restore_scheduler`."""
    now = context.now_ms()
    first, timing = definition.first_run(now), definition.timing()
    detail = {"scheduler": name, "timing": json.loads(timing), "limit": definition.limit}
    blob = await audit_blob(context, actor, "set_scheduler", (), now, detail=detail)
    limit = "" if definition.limit is None else str(definition.limit)
    _, stored, before = await _edit(
        context, "schedule_set", (some_text(name, "name"), first, timing, limit, definition.template), blob
    )
    await register_queue(context)
    return Change(name, before, stored)


async def remove_scheduler(context: QueueContext, name: str, *, actor: Actor | None = None) -> bool:
    """Remove a scheduler; the jobs that it made stay. False when there is none.

    Raises:
        LockBusyError: a peer holds its lock on the schedulers for 5 s.
    """
    return await take_scheduler(context, name, actor=actor) is not None


async def take_scheduler(context: QueueContext, name: str, *, actor: Actor | None = None) -> Change | None:
    """As `remove_scheduler`; what it returns can be given to `restore_scheduler`. None when there is none."""
    blob = await audit_blob(
        context, actor, "remove_scheduler", (), context.now_ms(), detail={"scheduler": name}
    )
    outcome, *text = await _edit(context, "schedule_remove", (some_text(name, "name"),), blob)
    return Change(name, text[0], b"") if outcome == b"removed" else None


async def restore_scheduler(context: QueueContext, change: Change, *, actor: Actor | None = None) -> bool:
    """Give a scheduler back what it was before a change, its count and next run too.

    Returns:
        False when it has run or was edited since: then it stays as it is.

    Raises:
        LockBusyError: a peer holds its lock on the schedulers for 5 s.
    """
    detail = {"scheduler": change.name}
    blob = await audit_blob(context, actor, "restore_scheduler", (), context.now_ms(), detail=detail)
    words = (change.name, change.now, change.before)
    [outcome] = await _edit(context, "schedule_restore", words, blob)
    return bool(outcome == b"restored")


async def get_scheduler(context: QueueContext, name: str) -> SchedulerEntry | None:
    """Read one scheduler; None when there is none."""
    stored = await context.connection.command("HGET", context.keys.schedulers, some_text(name, "name"))
    return None if stored is None else decode_scheduler(stored, context.now_ms())


async def get_schedulers(context: QueueContext) -> dict[str, SchedulerEntry]:
    """Read all schedulers by name; what is none is left out."""
    reply = await context.connection.command("HGETALL", context.keys.schedulers)
    return decode_schedulers(reply, context.now_ms())


async def run_scheduler(
    context: QueueContext, name: str, *, actor: Actor | None = None
) -> JobSnapshot[Any, Any]:
    """Add a job of a scheduler now; its next run and its count stay.

    Raises:
        SchedulerNotFoundError: there is no such scheduler.
        SerializationError, PayloadTooLargeError: the template's data cannot be stored.
    """
    some_text(name, "name")
    while True:
        stored = await context.connection.command("HGET", context.keys.schedulers, name)
        raw = _object(stored)
        if raw is None:
            raise SchedulerNotFoundError(
                f"queue '{context.queue}' has no scheduler '{name}'", queue=context.queue, scheduler=name
            )
        now = context.now_ms()
        job = template_job(context.serializer, name, raw, waited_for=False)
        blob = await audit_blob(context, actor, "run_scheduler", (), now, detail={"scheduler": name})
        status, *rest = await _edit(context, "schedule_run", (name, stored, now, *job.words()), blob)
        if status == b"ok":
            return created_job(context, now, job.record, job.options, rest[0])
        # The entry has changed meanwhile: so may its template.


async def waiting_schedulers(context: QueueContext, job_ids: Sequence[str] | None = None) -> list[str]:
    """Name the schedulers whose next run counts from the end of a job that has not come yet.

    Args:
        job_ids: only those that wait for one of these jobs; None takes all.
    """
    entries = await get_schedulers(context)
    waiting = [name for name, entry in entries.items() if entry.repeat_after_complete and entry.next_run == 0]
    if job_ids is None or not waiting:
        return waiting
    made_by = await context.gather(
        *(("HGET", context.keys.job(job_id), "schedulerName") for job_id in job_ids)
    )
    named = {as_text(name) for name in made_by}
    return [name for name in waiting if name in named]


async def _edit(
    context: QueueContext, function: str, words: tuple[str | bytes | int, ...], blob: str
) -> list[Any]:
    """Call a function that changes schedulers, as often as a peer's lock or a lost reply makes necessary."""
    name = uuid.uuid4().hex

    async def call() -> Any:
        return await context.call(function, *words, name, blob)

    for _ in range(_TRIES):
        reply: list[Any] = await retry_lost_reply(call, _RETRY_S)
        if reply[0] != b"locked":
            return reply
        await asyncio.sleep(_PAUSE_S)
    raise LockBusyError(
        f"the schedulers of queue '{context.queue}' are being changed by a peer; try again",
        lock=context.keys.scheduler_lock,
    )


def _object(stored: Any) -> dict[str, Any] | None:
    try:
        raw = None if stored is None else parse_json(stored)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None
