"""What failed lately by cause, and dead letters, while one of their lists is shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.lists.failures import FailuresView, LettersView
from ..job_search import PAUSE_S
from ..reading import Reading
from ..scan_search import ScanSearch

if TYPE_CHECKING:
    from glidemq_core.watch.jobs.filtering.failures import FailureScan
    from glidemq_core.watch.jobs.filtering.letters import LetterScan

#: How often both are read; jobs that are known already are not read again.
EVERY_MS = 5_000
#: Failed jobs, and letters, that are looked at where there is no filter.
MOST = 1_000


class FailuresReader:
    """Reads the failures of the queues that have failed jobs."""

    def __init__(self) -> None:
        self._search: ScanSearch[FailureScan] | None = None

    async def read_wanted(self, reading: Reading) -> None:
        """Read failures, if they are wanted and due."""
        since_ms, where = reading.wants.failures, reading.wants.failures_where
        if since_ms is None:
            return
        if where:
            await self._find(reading, since_ms, where)
            return
        self._search = None
        # Once all queues are known it is not to wait.
        if not reading.is_due(("failures", since_ms, reading.known.complete), EVERY_MS):
            return
        found = await reading.attempt(reading.watch.failures(_failing(reading), since=since_ms, limit=MOST))
        if found is not None:
            view = FailuresView(
                since_ms=since_ms,
                groups=found.groups,
                jobs_read=found.jobs_read,
                complete=found.complete and reading.known.complete,
                at_ms=reading.clock(),
            )
            reading.known = replace(reading.known, failures=view)

    async def _find(self, reading: Reading, since_ms: int, where: str) -> None:
        """Look for the failures that a filter takes, or bring up to date those found."""
        key = (since_ms, where, reading.known.complete)
        due = reading.is_due(("failures", *key), EVERY_MS)
        search = self._search
        if search is None or search.key != (reading.watch, *key):
            begun = await reading.attempt(
                reading.watch.scan_failures(where, _failing(reading), since=since_ms)
            )
            if begun is None:
                return
            search = self._search = ScanSearch((reading.watch, *key), begun)
        names = _failing(reading)
        done = await reading.attempt(
            search.go_on(reading.wants.further, (lambda scan: scan.refresh(names)) if due else None)
        )
        if search.is_searching:
            asyncio.get_running_loop().call_later(PAUSE_S, reading.wake.set)
        if done:
            found = search.scan.failures
            view = FailuresView(
                since_ms=since_ms,
                groups=found.groups,
                jobs_read=found.jobs_read,
                complete=found.complete and reading.known.complete,
                at_ms=reading.clock(),
                where=where,
                progress=search.progress,
                members=search.scan.members(),
            )
            reading.known = replace(reading.known, failures=view)


def _failing(reading: Reading) -> list[str]:
    return [row.name for row in reading.known.queues if row.failed or row.failed is None]


class LettersReader:
    """Reads the dead letters of all known queues."""

    def __init__(self) -> None:
        self._search: ScanSearch[LetterScan] | None = None

    async def read_wanted(self, reading: Reading) -> None:
        """Read dead letters, if they are wanted and due."""
        if not reading.wants.letters:
            return
        if where := reading.wants.letters_where:
            await self._find(reading, where)
            return
        self._search = None
        if not reading.is_due(("letters", reading.known.complete), EVERY_MS):
            return
        found = await reading.attempt(reading.watch.letters(sorted(reading.rows.names), limit=MOST))
        if found is not None:
            view = LettersView(
                letters=found.letters,
                total=found.total,
                complete=found.complete and reading.known.complete,
                at_ms=reading.clock(),
            )
            reading.known = replace(reading.known, letters=view)

    async def _find(self, reading: Reading, where: str) -> None:
        """Look for the letters that a filter takes, or bring up to date those found."""
        key = (where, reading.known.complete)
        due = reading.is_due(("letters", *key), EVERY_MS)
        search = self._search
        if search is None or search.key != (reading.watch, *key):
            names = sorted(reading.rows.names)
            begun = await reading.attempt(reading.watch.scan_letters(where, names))
            if begun is None:
                return
            search = self._search = ScanSearch((reading.watch, *key), begun)
        done = await reading.attempt(
            search.go_on(reading.wants.further, (lambda scan: scan.refresh()) if due else None)
        )
        if search.is_searching:
            asyncio.get_running_loop().call_later(PAUSE_S, reading.wake.set)
        if done:
            found = search.scan.letters
            view = LettersView(
                letters=found.letters,
                total=found.total,
                complete=found.complete and reading.known.complete,
                at_ms=reading.clock(),
                where=where,
                progress=search.progress,
            )
            reading.known = replace(reading.known, letters=view)
