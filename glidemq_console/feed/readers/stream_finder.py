"""Which jobs stream right now, and how the followed ones are: a few bounded reads a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.snapshot import Interests
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core import JobRef, JobRow, QueueSnapshot
    from glidemq_core.watch import Watch

#: Queues whose active jobs are looked at for running streams, the busiest first.
QUEUES_LOOKED_AT = 4
#: Active jobs listed a queue.
ACTIVE_LISTED = 50
#: Jobs whose streams are looked up in one round, a command each.
ASKED_A_ROUND = 8
_ENDED = ("completed", "failed")


class StreamFinder:
    """Remembers which jobs stream and which have ended, so that neither is read again."""

    def __init__(self) -> None:
        self._streaming: set[JobRef] = set()
        #: In which round each silent job was looked up last.
        self._asked: dict[JobRef, int] = {}
        self._rounds = 0
        self._ended: dict[JobRef, JobRow | None] = {}

    async def read_wanted(self, reading: Reading) -> None:
        """Read the followed jobs, and which others stream, if that is wanted and due."""
        wants = reading.wants
        if (wants.streams or wants.pick) and reading.is_due("streams"):
            found = await reading.attempt(self.read(reading.watch, wants, reading.rows.rows))
            if found is not None:
                followed, running = found
                reading.known = replace(reading.known, streams=followed, running=running)

    async def read(
        self, watch: Watch, wants: Interests, queues: Sequence[QueueSnapshot]
    ) -> tuple[dict[JobRef, JobRow | None], tuple[JobRow, ...]]:
        """Return the rows of the followed jobs, and running jobs that stream if some are sought."""
        active: dict[JobRef, JobRow] = {}
        names = {ref.queue for ref in wants.streams if ref not in self._ended}
        if wants.pick:
            names |= set(_busiest(queues))
        for name in sorted(names):
            page = await watch.jobs(name, "active", limit=ACTIVE_LISTED)
            active.update((row.ref, row) for row in page.rows)
        elsewhere = [ref for ref in wants.streams if ref not in active and ref not in self._ended]
        rows = {**self._ended, **(await watch.rows(elsewhere) if elsewhere else {}), **active}
        followed = {ref: rows[ref] for ref in wants.streams}
        self._ended |= {ref: row for ref, row in followed.items() if row is None or row.state in _ENDED}
        self._ended = {ref: row for ref, row in self._ended.items() if ref in followed}
        running = await self._running(watch, active, wants) if wants.pick else ()
        return followed, running

    async def _running(
        self, watch: Watch, active: dict[JobRef, JobRow], wants: Interests
    ) -> tuple[JobRow, ...]:
        others = [ref for ref in active if ref not in wants.streams]
        silent = [ref for ref in others if ref not in self._streaming]
        # Those never looked up come first, then those looked up the longest time ago.
        asked = sorted(silent, key=lambda ref: self._asked.get(ref, 0))[:ASKED_A_ROUND]
        if asked:
            self._rounds += 1
            self._asked |= dict.fromkeys(asked, self._rounds)
            self._streaming |= await watch.streaming(asked)
        self._streaming &= active.keys()
        self._asked = {ref: number for ref, number in self._asked.items() if ref in active}
        return tuple(active[ref] for ref in others if ref in self._streaming)[: wants.pick]


def _busiest(queues: Sequence[QueueSnapshot]) -> list[str]:
    """Names of the queues that run something, those with the most tokens a second first."""
    busy = [queue for queue in queues if queue.active]
    busy.sort(key=lambda queue: (-(queue.tokens_per_s or 0), -(queue.active or 0), queue.name))
    return [queue.name for queue in busy[:QUEUES_LOOKED_AT]]
