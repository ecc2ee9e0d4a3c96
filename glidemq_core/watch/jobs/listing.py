"""Pages of jobs by state: which places a state has, merged in order, filtered with bounded work."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from glidemq_core.options.fields import one_of, refuse, whole
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import find_overdue, group_facts, list_runs, longest_running, pick_list_runs
from glidemq_core.reading.scan import scan_step, scan_steps
from glidemq_core.records.jobs import JobPage, JobRow
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.wire.replies import failed, integer, pairs, text

from ..snapshot import STEPS
from .filter import EVERY_JOB, JobFilter
from .places import Candidate, FixedPlace, IdSource, ListPlace, Order, Position, SortedPlace, StreamPlace
from .rows import job_rows

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

STALLED = "stalled"
"""What active jobs are listed by whose heartbeat is overdue: no state on the wire."""

#: States whose natural order is the soonest first; the others show the newest first.
SOONEST_FIRST = frozenset(("delayed", "prioritized", "suspended", STALLED))
#: Jobs that one call looks at for a filter.
EXAMINED = 1_000
#: Ordering keys whose parked jobs are listed.
GROUPS = 200
_SLICE = 200
_SCAN_CALLS = 10
_SCAN_AGAIN_S = 30.0
_ACTIVE_LISTED = 1_000

#: What a job found in the places of a state may say of itself: it moves while we read.
_FITS = {
    "waiting": ("waiting", "unknown"),
    "active": ("active", "waiting", "unknown"),
    "delayed": ("delayed", "unknown"),
    "prioritized": ("prioritized", "unknown"),
}


@dataclass(slots=True)
class Found:
    """The places of a state and how many jobs they hold, None if that cannot be known cheaply."""

    places: dict[str, IdSource]
    total: int | None


@dataclass(slots=True)
class Scanned:
    """What only a walk over keys can find, kept for a while so that a screen that refreshes does not scan.

    `actives`: jobs that Node workers took from a list; `parents`: first pages of jobs that wait for children, as
    ids and cursor.
    """

    actives: dict[str, tuple[float, tuple[str, ...]]] = field(default_factory=dict)
    parents: dict[tuple[str, int], tuple[float, tuple[str, ...], str | None]] = field(default_factory=dict)


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
        pages = await asyncio.gather(
            *(
                list_jobs(reader, scanned, queue, each, limit=limit, newest=newest, wanted=wanted)
                for each in STATES
            )
        )
        totals = [page.total for page in pages if page.total is not None]
        everything = tuple(row for page in pages for row in page.rows)
        return JobPage(rows=everything, next=None, total=sum(totals), at=reader.now())
    one_of(*STATES, STALLED)(state, "state")
    down = newest if newest is not None else state not in SOONEST_FIRST
    if state == "waiting-children":
        down = True
    marks = _read_cursor(cursor, state, down)
    if state == "waiting-children":
        plain = cursor is None and not wanted.chooses
        return await (
            _first_parents(reader, scanned, queue, limit)
            if plain
            else _waiting_children(reader, queue, limit, marks, wanted)
        )
    found = await _places(reader, scanned, queue, state, down)
    rows_found: list[JobRow] = []
    examined = 0
    more = True
    while more and len(rows_found) < limit and examined < EXAMINED:
        want = min(_SLICE, EXAMINED - examined) if wanted.chooses else limit - len(rows_found)
        taken, more = await _merge(found.places, marks, want)
        if not taken:
            break
        examined += len(taken)
        rows = await _load(reader, queue, state, [candidate for _, candidate in taken], wanted)
        for (place, candidate), row in zip(taken, rows, strict=True):
            if len(rows_found) == limit:
                more = True
                break
            marks[place] = candidate.mark
            if row is not None:
                rows_found.append(row)
    return JobPage(
        rows=tuple({row.id: row for row in rows_found}.values()),
        next=_write_cursor(state, down, marks) if more else None,
        total=found.total,
        at=reader.now(),
    )


async def _merge(
    places: Mapping[str, IdSource], marks: Mapping[str, Position], count: int
) -> tuple[list[tuple[str, Candidate]], bool]:
    """Take the next `count` candidates of all places in order; also whether there are more."""
    try:
        slices = await asyncio.gather(
            *(place.take(count + 1, marks.get(name)) for name, place in places.items())
        )
    except (ValueError, TypeError, IndexError, KeyError):
        refuse("cursor", dict(marks), "the `next` of an earlier page")
    ordered: list[tuple[Order, str, Candidate]] = []
    for name, candidates in zip(places, slices, strict=True):
        # A place keeps its own order even where the values that order it go astray.
        latest: Order = ()
        for candidate in candidates:
            latest = max(latest, candidate.order)
            ordered.append((latest, name, candidate))
    ordered.sort(key=lambda item: item[0])
    return [(name, candidate) for _, name, candidate in ordered[:count]], len(ordered) > count


async def _load(
    reader: Reader, queue: str, state: str, candidates: Sequence[Candidate], wanted: JobFilter
) -> list[JobRow | None]:
    """Rows of candidates that are what the list is about; None for the others."""
    read = await job_rows(
        reader,
        queue,
        [candidate.id for candidate in candidates],
        [candidate.score for candidate in candidates],
    )
    rows = [row if row is not None and _belongs(row, state) and wanted.fits(row) else None for row in read]
    if wanted.data:
        kept = [row for row in rows if row is not None]
        matches = await wanted.data_of(reader, queue, [row.id for row in kept])
        rows = [row if row is not None and row.id in matches else None for row in rows]
    return rows


def _belongs(row: JobRow, state: str) -> bool:
    """Tell whether a job found in the places of a state is listed by it."""
    return row.stalled if state == STALLED else row.state in _FITS.get(state, (state, "unknown"))


async def _places(reader: Reader, scanned: Scanned, queue: str, state: str, down: bool) -> Found:
    keys = reader.keys(queue)
    if state == "waiting":
        length, groups, lifo, priority = await reader.read(
            [
                ("XLEN", keys.stream),
                ("XINFO", "GROUPS", keys.stream),
                ("LLEN", keys.lifo),
                ("LLEN", keys.priority),
            ]
        )
        pending, delivered = group_facts(groups)
        places: dict[str, IdSource] = {
            "s": StreamPlace(reader, keys.stream, f"({delivered}", "+", down),
            # New jobs come in at the tail of `lifo` and at the head of `priority`.
            "l": ListPlace(reader, keys, keys.lifo, not down, down),
            "p": ListPlace(reader, keys, keys.priority, down, down),
        }
        return Found(places, max(0, integer(length) - pending) + integer(lifo) + integer(priority))
    if state == "active":
        return await _active(reader, scanned, queue, down)
    if state == STALLED:
        return await _stalled(reader, scanned, queue, down)
    if state in ("delayed", "prioritized"):
        return await _scheduled(reader, queue, state, down)
    if state == "group-waiting":
        return await _parked(reader, queue, down)
    key = f"{keys.root}:{state}"
    total = await reader.read_one("ZCARD", key)
    return Found({"z": SortedPlace(reader, key, down)}, None if failed(total) else integer(total))


async def _active(reader: Reader, scanned: Scanned, queue: str, down: bool) -> Found:
    """Settled entries are deleted at once, so what the group has read and the stream still holds is running."""
    (pending, delivered), (ids, from_lists) = await _running(reader, scanned, queue, down)
    places: dict[str, IdSource] = {"s": StreamPlace(reader, reader.keys(queue).stream, "-", delivered, down)}
    if ids:
        places["l"] = FixedPlace(tuple(ids))
    return Found(places, pending + from_lists)


async def _stalled(reader: Reader, scanned: Scanned, queue: str, down: bool) -> Found:
    """Those of the jobs that have run longest whose heartbeat is overdue."""
    (_, delivered), (listed, _) = await _running(reader, scanned, queue, down)
    ids = dict.fromkeys([*await longest_running(reader, queue, delivered, _ACTIVE_LISTED), *listed])
    overdue = await find_overdue(reader, queue, list(ids))
    return Found({"l": FixedPlace(tuple(reversed(overdue) if down else overdue))}, len(overdue))


async def _running(
    reader: Reader, scanned: Scanned, queue: str, down: bool
) -> tuple[tuple[int, str], tuple[list[str], int]]:
    """Return facts of the workers' group, and ids and number of running jobs from lists."""

    async def search() -> tuple[str, ...]:
        until, known = scanned.actives.get(queue, (0.0, ()))
        if time.monotonic() < until:
            return known
        head, found = len(reader.keys(queue).job("")), []
        async for _, keys in scan_steps(reader, queue, "job:*", _SCAN_CALLS):
            found += await pick_list_runs(reader, queue, [key[head:] for key in keys])
        scanned.actives[queue] = (time.monotonic() + _SCAN_AGAIN_S, tuple(found))
        return tuple(found)

    groups, listed = await asyncio.gather(
        reader.read_one("XINFO", "GROUPS", reader.keys(queue).stream),
        list_runs(reader, queue, search, most=_ACTIVE_LISTED, newest=down),
    )
    return group_facts(groups), listed


