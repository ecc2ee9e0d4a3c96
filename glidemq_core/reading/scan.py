"""Bounded steps over keys: of one queue for what has no index, of the whole server for discovery."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

from glidemq_core.errors import PermissionDeniedError, ServerUnavailableError
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.wire.keys import discovery_pattern
from glidemq_core.wire.replies import as_text, text

from .reader import Reader, Throttle

#: Keys that a step searches.
STEP_KEYS = 1_000
#: Steps of one `walk_keys`.
WALK_STEPS = 500
#: Types of keys by what follows the queue's prefix; those not listed are hashes.
_KINDS = {"w": "string", "tpm": "string", "deps": "set"}

#: The next cursor ("0": every key has been searched) and the keys found.
Step = tuple[str, list[str]]


async def try_step(reader: Reader, queue: str, cursor: str, suffix: str) -> Step | Exception:
    """Search the next keys for `P:<suffix>` of a queue, or ("") of all queues of one server.

    Returns:
        The step, or why it could not be made.
    """
    if not queue:
        pattern = discovery_pattern(reader.prefix, suffix)
        return _step(await reader.read_one("SCAN", cursor, "MATCH", pattern, "COUNT", STEP_KEYS))
    keys, kind = reader.keys(queue), _KINDS.get(suffix.partition(":")[0], "hash")
    pattern = keys.pattern(suffix)
    if not reader.connection.is_cluster:
        words = ("SCAN", cursor, "MATCH", pattern, "COUNT", STEP_KEYS, "TYPE", kind)
        return _step(await reader.read_one(*words))
    # In a cluster a function runs where the queue's slot is; a plain SCAN could go to any node.
    reply = await reader.call_each("scan", [(keys.root, (cursor, pattern, STEP_KEYS, kind))])
    if reply is None:
        return PermissionDeniedError(
            f"the keys of queue '{queue}' cannot be searched: this user may not call our server functions",
            hint="ask for the ACL rights, or sign in as another user",
            reason="acl",
            command="FCALL_RO",
        )
    return _step(reply[0])


async def scan_step(reader: Reader, queue: str, cursor: str, suffix: str) -> Step:
    """As `try_step`; a step that cannot be made finds nothing and is the last."""
    found = await try_step(reader, queue, cursor, suffix)
    return ("0", []) if isinstance(found, Exception) else found


async def scan_steps(
    reader: Reader, queue: str, suffix: str, most: int, *, strict: bool = False
) -> AsyncIterator[Step]:
    """Yield up to `most` steps from the beginning; fewer once all keys have been searched.

    Args:
        strict: whether to raise what keeps a step from being made; else the walk ends there.
    """
    cursor = "0"
    for _ in range(most):
        found = await try_step(reader, queue, cursor, suffix)
        if strict and isinstance(found, Exception):
            raise found
        cursor, keys = ("0", []) if isinstance(found, Exception) else found
        yield cursor, keys
        if cursor == "0":
            return


async def walk_keys(context: QueueContext, suffix: str, *, missed: str) -> AsyncIterator[list[str]]:
    """Yield pages of the hashes `P:<suffix>` without their prefix, in no order; bounded.

    Args:
        missed: what a warning says about the keys beyond the bound.
    """
    head, complete = len(context.keys.root) + 1, False
    async for cursor, keys in scan_steps(Reader.of(context), context.queue, suffix, WALK_STEPS, strict=True):
        complete = cursor == "0"
        if keys:
            yield [key[head:] for key in keys]
    if not complete:
        warnings.warn(
            f"the server holds too many keys to look at all of them for '{context.queue}': {missed}",
            RuntimeWarning,
            stacklevel=2,
        )


async def scan_cluster(
    reader: Reader, pattern: str, count: int, throttle: Throttle
) -> AsyncIterator[list[str]]:
    """Walk over the keys of every primary of a cluster, a page a step.

    Raises:
        ServerUnavailableError: a node went away; begin again later.
    """
    import glide

    from glidemq_core.server.driver import GlideError

    cursor: Any = glide.ClusterScanCursor()  # type: ignore[no-untyped-call]
    while not cursor.is_finished():
        await throttle.wait()
        reader.connection.stats.commands += 1
        try:
            cursor, page = await reader.connection.client.scan(
                cursor, match=pattern, count=count, allow_non_covered_slots=True
            )
        except GlideError as error:
            raise ServerUnavailableError(
                f"the search for queues stopped: {error}", address=reader.connection.address
            ) from error
        yield [text(key) or "" for key in page]


def _step(page: Any) -> Step | Exception:
    if isinstance(page, Exception):
        return page
    return text(page[0]) or "0", [text(key) or "" for key in page[1]]


async def walk_entries(
    connection: Connection, key: str, command: str, start: str, end: str, page: int
) -> AsyncIterator[tuple[str, Any]]:
    """Iterate over the entries of a stream, ids with fields, by pages of `XRANGE` or (backwards) `XREVRANGE`."""
    while True:
        found = await connection.command(command, key, start, end, "COUNT", page) or {}
        for entry_id, fields in found.items():
            start = f"({as_text(entry_id)}"
            yield as_text(entry_id), fields
        if len(found) < page:
            return
