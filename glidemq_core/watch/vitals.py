"""For header and status bar: what the user may do, what happened by the minute, what watching costs."""

from __future__ import annotations

from glidemq_core.errors import GlideMQError, PermissionDeniedError, ServerError
from glidemq_core.options.fields import one_of, whole
from glidemq_core.reading.counts import metrics_points
from glidemq_core.reading.reader import Reader
from glidemq_core.records.jobs import Metrics, Permissions
from glidemq_core.server.commands import fcall_words
from glidemq_core.wire.keys import registry
from glidemq_core.wire.replies import failed, integer, sliced, text

_MINUTE = 60_000


async def read_metrics(reader: Reader, queue: str, kind: str, minutes: int) -> Metrics:
    """Read the last `minutes` minutes, the running one too; fields are asked for by name."""
    one_of("completed", "failed")(kind, "kind")
    whole(1, 1440)(minutes, "minutes")
    keys = reader.keys(queue)
    current = reader.now_ms() // _MINUTE * _MINUTE
    buckets = [current - i * _MINUTE for i in range(minutes - 1, -1, -1)]
    fields = [f"m:{bucket}:{part}" for bucket in buckets for part in "cd"]
    total, values = await reader.read(
        [("ZCARD", f"{keys.root}:{kind}"), ("HMGET", keys.metrics(kind), *fields)]
    )
    sums = [] if failed(values) else sliced(values, 2)
    points = metrics_points(
        (bucket, integer(jobs), integer(spent)) for bucket, (jobs, spent) in zip(buckets, sums, strict=False)
    )
    return Metrics(count=integer(None if failed(total) else total), points=points)


async def read_permissions(reader: Reader, queue: str) -> Permissions:
    """Ask what the user may do, without trying a write.

    FCALL of a function that only reads is refused to whoever may not call ours; the function asks the access
    list about the commands that ours run.
    """
    connection, at = reader.connection, reader.now()
    # Whoever may only look at some queues may not see the registry of all.
    seen = await reader.read([("EXISTS", registry(reader.prefix)), ("EXISTS", reader.keys(queue).meta)])
    denied = [answer for answer in seen if isinstance(answer, PermissionDeniedError)]
    if len(denied) == len(seen):
        return Permissions(can_read=False, can_write=False, reason=denied[0].message, at=at)
    if connection.read_only:
        return Permissions(can_read=True, can_write=False, reason="read-only mode", at=at)
    root = reader.keys(queue).root
    try:
        answer = await connection.command(*fcall_words("FCALL", "may_write", root, ()))
    except PermissionDeniedError as error:
        return Permissions(can_read=True, can_write=False, reason=error.message, at=at)
    except ServerError:
        return await _without_library(reader, root)
    if text(answer[0]) == "denied":
        reason = f"{await _user(reader)} may not run {text(answer[1])} on the keys of {queue}"
        return Permissions(can_read=True, can_write=False, reason=reason, at=at)
    return Permissions(can_read=True, can_write=True, at=at)


async def _without_library(reader: Reader, root: str) -> Permissions:
    """Our functions are not loaded: ask the access list itself, as far as it answers this user."""
    user = await _user(reader)
    answers = await reader.read(
        [
            ("ACL", "DRYRUN", user, "HSET", f"{root}:probe", "f", "v"),
            ("ACL", "DRYRUN", user, "FUNCTION", "LOAD", "x"),
        ]
    )
    for answer in answers:
        if not failed(answer) and text(answer) != "OK":
            return Permissions(can_read=True, can_write=False, reason=text(answer), at=reader.now())
    return Permissions(can_read=True, can_write=True, at=reader.now())


async def _user(reader: Reader) -> str:
    try:
        return text(await reader.connection.command("ACL", "WHOAMI")) or "default"
    except GlideMQError:
        return "this user"
