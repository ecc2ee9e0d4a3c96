"""The rows of the overview: which of them are read in a round, what they said last, their history by minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model.limits import MeterBook
from ..model.snapshot import HISTORY_MINUTES, MinuteSeries, epoch_ms, minute_series
from ..model.workers import jobs_to_do

if TYPE_CHECKING:
    from glidemq_core import QueueSnapshot, WorkerInfo
    from glidemq_core.watch import Watch

#: Hidden rows read in one round: those never read, those that could ask for a person at any moment, sleeping ones.
HIDDEN_UNREAD, HIDDEN_BUSY, HIDDEN_IDLE = 50, 10, 3
HIDDEN_BUSY_EVERY_MS = 2_000
#: Every hidden row is read at least this often; its turn comes somewhat earlier.
HIDDEN_EVERY_MS, HIDDEN_EARLY_MS = 30_000, 5_000
#: How long the workers of a row are taken for known, and rows whose workers are read in one round: where a column shows
#: them, and where they only tell whether anybody serves a queue. A row takes two commands; with a thousand queues that
#: nobody serves a console stays below a hundred a second.
WORKERS_FRESH_MS = 30_000
WORKERS_A_ROUND, UNSERVED_A_ROUND = 25, 8
#: Histories (one call each) read in one round.
HISTORIES_A_ROUND = 4


class QueueRows:
    """Keeps a row for every known queue; visible ones are read every round, hidden ones rarely."""

    def __init__(self, names: Iterable[str], clock: Callable[[], int], round_ms: int = 1_000) -> None:
        """Begin with some names; `round_ms` is how long a round takes."""
        self.names: set[str] = set(names)
        self.read_ms: dict[str, int] = {}
        self.history: dict[str, MinuteSeries] = {}
        self.meters = MeterBook()
        #: Workers by queue, as they were read last.
        self.workers: dict[str, tuple[WorkerInfo, ...]] = {}
        self._rows: dict[str, QueueSnapshot] = {}
        self._workers_ms: dict[str, int] = {}
        self._clock = clock
        self.round_ms = round_ms

    @property
    def rows(self) -> tuple[QueueSnapshot, ...]:
        """Every row, by name."""
        return tuple(self._with_workers(self._rows[name]) for name in sorted(self._rows))

    def _with_workers(self, row: QueueSnapshot) -> QueueSnapshot:
        known = self.workers.get(row.name)
        return row if known is None or row.workers is not None else replace(row, workers=len(known))

    def learn(self, found: Iterable[str], gone: Iterable[str] = ()) -> bool:
        """Add queues that were found, forget those that are gone; return whether any is new."""
        new = set(found) - self.names
        self.names |= new
        for name in gone:
            self.names.discard(name)
            for known in (self._rows, self.read_ms, self.history, self._workers_ms):
                known.pop(name, None)
            self.note_workers(name, None)
        self.meters.forget(gone)
        return bool(new)

    async def read(self, watch: Watch, visible: Iterable[str]) -> None:
        """Read visible rows and the hidden ones whose turn it is; a name that is no known queue makes no row."""
        shown = self.names.intersection(visible)
        names = shown | self.hidden_due(shown)
        if not names:
            return
        answer = await watch.snapshot(tuple(sorted(names)))
        now = self._clock()
        for row in answer.queues:
            self._rows[row.name] = row
            self.read_ms[row.name] = now
        self.meters.note(answer.queues, now)

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
            elif age >= HIDDEN_EVERY_MS - HIDDEN_EARLY_MS:
                idle.append(name)
        # However many there are, each is read in time.
        turn = -(-len(self.names) * self.round_ms // HIDDEN_EVERY_MS)
        return {*unread[:HIDDEN_UNREAD], *busy[: max(HIDDEN_BUSY, turn)], *idle[: max(HIDDEN_IDLE, turn)]}

    def idle_with_jobs(self) -> list[str]:
        """Rows with jobs to do of which none runs: perhaps nobody serves them."""
        return [name for name, row in self._rows.items() if not row.active and jobs_to_do(row)]

    def quiet(self) -> list[str]:
        """Rows without suspended jobs when they were read."""
        return [name for name, row in self._rows.items() if not row.suspended and not row.unreadable]

    def likely_running(self, most: int) -> list[str]:
        """Choose rows to look for running jobs in: those that ran some, then those read the longest time ago."""
        return sorted(self.names, key=lambda name: (not self._runs(name), self.read_ms.get(name, 0)))[:most]

    def _runs(self, name: str) -> bool:
        row = self._rows.get(name)
        return row is not None and bool(row.active)

    def note_workers(self, name: str, workers: Iterable[WorkerInfo] | None) -> None:
        """Remember the workers of a queue; None forgets it. Published mappings are never changed."""
        others = {queue: known for queue, known in self.workers.items() if queue != name}
        if workers is not None:
            others[name] = tuple(workers)
            self._workers_ms[name] = self._clock()
        self.workers = others

    async def read_workers(self, watch: Watch, names: Iterable[str], most: int = WORKERS_A_ROUND) -> None:
        """Ask for the workers of those of these rows that are due, `most` of them at once, the longest unread first."""
        now = self._clock()
        due = [
            name
            for name in names
            if name in self._rows and now - self._workers_read(name) >= WORKERS_FRESH_MS
        ]
        chosen = sorted(due, key=self._workers_read)[:most]
        if not chosen:
            return
        found: dict[str, list[WorkerInfo]] = {name: [] for name in chosen}
        for worker in (await watch.workers(chosen, brief=True)).workers:
            found[worker.queue].append(worker)
        for name, workers in found.items():
            self.note_workers(name, workers)

    def _workers_read(self, name: str) -> int:
        return self._workers_ms.get(name, 0)

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
