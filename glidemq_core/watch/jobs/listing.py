"""Pages of jobs by state: the sources of a state merged in order, filtered with bounded work."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial

from glidemq_core.filters.jobs import STALLED
from glidemq_core.options.fields import one_of, refuse, whole
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.scan import scan_step
from glidemq_core.records import JobPage, JobRow
from glidemq_core.wire.replies import integer

from .filtering.filter import EVERY_JOB, JobFilter, unhurried
from .rows import job_rows
from .sources import Candidate, IdSource, Order, Position
from .states import SCAN_AGAIN_S, SCAN_STEPS, Scanned, find_sources

STATES = (
    "waiting",
    "active",
    "delayed",
    "prioritized",
    "group-waiting",
    "waiting-children",
    "suspended",
    "completed",
    "failed",
)
"""Every state a job may be listed by."""

#: States whose natural order is the soonest first; the others show the newest first.
SOONEST_FIRST = frozenset(("delayed", "prioritized", "suspended", STALLED))
#: Jobs that one call looks at for a filter, and at a time.
EXAMINED = 1_000
_SLICE = 200
#: What a job found in the sources of a state may say of itself, beside that state: it moves while we read.
_ALSO = {"active": ("waiting", "unknown")}


async def list_jobs(
    reader: Reader,
    scanned: Scanned,
    queue: str,
    state: str | None = None,
    *,
    limit: int = 50,
    cursor: str | None = None,
    newest: bool | None = None,
    wanted: JobFilter = EVERY_JOB,
) -> JobPage:
    """Read one page; see `Watch.jobs`."""
    whole(1, 1_000)(limit, "limit")
    if state is None:
        if cursor is not None:
            refuse("cursor", cursor, "None without a state")
        page = partial(list_jobs, reader, scanned, queue, limit=limit, newest=newest, wanted=wanted)
        pages = await asyncio.gather(*(page(one) for one in STATES if wanted.may_be_in(one)))
        return JobPage(
            rows=tuple(row for each in pages for row in each.rows),
            next=None,
            total=sum(each.total or 0 for each in pages),
            at=reader.now(),
            looked=sum(each.looked for each in pages),
        )
    one_of(*STATES, STALLED)(state, "state")
    if not wanted.may_be_in(state):
        return JobPage(rows=(), next=None, total=0, at=reader.now())
    if state == "waiting-children":
        positions = read_cursor(cursor, state, True)
        if cursor is None and not wanted.has_conditions:
            return await _first_parents(reader, scanned, queue, limit)
        rows, looked, following = await walk_parents(reader, queue, limit, positions, wanted)
        after = None if following is None else write_cursor(state, True, following)
        return JobPage(rows=tuple(rows), next=after, total=None, at=reader.now(), looked=looked)
    order = natural_order(state) if newest is None else newest
    positions = read_cursor(cursor, state, order)
    since_ms = wanted.since_ms(reader.now_ms())
    found = await find_sources(reader, scanned, queue, state, order, since_ms)
    rows, looked, more = await fill(reader, queue, state, found.sources, positions, limit, wanted)
    return JobPage(
        rows=tuple(rows),
        next=write_cursor(state, order, positions) if more else None,
        total=found.total,
        at=reader.now(),
        looked=looked,
    )


def natural_order(state: str) -> bool:
    """Tell whether the jobs of a state are listed newest first unless told otherwise."""
    return state == "waiting-children" or state not in SOONEST_FIRST


async def fill(
    reader: Reader,
    queue: str,
    state: str,
    sources: Mapping[str, IdSource],
    positions: dict[str, Position],
    limit: int,
    wanted: JobFilter,
    *,
    most: int = EXAMINED,
    at_a_time: int = _SLICE,
) -> tuple[list[JobRow], int, bool]:
    """Read rows until a page is full or enough was looked at; moves `positions` on.

    Args:
        most: jobs that are looked at, if there are conditions.
        at_a_time: jobs that are read at a time, if there are conditions.

    Returns:
        The rows, how many jobs were looked at, and whether there are more.
    """
    rows: dict[str, JobRow] = {}
    taken_rows = examined = 0
    more = True
    while more and taken_rows < limit and examined < most:
        count = min(at_a_time, most - examined) if wanted.has_conditions else limit - taken_rows
        taken, more = await _merge(sources, positions, count)
        loaded = await _load(reader, queue, state, [candidate for _, candidate in taken], wanted)
        for (name, candidate), row in zip(taken, loaded, strict=True):
            if taken_rows == limit:
                more = True
                break
            positions[name] = candidate.position
            examined += 1
            if row is not None:
                taken_rows += 1
                rows[row.id] = row
    return list(rows.values()), examined, more


async def _merge(
    sources: Mapping[str, IdSource], positions: Mapping[str, Position], count: int
) -> tuple[list[tuple[str, Candidate]], bool]:
    """Take the next `count` candidates of all sources in order; also whether there are more."""
    try:
        slices = await asyncio.gather(
            *(take(count + 1, positions.get(name)) for name, take in sources.items())
        )
    except (ValueError, TypeError, IndexError, KeyError):
        refuse("cursor", dict(positions), "the `next` of an earlier page")
    ordered: list[tuple[Order, str, Candidate]] = []
    for name, candidates in zip(sources, slices, strict=True):
        # A source keeps its own order even where the values that order it go astray.
        latest: Order = ()
        for candidate in candidates:
            latest = max(latest, candidate.order)
            ordered.append((latest, name, candidate))
    ordered.sort(key=lambda item: item[0])
    return [(name, candidate) for _, name, candidate in ordered[:count]], len(ordered) > count


async def _load(
    reader: Reader, queue: str, state: str, candidates: Sequence[Candidate], wanted: JobFilter
) -> list[JobRow | None]:
    """Read the rows of candidates that the list is about; None for the others."""
    ids, scores = [one.id for one in candidates], [one.score for one in candidates]
    read = await job_rows(reader, queue, ids, scores)
    now = reader.now()
    rows: list[JobRow | None] = []
    async for row in unhurried(read):
        fits = row is not None and _belongs(row, state) and wanted.fits(row, now, state)
        rows.append(row if fits else None)
    if wanted.payload:
        matches = await wanted.data_of(reader, queue, [row.id for row in rows if row is not None])
        rows = [row if row is not None and row.id in matches else None for row in rows]
    return rows


def _belongs(row: JobRow, state: str) -> bool:
    """Tell whether a job found in the sources of a state is listed by it."""
    if state == STALLED:
        return row.stalled
    return row.state == state or row.state in _ALSO.get(state, ("unknown",))


async def _first_parents(reader: Reader, scanned: Scanned, queue: str, limit: int) -> JobPage:
    """The first page of jobs that wait for children, looked up again by the ids found a short while ago."""
    until, ids, following = scanned.parents.get((queue, limit), (0.0, (), None))
    if time.monotonic() >= until:
        found, looked, stopped = await walk_parents(reader, queue, limit, {}, EVERY_JOB)
        known = tuple(row.id for row in found)
        following = None if stopped is None else write_cursor("waiting-children", True, stopped)
        scanned.parents[queue, limit] = (time.monotonic() + SCAN_AGAIN_S, known, following)
        return JobPage(rows=tuple(found), next=following, total=None, at=reader.now(), looked=looked)
    candidates = [Candidate(job_id, (), None) for job_id in ids]
    rows = await _load(reader, queue, "waiting-children", candidates, EVERY_JOB)
    listed = tuple(row for row in rows if row is not None)
    return JobPage(rows=listed, next=following, total=None, at=reader.now(), looked=len(rows))


async def walk_parents(
    reader: Reader, queue: str, limit: int, positions: Mapping[str, Position], wanted: JobFilter
) -> tuple[list[JobRow], int, dict[str, Position] | None]:
    """Walk on over the keys of parents, some steps: jobs that wait for children are in no index.

    Returns:
        The rows, how many jobs were looked at, and where to go on; None at the end.
    """
    head = len(reader.keys(queue).deps(""))
    at, skip = str(positions.get("scan", "0")), integer(positions.get("skip"))
    rows: list[JobRow] = []
    examined = 0
    following: dict[str, Position] | None = None
    for _ in range(SCAN_STEPS):
        begun = at
        at, keys = await scan_step(reader, queue, begun, "deps:*")
        candidates = [Candidate(key[head:], (), None) for key in sorted(keys)[skip:]]
        loaded = await _load(reader, queue, "waiting-children", candidates, wanted)
        following = {"scan": at} if at != "0" else None
        examined += len(loaded)
        for looked, row in enumerate(loaded, skip + 1):
            if row is None:
                continue
            rows.append(row)
            if len(rows) == limit and looked < skip + len(loaded):
                following = {"scan": begun, "skip": looked}
                break
        skip = 0
        if at == "0" or len(rows) >= limit:
            break
    return rows, examined, following


def write_cursor(state: str, newest: bool, positions: Mapping[str, Position]) -> str:
    """Write where each source of a list goes on, opaque to who hands it back."""
    raw = json.dumps([state, newest, dict(positions)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def cursor_parts(cursor: str) -> tuple[str, bool, dict[str, Position]]:
    """Read the state, the order and the positions of a cursor. Raises InvalidOptionError."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        state, newest, positions = json.loads(raw)
    except (ValueError, binascii.Error, TypeError):
        refuse("cursor", cursor, "the `next` of an earlier page")
    if not isinstance(state, str) or not isinstance(newest, bool) or not isinstance(positions, dict):
        refuse("cursor", cursor, "the `next` of an earlier page")
    return state, newest, positions


def read_cursor(cursor: str | None, state: str, newest: bool) -> dict[str, Position]:
    """Read the positions; none of a first page. Raises InvalidOptionError."""
    if cursor is None:
        return {}
    found_state, found_newest, positions = cursor_parts(cursor)
    if found_state != state or found_newest is not newest:
        refuse("cursor", cursor, "the `next` of a page of the same state and order")
    return positions
