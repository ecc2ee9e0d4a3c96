"""Adds that are made at the same time share round trips: those of one turn of the event loop leave together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import groupby

from ...server.context import QueueContext
from .records import BATCH, BATCH_BYTES, Record, add_records, is_plain

#: What became of a job: the time that it was added with, epoch ms, and the server's answer.
_Added = tuple[int, list[bytes]]
_Waiting = tuple[Record, asyncio.Future[_Added]]


class SharedAdds:
    """The adds of one producer, in their order. One that is alone is sent as it is, without future or task.

    Each gets its own answer or error; one whose caller is cancelled before it leaves is not added.
    """

    def __init__(self, context: QueueContext, events: bool) -> None:
        self._context = context
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._queued: list[_Waiting] = []
        self._under_way = 0
        self._calls: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, context: QueueContext, events: bool) -> SharedAdds:
        """Return what the adds made through this context share."""
        shared = context.shared.get(events)
        if not isinstance(shared, cls) or shared._loop is not asyncio.get_running_loop():
            shared = context.shared[events] = cls(context, events)
        return shared

    async def add(self, record: Record) -> _Added:
        """Add an encoded job."""
        if not (self._under_way or self._queued):
            self._under_way += 1
            try:
                now_ms = self._context.now_ms()
                [answer] = await add_records(self._context, now_ms, self._events, [record])
            finally:
                self._under_way -= 1
            return now_ms, answer
        future: asyncio.Future[_Added] = self._loop.create_future()
        if not self._queued:
            self._loop.call_soon(self._send)
        self._queued.append((record, future))
        return await future

    def _send(self) -> None:
        waiting, self._queued = self._queued, []
        for part in _parts([one for one in waiting if not one[1].done()]):
            self._under_way += 1
            call = self._loop.create_task(self._call(part))
            self._calls.add(call)
            call.add_done_callback(self._called)

    def _called(self, call: asyncio.Task[None]) -> None:
        self._under_way -= 1
        self._calls.discard(call)

    async def _call(self, waiting: list[_Waiting]) -> None:
        while waiting:
            now_ms = self._context.now_ms()
            try:
                records = [record for record, _ in waiting]
                answers = await add_records(self._context, now_ms, self._events, records)
            except Exception as error:  # noqa: BLE001 - each caller gets it
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)
                return
            except BaseException:  # cancelled: so is everybody who waits
                for _, future in waiting:
                    future.cancel()
                raise
            for (_, future), answer in zip(waiting, answers, strict=False):
                if not future.done():
                    future.set_result((now_ms, answer))
            waiting = waiting[len(answers) :]


def _parts(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """Cut into what one call carries each: jobs without options, which need no decisions, go apart from the others."""
    for _, group in groupby(waiting, lambda one: is_plain(one[0])):
        part: list[_Waiting] = []
        size = 0
        for one in group:
            if part and (len(part) >= BATCH or size + len(one[0][2]) > BATCH_BYTES):
                yield part
                part, size = [], 0
            part.append(one)
            size += len(one[0][2])
        yield part
