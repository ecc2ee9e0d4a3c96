"""Events of queues as they happen: hints, in order, without repeats; lost ones are told as a gap."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CallTimeoutError, ClosedError, GlideMQError, ServerError, ServerUnavailableError
from ..options.fields import EPOCH, Duration, from_epoch_ms, positive_ms, refuse, text
from ..records.jobs import QueueEvent
from ..server.connection import Connection
from ..server.context import QueueBase
from ..wire.entry_ids import EntryId, id_text, parse_id
from ..wire.keys import QueueKeys
from ..wire.numbers import parse_number, to_int
from ..wire.payload import decode_progress
from ..wire.replies import as_text, pairs
from ..wire.strict_json import parse_json

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

_ENTRY_ID = re.compile(r"\d{1,20}(-\d{1,20})?", re.ASCII)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Fields that are text whatever they look like.
_TEXTS = frozenset(("name", "failedReason", "signal", "groupKey"))
#: Events about a queue: `jobId` holds how many jobs they concern, or nothing.
_COUNTED = frozenset(("drained", "cleaned", "retried"))


def decode_event(queue: str, entry_id: str, fields: Iterable[tuple[bytes | str, bytes | str]]) -> QueueEvent:
    """Read one entry of an event stream: snake_case keys, numbers and JSON decoded; anything may be missing."""
    found = {as_text(name): as_text(value) for name, value in fields}
    event, job_id = found.pop("event", ""), found.pop("jobId", "")
    data = {_snake(name): _value(event, name, value) for name, value in found.items()}
    if event in _COUNTED:
        data["count"] = to_int(job_id)
        job_id = ""
    elif event in ("paused", "resumed") and "signal" not in found:
        job_id = ""
    return QueueEvent(
        queue=queue,
        id=entry_id,
        at=from_epoch_ms(to_int(entry_id.partition("-")[0])) or EPOCH,
        event=event,
        job_id=job_id or None,
        data=data,
    )


def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _value(event: str, name: str, stored: str) -> Any:
    if name in _TEXTS:
        return stored
    if event == "progress" and name == "data":
        return decode_progress(stored)
    number = parse_number(stored)
    if number is not None:
        return number
    try:
        return parse_json(stored)
    except ValueError:
        return stored


def check_start(value: str, option: str) -> str:
    """Accept `$`, `0` or an entry id. Raises InvalidOptionError."""
    if value != "$" and not (isinstance(value, str) and _ENTRY_ID.fullmatch(value)):
        refuse(option, value, "$, 0 or an entry id like 1795467240172-0")
    return value


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
    """Reads the event streams of queues over one connection of its own.

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
                own = await self._shared.dedicated()
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
            elif self._start == "$":
                # A queue that began after we did: all of it is new.
                self._cursors[name] = _Cursor((0, 0), read=fact.removed)
            elif parse_id(self._start) == (0, 0):
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

    async def _wait(
        self, own: Connection, cursors: Mapping[str, _Cursor]
    ) -> dict[str, list[tuple[str, Any]]]:
        keys = {QueueKeys(self._prefix, name).events: name for name in cursors}
        ids = [cursor.id for cursor in cursors.values()]
        try:
            reply = await own.command("XREAD", "COUNT", PAGE, "BLOCK", self._block_ms, "STREAMS", *keys, *ids)
        except ServerError as error:
            if error.code != "WRONGTYPE" or self._strict:
                raise
            await self._leave_broken(own, list(cursors))
            return {}
        return {keys[as_text(key)]: _page(entries) for key, entries in pairs(reply)}

    async def _poll(
        self, own: Connection, cursors: Mapping[str, _Cursor]
    ) -> dict[str, list[tuple[str, Any]]]:
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

    async def _leave_broken(self, own: Connection, names: Sequence[str]) -> None:
        facts = await self._facts(own, names)
        for name in names:
            if isinstance(facts[name], Exception):
                self._cursors[name].rest = _BROKEN_LOOKS

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


def _page(reply: Any) -> list[tuple[str, list[tuple[Any, Any]]]]:
    return [(as_text(entry_id), pairs(fields)) for entry_id, fields in pairs(reply)]


class QueueEvents(QueueBase):
    """Events of one queue: `async for event in events`. Hints, not truth.

    Reconnects and goes on after the last event seen; if entries were trimmed meanwhile, the next event has
    `gap=True`. The iteration raises only what a retry cannot mend.

    Args:
        last_event_id: `$` only new events, `0` all that are kept, or the id of the last event seen.
        block_timeout: ms or timedelta of one blocking read.
        types: only events of these names.
    Raises:
        InvalidOptionError: a malformed id or time.
    """

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        prefix: str | None = None,
        last_event_id: str = "$",
        block_timeout: Duration = 5_000,
        types: Iterable[str] | None = None,
    ) -> None:
        super().__init__(name, connection, prefix=prefix)
        self._start = check_start(last_event_id, "last_event_id")
        self._block_ms = positive_ms(block_timeout, "block_timeout")
        if isinstance(types, (str, bytes)):
            refuse("types", types, "a sequence of event names")
        self._types = None if types is None else frozenset(text(name, "types") for name in types)
        self._feed: EventFeed | None = None
        self._page: list[QueueEvent] = []

    async def wait_until_ready(self) -> None:
        """Connect and fix the starting point: what happens from now on will be seen."""
        await (await self._opened_feed()).open()

    def __aiter__(self) -> AsyncIterator[QueueEvent]:
        return self

    async def __anext__(self) -> QueueEvent:
        """Wait for the next event. After `close` the iteration ends."""
        while not self._page:
            if self._lazy.closed:
                raise StopAsyncIteration
            try:
                self._page = (await (await self._opened_feed()).read())[::-1]
            except ClosedError:
                if self._lazy.closed:
                    raise StopAsyncIteration from None
                raise
        return self._page.pop()

    async def close(self) -> None:
        """End the iteration and close what this object opened; twice is fine."""
        self._lazy.closed = True
        feed, self._feed = self._feed, None
        if feed is not None:
            await feed.close()
        await super().close()

    async def _opened_feed(self) -> EventFeed:
        scope = await self.scope()
        if self._feed is None:
            self._feed = EventFeed(
                scope.connection,
                scope.keys.prefix,
                lambda: (self.name,),
                start=self._start,
                types=self._types,
                block_ms=self._block_ms,
                strict=True,
            )
        return self._feed
