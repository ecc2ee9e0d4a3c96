"""The events of one queue, as callers follow them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ...errors import ClosedError
from ...options.fields import Duration, positive_ms, refuse, text
from ...records import QueueEvent
from ...server.connection import Connection
from ...server.context import QueueBase
from .decode import check_start
from .feed import EventFeed


class QueueEvents(QueueBase):
    """Events of one queue: `async for event in events`. Hints, not truth.

    Reconnects and goes on after the last event seen; if entries were trimmed meanwhile, the next event has
    `gap=True`. The iteration raises only what a retry cannot mend.

    Args:
        last_event_id: `$` only new events, `0` all that are kept, or the id of the last event seen.
        block_timeout: ms, timedelta or text of one blocking read.
        types: only events of these names.
    Raises:
        InvalidOptionError: a malformed id or time.
    """

    _role = "events"

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
        context = await self.context()
        if self._feed is None:
            self._feed = EventFeed(
                context.connection,
                context.keys.prefix,
                lambda: (self.name,),
                start=self._start,
                types=self._types,
                block_ms=self._block_ms,
                strict=True,
            )
        return self._feed
