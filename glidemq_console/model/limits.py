"""What holds queues back, over time: a short history of starts and tokens a window, and how long it was full."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .snapshot import epoch_ms

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot, Rate

#: A cell of history, and how many make the quarter of an hour that is shown.
CELL_MS, CELLS = 15_000, 60
#: Blocked time is summed by minute over an hour.
MINUTE_MS, MINUTES = 60_000, 60
#: Between two reads further apart than this nothing is known.
GAP_MS = 35_000


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterHistory:
    """One meter of one queue. `cells` are highest uses, oldest first; None where nothing was read."""

    cells: tuple[float | None, ...] = ()
    #: How long the window was full while jobs waited, of the time that was watched, within the last hour.
    blocked_ms: int = 0
    watched_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueMeters:
    """The history of both meters of a queue."""

    rpm: MeterHistory = field(default_factory=MeterHistory)
    tpm: MeterHistory = field(default_factory=MeterHistory)


def share_of(rate: Rate) -> float | None:
    """Used of the cap, 1.0 is full; None when either is unknown."""
    return rate.used / rate.max if rate.used is not None and rate.max else None


def is_known(rate: Rate) -> bool:
    """Whether anything is known of a meter."""
    return rate.used is not None or rate.max is not None


def is_full(rate: Rate, now_ms: int) -> bool:
    """Whether a window lets nothing more through until it ends."""
    share = share_of(rate)
    ends = epoch_ms(rate.resets_at)
    return share is not None and share >= 1 and (ends is None or ends > now_ms)


def held_by(row: QueueSnapshot, now_ms: int) -> tuple[str, ...]:
    """What keeps jobs that wait from starting: `starts`, `tokens`, `slots`; empty when nothing does."""
    if not row.waiting:
        return ()
    cap = row.global_concurrency
    return tuple(
        name
        for name, full in (
            ("starts", is_full(row.rpm, now_ms)),
            ("tokens", is_full(row.tpm, now_ms)),
            ("slots", cap is not None and (row.active or 0) >= cap),
        )
        if full
    )


class _Ring:
    """The history of one meter."""

    def __init__(self) -> None:
        #: (number of the cell, highest use), oldest first.
        self._cells: deque[tuple[int, float]] = deque(maxlen=CELLS)
        #: (number of the minute, watched ms, blocked ms), oldest first.
        self._minutes: deque[tuple[int, int, int]] = deque(maxlen=MINUTES)
        self._before: tuple[int, bool] | None = None

    def note(self, used: float | None, blocked: bool, now_ms: int) -> None:
        number = now_ms // CELL_MS
        if used is not None:
            highest = used
            if self._cells and self._cells[-1][0] == number:
                highest = max(used, self._cells.pop()[1])
            self._cells.append((number, highest))
        if self._before is not None:
            then, was_blocked = self._before
            passed = now_ms - then
            if 0 < passed <= GAP_MS:
                minute = now_ms // MINUTE_MS
                watched = held = 0
                if self._minutes and self._minutes[-1][0] == minute:
                    _, watched, held = self._minutes.pop()
                self._minutes.append((minute, watched + passed, held + (passed if was_blocked else 0)))
        self._before = now_ms, blocked

    def history(self, now_ms: int) -> MeterHistory:
        newest = now_ms // CELL_MS
        by_number = dict(self._cells)
        recent = [m for m in self._minutes if m[0] > now_ms // MINUTE_MS - MINUTES]
        return MeterHistory(
            cells=tuple(by_number.get(number) for number in range(newest - CELLS + 1, newest + 1)),
            blocked_ms=sum(held for _, _, held in recent),
            watched_ms=sum(watched for _, watched, _ in recent),
        )


class MeterBook:
    """Keeps the history of every queue that has a limit or counts something."""

    def __init__(self) -> None:
        self._rings: dict[str, tuple[_Ring, _Ring]] = {}

    def note(self, rows: Iterable[QueueSnapshot], now_ms: int) -> None:
        for row in rows:
            if row.name not in self._rings and not (is_known(row.rpm) or is_known(row.tpm)):
                continue
            rpm, tpm = self._rings.setdefault(row.name, (_Ring(), _Ring()))
            held = held_by(row, now_ms)
            rpm.note(row.rpm.used, "starts" in held, now_ms)
            tpm.note(row.tpm.used, "tokens" in held, now_ms)

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._rings.pop(name, None)

    def meters(self, names: Iterable[str], now_ms: int) -> dict[str, QueueMeters]:
        """The histories of some queues, those that have one."""
        return {
            name: QueueMeters(rpm=rings[0].history(now_ms), tpm=rings[1].history(now_ms))
            for name in names
            if (rings := self._rings.get(name)) is not None
        }
