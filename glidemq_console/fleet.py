"""The rows of the overview: which of them are read in a round, what they said last, their history by minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .meters import MeterBook
from .store import HISTORY_MINUTES, MinuteSeries, epoch_ms, minute_series

if TYPE_CHECKING:
    from glidemq_core import QueueSnapshot
    from glidemq_core.watch import Watch

#: Hidden rows read in one round: those never read, those that could ask for a person at any moment, sleeping ones.
HIDDEN_UNREAD, HIDDEN_BUSY, HIDDEN_IDLE = 50, 10, 3
HIDDEN_BUSY_EVERY_MS, HIDDEN_IDLE_EVERY_MS = 2_000, 30_000
#: Histories (one call each) read in one round.
HISTORIES_A_ROUND = 4


class FleetReader:
    """Keeps a row for every known queue; visible ones are read every round, hidden ones rarely."""

    def __init__(self, names: Iterable[str], clock: Callable[[], int]) -> None:
        self.names: set[str] = set(names)
        self.read_ms: dict[str, int] = {}
        self.history: dict[str, MinuteSeries] = {}
        self.meters = MeterBook()
        self._rows: dict[str, QueueSnapshot] = {}
        self._clock = clock

    @property
    def rows(self) -> tuple[QueueSnapshot, ...]:
        """Every row, by name."""
        return tuple(sorted(self._rows.values(), key=lambda row: row.name))

    def learn(self, found: Iterable[str], gone: Iterable[str] = ()) -> bool:
        """Add queues that were found, forget those that are gone; return whether any is new."""
        new = set(found) - self.names
        self.names |= new
        for name in gone:
            self.names.discard(name)
            for known in (self._rows, self.read_ms, self.history):
                known.pop(name, None)
        self.meters.forget(gone)
        return bool(new)

    async def read(self, watch: Watch, visible: Iterable[str]) -> None:
        """Read visible rows and the hidden ones whose turn it is."""
        shown = set(visible)
        names = shown | self.hidden_due(shown)
        if not names:
            return
        fleet = await watch.snapshot(tuple(sorted(names)))
        now = self._clock()
        for row in fleet.queues:
            self._rows[row.name] = row
            self.read_ms[row.name] = now
            self.names.add(row.name)
        self.meters.note(fleet.queues, now)

    def hidden_due(self, visible: Iterable[str]) -> set[str]:
        """Choose hidden rows whose turn it is; unread ones first, then the longest unread."""
        now = self._clock()
        unread, busy, idle = [], [], []
        for name in sorted(self.names.difference(visible), key=lambda name: self.read_ms.get(name, 0)):
            age, row = now - self.read_ms.get(name, 0), self._rows.get(name)
            if row is None:
                unread.append(name)
            elif row.workers or row.active or row.suspended:
                if age >= HIDDEN_BUSY_EVERY_MS:
                    busy.append(name)
            elif age >= HIDDEN_IDLE_EVERY_MS:
                idle.append(name)
        return {*unread[:HIDDEN_UNREAD], *busy[:HIDDEN_BUSY], *idle[:HIDDEN_IDLE]}

    async def read_histories(self, watch: Watch, names: Iterable[str]) -> bool:
        """Fetch minute histories of some rows once their minute is over; return whether some must wait."""
        minute_end = self._clock() // 60_000 * 60_000
        due = [
            name
            for name in names
            if name in self._rows and (name not in self.history or self.history[name].end_ms < minute_end)
        ]
        for name in due[:HISTORIES_A_ROUND]:
            metrics = await watch.metrics(name, "completed", minutes=HISTORY_MINUTES)
            points = ((epoch_ms(point.at) or 0, float(point.count)) for point in metrics.points)
            self.history[name] = minute_series(points, minute_end)
        return len(due) > HISTORIES_A_ROUND
