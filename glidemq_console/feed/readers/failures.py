"""What failed lately by cause, and dead letters, while one of their lists is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic

from ...model.lists.failures import FailuresView, LettersView
from ..job_search import PAUSE_S
from ..reading import Reading
from ..scan_search import S, ScanSearch

if TYPE_CHECKING:
    from glidemq_core.records.failures import Failures, Letters
    from glidemq_core.watch.jobs.filtering.failures import FailureScan
    from glidemq_core.watch.jobs.filtering.letters import LetterScan

#: How often both are read; jobs that are known already are not read again.
EVERY_MS = 5_000
#: Failed jobs, and letters, that are looked at where there is no filter.
MOST = 1_000


class _Filtered(Generic[S]):
    """The search for what a filter takes, while there is one."""

    def __init__(self) -> None:
        self._search: ScanSearch[S] | None = None

    def end(self) -> None:
        """Forget what was found: there is no filter."""
        self._search = None

    async def read(
        self,
        reading: Reading,
        of: tuple[Hashable, ...],
        begin: Callable[[], Awaitable[S]],
        refresh: Callable[[S], Awaitable[None]],
    ) -> ScanSearch[S] | None:
        """Look a page further, or bring up to date what was found; None where there is nothing new.

        Args:
            of: What is looked for, and where; with another one it begins anew.
            begin: Begins to look.
            refresh: Brings up to date what was found.
        """
        due, key = reading.is_due(of, EVERY_MS), (reading.watch, *of)
        search = self._search
        if search is None or search.key != key:
            begun = await reading.attempt(begin())
            if begun is None:
                return None
            search = self._search = ScanSearch(key, begun)
        done = await reading.attempt(search.go_on(reading.wants.further, refresh if due else None))
        if search.is_searching:
            asyncio.get_running_loop().call_later(PAUSE_S, reading.wake.set)
        return search if done else None


class FailuresReader:
    """Reads the failures of the queues that have failed jobs."""

    def __init__(self) -> None:
        self._filtered: _Filtered[FailureScan] = _Filtered()

    async def read_wanted(self, reading: Reading) -> None:
        """Read failures, if they are wanted and due."""
        since_ms, where = reading.wants.failures, reading.wants.failures_where
        if since_ms is None:
            return
        if where:
            await self._find(reading, since_ms, where)
            return
        self._filtered.end()
        # Once all queues are known it is not to wait.
        if not reading.is_due(("failures", since_ms, reading.known.complete), EVERY_MS):
            return
        found = await reading.attempt(reading.watch.failures(_failing(reading), since=since_ms, limit=MOST))
        if found is not None:
            _show_failures(reading, since_ms, found)

    async def _find(self, reading: Reading, since_ms: int, where: str) -> None:
        """Look for the failures that a filter takes, or bring up to date those found."""
        search = await self._filtered.read(
            reading,
            ("failures", since_ms, where, reading.known.complete),
            lambda: reading.watch.scan_failures(where, _failing(reading), since=since_ms),
            lambda scan: scan.refresh(_failing(reading)),
        )
        if search is not None:
            scan, progress = search.scan, search.progress
            _show_failures(
                reading, since_ms, scan.failures, where=where, progress=progress, members=scan.members()
            )


def _failing(reading: Reading) -> list[str]:
    return [row.name for row in reading.known.queues if row.failed or row.failed is None]


def _show_failures(reading: Reading, since_ms: int, found: Failures, **of_filter: Any) -> None:
    view = FailuresView(
        since_ms=since_ms,
        groups=found.groups,
        jobs_read=found.jobs_read,
        complete=found.complete and reading.known.complete,
        at_ms=reading.clock(),
        **of_filter,
    )
    reading.known = replace(reading.known, failures=view)


class LettersReader:
    """Reads the dead letters of all known queues."""

    def __init__(self) -> None:
        self._filtered: _Filtered[LetterScan] = _Filtered()

    async def read_wanted(self, reading: Reading) -> None:
        """Read dead letters, if they are wanted and due."""
        if not reading.wants.letters:
            return
        if where := reading.wants.letters_where:
            await self._find(reading, where)
            return
        self._filtered.end()
        if not reading.is_due(("letters", reading.known.complete), EVERY_MS):
            return
        found = await reading.attempt(reading.watch.letters(sorted(reading.rows.names), limit=MOST))
        if found is not None:
            _show_letters(reading, found)

    async def _find(self, reading: Reading, where: str) -> None:
        """Look for the letters that a filter takes, or bring up to date those found."""
        search = await self._filtered.read(
            reading,
            ("letters", where, reading.known.complete),
            lambda: reading.watch.scan_letters(where, sorted(reading.rows.names)),
            lambda scan: scan.refresh(),
        )
        if search is not None:
            _show_letters(reading, search.scan.letters, where=where, progress=search.progress)


def _show_letters(reading: Reading, found: Letters, **of_filter: Any) -> None:
    view = LettersView(
        letters=found.letters,
        total=found.total,
        complete=found.complete and reading.known.complete,
        at_ms=reading.clock(),
        **of_filter,
    )
    reading.known = replace(reading.known, letters=view)
