"""Which suspensions are new, and their delivery beside the watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from glidemq_core.records import Approval

#: Suspensions remembered as told; the oldest are forgotten first.
_REMEMBERED = 50_000
#: Deliveries of a channel at once, and reviews read at once; further ones wait for their turn.
_AT_ONCE, _READ_AT_ONCE = 4, 8


@dataclass(frozen=True, slots=True)
class Notice:
    """A suspension that is to be told."""

    job: str
    """The job as people write it, unsafe."""
    key: str
    """Names this suspension of this job, the same however often it is told."""
    body: bytes
    """The review, as `review --json` writes it."""


class Channel(Protocol):
    """A way to tell somebody."""

    async def deliver(self, notice: Notice) -> str | None:
        """Tell it; returns what went wrong, in words."""


class NewSuspensions:
    """Finds in each listing what was in none before: a job that was decided and suspended anew is new again."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], None] = {}

    def of(self, items: Iterable[Approval]) -> list[Approval]:
        """Return the new ones of a listing, in its order."""
        found = []
        for item in items:
            key = item.queue, item.id, _suspended_ms(item)
            if key not in self._seen:
                found.append(item)
            self._seen.pop(key, None)
            self._seen[key] = None  # the newest goes last
        for key in list(self._seen)[: max(0, len(self._seen) - _REMEMBERED)]:
            del self._seen[key]
        return found

    def forget(self, item: Approval) -> None:
        """Take it for new again when it is listed next: it could not be told."""
        self._seen.pop((item.queue, item.id, _suspended_ms(item)), None)


def notice_key(item: Approval) -> str:
    """Name one suspension of one job."""
    return f"{item.queue}:{item.id}:{_suspended_ms(item)}"


def _suspended_ms(item: Approval) -> int:
    return 0 if item.suspended_at is None else int(item.suspended_at.timestamp() * 1_000)


class Deliveries:
    """Tells each notice through each channel, in tasks of their own: a slow one holds up nobody."""

    def __init__(self, channels: Sequence[Channel], on_failure: Callable[[Notice, str], None]) -> None:
        self._channels = channels
        self._on_failure = on_failure
        # A channel that hangs must not hold up the others.
        self._turns = [asyncio.Semaphore(_AT_ONCE) for _ in channels]
        self._reading = asyncio.Semaphore(_READ_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, make: Callable[[], Coroutine[Any, Any, Notice | None]]) -> None:
        """Tell what `make` reads, if it still is there to be told."""
        self._start(self._tell(make))

    async def _tell(self, make: Callable[[], Coroutine[Any, Any, Notice | None]]) -> None:
        async with self._reading:
            notice = await make()
        if notice is not None:
            for channel, turn in zip(self._channels, self._turns, strict=True):
                self._start(self._deliver(channel, turn, notice))

    async def _deliver(self, channel: Channel, turn: asyncio.Semaphore, notice: Notice) -> None:
        async with turn:
            problem = await channel.deliver(notice)
        if problem is not None:
            self._on_failure(notice, problem)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is still on its way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
