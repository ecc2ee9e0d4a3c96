"""A queue as the lists of queues show it: its row with what else is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..limits import QueueMeters
from ..snapshot import Snapshot, workers_text

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot


class QueueLine(NamedTuple):
    """A row of a list of queues."""

    queue: QueueSnapshot
    known: Snapshot

    @property
    def name(self) -> str:
        return self.queue.name

    @property
    def done(self) -> tuple[float | None, ...]:
        """Jobs done in each minute, oldest first; empty where that was not read."""
        history = self.known.history.get(self.name)
        return history.values if history is not None else ()

    @property
    def workers(self) -> str:
        """`4 py 2 node`; empty where that was not read."""
        return workers_text(self.known.workers.get(self.name, ()))

    @property
    def meters(self) -> QueueMeters:
        return self.known.meters.get(self.name) or QueueMeters()
