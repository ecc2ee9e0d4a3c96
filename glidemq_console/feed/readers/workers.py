"""Who serves the queues: the workers of some queues a round, those on screen first, while all workers are listed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.snapshot import epoch_ms
from ...model.workers import QueueWorkers, jobs_to_do
from ..reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glidemq_core.records import JobRow, WorkerInfo, WorkerList

#: Queues that are asked in a round; together they take a handful of round trips.
A_ROUND = 25
#: Of those, hidden queues that have workers or jobs, and hidden ones that have neither.
HIDDEN_BUSY, HIDDEN_IDLE = 8, 4
SHOWN_EVERY_MS, BUSY_EVERY_MS, IDLE_EVERY_MS = 2_000, 10_000, 30_000


class WorkersReader:
    """Keeps who serves each queue, as it was when that queue was last asked."""

    def __init__(self) -> None:
        self._found: dict[str, QueueWorkers] = {}

    async def read_wanted(self, reading: Reading) -> None:
        """Ask the queues whose turn it is, if the list of workers is shown; rounds go on until each was asked once."""
        shown = reading.wants.serving
        if shown is None:
            return
        names = reading.rows.names
        self._found = {name: known for name, known in self._found.items() if name in names}
        if chosen := self._choose(reading, names, shown):
            answer = await reading.attempt(reading.watch.workers(chosen))
            if answer is not None:
                self._take(chosen, answer, reading.clock())
                if len(self._found) < len(names):
                    reading.wake.set()
        reading.known = replace(reading.known, serving=dict(self._found))

    def _choose(self, reading: Reading, names: set[str], shown: Sequence[str]) -> list[str]:
        """Choose queues: those never asked, those on screen, hidden ones; of each the longest unasked first."""
        on_screen = names.intersection(shown)
        busy = {row.name for row in reading.known.queues if row.active or jobs_to_do(row)}
        busy |= {name for name, known in self._found.items() if known.workers or known.stalled}
        order = sorted(names, key=lambda name: (self._asked_ms(name), name))
        hidden = [name for name in order if name in self._found and name not in on_screen]
        turns = (
            ((name for name in order if name not in self._found), A_ROUND, SHOWN_EVERY_MS),
            ((name for name in order if name in self._found and name in on_screen), A_ROUND, SHOWN_EVERY_MS),
            ((name for name in hidden if name in busy), HIDDEN_BUSY, BUSY_EVERY_MS),
            ((name for name in hidden if name not in busy), HIDDEN_IDLE, IDLE_EVERY_MS),
        )
        chosen: list[str] = []
        for group, most, every_ms in turns:
            chosen += _due(reading, group, min(most, A_ROUND - len(chosen)), every_ms)
        return chosen

    def _asked_ms(self, name: str) -> int:
        known = self._found.get(name)
        return known.at_ms if known is not None else 0

    def _take(self, asked: Iterable[str], answer: WorkerList, now_ms: int) -> None:
        workers: dict[str, list[WorkerInfo]] = {name: [] for name in asked}
        stalled: dict[str, list[JobRow]] = {name: [] for name in workers}
        for worker in answer.workers:
            workers[worker.queue].append(worker)
        for job in answer.stalled:
            stalled[job.queue].append(job)
        for name in workers:
            self._found[name] = QueueWorkers(
                at_ms=now_ms,
                workers=tuple(workers[name]),
                stalled=tuple(stalled[name]),
                complete=answer.complete,
                takeover_ms=epoch_ms(answer.takeovers.get(name)),
            )


def _due(reading: Reading, names: Iterable[str], most: int, every_ms: int) -> list[str]:
    """Return the first `most` names that are due; asking makes them due again later."""
    due: list[str] = []
    for name in names:
        if len(due) >= most:
            break
        if reading.is_due(("serving", name), every_ms):
            due.append(name)
    return due
