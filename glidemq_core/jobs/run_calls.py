"""Calls that a processor makes about its own job: kept up through an outage, in their order, carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from itertools import count
from typing import Any, TypeVar

from ..errors import GlideMQError
from ..server.retry import is_outage, retry_through_outage

T = TypeVar("T")


class RunCalls:
    """What the calls of one run share. They are repeated until the run has ended, timed out or lost its job.

    Args:
        processed_on: stamp of the activation.
        is_over: whether the run has ended or is to stop.
    """

    __slots__ = ("_answered", "_is_over", "_lanes", "_made", "appenders", "last_chunk", "processed_on")

    def __init__(self, processed_on: str, is_over: Callable[[], bool]) -> None:
        self.processed_on = processed_on
        #: Appenders in use, as `Appender` keeps them.
        self.appenders: dict[Hashable, Any] = {}
        #: Id of the last stream entry that the server has acknowledged to this run.
        self.last_chunk = ""
        self._is_over = is_over
        self._made = 0
        #: Where calls of a kind wait for those before them, once one had to be repeated.
        self._lanes: dict[str, asyncio.Lock] = {}
        #: Number of the latest call of a kind that was answered.
        self._answered: dict[str, int] = {}

    def next_mark(self) -> str:
        """Return a mark by which the server knows this call when it comes again: `<processedOn>:<n>`."""
        return f"{self.processed_on}:{self._next()}"

    def _next(self) -> int:
        self._made += 1
        return self._made

    async def repeat(self, call: Callable[[bool], Awaitable[T]]) -> T:
        """Make a call through an outage; its argument tells whether an earlier try may have been carried out."""
        answer, _ = await retry_through_outage(call, is_over=self._is_over)
        return answer

    async def repeat_numbered(self, call: Callable[[bool, str], Awaitable[T]]) -> T:
        """The same; the second argument, `<n>.<try>`, lets the server know an earlier try that comes too late."""
        number, tries = self._next(), count()
        return await self.repeat(lambda repeated: call(repeated, f"{number}.{next(tries)}"))

    async def replace(self, kind: str, call: Callable[[str], Awaitable[None]]) -> None:
        """Make a call that replaces what an earlier one of its kind wrote; repeated, it never undoes a later one.

        Args:
            call: gets `<n>.<try>`.
        """
        number, tries = self._next(), count()
        if kind not in self._lanes:
            try:
                await call(f"{number}.{next(tries)}")
            except GlideMQError as error:
                if not is_outage(error) or self._is_over():
                    raise
                self._lanes.setdefault(kind, asyncio.Lock())
            else:
                self._answered[kind] = max(number, self._answered.get(kind, 0))
                return
        async with self._lanes[kind]:
            if self._answered.get(kind, 0) < number:
                await self.repeat(lambda _: call(f"{number}.{next(tries)}"))
                self._answered[kind] = number
