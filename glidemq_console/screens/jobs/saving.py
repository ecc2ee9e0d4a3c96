"""What a file of the list of jobs takes: every job that matches, not only those that are loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...saving.exports import SavedList
from .marked import MarkedJobsScreen
from .states import ALL

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import JobRow


class SavedJobs(MarkedJobsScreen):
    """A list of jobs whose whole is read for a file; subclasses draw it."""

    @property
    def saved_queue(self) -> str | None:
        return self._query.queue if self._query is not None else None

    def ref_of(self, item: JobRow) -> JobRef:
        return item.ref

    def narrowed(self) -> Mapping[str, str]:
        query = self._query
        state = {"state": query.state or ALL} if query is not None else {}
        group = {"failures": query.group} if query is not None and query.group is not None else {}
        return {**state, **group, **super().narrowed()}

    async def all_items(self) -> AsyncIterator[Sequence[JobRow]]:
        seen: set[str] = set()
        if self._query is None:
            return
        async for rows in self.console.feed.matching_jobs(self._query):
            # A job that moved on between two pages is in both.
            yield [row for row in rows if row.id not in seen]
            seen.update(row.id for row in rows)

    def lacks(self) -> str | None:
        query, shown = self._query, self._shown
        if query is None or query.group is None or shown is None or (shown.total or 0) <= len(shown.rows):
            return None
        return f"the list holds {len(shown.rows):,} of {shown.total:,} jobs of one cause"

    def saves(self, *, payload: bool) -> SavedList | None:
        saved, shown = super().saves(payload=payload), self._shown
        is_counted = shown is not None and not shown.query.find
        return saved and replace(saved, total=shown.total if shown is not None and is_counted else None)
