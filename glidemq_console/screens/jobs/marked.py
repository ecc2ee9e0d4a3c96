"""Marking jobs: those that are loaded, and all that match behind them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from ...actions.base import Unchanged
from ...model.snapshot import JobList, JobsQuery
from ...text.safe import short
from ..lists.list_screen import ListScreen
from ..lists.marking import MOST_MARKED

if TYPE_CHECKING:
    from glidemq_core.records import JobRow


class MarkedJobsScreen(ListScreen["JobRow"]):
    """A list of jobs of which only a part is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self._query: JobsQuery | None = None
        self._shown: JobList | None = None

    def follow_marked(self, listing: JobList) -> None:
        """Take note of what is marked in a newer list of the same jobs.

        Gone is what stood before a row that is still listed, or anywhere in a list that is loaded whole.
        """
        shown = self._shown
        if shown is None or shown.query != listing.query or not self.marked_items:
            return
        now: dict[Hashable, JobRow] = {row.id: row for row in listing.rows}
        ids = [row.id for row in shown.rows]
        last = max((at for at, job_id in enumerate(ids) if job_id in now), default=-1)
        looked_at = ids[:last] if listing.has_more else ids
        self.see_marked(now, [key for key in looked_at if key in self.lines.marks and key not in now])

    async def mark_all(self) -> str | None:
        """Mark all jobs that match the filter, going on behind what is loaded; `escape` stops and marks nothing."""
        query, shown = self._query, self._shown
        if query is None or shown is None:
            return None
        if query.state is not None and not shown.has_more:
            return await super().mark_all()
        self._is_scanning = True
        found: dict[Hashable, JobRow] = {}
        try:
            async for rows in self.console.feed.matching_jobs(query):
                if not self._is_scanning or self._query != query:
                    return Unchanged("stopped: no mark was set")
                found |= {row.id: row for row in rows}
                if len(found) > MOST_MARKED:
                    break
                self.show_message(f"marking all that match: {len(found):,} found, esc stops")
        finally:
            self._is_scanning = False
        chosen = dict(list(found.items())[:MOST_MARKED])
        self.mark_items(self._marked_items | chosen, undoable=True)
        if len(found) <= MOST_MARKED:
            return f"{len(self._marked_items):,} marked"
        return f"{MOST_MARKED:,} marked, and there are more: {_command(query)}"


def _command(query: JobsQuery) -> str:
    """The command that takes all of them, however many."""
    queue = short(query.queue, 60)
    if query.state == "failed" and not query.find:
        return f"glidemq retry {queue} --all-failed"
    return f"glidemq jobs {queue} --state {query.state or 'STATE'} lists all, for retry, promote and remove"
