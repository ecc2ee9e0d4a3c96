"""Sweeps that a worker runs for its queue: promotion, stalls, deadlines of suspended jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..server.context import QueueContext
from ..wire.replies import as_texts
from .context import SubscriptionOptions, of_kind

#: How much of its interval a worker's turn to sweep lasts: it comes again before anybody misses it.
_TURN = 0.8
#: Pages of one sweep; what is left waits for the next one.
_MAX_PAGES = 50
_LIST_PAGE = 100
#: Pages of pending entries, 100 each, that the sweep for own locks looks at: it comes often.
_LOCK_PAGES = 10


@dataclass(frozen=True, slots=True)
class Tick:
    """What a promotion tick did; `next_due_ms`: when there is something to do again, if known."""

    promoted: int
    next_due_ms: int | None
    #: When it began, and what it found of schedulers, for `SchedulerTick.run`.
    at_ms: int
    schedulers: Sequence[Any]
    #: It is another worker's turn: nothing was done.
    taken: bool = False
    #: Texts of errors that kept single jobs or groups from being promoted.
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stalled:
    """Jobs whose runs fell silent: queued again, and failed because it happened too often."""

    requeued: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    #: Texts of errors that kept single jobs from being looked after.
    errors: list[str] = field(default_factory=list)

    def add(self, requeued: list[bytes], failed: list[bytes], errors: list[bytes]) -> None:
        """Add what one page of a sweep has found."""
        self.requeued.extend(as_texts(requeued))
        self.failed.extend(as_texts(failed))
        self.errors.extend(as_texts(errors))


def turn_of(interval_ms: int) -> int:
    """How long the turn of a worker lasts that sweeps once an interval, ms."""
    return max(1, int(interval_ms * _TURN))


async def tick(
    queue: QueueContext, schedulers_turn: tuple[str, str] = ("", ""), *, turn_ms: int | None = None
) -> Tick:
    """Promote all that is due and wake rate-limited groups; look for due schedulers as their turn says.

    Args:
        turn_ms: here and for every other sweep, how long its turn lasts if nobody has it: without one nothing is done.
            None sweeps in any case.
    """
    promoted, due, at_ms = 0, b"", queue.now_ms()
    errors: list[str] = []
    schedulers: list[Any] = []
    for page in range(_MAX_PAGES):
        now_ms, asked = (queue.now_ms(), ("", "")) if page else (at_ms, schedulers_turn)
        turn = "" if page else _word(turn_ms)
        status, count, due, met, found = await queue.call("tick", now_ms, *asked, turn)
        promoted += count
        errors += as_texts(met)
        schedulers += found
        if status != b"more":
            break
    return Tick(promoted, int(due) if due else None, at_ms, schedulers, status == b"taken", errors)


async def sweep_stalls(
    queue: QueueContext,
    consumer: str,
    *,
    min_idle_ms: int,
    lock_ms: int,
    max_stalled: int,
    subscription: SubscriptionOptions | None = None,
    turn_ms: int | None = None,
) -> Stalled:
    """Take stream-sourced jobs away from workers that fell silent.

    Args:
        min_idle_ms: how long an entry must have been pending to be looked at (the stalled interval).
        lock_ms: silence that counts as death for jobs without their own `lockDuration`.
        max_stalled: stalls a job survives.
        subscription: whose runs to look at; None for those of the queue's own group.
    """
    found, cursor = Stalled(), "0-0"
    for _ in range(_MAX_PAGES):
        _, following, _, again, failed, errors = await queue.call(
            *of_kind(
                subscription,
                "stalls",
                queue.now_ms(),
                min_idle_ms,
                lock_ms,
                max_stalled,
                consumer,
                cursor,
                _word(turn_ms),
            )
        )
        turn_ms = None
        found.add(again, failed, errors)
        cursor = following.decode()
        if cursor == "0-0":
            break
    return found


async def sweep_list_stalls(
    queue: QueueContext, *, lock_ms: int, max_stalled: int, turn_ms: int | None = None
) -> Stalled:
    """Take list-sourced jobs away from Python workers that fell silent."""
    found = Stalled()
    for _ in range(_MAX_PAGES):
        status, again, failed, errors = await queue.call(
            "list_stalls", queue.now_ms(), lock_ms, max_stalled, _LIST_PAGE, _word(turn_ms)
        )
        turn_ms = None
        found.add(again, failed, errors)
        if status == b"ok":
            break
    return found


async def sweep_locks(
    queue: QueueContext, *, max_stalled: int, turn_ms: int | None = None
) -> tuple[Stalled, int]:
    """Take jobs with a lock of their own away from workers that were silent for longer than that.

    Also returns the shortest such lock of a run that was met, ms; 0 without any.
    """
    found, cursor, shortest = Stalled(), "", 0
    for _ in range(_LOCK_PAGES):
        _, last, lock, again, failed, errors = await queue.call(
            "lock_stalls", queue.now_ms(), max_stalled, cursor, _word(turn_ms)
        )
        turn_ms = None
        found.add(again, failed, errors)
        shortest = min(filter(None, (shortest, int(lock))), default=0)
        cursor = last.decode()
        if not cursor:
            break
    return found, shortest


async def sweep_records(queue: QueueContext, turn_ms: int | None = None) -> None:
    """Forget deduplication ids and ordering keys that nothing needs any more."""
    for _ in range(_MAX_PAGES):
        [status] = await queue.call("forget", queue.now_ms(), _word(turn_ms))
        turn_ms = None
        if status == b"ok":
            break


def _word(turn_ms: int | None) -> str:
    return "" if turn_ms is None else str(turn_ms)


class ListWalk:
    """A slow walk for list-sourced jobs of Node workers; it also heals `list-active`.

    Call `step` at a low rate; it costs one GET and one ZCARD while our own index explains the whole count.
    Jobs that start and end behind the cursor are missed, so a round proves something only if it was one call
    or if nothing moved while it lasted; and two such rounds must miss the same number.
    """

    def __init__(self, queue: QueueContext) -> None:
        self._queue = queue
        self._before: tuple[int, int] | None = None
        self._begin()

    def _begin(self) -> None:
        self._cursor, self._seen, self._calls = "0", 0, 0
        self._still, self._counted = True, -1

    async def step(self, *, lock_ms: int, max_stalled: int) -> Stalled:
        """Walk some thousand keys further."""
        queue = self._queue
        _, cursor, seen, surplus, listed, quiet, again, failed = await queue.call(
            "list_scan", self._cursor, queue.keys.pattern("job:*"), queue.now_ms(), lock_ms, max_stalled
        )
        counted = int(listed)
        self._cursor = cursor.decode()
        self._seen += seen
        self._calls += 1
        self._still &= bool(quiet) and self._counted in (-1, counted) and not again and not failed
        self._counted = counted
        if self._cursor == "0":
            ended = bool(again or failed)
            await self._round_ended(int(surplus) - self._seen, ended)
            self._begin()
        return Stalled(as_texts(again), as_texts(failed))

    async def _round_ended(self, missing: int, ended: bool) -> None:
        proves = self._calls == 1 or self._still
        if missing <= 0 or ended or not proves:
            self._before = None
        elif self._before == (missing, self._counted):
            await self._queue.call("heal_list", missing, self._counted)
            self._before = None
        else:
            self._before = (missing, self._counted)
