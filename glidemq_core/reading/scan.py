"""One bounded step over keys: of one queue for lists that have no index, of the whole server for discovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from glidemq_core.errors import PermissionDeniedError, ServerUnavailableError
from glidemq_core.wire.keys import discovery_pattern
from glidemq_core.wire.replies import text

from .reader import Reader, Throttle

#: Keys a step looks at.
STEP_KEYS = 1_000
#: Types of keys by what follows the queue's prefix; those not listed are hashes.
_KINDS = {"w": "string", "tpm": "string", "deps": "set"}


Step = tuple[str, list[str]]


async def scan_step(reader: Reader, queue: str, cursor: str, suffix: str) -> Step:
    """Look at the next keys `P:<suffix>` of a queue; returns the next cursor ("0": done) and the keys found."""
    found = await try_step(reader, queue, cursor, suffix)
    return ("0", []) if isinstance(found, Exception) else found


async def try_step(reader: Reader, queue: str, cursor: str, suffix: str) -> Step | Exception:
    """As `scan_step`; or why nothing could be looked at."""
    keys = reader.keys(queue)
    if not reader.connection.is_cluster:
        page = await reader.read_one("SCAN", cursor, "MATCH", keys.pattern(suffix), "COUNT", STEP_KEYS)
        return _page(page)
    # In a cluster a function runs where the queue's slot is; a plain SCAN could go to any node.
    kind = _KINDS.get(suffix.partition(":")[0], "hash")
    reply = await reader.call_each("scan", [(keys.root, (cursor, keys.pattern(suffix), STEP_KEYS, kind))])
    if reply is None:
        return PermissionDeniedError(
            f"the keys of queue '{queue}' cannot be looked at: this user may not call our server functions",
            hint="ask for the ACL rights, or sign in as another user",
            reason="acl",
            command="FCALL_RO",
        )
    if isinstance(reply[0], Exception):
        return reply[0]
    return text(reply[0][0]) or "0", [text(key) or "" for key in reply[0][1:]]


async def scan_all(reader: Reader, cursor: str, suffix: str) -> Step:
    """Look at the next keys `P:<suffix>` of all queues of one server, as `scan_step` does of one queue."""
    found = await try_all(reader, cursor, suffix)
    return ("0", []) if isinstance(found, Exception) else found


async def try_all(reader: Reader, cursor: str, suffix: str) -> Step | Exception:
    """As `scan_all`; or why nothing could be looked at."""
    pattern = discovery_pattern(reader.prefix, suffix)
    return _page(await reader.read_one("SCAN", cursor, "MATCH", pattern, "COUNT", STEP_KEYS))


async def scan_cluster(reader: Reader, pattern: str, count: int, pace: Throttle) -> AsyncIterator[list[str]]:
    """Walk over the keys of every primary of a cluster, a page a step.

    Raises:
        ServerUnavailableError: a node went away; begin again later.
    """
    import glide

    from glidemq_core.server.driver import GlideError

    cursor: Any = glide.ClusterScanCursor()  # type: ignore[no-untyped-call]
    while not cursor.is_finished():
        await pace.wait()
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


def _page(page: Any) -> Step | Exception:
    if isinstance(page, Exception):
        return page
    return text(page[0]) or "0", [text(key) or "" for key in page[1]]