async def _scheduled(reader: Reader, queue: str, state: str, down: bool) -> Found:
    """One place a priority: within it the score is the due time, 0 for jobs that only wait for their turn."""
    key = reader.keys(queue).scheduled
    waiting_turn = state == "prioritized"
    places: dict[str, IdSource] = {}
    if not waiting_turn:
        places["0"] = SortedPlace(reader, key, down, 0, PRIORITY_STEP - 1, _due)
    start, turns = PRIORITY_STEP, 0
    for _ in range(STEPS):
        first = pairs(await reader.read_one("ZRANGEBYSCORE", key, start, "+inf", "WITHSCORES", "LIMIT", 0, 1))
        if not first:
            break
        band = integer(first[0][1]) // PRIORITY_STEP * PRIORITY_STEP
        low, high = (band, band) if waiting_turn else (band + 1, band + PRIORITY_STEP - 1)
        places[str(band // PRIORITY_STEP)] = SortedPlace(
            reader, key, down, low, high, _score if waiting_turn else _due
        )
        turns += integer(await reader.read_one("ZCOUNT", key, band, band))
        start = band + PRIORITY_STEP
    else:
        # More priorities than are worth a round trip each: the rest in the order in which they will run.
        places["rest"] = SortedPlace(reader, key, down, start, "+inf", _score)
        return Found(places, None)
    total = integer(await reader.read_one("ZCARD", key))
    return Found(places, turns if waiting_turn else total - turns)


def _due(score: float) -> Order:
    return (score % PRIORITY_STEP, score // PRIORITY_STEP)


def _score(score: float) -> Order:
    return (score,)


async def _parked(reader: Reader, queue: str, down: bool) -> Found:
    keys = reader.keys(queue)
    size, page = await reader.read([("HLEN", keys.ordering), ("HSCAN", keys.ordering, 0, "COUNT", GROUPS)])
    names = sorted(text(name) or "" for name, _ in pairs(page[1])) if not failed(page) else []
    counts = await reader.read([("ZCARD", keys.groupq(name)) for name in names])
    places: dict[str, IdSource] = {}
    for at, (name, count) in enumerate(zip(names, counts, strict=True)):
        if integer(count):
            places[f"g{name}"] = SortedPlace(
                reader,
                keys.groupq(name),
                down,
                order=lambda score, at=at: (float(at), score),  # type: ignore[misc]
            )
    return Found(places, sum(map(integer, counts)) if integer(size) <= len(names) else None)


async def _first_parents(reader: Reader, scanned: Scanned, queue: str, limit: int) -> JobPage:
    """The first page, looked up again by the ids found a short while ago."""
    until, ids, following = scanned.parents.get((queue, limit), (0.0, (), None))
    if time.monotonic() >= until:
        page = await _waiting_children(reader, queue, limit, {}, EVERY_JOB)
        known = tuple(row.id for row in page.rows)
        scanned.parents[queue, limit] = (time.monotonic() + _SCAN_AGAIN_S, known, page.next)
        return page
    candidates = [Candidate(job_id, (), None) for job_id in ids]
    rows = await _load(reader, queue, "waiting-children", candidates, EVERY_JOB)
    found = tuple(row for row in rows if row is not None)
    return JobPage(rows=found, next=following, total=None, at=reader.now())


async def _waiting_children(
    reader: Reader, queue: str, limit: int, marks: dict[str, Position], wanted: JobFilter
) -> JobPage:
    """No index has these: a bounded walk over the keys of parents, `next` where it stopped."""
    head = len(reader.keys(queue).deps(""))
    at, skip = str(marks.get("scan", "0")), integer(marks.get("skip"))
    rows: list[JobRow] = []
    following: dict[str, Position] | None = None
    for _ in range(_SCAN_CALLS):
        begun = at
        at, keys = await scan_step(reader, queue, begun, "deps:*")
        candidates = [Candidate(key[head:], (), None) for key in sorted(keys)[skip:]]
        loaded = await _load(reader, queue, "waiting-children", candidates, wanted)
        following = {"scan": at} if at != "0" else None
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
    return JobPage(
        rows=tuple(rows),
        next=None if following is None else _write_cursor("waiting-children", True, following),
        total=None,
        at=reader.now(),
    )


def _write_cursor(state: str, down: bool, marks: Mapping[str, Position]) -> str:
    raw = json.dumps([state, down, dict(marks)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, state: str, down: bool) -> dict[str, Position]:
    if cursor is None:
        return {}
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found_state, found_down, marks = json.loads(raw)
    except (ValueError, binascii.Error, TypeError):
        refuse("cursor", cursor, "the `next` of an earlier page")
    if found_state != state or found_down is not down or not isinstance(marks, dict):
        refuse("cursor", cursor, "the `next` of a page of the same state and order")
    return marks
