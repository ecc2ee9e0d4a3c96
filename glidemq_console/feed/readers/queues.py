"""Which queues there are, and their rows: those on screen in every round, the others rarely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...model.snapshot import Interests
from ..queue_rows import UNSERVED_A_ROUND
from ..reading import Reading

#: How often the registry of queues is read, for queues that are new.
KNOWN_EVERY_MS = 3_000
#: Rows read in a round while running streams are sought.
ROWS_FOR_PICKING = 20
#: How often queues without suspended jobs are searched for new ones, a command for hundreds of queues.
SUSPENDED_EVERY_MS = 2_000
#: Queues with suspended jobs whose rows are kept fresh while those jobs are listed.
ROWS_WITH_INBOX = 10
#: Rows whose workers are not known yet, or no longer, are read this often, where a column shows them.
WORKERS_EVERY_MS = 1_000


async def read_known(reading: Reading) -> None:
    """Read which queues are known."""
    if reading.is_due("known", KNOWN_EVERY_MS):
        learn(reading, await reading.attempt(_known(reading)) or ())


async def read_rows(reading: Reading) -> None:
    """Read which queues are known, then the rows that are wanted or whose turn it is."""
    rows, wants = reading.rows, reading.wants
    await read_known(reading)
    if not reading.is_due("rows"):
        return
    # What is sought among running jobs shows in rows that are fresh, on screen or not.
    sought = rows.likely_running(ROWS_FOR_PICKING) if wants.pick else ()
    # Rows whose suspended jobs are listed too, so that list and badge count the same.
    inbox = reading.known.inbox if wants.inbox else None
    asking = sorted({one.queue for one in inbox.items})[:ROWS_WITH_INBOX] if inbox is not None else []
    if reading.is_due("asking", SUSPENDED_EVERY_MS):
        asking += await reading.attempt(reading.watch.asking(rows.quiet())) or []
    await reading.attempt(rows.read(reading.watch, _visible(wants).union(sought, asking)))


async def read_columns(reading: Reading) -> None:
    """Read what columns show beside a row: histories and workers; put all rows into the snapshot."""
    rows, wants = reading.rows, reading.wants
    if await reading.attempt(rows.read_histories(reading.watch, wants.rows)):
        reading.wake.set()
    if wants.workers and reading.is_due("workers", WORKERS_EVERY_MS):
        await reading.attempt(rows.read_workers(reading.watch, wants.rows))
    if reading.is_due("unserved", WORKERS_EVERY_MS):
        # Whether anybody serves them is told on every screen.
        idle = rows.idle_with_jobs()
        await reading.attempt(rows.read_workers(reading.watch, idle, UNSERVED_A_ROUND))
    reading.known = replace(
        reading.known,
        queues=rows.rows,
        queues_known=len(rows.names),
        read_ms=dict(rows.read_ms),
        history=dict(rows.history),
        workers=rows.workers,
        meters=rows.meters.meters(wants.rows, reading.clock()),
        leaves_out_queues=reading.watch.leaves_out_queues,
    )


def learn(reading: Reading, names: Iterable[str], gone: Iterable[str] = ()) -> None:
    """Take note of queues that were found or are gone."""
    # A search finds new ones several times a second: they come with the next round, the first ones at once.
    if reading.rows.learn(names, gone) and not reading.rows.rows:
        reading.make_due("rows")
        reading.wake.set()


async def _known(reading: Reading) -> list[str]:
    """Return the queues that are known; one that was named only counts once it exists."""
    watch = reading.watch
    names = await watch.known()
    unsure = [name for name in reading.config.queues if name not in reading.rows.names]
    missing = set(unsure).difference(await watch.existing(unsure) if unsure else ())
    listed = ", ".join(sorted(missing))
    reading.missing = f"no queue {listed} here; it is shown once it exists" if missing else None
    return [name for name in names if name not in missing]


def _visible(wants: Interests) -> set[str]:
    """Queues whose rows something on screen shows."""
    others = (
        wants.queue_detail,
        wants.limits,
        wants.jobs and wants.jobs.queue,
        wants.job and wants.job.queue,
    )
    return {*wants.rows, *(wants.serving or ()), *(name for name in others if name)}
