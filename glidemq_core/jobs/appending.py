"""Append to a stream or list of a job in the order of the calls, many of them in one round trip."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

#: Bounds of one append; more goes out with the next call.
_BATCH_ITEMS = 1_000
_BATCH_BYTES = 2_097_152


class Appender(Generic[ItemT, AnswerT]):
    """One append at a time: what is queued during it goes out with the next.

    Args:
        owners: where the appender stands under `key` while it is in use.
        send: appends items and returns one answer each.
    """

    __slots__ = ("_busy", "_flushing", "_key", "_owners", "_queued", "_send")

    def __init__(
        self,
        owners: dict[Hashable, Any],
        key: Hashable,
        send: Callable[[list[ItemT]], Awaitable[list[AnswerT]]],
    ) -> None:
        self._owners = owners
        self._key = key
        self._send = send
        self._queued: deque[tuple[ItemT, int, asyncio.Future[AnswerT]]] = deque()
        self._busy = False
        self._flushing: asyncio.Task[None] | None = None

    async def append(self, item: ItemT, size: int) -> AnswerT:
        """Append one item of `size` bytes; returns the answer for it."""
        if self._busy:
            future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
            self._queued.append((item, size, future))
            return await future
        # Alone, as when items are awaited one by one: no future, no task.
        self._busy = True
        try:
            answers = await self._send([item])
        finally:
            if self._queued:
                self._flushing = asyncio.create_task(self._flush())
            else:
                self._retire()
        return answers[0]

    async def _flush(self) -> None:
        while self._queued:
            batch: list[ItemT] = []
            futures: list[asyncio.Future[AnswerT]] = []
            total = 0
            while self._queued and len(batch) < _BATCH_ITEMS and total < _BATCH_BYTES:
                item, size, future = self._queued.popleft()
                if future.done():  # its caller was cancelled before it was sent
                    continue
                batch.append(item)
                futures.append(future)
                total += size
            if not batch:
                continue
            try:
                answers = await self._send(batch)
            except Exception as error:  # noqa: BLE001 - each caller gets it
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                continue
            except BaseException:  # cancelled: so is everybody who waits
                for future in (*futures, *(queued for _, _, queued in self._queued)):
                    future.cancel()
                self._retire()
                raise
            for future, answer in zip(futures, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        self._retire()

    def _retire(self) -> None:
        self._busy = False
        self._owners.pop(self._key, None)
