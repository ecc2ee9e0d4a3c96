"""Ends of jobs as a queue's events tell them: all who wait through one producer share a connection and a reader."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final, Self

from ...errors import GlideMQError
from ...server.connection import Connection
from ...server.context import QueueContext
from ...server.retry import is_outage
from ...wire.replies import as_text

#: Events with which a job may have ended (`revoked` also comes for one that runs on).
_ENDS: Final = frozenset({b"completed", b"failed", b"expired", b"revoked", b"removed"})
#: Events of one read, and how long it waits for one, ms.
_PAGE: Final = 1_000
_BLOCK_MS: Final = 5_000
#: Wait after a lost reply, s.
_RETRY_S: Final = 0.2
#: Ends that are kept for jobs nobody waits for yet, as their `add` has not returned; and bytes of what they tell.
_RECENT: Final = 2_000
_RECENT_BYTES: Final = 16_777_216

#: Where those who wait through one context find what they share.
_SHARED: Final = "ends"
#: What an event tells of a job's end.
_Told = dict[str, str]


class JobEnds:
    """Reads the events of a queue while anybody waits; entered before a job is added, so that no end is missed."""

    def __init__(self, context: QueueContext) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._opening = asyncio.Lock()
        self._users = 0
        self._reader: Connection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._failure: GlideMQError | None = None
        self._waiting: dict[str, set[asyncio.Future[_Told]]] = {}
        self._recent: OrderedDict[str, _Told] = OrderedDict()
        self._recent_bytes = 0

    @classmethod
    def of(cls, context: QueueContext) -> JobEnds:
        """Return what the waiting calls of a producer share."""
        ends = context.shared.get(_SHARED)
        if not isinstance(ends, cls) or ends._loop is not asyncio.get_running_loop():
            ends = context.shared[_SHARED] = cls(context)
        return ends

    async def __aenter__(self) -> Self:
        self._users += 1
        try:
            async with self._opening:
                if self._reading is None:
                    await self._open()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def _open(self) -> None:
        newest = await self._context.connection.command(
            "XREVRANGE", self._context.keys.events, "+", "-", "COUNT", 1
        )
        self._reader = await self._context.connection.dedicated(role="wait")
        after = as_text(next(iter(newest or {}), b"0-0"))
        self._reading = self._loop.create_task(self._read(self._reader, after))

    async def _leave(self) -> None:
        self._users -= 1
        if self._users:
            return
        reading, reader = self._reading, self._reader
        # Whoever comes while this ends begins anew.
        self._reading = self._reader = self._failure = None
        if self._context.shared.get(_SHARED) is self:
            del self._context.shared[_SHARED]
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if reader is not None:
            await reader.close()

    async def next(self, job_id: str, wait_ms: int) -> _Told:
        """Return what the next event that may be the end of a job tells; nothing after `wait_ms` without one.

        Raises: what keeps the events from being read.
        """
        if (told := self._recent.pop(job_id, None)) is not None:
            self._recent_bytes -= _size(told)
            return told
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[_Told] = self._loop.create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(wait_ms / 1_000):
                return await future
        except TimeoutError:
            return {}
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(job_id, None)

    async def _read(self, reader: Connection, after: str) -> None:
        key = self._context.keys.events
        while True:
            try:
                reply = await reader.command(
                    "XREAD", "COUNT", _PAGE, "BLOCK", _BLOCK_MS, "STREAMS", key, after
                )
            except GlideMQError as error:
                if is_outage(error):
                    await asyncio.sleep(_RETRY_S)
                    continue
                self._failure = error
                for future in [future for waiting in self._waiting.values() for future in waiting]:
                    if not future.done():
                        future.set_exception(error)
                return
            for page in (reply or {}).values():
                for entry_id, pairs in page.items():
                    after = as_text(entry_id)
                    self._tell(pairs)

    def _tell(self, pairs: list[list[bytes]]) -> None:
        """Tell an event to those who wait for its job, or keep it for who is about to."""
        fields = {pair[0]: pair[1] for pair in pairs}
        if fields.get(b"event") not in _ENDS:
            return
        job_id = as_text(fields.get(b"jobId"))
        waiting = self._waiting.get(job_id)
        told = {as_text(name): as_text(value) for name, value in fields.items()}
        if waiting is None:
            self._keep(job_id, told)
            return
        for future in waiting:
            if not future.done():
                future.set_result(told)

    def _keep(self, job_id: str, told: _Told) -> None:
        self._recent_bytes += _size(told) - _size(self._recent.pop(job_id, {}))
        self._recent[job_id] = told
        while self._recent and (len(self._recent) > _RECENT or self._recent_bytes > _RECENT_BYTES):
            _, old = self._recent.popitem(last=False)
            self._recent_bytes -= _size(old)


def _size(told: _Told) -> int:
    return sum(map(len, told.values()))
