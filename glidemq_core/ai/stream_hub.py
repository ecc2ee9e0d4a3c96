"""Following many token streams, of many queues, over a few connections of their own.

A `Tail` is one reader of one stream. It pages through what is stored (XRANGE from its cursor) and then joins
a *lane*: one blocking XREAD for all streams of the lane, with the event streams of their queues to learn of
ends. A reader that does not keep up leaves its lane and pages again from its cursor: its buffer stays
bounded, it misses nothing and holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from weakref import WeakValueDictionary

from ..errors import CallTimeoutError, GlideMQError, ServerUnavailableError
from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.entry_ids import EntryId, id_text, parse_id
from ..wire.replies import readable
from .stream_tail import Page, PageSize, Tail

T = TypeVar("T")

#: Lanes a hub opens at most (in a cluster: one more for each further queue).
MAX_LANES = 4
#: Events of busy queues are looked at this often (s) at most; they only say when to ask for a state.
_EVENTS_EVERY = 0.05
#: A read that was answered sooner than this (s) with so few entries is followed by a breath (s): what is written
#: one by one in quick succession is then read together, and reading does not slow the writing down.
_RUSH, _FEW, _BREATH = 0.001, 8, 0.001
_ENDINGS = frozenset((b"completed", b"failed", b"expired", b"revoked", b"removed"))
_TRANSIENT = (ServerUnavailableError, CallTimeoutError)


class Lane:
    """One blocking read on a connection of its own, for all tails in it."""

    def __init__(self, hub: StreamHub, connection: Connection, root: str | None) -> None:
        self.root = root
        self.blocked = False
        self.tails: dict[Tail, bool] = {}
        self._hub = hub
        self._connection = connection
        self._events: dict[bytes, EntryId] = {}
        self._events_from = 0.0
        self._count = PageSize()
        self._task = asyncio.create_task(self._run())

    def add(self, tail: Tail) -> None:
        self.tails[tail] = True  # ask for its state before the first wait: it may just have ended
        tail.entered(self)

    def remove(self, tail: Tail) -> None:
        self.tails.pop(tail, None)
        if not self.tails and asyncio.current_task() is not self._task:
            self._hub.lanes.discard(self)
            self._task.cancel()

    async def _run(self) -> None:
        delay = 0.05
        reader: Connection | None = None
        try:
            while self.tails:
                try:
                    reader = reader or await self._connection.dedicated()
                    await self._watch_events()
                    await self._check_states()
                    if self.tails:
                        await self._turn(reader)
                    delay = 0.05
                except _TRANSIENT:
                    if reader is not None:
                        await close_quietly(reader)
                        reader = None
                    await asyncio.sleep(delay)
                    delay = min(2.0, delay * 2)
                except GlideMQError as error:
                    # One bad key spoils a common read: each tail finds out by itself whether it is its own.
                    for tail in list(self.tails):
                        tail.kicks += 1
                        if tail.kicks > 3:
                            tail.fail(error)
                        else:
                            tail.step_out()
        finally:
            self._hub.lanes.discard(self)
            for tail in list(self.tails):
                tail.step_out()
            if reader is not None:
                await close_quietly(reader)

    def _event_keys(self) -> set[bytes]:
        return {tail.events_key for tail in self.tails}

    async def _watch_events(self) -> None:
        """Know where the event stream of each queue stands before asking for states: no end falls between."""
        wanted = self._event_keys()
        for key in wanted - self._events.keys():
            self._events[key] = await self._hub.newest(self._connection, key)
        for key in self._events.keys() - wanted:
            del self._events[key]

    async def _check_states(self) -> None:
        asked = [tail for tail, check in self.tails.items() if check]
        if not asked:
            return
        commands = [("HGET", tail.scope.keys.job(tail.job_id), "state") for tail in asked]
        states = [readable(state) for state in await self._connection.pipeline(commands)]
        for tail, state in zip(asked, states, strict=True):
            if tail not in self.tails:
                continue
            self.tails[tail] = False
            tail.checked(state)

    async def _turn(self, reader: Connection) -> None:
        if any(self.tails.values()) or len(self._events) < len(self._event_keys()):
            return  # someone joined just now
        loop = asyncio.get_running_loop()
        cursors: dict[bytes, EntryId] = {}
        for tail in self.tails:
            assert tail.cursor is not None
            cursors[tail.key] = min(tail.cursor, cursors.get(tail.key, tail.cursor))
        block = min(5_000, *(tail.block_ms for tail in self.tails))
        if len(self._hub.lanes) >= MAX_LANES:
            block = min(block, 1_000)  # newcomers wait for the end of a turn
        pause = self._events_from - loop.time()
        if pause <= 0:
            cursors |= self._events
        else:
            block = min(block, 1 + int(pause * 1_000))
        count = self._count.value
        ids = [id_text(cursor) for cursor in cursors.values()]
        asked = loop.time()
        self.blocked = True
        try:
            reply = await reader.command("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", *cursors, *ids)
        finally:
            self.blocked = False
        if not reply:
            if pause <= 0:
                self.tails = dict.fromkeys(self.tails, True)
            return
        self._count.learn(list(reply.values()))
        for tail in list(self.tails):
            if page := reply.get(tail.key):
                tail.push(page)
        if pause <= 0:
            await self._learn_ends(reply, count)
        if self.tails and max(len(page) for page in reply.values()) < count:
            breath = min(tail.breath for tail in self.tails)
            if loop.time() - asked < _RUSH and sum(len(page) for page in reply.values()) < _FEW:
                breath = max(breath, _BREATH)
            if breath:
                await asyncio.sleep(breath)

    async def _learn_ends(self, reply: Mapping[bytes, Mapping[bytes, list[list[bytes]]]], count: int) -> None:
        now = asyncio.get_running_loop().time()
        for key in self._events:
            page = reply.get(key)
            if not page:
                continue
            self._events_from = now + _EVENTS_EVERY
            ended = set()
            for pairs in page.values():
                event = {pair[0]: pair[1] for pair in pairs}
                if event.get(b"event") in _ENDINGS:
                    ended.add(event.get(b"jobId", b"").decode("utf-8", "replace"))
            behind = len(page) >= count
            self._events[key] = parse_id(list(page)[-1])
            if behind:  # more than we care to read: go to the newest and ask for the states instead
                self._events[key] = await self._hub.newest(self._connection, key)
                self._events_from = now + 5 * _EVENTS_EVERY
            for tail in self.tails:
                if tail.events_key == key and (behind or tail.job_id in ended):
                    self.tails[tail] = True


class StreamHub:
    """Follows token streams of any number of jobs and queues of one server over few connections."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lanes: set[Lane] = set()

    @classmethod
    def of(cls, connection: Connection) -> StreamHub:
        """Return the hub that all followers of a connection share."""
        hub = _hubs.get(id(connection))
        if hub is None:
            hub = _hubs[id(connection)] = cls(connection)
        return hub

    def follow(
        self,
        scope: QueueContext,
        job_id: str,
        *,
        start: str = "0",
        follow: bool = True,
        block_ms: int = 5_000,
        breath: float = 0.0,
    ) -> Tail:
        """Open a reader: `async for chunk in tail`, or `await tail.read()`; then `close()` it.

        Args:
            start: entry id (exclusive), `"0"` everything, `"$"` only new chunks.
            follow: False ends at the end of what is stored.
            block_ms: ask for the job's state after that many ms without news.
            breath: seconds that may pass between two looks; who draws frames reads no oftener than that.
        """
        return Tail(self, scope, job_id, start, follow, block_ms, breath)

    def join(self, tail: Tail) -> None:
        """Put a tail that has read all there is into a lane, rather one that can listen to it at once."""
        root = tail.scope.keys.root if self.connection.is_cluster else None
        lanes = [lane for lane in self.lanes if lane.root == root]
        lane = next((lane for lane in lanes if not lane.blocked), None)
        if lane is None and (not lanes or len(self.lanes) < MAX_LANES):
            lane = Lane(self, self.connection, root)
            self.lanes.add(lane)
        (lane or min(lanes, key=lambda each: len(each.tails))).add(tail)

    async def patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Repeat a read until the server answers."""
        delay = 0.05
        while True:
            try:
                return await read()
            except _TRANSIENT:
                await asyncio.sleep(delay)
                delay = min(2.0, delay * 2)

    async def newest(self, connection: Connection, key: bytes) -> EntryId:
        """Id of the latest entry of a stream, zero when there is none."""
        reply: Page = await self.patiently(lambda: connection.command("XREVRANGE", key, "+", "-", "COUNT", 1))
        return parse_id(next(iter(reply))) if reply else (0, 0)

    async def close(self) -> None:
        """End all readers."""
        for lane in list(self.lanes):
            for tail in list(lane.tails):
                await tail.close()


_hubs: WeakValueDictionary[int, StreamHub] = WeakValueDictionary()


async def close_quietly(connection: Connection) -> None:
    """Close a connection whose server may be gone."""
    try:
        await connection.close()
    except Exception:  # noqa: BLE001  # the server may be gone; nothing is lost with this connection
        return
