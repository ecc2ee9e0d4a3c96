"""Audit trail of a queue: who changed what, each entry chained to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
import socket
import unicodedata
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Final

from ..errors import InvalidOptionError, ServerError
from ..options.fields import from_epoch_ms, instance_of, refuse, whole
from ..options.job import Actor
from ..reading.scan import walk_entries
from ..records import AuditCheck, AuditEntry
from ..server.context import QueueContext
from ..wire.replies import as_text
from ..wire.strict_json import parse_json

_GENESIS = "0" * 64
_PAGE = 500
_MAX_COMMENT = 4096
#: What the fields of an entry are.
_KINDS: Final[Mapping[str, type | UnionType]] = {
    **dict.fromkeys(("by", "via", "host", "action", "queue", "outcome", "prev_hash", "hash"), str),
    **dict.fromkeys(("comment", "shown_hash", "user"), str | None),
    "seq": int,
    "count": int | None,
    "job_ids": list,
    "detail": dict,
}


def canonical_json(value: Any) -> str:
    """Return the one JSON text that hashes are taken of: sorted keys, compact, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace").decode()


async def audit_blob(
    context: QueueContext,
    actor: Actor | None,
    action: str,
    job_ids: Sequence[str],
    now_ms: int,
    shown_hash: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> str:
    """Encode the caller's part of an audit entry, the last argument of functions that act for a person.

    Without an actor the blob is empty and nothing is kept. Names with control characters are refused.
    """
    if actor is None:
        return ""
    instance_of(Actor)(actor, "actor")
    _check_name("by", actor.by)
    _check_name("via", actor.via)
    if actor.comment is not None and len(actor.comment) > _MAX_COMMENT:
        refuse("comment", actor.comment, f"text of at most {_MAX_COMMENT} characters")
    user = await context.connection.user()
    before = (action, now_ms, actor.by, actor.comment, dict(detail or {}), _host())
    after = (context.queue, shown_hash, user, actor.via)
    ids = [canonical_json(job_id) for job_id in job_ids]
    pieces = [*map(canonical_json, before), ids, *map(canonical_json, after)]
    return json.dumps(pieces, ensure_ascii=False, separators=(",", ":"))


@cache
def _host() -> str:
    return socket.gethostname() or "unknown"


def _check_name(option: str, name: str) -> None:
    if not name.strip() or len(name) > 256 or any(unicodedata.category(c) == "Cc" for c in name):
        raise InvalidOptionError(
            f"{option} must be a name of 1 to 256 characters without control characters",
            option=option,
            value=name,
            allowed="1 to 256 characters without control characters",
        )


async def get_audit(
    context: QueueContext, *, limit: int = 100, before: int | None = None, job_id: str | None = None
) -> list[AuditEntry]:
    """Return the newest entries; see `Queue.get_audit`."""
    whole(1)(limit, "limit")
    newest = "+" if before is None else str(whole(1)(before, "before") - 1)
    found: list[AuditEntry] = []
    if newest == "0":
        return found
    async for _, text in _entries(context, "XREVRANGE", newest, "-", _PAGE if job_id else min(limit, _PAGE)):
        entry = _decode(text)
        if entry is not None and (job_id is None or job_id in entry.job_ids):
            found.append(entry)
            if len(found) == limit:
                break
    return found


async def verify_audit(context: QueueContext, *, expect_last: tuple[int, str] | None = None) -> AuditCheck:
    """Recompute the whole chain; see `Queue.verify_audit`."""
    expected, previous, found = 1, _GENESIS, expect_last is None
    try:
        async for entry_id, text in _entries(context, "XRANGE", "-", "+"):
            if entry_id != f"{expected}-0" or not _fits(text, expected, previous):
                return _checked(expected, previous, broken_at=expected)
            previous = json.loads(text)["hash"]
            found = found or (expected, previous) == expect_last
            expected += 1
        # Entries cut off at the end leave the stream's counter ahead of the last one.
        newest = await _last_generated(context)
    except ServerError as error:
        if error.code != "WRONGTYPE":
            raise
        newest = expected  # something else stands in its place
    if newest >= expected:
        return _checked(expected, previous, broken_at=expected)
    return _checked(expected, previous, broken_at=None if found or expect_last is None else expect_last[0])


def _checked(expected: int, previous: str, broken_at: int | None) -> AuditCheck:
    entries = expected - 1
    return AuditCheck(
        ok=broken_at is None,
        entries=entries,
        broken_at=broken_at,
        first_seq=1 if entries else None,
        last_seq=entries or None,
        last_hash=previous if entries else None,
    )


async def export_audit(context: QueueContext) -> AsyncIterator[str]:
    """Iterate over the entries as they are stored, oldest first: canonical JSON, whose hashes can be recomputed."""
    async for _, text in _entries(context, "XRANGE", "-", "+"):
        yield text


async def restart_audit(context: QueueContext, *, actor: Actor, seen: str = "") -> tuple[str, str]:
    """Set a damaged audit aside and begin a new one, whose first entry says so and names the last hash.

    Args:
        seen: id of the newest entry of an audit whose damage only verification finds; it is set aside if that is
            still its newest.
    Returns: `restarted` and the key under which the old one is kept, or `sound` and "".
    """
    now = context.now_ms()
    blob = await audit_blob(context, actor, "restart_audit", (), now)
    outcome, key = await context.call("restart_audit", now, seen, blob)
    return outcome.decode(), key.decode()


def _fits(text: str, seq: int, previous: str) -> bool:
    try:
        entry = json.loads(text)
        claimed = entry.pop("hash")
        return (
            (entry["seq"], entry["prev_hash"]) == (seq, previous)
            and hashlib.sha256(canonical_json(entry).encode()).hexdigest() == claimed
            and canonical_json({**entry, "hash": claimed}) == text
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


async def _entries(
    context: QueueContext, command: str, start: str, end: str, page: int = _PAGE
) -> AsyncIterator[tuple[str, str]]:
    walk = walk_entries(context.connection, context.keys.audit, command, start, end, page)
    async for entry_id, pairs in walk:
        yield entry_id, as_text(dict(pairs or ()).get(b"entry"))


async def _last_generated(context: QueueContext) -> int:
    if not await context.connection.command("EXISTS", context.keys.audit):
        return 0
    info = await context.connection.command("XINFO", "STREAM", context.keys.audit)
    return int(info[b"last-generated-id"].partition(b"-")[0])


def _decode(text: str) -> AuditEntry | None:
    """Read an entry; None for what no entry of ours looks like: a stranger may have written anything."""
    try:
        raw = parse_json(text)
        at = from_epoch_ms(raw["at_ms"])
        if at is None or not all(isinstance(raw.get(name), kinds) for name, kinds in _KINDS.items()):
            return None
        values = {name: raw.get(name) if name == "user" else raw[name] for name in _KINDS}
        return AuditEntry(**{**values, "at": at, "job_ids": tuple(map(str, raw["job_ids"]))})
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
        return None
