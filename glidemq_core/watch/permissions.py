"""What this user may do."""

from __future__ import annotations

from glidemq_core.errors import GlideMQError, PermissionDeniedError, ServerError
from glidemq_core.reading.reader import Reader
from glidemq_core.records import Permissions
from glidemq_core.server.commands import fcall_words
from glidemq_core.wire.keys import registry
from glidemq_core.wire.replies import failed, text


async def read_permissions(reader: Reader, queue: str) -> Permissions:
    """Ask what the user may do, without trying a write.

    FCALL of a function that only reads is refused to whoever may not call ours; the function asks the access
    list about the commands that ours run.
    """
    connection, at = reader.connection, reader.now()
    # A user with rights on some queues only may not read the registry of all.
    seen = await reader.read([("EXISTS", registry(reader.prefix)), ("EXISTS", reader.keys(queue).meta)])
    denied = [answer for answer in seen if isinstance(answer, PermissionDeniedError)]
    if len(denied) == len(seen):
        return Permissions(can_read=False, can_write=False, reason=denied[0].message, at=at)
    if connection.read_only:
        return Permissions(can_read=True, can_write=False, reason="read-only mode", at=at)
    root, reason = reader.keys(queue).root, None
    try:
        answer = await connection.command(*fcall_words("FCALL", "may_write", root, ()))
        if text(answer[0]) == "denied":
            reason = f"{await _user(reader)} may not run {text(answer[1])} on the keys of {queue}"
    except PermissionDeniedError as error:
        reason = error.message
    except ServerError:
        reason = await _denied_without_library(reader, root)
    return Permissions(can_read=True, can_write=reason is None, reason=reason, at=at)


async def _denied_without_library(reader: Reader, root: str) -> str | None:
    """Ask the access list itself, as far as it answers this user: our functions are not loaded."""
    user = await _user(reader)
    answers = await reader.read(
        [
            ("ACL", "DRYRUN", user, "HSET", f"{root}:probe", "f", "v"),
            ("ACL", "DRYRUN", user, "FUNCTION", "LOAD", "x"),
        ]
    )
    return next((text(answer) for answer in answers if not failed(answer) and text(answer) != "OK"), None)


async def _user(reader: Reader) -> str:
    try:
        return text(await reader.connection.command("ACL", "WHOAMI")) or "default"
    except GlideMQError:
        return "this user"
