"""Waiting without polling: a blocking read on a connection of its own, only while nothing is known to be ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import GlideMQError
from ..server.connection import Connection
from ..wire.entry_ids import parse_id
from .context import WorkerContext

#: Events that put something into `P:scheduled`, so that the next due time may be nearer.
_SCHEDULING = frozenset({b"added", b"retrying", b"delay-changed", b"priority-changed", b"retried"})
#: Events after which something may be ready to run.
_WAKING = _SCHEDULING | {b"promoted", b"active", b"stalled", b"resumed", b"revoked"}
_RETRY_S = 1.0


class IdleWait:
    """Blocks on the queue's stream and events until something new appears; hints only, the claim decides."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._block_ms = context.options.block_timeout
        self._reader: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._marks = ("0-0", "0-0")

    def begin(self, stream_id: str, events_id: str, on_wake: Callable[[bool], None]) -> None:
        """Wait for what comes after these entries; does nothing while it waits already.

        Args:
            on_wake: called once something may be ready, with whether something may have been scheduled.
        """
        if self._task is None or self._task.done():
            self._marks = (stream_id, events_id)
            self._task = asyncio.get_running_loop().create_task(self._wait(on_wake))

    async def close(self) -> None:
        """Stop waiting and close the connection of its own."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._reader is not None:
            await self._reader.close()
            self._reader = None

    async def _wait(self, on_wake: Callable[[bool], None]) -> None:
        queue = self._context.queue
        keys = queue.keys
        question = ("XREAD", "COUNT", 100, "BLOCK", self._block_ms, "STREAMS", keys.stream, keys.events)
        loop = asyncio.get_running_loop()
        blind_until = loop.time() + self._block_ms / 1000
        while True:
            try:
                if self._reader is None:
                    self._reader = await queue.connection.dedicated(role="worker")
                answer = await self._reader.command(*question, *self._marks)
            except GlideMQError as error:
                self._context.report(error)
                await asyncio.sleep(_RETRY_S)
                on_wake(True)
                return
            wake, scheduled = False, False
            for key, page in (answer or {}).items():
                newest = max(page, key=parse_id).decode()
                if key == keys.stream.encode():
                    wake = True
                    self._marks = (newest, self._marks[1])
                else:
                    self._marks = (self._marks[0], newest)
                    kinds = {value for pairs in page.values() for name, value in pairs if name == b"event"}
                    wake = wake or bool(kinds & _WAKING)
                    scheduled = scheduled or bool(kinds & _SCHEDULING)
            if wake:
                on_wake(scheduled)
                return
            if not answer or loop.time() >= blind_until:
                # Lists and other clocks: look once a block timeout whatever the feed says, however much it says.
                on_wake(True)
                return
