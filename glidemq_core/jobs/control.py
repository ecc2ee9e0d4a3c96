"""Acting on single jobs: remove, retry, promote, change, revoke, update, log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from ..errors import JobStateError
from ..options.fields import Duration, delay_ms, integer, refuse, whole
from ..options.job import Actor
from ..records import JobLogs
from ..server.context import QueueContext
from ..wire import payload
from ..wire.replies import as_text, as_texts
from .active_run import RunCalls
from .appending import Appender
from .audit import audit_blob

#: Jobs a server call; more are sent in several calls, each complete and audited by itself.
_BATCH = 100
_PRIORITY = whole(0, 2048)


async def _each(
    context: QueueContext,
    function: str,
    flags: Sequence[str],
    job_ids: Iterable[str],
    actor: Actor | None,
    detail: Mapping[str, Any] | None = None,
) -> list[str]:
    """Run a function over many jobs; one outcome a job, in order."""
    ids, outcomes = list(job_ids), []
    for start in range(0, len(ids), _BATCH):
        part = ids[start : start + _BATCH]
        blob = await audit_blob(context, actor, function, part, context.now_ms(), detail=detail)
        reply = await context.call(function, *flags, *part, blob)
        outcomes += as_texts(reply[1:])
    return outcomes


async def remove_jobs(
    context: QueueContext, job_ids: Iterable[str], *, force: bool = False, actor: Actor | None = None
) -> list[str]:
    """Delete jobs; outcomes `removed`, `active` (only with force) or `not_found`, in order."""
    flags = (str(context.now_ms()), "1" if force else "")
    return await _each(context, "remove", flags, job_ids, actor, {"force": True} if force else None)


async def retry_some(
    context: QueueContext,
    job_ids: Iterable[str],
    *,
    reset_fallback: bool = False,
    clear_signals: bool = False,
    actor: Actor | None = None,
) -> list[str]:
    """Retry failed jobs; outcomes `retried`, `not_failed` or `not_found`, in order."""
    flags = {"reset_fallback": reset_fallback, "clear_signals": clear_signals}
    words = (str(context.now_ms()), *("1" if on else "" for on in flags.values()))
    chosen = {name: True for name, on in flags.items() if on}
    return await _each(context, "retry", words, job_ids, actor, chosen)


async def promote_jobs(
    context: QueueContext, job_ids: Iterable[str], *, actor: Actor | None = None
) -> list[str]:
    """Make delayed jobs ready; outcomes `promoted`, `not_delayed` or `not_found`, in order."""
    return await _each(context, "promote", (), job_ids, actor)


async def _refused(
    context: QueueContext, job_id: str, operation: str, needed: str, state: str | None = None
) -> JobStateError:
    """Say which state stood in the way, as far as it is still known."""
    if state is None:
        stored = await context.connection.command("HGET", context.keys.job(job_id), "state")
        state = as_text(stored) or "unknown"
    what = operation.replace("_", " ") + (" of" if "_" in operation else "")
    return JobStateError(
        f"cannot {what} job '{context.queue}:{job_id}': it is {state}, not {needed}",
        queue=context.queue,
        job_id=job_id,
        operation=operation,
        state=state,
        needed=needed,
    )


async def remove_job(
    context: QueueContext, job_id: str, *, force: bool = False, actor: Actor | None = None
) -> bool:
    """Delete one job; False when there is none. Raises JobStateError for an active one without `force`."""
    [outcome] = await remove_jobs(context, [job_id], force=force, actor=actor)
    if outcome == "active":
        raise await _refused(context, job_id, "remove", "idle", "active")
    return outcome == "removed"


async def retry_job(
    context: QueueContext,
    job_id: str,
    *,
    reset_fallback: bool = False,
    clear_signals: bool = False,
    actor: Actor | None = None,
) -> None:
    """Retry one failed job. Raises JobStateError, JobNotFoundError."""
    [outcome] = await retry_some(
        context, [job_id], reset_fallback=reset_fallback, clear_signals=clear_signals, actor=actor
    )
    if outcome == "not_found":
        raise context.missing(job_id)
    if outcome != "retried":
        raise await _refused(context, job_id, "retry", "failed")


async def promote_job(context: QueueContext, job_id: str, *, actor: Actor | None = None) -> None:
    """Make one delayed job ready. Raises JobStateError, JobNotFoundError."""
    [outcome] = await promote_jobs(context, [job_id], actor=actor)
    if outcome == "not_found":
        raise context.missing(job_id)
    if outcome != "promoted":
        raise await _refused(context, job_id, "promote", "delayed")


async def _change(
    context: QueueContext,
    job_id: str,
    function: str,
    value: int,
    detail: Mapping[str, Any],
    actor: Actor | None,
) -> None:
    now = context.now_ms()
    blob = await audit_blob(context, actor, function, [job_id], now, detail=detail)
    status, *rest = await context.call(function, job_id, value, now, blob)
    match status.decode():
        case "not_found":
            raise context.missing(job_id)
        case "invalid_state":
            state = as_text(rest[0]) or "unknown"
            raise await _refused(context, job_id, function, "waiting, prioritized or delayed", state)
        case "pending":
            raise await _refused(context, job_id, function, "untouched by workers", "being started")
        case "not_in_stream":
            raise await _refused(context, job_id, function, "in reach", "deep in the backlog")


async def change_job_priority(
    context: QueueContext, job_id: str, priority: int, *, actor: Actor | None = None
) -> None:
    """Change a priority; see `Queue.change_job_priority`. JobStateError also when a worker is just starting it."""
    _PRIORITY(priority, "priority")
    await _change(context, job_id, "change_priority", int(priority), {"priority": int(priority)}, actor)


async def change_job_delay(
    context: QueueContext, job_id: str, delay: Duration, *, actor: Actor | None = None
) -> None:
    """Change a delay; see `Queue.change_job_delay`. JobStateError also when a worker is just starting it."""
    wait_ms = delay_ms(delay)
    await _change(context, job_id, "change_delay", wait_ms, {"delay_ms": wait_ms}, actor)


async def revoke(
    context: QueueContext, job_id: str, *, actor: Actor | None = None
) -> Literal["revoked", "flagged", "not_found"]:
    """Fail a job that has not started, or flag one that has: Python workers then cancel it."""
    now = context.now_ms()
    blob = await audit_blob(context, actor, "revoke", [job_id], now)
    [outcome] = await context.call("revoke", job_id, now, blob)
    answers: dict[bytes, Literal["revoked", "flagged"]] = {b"revoked": "revoked", b"flagged": "flagged"}
    return answers.get(outcome, "not_found")


async def update_data(context: QueueContext, job_id: str, data: Any, calls: RunCalls | None = None) -> None:
    """Replace the payload. Raises PayloadTooLargeError, SerializationError, JobNotFoundError."""
    await _update(context, job_id, "data", payload.encode_data(data, context.serializer), calls)


async def update_progress(
    context: QueueContext, job_id: str, progress: Any, calls: RunCalls | None = None
) -> None:
    """Store progress, always as JSON, and tell listeners. Raises PayloadTooLargeError, JobNotFoundError."""
    await _update(context, job_id, "progress", payload.encode_progress(progress), calls)


async def _update(context: QueueContext, job_id: str, field: str, text: str, calls: RunCalls | None) -> None:
    async def update(number: str = "") -> None:
        run = calls.processed_on if calls else ""
        [status] = await context.call("update", job_id, field, text, run, number)
        if status not in (b"ok", b"late"):  # late: a later one has replaced it already
            raise context.refusal(job_id, status)

    await (update() if calls is None else calls.replace(field, update))


async def append_log(context: QueueContext, job_id: str, line: str, calls: RunCalls | None = None) -> bool:
    """Append a line to the job's log; False when the job is gone.

    The calls of a run are kept up through an outage and share round trips.
    """
    if not isinstance(line, str):
        refuse("message", line, "text")
    payload.check_size(line, "log line")
    encoded = line.encode("utf-8", "replace")
    if calls is None:
        [kept] = await _send_lines(context, job_id, None, [encoded])
        return kept
    appender: Appender[bytes, bool] | None = calls.appenders.get("log")
    if appender is None:
        send = partial(_send_lines, context, job_id, calls)
        appender = calls.appenders["log"] = Appender(calls.appenders, "log", send)
    return await appender.append(encoded, len(encoded))


async def _send_lines(
    context: QueueContext, job_id: str, calls: RunCalls | None, lines: list[bytes]
) -> list[bool]:
    mark = "" if calls is None else calls.next_mark()

    async def send(_: bool = False) -> Any:
        return await context.call("log", job_id, mark, *lines)

    reply = await (send() if calls is None else calls.repeat(send))
    if reply[0] == b"lost":
        raise context.refusal(job_id, reply[0])
    return [reply[0] == b"ok"] * len(lines)


async def get_job_logs(context: QueueContext, job_id: str, start: int = 0, end: int = -1) -> JobLogs:
    """Return log lines and their number; see `Queue.get_job_logs`."""
    first, last = integer(start, "start"), integer(end, "end")
    key = context.keys.log(job_id)
    lines, count = await context.gather(("LRANGE", key, first, last), ("LLEN", key))
    return JobLogs(logs=tuple(as_texts(lines)), count=int(count or 0))
