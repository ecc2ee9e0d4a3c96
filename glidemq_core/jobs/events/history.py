"""Events that queues still keep: read from the newest backwards, or from a point onwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from ...records import QueueEvent
from ...server.connection import Connection
from ...wire.entry_ids import EntryId, parse_id
from ...wire.keys import QueueKeys
from ...wire.replies import as_text
from .decode import check_start, decode_event

_PAGE = 500

Fits = Callable[[QueueEvent], bool]


async def latest_events(
    connection: Connection, queues: Iterable[str], *, limit: int = 100, fits: Fits | None = None
) -> list[QueueEvent]:
    """Return the newest `limit` events of all the queues that fit, oldest first."""
    found: list[QueueEvent] = []
    for queue in queues:
        found += await _taken(_backwards(connection, queue), limit, fits)
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
            found += await _taken(_onwards(connection, queue, start), limit, fits)
    return sorted(found, key=_place)[:limit]


async def _taken(events: AsyncIterator[QueueEvent], limit: int | None, fits: Fits | None) -> list[QueueEvent]:
    taken: list[QueueEvent] = []
    async for event in events:
        if fits is None or fits(event):
            taken.append(event)
            if len(taken) == limit:
                break
    return taken


async def _backwards(connection: Connection, queue: str) -> AsyncIterator[QueueEvent]:
    key, end = QueueKeys(connection.prefix, queue).events, "+"
    while page := await connection.command("XREVRANGE", key, end, "-", "COUNT", _PAGE):
        for entry_id, fields in page.items():
            yield decode_event(queue, as_text(entry_id), fields)
            end = f"({as_text(entry_id)}"
        if len(page) < _PAGE:
            return


async def _onwards(connection: Connection, queue: str, start: str) -> AsyncIterator[QueueEvent]:
    key = QueueKeys(connection.prefix, queue).events
    while page := await connection.command("XRANGE", key, f"({start}", "+", "COUNT", _PAGE):
        for entry_id, fields in page.items():
            start = as_text(entry_id)
            yield decode_event(queue, start, fields)
        if len(page) < _PAGE:
            return


def _place(event: QueueEvent) -> tuple[EntryId, str]:
    return parse_id(event.id), event.queue
