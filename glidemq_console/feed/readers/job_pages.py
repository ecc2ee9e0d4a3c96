"""A long job list, loaded page by page: what is on screen is read again, the rest stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ...model.snapshot import JobList, JobsQuery, epoch_ms, state_count
from ..job_search import PAUSE_S, JobSearch
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core.records import JobPage, JobRow, QueueSnapshot
    from glidemq_core.watch import Watch

PAGE_ROWS = 50
#: Rows loaded beyond the last visible one, so that scrolling meets data.
MARGIN_ROWS = 50
#: Calls one refresh may make; what is missing then comes with the next.
MAX_CALLS = 4
#: The states of jobs that are not done, and how many of each the list of all of them holds.
UNDONE = (
    "waiting",
    "prioritized",
    "active",
    "delayed",
    "suspended",
    "failed",
    "waiting-children",
    "group-waiting",
)
OF_EACH = 40
#: Failed jobs of a queue that are looked through for those of one cause, and how many of these are listed.
FAILURES_READ, OF_A_GROUP = 1_000, 200

#: Rows a call where all jobs of a query are read.
PAGE_OF_ALL = 500

ReadPage = Callable[[JobsQuery, str | None, int], Awaitable["JobPage"]]


async def read_page(
    watch: Watch, query: JobsQuery, row: QueueSnapshot | None, *, cursor: str | None, limit: int
) -> JobPage:
    """Read a page of jobs; without a state the first of every state that `row` does not show to be empty."""
    if query.group is not None:
        return await _read_group(watch, query)
    if query.state is not None:
        return await watch.jobs(
            query.queue, query.state, limit=limit, cursor=cursor, newest=query.newest, where=query.find
        )
    newest = query.newest is not False
    states = [state for state in UNDONE if row is None or state_count(row, state) != 0] or list(UNDONE[:1])
    pages = await asyncio.gather(
        *(watch.jobs(query.queue, state, limit=OF_EACH, newest=newest, where=query.find) for state in states)
    )
    rows = sorted(
        (found for page in pages for found in page.rows),
        key=lambda found: (epoch_ms(found.created_at) or 0, len(found.id), found.id),
        reverse=newest,
    )
    return replace(pages[0], rows=tuple(rows), next=None, total=sum(page.total or 0 for page in pages))


async def _read_group(watch: Watch, query: JobsQuery) -> JobPage:
    """Read the failures of one cause, as one page."""
    assert query.group is not None
    from glidemq_core.filters.jobs import parse_job_filter
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import JobPage

    ids: Sequence[str] | None = query.members
    if ids is None:
        ids = await watch.failed_jobs(query.queue, query.group, limit=FAILURES_READ)
    found = await watch.rows([JobRef(query.queue, job_id) for job_id in ids[:OF_A_GROUP]])
    taken, now = parse_job_filter(query.find or ""), datetime.now(UTC)
    rows = [
        row for row in found.values() if row is not None and row.state == "failed" and taken.fits(row, now)
    ]
    return JobPage(rows=tuple(rows), next=None, total=len(ids), at=datetime.now(UTC))


async def matching(
    watch: Watch, query: JobsQuery, row: QueueSnapshot | None
) -> AsyncIterator[Sequence[JobRow]]:
    """Read all jobs of a query, a page a call; with a filter at most so many calls a second."""
    if query.group is not None:
        yield (await _read_group(watch, query)).rows
        return
    if query.find:
        async for page in watch.scan_jobs(
            query.queue, query.find, state=query.state, newest=query.newest, pages_per_s=1 / PAUSE_S
        ):
            yield page.rows
        return
    listed = [state for state in UNDONE if row is None or state_count(row, state) != 0] or list(UNDONE[:1])
    for state in listed if query.state is None else [query.state]:
        cursor = None
        while True:
            page = await read_page(watch, replace(query, state=state), row, cursor=cursor, limit=PAGE_OF_ALL)
            yield page.rows
            cursor = page.next
            if cursor is None:
                break


@dataclass(slots=True)
class _Page:
    cursor: str | None
    rows: tuple[JobRow, ...]
    next: str | None


class JobPager:
    """Loaded pages of one query. `read` fetches (query, cursor, limit)."""

    def __init__(self, query: JobsQuery, read: ReadPage) -> None:
        self.query = query
        self._read = read
        self._pages: list[_Page] = []
        self._total: int | None = None

    @property
    def loaded(self) -> int:
        """Rows loaded, repetitions included."""
        return sum(len(page.rows) for page in self._pages)

    @property
    def has_more(self) -> bool:
        return not self._pages or self._pages[-1].next is not None

    def lacks(self, window: tuple[int, int]) -> bool:
        """Tell whether rows of the window or its margin are still to be loaded."""
        return self.has_more and window[1] + MARGIN_ROWS > self.loaded

    async def refresh(self, window: tuple[int, int]) -> None:
        """Read the pages on screen again and load what the window lacks.

        Pages follow one another by cursor. When the page on screen no longer ends where the next one begins,
        the later pages describe another moment and are forgotten; scrolling there loads them again.
        """
        index, covered = self._page_at(window[0])
        cursor = self._pages[index].cursor if self._pages else None
        for _ in range(MAX_CALLS):
            answer = await self._read(self.query, cursor, PAGE_ROWS)
            self._pages[index : index + 1] = [_Page(cursor, tuple(answer.rows), answer.next)]
            self._total = answer.total
            covered += len(answer.rows)
            following = self._pages[index + 1] if index + 1 < len(self._pages) else None
            if answer.next is None or (following is not None and following.cursor != answer.next):
                del self._pages[index + 1 :]
            if answer.next is None or covered >= window[1] + MARGIN_ROWS:
                return
            cursor = answer.next
            index += 1

    def _page_at(self, row: int) -> tuple[int, int]:
        """Return the page that holds `row` and the number of rows before that page."""
        before = 0
        for index, page in enumerate(self._pages):
            if row < before + len(page.rows):
                return index, before
            before += len(page.rows)
        if not self._pages:
            return 0, 0
        return len(self._pages) - 1, before - len(self._pages[-1].rows)

    def listing(self, at_ms: int) -> JobList:
        """What is loaded, each job once."""
        rows: dict[str, JobRow] = {}
        for page in self._pages:
            for row in page.rows:
                rows.setdefault(row.id, row)
        return JobList(
            query=self.query,
            rows=tuple(rows.values()),
            total=self._total,
            has_more=self.has_more,
            at_ms=at_ms,
        )


class JobListReader:
    """Keeps the pager of the list that is wanted."""

    def __init__(self) -> None:
        self._pager: JobPager | None = None
        #: In its place where the query has a filter.
        self._search: JobSearch | None = None
        #: What the pages were read with; pages of another session are read anew.
        self._watch: Watch | None = None

    def lacks(self, window: tuple[int, int]) -> bool:
        """Tell whether rows of the window or its margin are still to be loaded."""
        return self._search is None and (self._pager is None or self._pager.lacks(window))

    async def read(self, reading: Reading) -> None:
        """Read the pages that are wanted, if they are due."""
        query = reading.wants.jobs
        if query is None:
            return
        if query.find and query.group is None:
            await self._read_found(reading, query)
            return
        self._search = None
        if self._pager is None or self._pager.query != query or self._watch is not reading.watch:
            self._watch = reading.watch
            self._pager = JobPager(query, partial(_read_page, reading))
            reading.make_due("jobs")
        pager = self._pager
        if reading.is_due("jobs") and await reading.attempt(_refreshed(pager, reading.wants.window)) is None:
            return
        reading.known = replace(reading.known, jobs=pager.listing(reading.clock()))

    async def _read_found(self, reading: Reading, query: JobsQuery) -> None:
        """Look for the jobs that a filter takes, or read those found again."""
        if self._search is None or self._search.query != query or self._watch is not reading.watch:
            self._watch, self._pager = reading.watch, None
            self._search = JobSearch(query)
            reading.make_due("jobs")
        search = self._search
        search.look_further(reading.wants.further)
        if search.is_due:
            done = await reading.attempt(search.search(reading.watch))
        elif not search.is_searching and reading.is_due("jobs"):
            done = await reading.attempt(search.refresh(reading.watch, reading.wants.window))
        else:
            done = None
        if search.is_searching:
            asyncio.get_running_loop().call_later(PAUSE_S, reading.wake.set)
        if done is not None:
            reading.known = replace(reading.known, jobs=search.listing(reading.clock()))


async def _refreshed(pager: JobPager, window: tuple[int, int]) -> bool:
    await pager.refresh(window)
    return True


async def _read_page(reading: Reading, query: JobsQuery, cursor: str | None, limit: int) -> JobPage:
    row = next((row for row in reading.rows.rows if row.name == query.queue), None)
    return await read_page(reading.watch, query, row, cursor=cursor, limit=limit)
