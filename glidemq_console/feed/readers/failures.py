"""What failed lately by cause, and dead letters, while one of their lists is shown."""

from __future__ import annotations

from dataclasses import replace

from ...model.lists.failures import FailuresView, LettersView
from ..reading import Reading

#: How often both are read; jobs that are known already are not read again.
EVERY_MS = 5_000
#: Failed jobs, and letters, that are looked at.
MOST = 1_000


async def read_failures(reading: Reading) -> None:
    """Read the failures of the queues that have failed jobs."""
    since_ms = reading.wants.failures
    # Once all queues are known it is not to wait.
    if since_ms is None or not reading.is_due(("failures", since_ms, reading.known.complete), EVERY_MS):
        return
    names = [row.name for row in reading.known.queues if row.failed or row.failed is None]
    found = await reading.attempt(reading.watch.failures(names, since=since_ms, limit=MOST))
    if found is not None:
        view = FailuresView(
            since_ms=since_ms,
            groups=found.groups,
            jobs_read=found.jobs_read,
            complete=found.complete and reading.known.complete,
            at_ms=reading.clock(),
        )
        reading.known = replace(reading.known, failures=view)


async def read_letters(reading: Reading) -> None:
    """Read the dead letters of all known queues."""
    if not reading.wants.letters or not reading.is_due(("letters", reading.known.complete), EVERY_MS):
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
