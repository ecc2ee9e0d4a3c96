"""One follower of one token stream: pages through what is stored, then is given what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from ...errors import GlideMQError, JobNotFoundError
from ...records import StreamChunk
from ...records.decoding import decode_chunk
from ...server.context import QueueContext
from ...wire.entry_ids import EntryId, id_text, parse_id

#: Runs a plain command, however long the server is away.
Read = Callable[..., Awaitable[Any]]
Page = Mapping[bytes, list[list[bytes]]] | None

#: Chunks a tail may leave unread before it leaves its reader.
BUFFER = 2_000
_PAGE = 500
#: A reply above this makes the next ask for fewer entries: chunks may be 1 MiB each.
_REPLY_BYTES = 2_097_152


def decode_page(reply: Page) -> list[StreamChunk]:
    """Turn a reply of XRANGE, or of XREAD for one stream, into chunks; broken UTF-8 is replaced."""
    return [decode_chunk(entry_id, pairs) for entry_id, pairs in reply.items()] if reply else []


class PageSize:
    """How many entries to ask for, so that replies stay of reasonable size."""

    def __init__(self) -> None:
        self.value = _PAGE

    def learn(self, pages: list[Page]) -> None:
        """Ask for fewer entries after a large reply, for more after a small one."""
        size = sum(
            [
                len(name) + len(value)
                for page in pages
                if page
                for pairs in page.values()
                for name, value in pairs
            ]
        )
        if size > _REPLY_BYTES:
            self.value = max(1, self.value // 4)
        elif self.value < _PAGE and size * 4 < _REPLY_BYTES:
            self.value = min(_PAGE, self.value * 2)


async def newest_entry(read: Read, key: bytes) -> EntryId:
    """Return the id of the latest entry of a stream, zero when there is none."""
    reply: Page = await read("XREVRANGE", key, "+", "-", "COUNT", 1)
    return parse_id(next(iter(reply))) if reply else (0, 0)


class Tail:
    """One follower of one stream: an async iterator of chunks; `read()` takes all that is there at once.

    Args:
        join: called when all that is stored was read, to be given what is new; returns how to end that.
        read: reads from the server.
        start, follow, block_ms, min_interval: as of `StreamHub.follow`.
    """

    def __init__(
        self,
        context: QueueContext,
        job_id: str,
        *,
        join: Callable[[Tail], Callable[[], None]],
        read: Read,
        start: str,
        follow: bool,
        block_ms: int,
        min_interval: float,
    ) -> None:
        self.context = context
        self.job_id = job_id
        self.key = context.keys.jstream(job_id).encode()
        self.events_key = context.keys.events.encode()
        self.block_ms = block_ms
        self.min_interval = min_interval
        self.cursor: EntryId | None = None if start == "$" else parse_id(start)
        self.state: bytes | None = None
        #: Reads in a row that failed for all who had joined.
        self.failed_reads = 0
        self._join = join
        self._leave: Callable[[], None] | None = None
        self._read = read
        self._follow = follow
        self._buffer: list[StreamChunk] = []
        self._next = 0
        self._count = PageSize()
        self._known = False
        self._ended = False
        self._closed = False
        self._caught_up = False
        self._last_page = False
        self._wake = asyncio.Event()
        self._error: GlideMQError | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamChunk:
        if self._next >= len(self._buffer):
            self._buffer, self._next = await self.read(), 0
            if not self._buffer:
                raise StopAsyncIteration
        chunk = self._buffer[self._next]
        self._next += 1
        return chunk

    async def read(self) -> list[StreamChunk]:
        """Return the chunks that arrived since the last call, waiting for at least one; `[]` at the end.

        Raises:
            JobNotFoundError: neither job nor stream exists.
        """
        while not self._closed:
            if self._next < len(self._buffer):
                taken, self._buffer, self._next = self._buffer[self._next :], [], 0
                return taken
            if self._error is not None:
                raise self._error
            if self._leave is not None:
                self._wake.clear()
                await self._wake.wait()
            elif self._last_page:
                break
            elif self._caught_up and not self._ended:
                self._leave = self._join(self)
            else:
                page = await self._page()
                if page:
                    return page
                if self._ended:
                    break
        return []

    async def _page(self) -> list[StreamChunk]:
        """Read the next stored entries and note whether that was all."""
        if self.cursor is None:
            self.cursor = await newest_entry(self._read, self.key)
        asked = self._count.value
        after = "(" + id_text(self.cursor)
        reply: Page = await self._read("XRANGE", self.key, after, "+", "COUNT", asked)
        self._count.learn([reply])
        chunks = decode_page(reply)
        if chunks:
            self.cursor = parse_id(chunks[-1].id)
            self._known = True
        elif not self._known:
            await self._must_exist()
        # Of a job that ended only an empty page is the end of the stream.
        self._caught_up = len(chunks) < asked
        self._last_page = self._caught_up and not self._follow
        return chunks

    async def _must_exist(self) -> None:
        if not await self._read("EXISTS", self.context.keys.job(self.job_id), self.key):
            ref = f"{self.context.queue}:{self.job_id}"
            raise JobNotFoundError(
                f"job '{ref}' not found, and no stream of it", queue=self.context.queue, job_id=self.job_id
            )
        self._known = True

    # Called by whom it has joined ----------------------------------------------------------------------

    def receive(self, page: Mapping[bytes, list[list[bytes]]]) -> None:
        """Take what is new of a page; leave when too much is unread."""
        assert self.cursor is not None
        fresh = [decode_chunk(i, pairs) for i, pairs in page.items() if parse_id(i) > self.cursor]
        if not fresh:
            return
        self.failed_reads = 0
        self.cursor = parse_id(fresh[-1].id)
        self._buffer.extend(fresh)
        if len(self._buffer) - self._next >= BUFFER:
            self.leave()
        self._wake.set()

    def leave(self) -> None:
        """End what joining began; the next read pages from the cursor."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        self._caught_up = False
        self._wake.set()

    def note_state(self, state: bytes | None) -> None:
        """Note the job's state; gone, completed or failed ends the stream after its last chunk."""
        self.state = state
        if state in (None, b"completed", b"failed"):
            self._ended = True
            self.leave()

    def fail(self, error: GlideMQError) -> None:
        """Leave, and let the next read raise an error."""
        self._error = error
        self.leave()

    async def close(self) -> None:
        """Stop following; twice is fine."""
        self._closed = True
        self.leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
