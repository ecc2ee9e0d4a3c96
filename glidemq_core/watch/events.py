"""Following the events of queues, those found later too."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress

from glidemq_core.jobs.events.decode import decode_event
from glidemq_core.jobs.events.feed import TRANSIENT, EventFeed
from glidemq_core.reading.reader import Reader
from glidemq_core.records import QueueEvent, RecentEvents
from glidemq_core.wire.entry_ids import parse_id
from glidemq_core.wire.replies import entries, failed

from .discovery import Discoverer

#: How often a feed of all queues asks the registries for new ones, s.
_REGISTRY_EVERY_S = 10.0


async def follow_events(
    reader: Reader,
    queues: Discoverer,
    names: Sequence[str] | None,
    *,
    start: str,
    types: Iterable[str] | None,
) -> AsyncGenerator[QueueEvent, None]:
    """Yield the events of some queues; without `names` of all known ones. See `Watch.events`."""
    feed = EventFeed(
        reader.connection,
        reader.prefix,
        (lambda: queues.names) if names is None else (lambda: names),
        start=start,
        types=types,
        block_ms=2_000 if names is None else 5_000,
    )
    asked = time.monotonic()
    try:
        while True:
            for event in await feed.read():
                yield event
            if names is None and time.monotonic() - asked > _REGISTRY_EVERY_S:
                asked = time.monotonic()
                with suppress(*TRANSIENT):
                    await queues.known()
    finally:
        await feed.close()


async def read_recent_events(
    reader: Reader, names: Sequence[str], seen: Mapping[str, str], limit: int
) -> RecentEvents:
    """Read the newest events of some queues, at most `limit` each. See `Watch.recent_events`."""
    replies = await reader.read(
        [
            (
                "XREVRANGE",
                reader.keys(name).events,
                "+",
                f"({seen[name]}" if name in seen else "-",
                "COUNT",
                limit,
            )
            for name in names
        ]
    )
    found: list[QueueEvent] = []
    cut: list[str] = []
    for name, reply in zip(names, replies, strict=True):
        if failed(reply):
            continue
        read = [decode_event(name, entry_id, fields) for entry_id, fields in entries(reply)]
        found += read
        if name in seen and len(read) == limit:
            cut.append(name)
    found.sort(key=lambda event: (parse_id(event.id), event.queue))
    return RecentEvents(events=tuple(found), cut=tuple(cut), at=reader.now())
