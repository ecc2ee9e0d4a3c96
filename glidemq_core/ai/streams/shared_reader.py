"""One blocking read for many token streams, with the event streams of their queues to learn of ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import GlideMQError
from ...server.commands import Arg
from ...server.connection import Connection
from ...server.retry import LOST_REPLY, Backoff, retry_through_outage
from ...wire.entry_ids import EntryId, id_text, parse_id
from ...wire.replies import as_text, readable
from .tail import PageSize, Tail, newest_entry

#: A reply of XREAD: entries by stream.
Pages = Mapping[bytes, Mapping[bytes, list[list[bytes]]]]

#: Events of busy queues are read this often (s) at most; they only say when to ask for a state.
_EVENTS_EVERY = 0.05
#: After a read that was answered sooner than this (s) with so few entries the reader pauses (s): what is written one
#: by one in quick succession is then read together, and reading does not slow the writing down.
_RUSH, _FEW, _PAUSE = 0.001, 8, 0.001
#: ms that a read blocks at most; the second while new tails may have to wait for its end.
_BLOCK_MS, _CROWDED_BLOCK_MS = 5_000, 1_000
#: Common reads that may fail before an error is the tail's own.
_FAILED_READS = 3
_ENDINGS = frozenset((b"completed", b"failed", b"expired", b"revoked", b"removed"))


class SharedReader:
    """One blocking read on a connection of its own, for all tails in it.

    Args:
        root: key prefix of the queue whose streams it reads, None for those of all queues.
        is_crowded: whether tails have to wait for the end of a read, because no more readers may be opened.
        ended: called when it has no tails left.
    """

    def __init__(
        self,
        connection: Connection,
        root: str | None,
        *,
        is_crowded: Callable[[], bool],
        ended: Callable[[SharedReader], None],
    ) -> None:
        self.root = root
        self.is_blocked = False
        #: Whether the state of each tail's job is to be asked for.
        self.tails: dict[Tail, bool] = {}
        self._connection = connection
        self._is_crowded = is_crowded
        self._ended = ended
        self._events: dict[bytes, EntryId] = {}
        self._events_from = 0.0
        self._count = PageSize()
        self._task = asyncio.create_task(self._run())

    def add(self, tail: Tail) -> None:
        """Read for a tail from its cursor on."""
        self.tails[tail] = True  # ask for its state before the first wait: it may just have ended

    def remove(self, tail: Tail) -> None:
        """Read no longer for a tail; without any the reader ends."""
        self.tails.pop(tail, None)
        if not self.tails and asyncio.current_task() is not self._task:
            self._ended(self)
            self._task.cancel()

    async def _run(self) -> None:
        backoff = Backoff()
        reader: Connection | None = None
        try:
            while self.tails:
                try:
                    reader = reader or await self._connection.dedicated(role="stream")
                    await self._watch_events()
                    await self._check_states()
                    if self.tails:
                        await self._read(reader)
                    backoff = Backoff()
                except LOST_REPLY:
                    if reader is not None:
                        await close_quietly(reader)
                        reader = None
                    await backoff.wait()
                except GlideMQError as error:
                    # One bad key spoils a common read: each tail finds out by itself whether it is its own.
                    for tail in list(self.tails):
                        tail.failed_reads += 1
                        if tail.failed_reads > _FAILED_READS:
                            tail.fail(error)
                        else:
                            tail.leave()
        finally:
            self._ended(self)
            for tail in list(self.tails):
                tail.leave()
            if reader is not None:
                await close_quietly(reader)

    def _event_keys(self) -> set[bytes]:
        return {tail.events_key for tail in self.tails}

    async def _watch_events(self) -> None:
        """Note where the event stream of each queue ends before states are asked for: no end falls between."""
        wanted = self._event_keys()
        for key in wanted - self._events.keys():
            self._events[key] = await self._newest(key)
        for key in self._events.keys() - wanted:
            del self._events[key]

    async def _newest(self, key: bytes) -> EntryId:
        return await newest_entry(lambda *words: read_patiently(self._connection, *words), key)

    async def _check_states(self) -> None:
        asked = [tail for tail, check in self.tails.items() if check]
        if not asked:
            return
        commands = [("HGET", tail.context.keys.job(tail.job_id), "state") for tail in asked]
        states = [readable(state) for state in await self._connection.pipeline(commands)]
        for tail, state in zip(asked, states, strict=True):
            if tail not in self.tails:
                continue
            self.tails[tail] = False
            tail.note_state(state)

    async def _read(self, reader: Connection) -> None:
        """Wait for new entries of all streams once and hand them out."""
        if any(self.tails.values()) or len(self._events) < len(self._event_keys()):
            return  # a tail joined just now
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        events_in = self._events_from - asked_at
        cursors = self._cursors() | (self._events if events_in <= 0 else {})
        count, block = self._count.value, self._block_ms(events_in)
        ids = [id_text(cursor) for cursor in cursors.values()]
        self.is_blocked = True
        try:
            reply = await reader.command("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", *cursors, *ids)
        finally:
            self.is_blocked = False
        if not reply:
            if events_in <= 0:
                self.tails = dict.fromkeys(self.tails, True)
            return
        self._count.learn(list(reply.values()))
        for tail in list(self.tails):
            if page := reply.get(tail.key):
                tail.receive(page)
        if events_in <= 0:
            await self._note_ends(reply, count)
        if self.tails and max(len(page) for page in reply.values()) < count:
            pause = min(tail.min_interval for tail in self.tails)
            if loop.time() - asked_at < _RUSH and sum(len(page) for page in reply.values()) < _FEW:
                pause = max(pause, _PAUSE)
            if pause:
                await asyncio.sleep(pause)

    def _cursors(self) -> dict[bytes, EntryId]:
        """Return after which entry to read each stream; of several tails of one the earliest counts."""
        cursors: dict[bytes, EntryId] = {}
        for tail in self.tails:
            assert tail.cursor is not None
            cursors[tail.key] = min(tail.cursor, cursors.get(tail.key, tail.cursor))
        return cursors

    def _block_ms(self, events_in: float) -> int:
        """Return how long the next read may block; events are due in so many seconds."""
        block = min(_BLOCK_MS, *(tail.block_ms for tail in self.tails))
        if self._is_crowded():
            block = min(block, _CROWDED_BLOCK_MS)
        return min(block, 1 + int(events_in * 1_000)) if events_in > 0 else block

    async def _note_ends(self, reply: Pages, count: int) -> None:
        """Note whose state is to be asked for, and how far the events have been read."""
        now = asyncio.get_running_loop().time()
        for key in self._events:
            page = reply.get(key)
            if not page:
                continue
            self._events_from = now + _EVENTS_EVERY
            events = [{pair[0]: pair[1] for pair in pairs} for pairs in page.values()]
            ended = {as_text(event.get(b"jobId")) for event in events if event.get(b"event") in _ENDINGS}
            behind = len(page) >= count
            self._events[key] = parse_id(list(page)[-1])
            if behind:  # more than is worth reading: go to the newest and ask for the states instead
                self._events[key] = await self._newest(key)
                self._events_from = now + 5 * _EVENTS_EVERY
            for tail in self.tails:
                if tail.events_key == key and (behind or tail.job_id in ended):
                    self.tails[tail] = True


async def read_patiently(connection: Connection, *words: Arg) -> Any:
    """Run a plain reading command; repeat it until the server answers."""
    answer, _ = await retry_through_outage(
        lambda _: connection.command(*words), passes=lambda error: isinstance(error, LOST_REPLY)
    )
    return answer


async def close_quietly(connection: Connection) -> None:
    """Close a connection whose server may be gone."""
    try:
        await connection.close()
    except Exception:  # noqa: BLE001  # the server may be gone; nothing is lost with this connection
        return
