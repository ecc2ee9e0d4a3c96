"""Which jobs stream right now, and how the followed ones are: a few bounded reads a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .store import Interests

if TYPE_CHECKING:
    from glidemq_core import JobRef, JobRow, QueueSnapshot
    from glidemq_core.watch import Watch

#: Queues whose active jobs are looked at for running streams, the busiest first.
QUEUES_LOOKED_AT = 4
#: Active jobs listed a queue.
ACTIVE_LISTED = 50
#: Jobs asked in one round whether they have streamed anything.
ASKED_A_ROUND = 6
_ENDED = ("completed", "failed")


class StreamScout:
    """Remembers which jobs stream and which have ended, so that neither is asked again."""

    def __init__(self) -> None:
        self._streaming: dict[JobRef, bool] = {}
        self._ended: dict[JobRef, JobRow | None] = {}

    async def read(
        self, watch: Watch, wants: Interests, queues: Sequence[QueueSnapshot]
    ) -> dict[str, object]:
        """Return the rows of the followed jobs, and running jobs that stream if some are sought."""
        active: dict[JobRef, JobRow] = {}
        names = {ref.queue for ref in wants.streams if ref not in self._ended}
        if wants.pick:
            names |= set(_busiest(queues))
        for name in sorted(names):
            page = await watch.jobs(name, "active", limit=ACTIVE_LISTED)
            active.update((row.ref, row) for row in page.rows)
        followed: dict[JobRef, JobRow | None] = {}
        for ref in wants.streams:
            followed[ref] = active[ref] if ref in active else await self._elsewhere(watch, ref)
        self._ended = {ref: row for ref, row in self._ended.items() if ref in followed}
        running = await self._running(watch, active, wants) if wants.pick else ()
        return {"streams": followed, "running": running}

    async def _elsewhere(self, watch: Watch, ref: JobRef) -> JobRow | None:
        if ref in self._ended:
            return self._ended[ref]
        row = await watch.job(ref.queue, ref.id, payload_limit=0)
        if row is None or row.state in _ENDED:
            self._ended[ref] = row
        return row

    async def _running(
        self, watch: Watch, active: dict[JobRef, JobRow], wants: Interests
    ) -> tuple[JobRow, ...]:
        asked = 0
        found: list[JobRow] = []
        for ref, row in active.items():
            if ref in wants.streams:
                continue
            if not self._streaming.get(ref) and asked < ASKED_A_ROUND:
                asked += 1
                detail = await watch.job(ref.queue, ref.id, payload_limit=0)
                self._streaming[ref] = detail is not None and detail.stream.entries > 0
            if self._streaming.get(ref):
                found.append(row)
                if len(found) >= wants.pick:
                    break
        self._streaming = {ref: known for ref, known in self._streaming.items() if ref in active}
        return tuple(found)


def _busiest(queues: Sequence[QueueSnapshot]) -> list[str]:
    """Names of the queues that run something, those with the most tokens a second first."""
    busy = [queue for queue in queues if queue.active]
    busy.sort(key=lambda queue: (-(queue.tokens_per_s or 0), -(queue.active or 0), queue.name))
    return [queue.name for queue in busy[:QUEUES_LOOKED_AT]]
