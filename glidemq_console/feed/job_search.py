"""The jobs of a queue that a filter takes: looked for a page at a time, as far as was asked for."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..model.snapshot import JobList, JobsQuery, shown_state

if TYPE_CHECKING:
    from glidemq_core.filters.jobs import JobExpression
    from glidemq_core.records import JobRow
    from glidemq_core.watch import Watch

#: Matches, and jobs that were looked at, after which it waits to be asked for more.
ENOUGH, MOST = 50, 20_000
#: Jobs that are looked at in one go, and how long after it the next one begins, s.
PAGE, PAUSE_S = 500, 0.25
#: Jobs at the head that are looked at again with each refresh: new ones come in there.
HEAD = 50


class Pace:
    """How far a search goes on by itself, and how fast: so many pages a second, until it is asked for more."""

    def __init__(self) -> None:
        self._until, self._wanted, self._asked = MOST, ENOUGH, 0
        self._next_at = 0.0

    def look_further(self, times: int, found: int, looked: int) -> None:
        """Go on for as long again, if it was asked for more often than before.

        Args:
            times: How often it was asked for more.
            found: What was found so far.
            looked: What was looked at so far.
        """
        if times > self._asked:
            self._asked = times
            self._until, self._wanted = looked + MOST, found + ENOUGH

    def goes_on(self, found: int, looked: int) -> bool:
        """Whether it goes on by itself, if there is more."""
        return looked < self._until and found < self._wanted

    @property
    def is_due(self) -> bool:
        """Whether the next page may be read now."""
        return time.monotonic() >= self._next_at

    def room(self, looked: int) -> int:
        """How much the next page may look at."""
        return min(PAGE, self._until - looked)

    def page_read(self) -> None:
        """Take note that a page was read."""
        self._next_at = time.monotonic() + PAUSE_S


class JobSearch:
    """What was found so far for a query with a filter."""

    def __init__(self, query: JobsQuery) -> None:
        from glidemq_core.filters.jobs import parse_job_filter

        self.query = query
        self._filter: JobExpression = parse_job_filter(query.find or "")
        self._rows: dict[str, JobRow] = {}
        self._cursor: str | None = None
        self._has_more = True
        self._looked = 0
        self._total: int | None = None
        self._pace = Pace()

    def look_further(self, times: int) -> None:
        """Go on for as long again, if it was asked for more often than before."""
        self._pace.look_further(times, len(self._rows), self._looked)

    @property
    def is_searching(self) -> bool:
        """Whether it goes on by itself."""
        return self._has_more and self._pace.goes_on(len(self._rows), self._looked)

    @property
    def is_due(self) -> bool:
        """Whether the next page may be read now."""
        return self.is_searching and self._pace.is_due

    async def search(self, watch: Watch) -> bool:
        """Look at one page more."""
        query = self.query
        pages = watch.scan_jobs(
            query.queue,
            self._filter,
            state=query.state,
            newest=query.newest,
            cursor=self._cursor,
            most=self._pace.room(self._looked),
        )
        async for page in pages:
            self._rows.update((row.id, row) for row in page.rows)
            self._cursor, self._has_more = page.next, page.next is not None
            # A walk for parents counts even where it finds none.
            self._looked, self._total = self._looked + max(1, page.looked), page.total
        self._pace.page_read()
        return True

    async def refresh(self, watch: Watch, window: tuple[int, int]) -> bool:
        """Read the rows on screen again, and the head, where new jobs come in."""
        seen = list(self._rows.values())[window[0] : window[1]]
        read = await watch.rows([row.ref for row in seen])
        now = datetime.now(UTC)
        for old in seen:
            row = read.get(old.ref)
            if row is not None and self._is_listed(row) and self._filter.fits(row, now):
                self._rows[row.id] = row
            else:
                del self._rows[old.id]
        query = self.query
        if query.newest is not False:
            head = watch.scan_jobs(
                query.queue, self._filter, state=query.state, newest=query.newest, most=HEAD
            )
            async for page in head:
                new = {row.id: row for row in page.rows if row.id not in self._rows}
                self._rows = {**new, **self._rows}
                self._total = page.total
        return True

    def _is_listed(self, row: JobRow) -> bool:
        return self.query.state in (None, row.state, shown_state(row))

    def listing(self, at_ms: int) -> JobList:
        """What was found, and how far it looked."""
        return JobList(
            query=self.query,
            rows=tuple(self._rows.values()),
            total=self._total,
            has_more=self._has_more,
            at_ms=at_ms,
            looked=self._looked,
            is_searching=self.is_searching,
        )
