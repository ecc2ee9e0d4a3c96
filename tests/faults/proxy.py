"""A TCP proxy between clients and a server that breaks what passes through it, on request."""

from __future__ import annotations

import asyncio
import contextlib
import random
from enum import Enum


class Trouble(Enum):
    """What the proxy does to connections while it is set."""

    NONE = "none"
    #: A request is dropped with its connection before the server has seen it.
    BEFORE = "before"
    #: The server has seen the request; its reply is dropped with the connection.
    AFTER = "after"
    #: Requests pass, replies stop; the connection looks open.
    HALF_CLOSED = "half-closed"
    #: Every piece waits, and may come in two.
    DELAYED = "delayed"
    #: New connections are refused, those that exist are cut.
    DOWN = "down"


class Proxy:
    """Forwards one port of loopback to another.

    Args:
        target: port of the server.
        rng: decides which pieces are hit.
        rate: share of the pieces that a trouble hits, 0 to 1.
    """

    def __init__(self, target: int, rng: random.Random, rate: float = 0.02) -> None:
        self.target = target
        self.port = 0
        self.trouble = Trouble.NONE
        self.hits = 0
        self._rate = rate
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        #: Connections that carry no replies any more -> seconds until their requests arrive; None: never.
        self._forgotten: dict[asyncio.Task[None], float | None] = {}

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection that exists now."""
        for link in list(self._links):
            link.cancel()

    def forget(self, late_s: float | None = None) -> None:
        """Let nothing through on the connections that exist now, which look open all the same; new ones work.

        Args:
            late_s: requests arrive all the same, so much later.
        """
        self._forgotten.update(dict.fromkeys(self._links, late_s))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            if self.trouble is Trouble.DOWN:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            ways = [
                asyncio.create_task(self._pump(task, reader, far_writer, Trouble.BEFORE)),
                asyncio.create_task(self._pump(task, far_reader, writer, Trouble.AFTER)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(task)
            self._forgotten.pop(task, None)
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()

    async def _pump(
        self,
        link: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        breaks_at: Trouble,
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                if link in self._forgotten:
                    late_s = self._forgotten[link]
                    if late_s is None or breaks_at is Trouble.AFTER:
                        continue
                    await asyncio.sleep(late_s)
                trouble = self.trouble
                hit = trouble is not Trouble.NONE and self._rng.random() < self._rate
                if hit and trouble is breaks_at:
                    self.hits += 1
                    return
                if hit and trouble is Trouble.HALF_CLOSED and breaks_at is Trouble.AFTER:
                    self.hits += 1
                    await asyncio.sleep(self._rng.uniform(0.5, 3))
                    return
                if trouble is Trouble.DELAYED and self._rng.random() < 0.3:
                    self.hits += 1
                    middle = self._rng.randrange(len(piece) + 1)
                    writer.write(piece[:middle])
                    await asyncio.sleep(self._rng.uniform(0.01, 0.4))
                    piece = piece[middle:]
                writer.write(piece)
                await writer.drain()
