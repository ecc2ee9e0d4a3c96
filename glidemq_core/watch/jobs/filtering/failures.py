"""Failed jobs that a filter takes, by cause: looked for page by page among all of a time, and kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from glidemq_core.filters.failures import FailedJob
from glidemq_core.filters.language import Expression
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records.failures import FailureGroup, Failures
from glidemq_core.wire.replies import failed, integer, items, number, sliced

from ..ended import Ended, newest_ended
from ..failures import group_of, in_order_of_size, read_failed
from ..sources import from_sorted_set
from .filter import unhurried
from .newest import MergedSources
from .paged import PagedScan
from .scan import PAGE

#: Jobs that failed since the last look which one refresh looks at.
_HEAD: Final = 1_000
#: Clocks of workers differ: what failed so long before the newest job that was looked at may be new, ms.
_OVERLAP_MS: Final = 5_000
#: Jobs found before of which one refresh asks whether they still are what they were.
_CHECKED: Final = 2_000


class FailureScan(PagedScan):
    """Looks through the failed jobs of queues, the newest first."""

    def __init__(
        self, reader: Reader, queues: Sequence[str], since_ms: int, where: Expression[FailedJob]
    ) -> None:
        """Begin; nothing is read yet.

        Args:
            since_ms: how far back it looks, ms.
            where: the jobs that are wanted.
        """
        super().__init__(reader, queues)
        self._since_ms, self._where = since_ms, where
        #: What was found, by cause, the newest first; what is told of the causes that have not changed.
        self._members: dict[str, list[FailedJob]] = {}
        self._groups: dict[str, FailureGroup] = {}
        #: When the newest job failed that was looked at, epoch ms, and the jobs that were looked at around then.
        self._newest_ms = 0
        self._recent: set[Ended] = set()
        #: When the oldest job failed that was looked at: older ones come with the next page, if there is one.
        self._reached_ms = 0

    @property
    def matches(self) -> int:
        """How many were found."""
        return sum(map(len, self._members.values()))

    @property
    def rows(self) -> int:
        """How many groups they are."""
        return len(self._members)

    @property
    def failures(self) -> Failures:
        """What was found, the largest group first."""
        for key, members in self._members.items():
            if key not in self._groups:
                self._groups[key] = group_of(key, members)
        groups = in_order_of_size(self._groups[key] for key in self._members)
        complete = self._is_whole and not self.has_more
        return Failures(groups=groups, jobs_read=self.looked, complete=complete, at=self._reader.now())

    def members(self) -> dict[str, tuple[JobRef, ...]]:
        """Return the jobs of each group by its key, the newest first."""
        return {key: tuple(job.ref for job in jobs) for key, jobs in self._members.items()}

    async def look(self, most: int = PAGE) -> None:
        """Look at the next jobs, at most so many."""
        if self._sources is None:
            self._sources = await self._open()
        taken = await self._sources.take(most)
        wanted = [(JobRef(queue, one.id), int(one.score or 0)) for queue, one in taken]
        if wanted:
            self._reached_ms = wanted[-1][1]
        await self._test(wanted)

    async def _open(self) -> MergedSources:
        since = max(0, self._reader.now_ms() - self._since_ms)
        keys = {name: self._reader.keys(name).failed for name in self._queues}
        counts = await self._reader.read([("ZCOUNT", key, since, "+inf") for key in keys.values()])
        self._is_whole = not any(map(failed, counts))
        self.total = sum(integer(count) for count in counts if not failed(count))
        return MergedSources(
            {name: from_sorted_set(self._reader, key, True, low=since) for name, key in keys.items()}
        )

    async def _test(self, wanted: Sequence[Ended]) -> None:
        """Look at jobs, given with the newest first; keep those that the filter takes."""
        found = await read_failed(self._reader, wanted)
        now = self._reader.now()
        async for one in unhurried(wanted):
            self._note_recent(one)
            job = found.get(one)
            if job is not None and self._where.fits(job, now):
                self._add(job)
        self.looked += len(wanted)

    def _note_recent(self, one: Ended) -> None:
        self._newest_ms = max(self._newest_ms, one[1])
        if one[1] >= self._newest_ms - _OVERLAP_MS:
            self._recent.add(one)

    def _add(self, job: FailedJob) -> None:
        key = job.key
        members = self._members.setdefault(key, [])
        at = len(members)
        while at and members[at - 1].failed_ms < job.failed_ms:
            at -= 1
        members.insert(at, job)
        self._groups.pop(key, None)

    # --- keeping it up to date ---------------------------------------------------------------------------------

    async def refresh(self, queues: Sequence[str]) -> None:
        """Look at what has failed since the last look, and take out what has not failed any more.

        Args:
            queues: the queues that may have failed jobs now.
        """
        oldest_ms, recent_ms = self._reader.now_ms() - self._since_ms, self._newest_ms - _OVERLAP_MS
        self._recent = {one for one in self._recent if one[1] >= recent_ms}
        begin_ms = max(oldest_ms, recent_ms, self._reached_ms + 1 if self.has_more else 0)
        most = _HEAD + len(self._recent)
        new, complete = await newest_ended(self._reader, queues, ("failed",), begin_ms, most)
        self._is_whole = self._is_whole and complete
        fresh = [one for one in new if one not in self._recent]
        if self.total is not None:
            self.total += len(fresh)
        await self._test(fresh)
        await self._check(oldest_ms)

    async def _check(self, oldest_ms: int) -> None:
        """Take out jobs that were retried, removed or are too old by now, some of them in turn."""
        known = [(key, job) for key, jobs in self._members.items() for job in jobs]
        by_queue: dict[str, list[tuple[str, FailedJob]]] = {}
        for key, job in self._next_turn(known, _CHECKED):
            by_queue.setdefault(job.ref.queue, []).append((key, job))
        parts = [(queue, part) for queue, jobs in by_queue.items() for part in sliced(jobs, PAGE)]
        scores = await self._reader.read(
            [
                ("ZMSCORE", self._reader.keys(queue).failed, *(job.ref.id for _, job in part))
                for queue, part in parts
            ]
        )
        for (_, part), reply in zip(parts, scores, strict=True):
            if failed(reply):
                continue
            for (key, job), score in zip(part, items(reply), strict=True):
                if score is None or int(number(score) or 0) != job.failed_ms or job.failed_ms < oldest_ms:
                    self._take_out(key, job)

    def _take_out(self, key: str, job: FailedJob) -> None:
        members = self._members[key]
        members.remove(job)
        self._groups.pop(key, None)
        if not members:
            del self._members[key]
