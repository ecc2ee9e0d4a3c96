"""Follow the event streams of queues: in order, without repeats; lost ones are told as a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import CallTimeoutError, ClosedError, GlideMQError, ServerError, ServerUnavailableError
from ...records import QueueEvent
from ...server.connection import Connection
from ...wire.entry_ids import EntryId, id_text, parse_id
from ...wire.keys import QueueKeys
from ...wire.replies import as_text, pairs
from .decode import decode_event

#: Entries of a stream: ids with their fields.
_Page = list[tuple[str, list[tuple[Any, Any]]]]
#: Errors that waiting and trying again may mend.
TRANSIENT = (ServerUnavailableError, CallTimeoutError)
#: Entries of one stream that one read takes.
PAGE = 100
#: Waits between attempts to read while the server is away, s; the last one repeats.
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
#: Wait between two looks at the streams of a cluster, where one read cannot block on many slots, s.
CLUSTER_POLL_S = 0.5
#: Looks between two attempts to read a stream that was not one.
_BROKEN_LOOKS = 20


@dataclass(slots=True)
class _Cursor:
    """How far one stream has been read; `read` counts entries since its creation, None if not known."""

    at: EntryId
    read: int | None = None
    gap: bool = False
    rest: int = 0

    @property
    def id(self) -> str:
        return id_text(self.at)


class EventFeed:
    """Read the event streams of queues over a connection of its own.

    Args:
        names: asked before each read, so that queues may join and leave.
        start: `$` (resolved once, at the first look), `0` or an entry id.
        strict: raise when a stream cannot be read, instead of leaving it out.
    """

    def __init__(
        self,
        connection: Connection,
        prefix: str,
        names: Callable[[], Sequence[str]],
        *,
        start: str = "$",
        types: Iterable[str] | None = None,
        block_ms: int = 5_000,
        strict: bool = False,
    ) -> None:
        self._shared = connection
        self._prefix = prefix
        self._names = names
        self._start = start
        self._types = frozenset(types) if types is not None else None
        self._block_ms = block_ms
        self._strict = strict
        self._own: Connection | None = None
        self._closed = False
        self._began: int | None = None
        self._cursors: dict[str, _Cursor] = {}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect and settle where every stream is read from. Raises ClosedError after `close`."""
        async with self._opening:
            if self._own is None and not self._closed:
                own = await self._shared.dedicated(role="events")
                if self._closed:  # meanwhile
                    await own.close()
                else:
                    self._own = own
            if self._own is None:
                raise ClosedError("the feed of events is closed", what="events")
            await self._join(self._own)

    async def close(self) -> None:
        """Close the connection; twice is fine. A read under way ends in ClosedError."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    async def read(self) -> list[QueueEvent]:
        """Wait up to the block time for events; waits out a server that is away. Events of one moment in order."""
        failures = 0
        while True:
            try:
                await self.open()
                assert self._own is not None
                return await self._read(self._own)
            except TRANSIENT:
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1

    async def _join(self, own: Connection) -> None:
        names = list(self._names())
        for name in set(self._cursors).difference(names):
            del self._cursors[name]
        new = [name for name in names if name not in self._cursors]
        if not new and self._began is not None:
            return
        facts = await self._facts(own, new)
        for name in new:
            fact = facts[name]
            if isinstance(fact, Exception):
                if self._strict:
                    raise fact
                self._cursors[name] = _Cursor((0, 0), rest=_BROKEN_LOOKS)
            elif self._start == "$" and (self._began is None or fact.first < (self._began, 0)):
                self._cursors[name] = _Cursor(fact.last, read=fact.added)
            elif self._start == "$" or parse_id(self._start) == (0, 0):
                # All of it is wanted: also of a queue that began after we did.
                self._cursors[name] = _Cursor((0, 0), read=fact.removed)
            else:
                self._cursors[name] = _Cursor(parse_id(self._start))
        self._began = self._began or own.now_ms()

    async def _read(self, own: Connection) -> list[QueueEvent]:
        for name, cursor in self._cursors.items():
            if cursor.rest:
                cursor.rest -= 1
                if cursor.rest == 0:
                    await self._revive(own, name)
        readable = {name: cursor for name, cursor in self._cursors.items() if not cursor.rest}
        if not readable:
            await asyncio.sleep(min(1.0, self._block_ms / 1000))
            return []
        pages = await (self._poll(own, readable) if own.is_cluster else self._wait(own, readable))
        pages = {name: page for name, page in pages.items() if page}
        if not pages:
            return []
        facts = await self._facts(own, list(pages))
        found: list[tuple[EntryId, QueueEvent]] = []
        for name, page in pages.items():
            cursor = self._cursors[name]
            self._advance(cursor, page, facts[name])
            for entry_id, fields in page:
                event = decode_event(name, entry_id, fields)
                if self._types is not None and event.event not in self._types:
                    continue
                if cursor.gap:
                    event, cursor.gap = replace(event, gap=True), False
                found.append((parse_id(entry_id), event))
        found.sort(key=lambda item: item[0])
        return [event for _, event in found]

    def _advance(self, cursor: _Cursor, page: Sequence[tuple[str, Any]], fact: _Facts | Exception) -> None:
        """Move past a page; entries that were trimmed before it could be read are a gap."""
        if isinstance(fact, _Facts) and fact.first > cursor.at and fact.first <= parse_id(page[0][0]):
            if fact.removed > (cursor.read or 0):
                cursor.gap = True
            cursor.read = fact.removed
        elif cursor.read is None and isinstance(fact, _Facts) and fact.first > parse_id(page[0][0]):
            cursor.read = fact.removed
        if cursor.read is not None:
            cursor.read += len(page)
        cursor.at = parse_id(page[-1][0])

    async def _wait(self, own: Connection, cursors: Mapping[str, _Cursor]) -> dict[str, _Page]:
        keys = {QueueKeys(self._prefix, name).events: name for name in cursors}
        ids = [cursor.id for cursor in cursors.values()]
        try:
            reply = await own.command("XREAD", "COUNT", PAGE, "BLOCK", self._block_ms, "STREAMS", *keys, *ids)
        except ServerError as error:
            if error.code != "WRONGTYPE" or self._strict:
                raise
            facts = await self._facts(own, list(cursors))
            for name, cursor in cursors.items():
                if isinstance(facts[name], Exception):
                    cursor.rest = _BROKEN_LOOKS
            return {}
        return {keys[as_text(key)]: _page(entries) for key, entries in pairs(reply)}

    async def _poll(self, own: Connection, cursors: Mapping[str, _Cursor]) -> dict[str, _Page]:
        replies = await own.pipeline(
            [
                ("XRANGE", QueueKeys(self._prefix, name).events, f"({cursor.id}", "+", "COUNT", PAGE)
                for name, cursor in cursors.items()
            ]
        )
        pages = {}
        for name, reply in zip(cursors, replies, strict=True):
            if isinstance(reply, GlideMQError):
                if self._strict:
                    raise reply
                self._cursors[name].rest = _BROKEN_LOOKS
            else:
                pages[name] = _page(reply)
        if not any(pages.values()):
            await asyncio.sleep(min(CLUSTER_POLL_S, self._block_ms / 1000))
        return pages

    async def _revive(self, own: Connection, name: str) -> None:
        fact = (await self._facts(own, [name]))[name]
        if isinstance(fact, Exception):
            self._cursors[name].rest = _BROKEN_LOOKS
        elif self._cursors[name].at == (0, 0) and self._start == "$":
            self._cursors[name] = _Cursor(fact.last, read=fact.added)

    async def _facts(self, own: Connection, names: Sequence[str]) -> dict[str, _Facts | Exception]:
        replies = await own.pipeline(
            [("XINFO", "STREAM", QueueKeys(self._prefix, name).events) for name in names]
        )
        return {name: _facts_of(reply) for name, reply in zip(names, replies, strict=True)}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a stream says of itself: first and newest id, entries ever added, entries gone."""

    first: EntryId
    last: EntryId
    added: int
    removed: int


def _facts_of(reply: Any) -> _Facts | Exception:
    if isinstance(reply, Exception):
        return _Facts((0, 0), (0, 0), 0, 0) if "no such key" in str(reply).lower() else reply
    facts = {as_text(key): value for key, value in pairs(reply)}
    last = parse_id(as_text(facts.get("last-generated-id")) or "0-0")
    first = facts.get("recorded-first-entry-id")
    if first is None:  # a server older than 7.0
        entry = facts.get("first-entry")
        first = next(iter(entry)) if entry else "0-0"
    added = int(facts.get("entries-added") or facts.get("length") or 0)
    return _Facts(parse_id(as_text(first)), last, added, max(0, added - int(facts.get("length") or 0)))


def _page(reply: Any) -> _Page:
    return [(as_text(entry_id), pairs(fields)) for entry_id, fields in pairs(reply)]
