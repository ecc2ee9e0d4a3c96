"""Events that queues still keep: read from the newest backwards, or from a point onwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...reading.scan import walk_entries
from ...records import QueueEvent
from ...server.connection import Connection
from ...wire.entry_ids import EntryId, parse_id
from ...wire.keys import QueueKeys
from .decode import check_start, decode_event

_PAGE = 500

Fits = Callable[[QueueEvent], bool]


async def latest_events(
    connection: Connection, queues: Iterable[str], *, limit: int = 100, fits: Fits | None = None
) -> list[QueueEvent]:
    """Return the newest `limit` events of all the queues that fit, oldest first."""
    found: list[QueueEvent] = []
    for queue in queues:
        found += await _taken(connection, queue, ("XREVRANGE", "+", "-"), limit, fits)
    return sorted(found, key=_place)[-limit:]


async def events_after(
    connection: Connection,
    queues: Iterable[str],
    start: str,
    *,
    limit: int | None = None,
    fits: Fits | None = None,
) -> list[QueueEvent]:
    """Return what the queues keep after `start` (`0`, or an entry id, exclusive), oldest first.

    Raises InvalidOptionError.
    """
    check_start(start, "start")
    found: list[QueueEvent] = []
    if start != "$":
        for queue in queues:
            found += await _taken(connection, queue, ("XRANGE", f"({start}", "+"), limit, fits)
    return sorted(found, key=_place)[:limit]


async def _taken(
    connection: Connection, queue: str, walk: tuple[str, str, str], limit: int | None, fits: Fits | None
) -> list[QueueEvent]:
    taken: list[QueueEvent] = []
    key = QueueKeys(connection.prefix, queue).events
    async for entry_id, fields in walk_entries(connection, key, *walk, _PAGE):
        event = decode_event(queue, entry_id, fields)
        if fits is None or fits(event):
            taken.append(event)
            if len(taken) == limit:
                break
    return taken


def _place(event: QueueEvent) -> tuple[EntryId, str]:
    return parse_id(event.id), event.queue
