"""Which sources hold the jobs of a state, and how many jobs those are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from glidemq_core.filters.jobs import STALLED
from glidemq_core.reading.counts import priority_bands
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import find_overdue, group_facts, list_runs, longest_running, pick_list_runs
from glidemq_core.reading.scan import scan_steps
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.wire.replies import failed, integer, pairs, text

from .sources import IdSource, Order, from_list, from_sorted_set, from_stream, in_order

#: Ordering keys whose parked jobs are listed.
_GROUPS = 200
#: Running jobs from lists that are listed, and running jobs whose heartbeat is checked.
_RUNNING = 1_000
#: States whose sets are scored by when a job ended, which is after it was made.
_SCORED_BY_END = ("completed", "failed")
#: Steps of one search for running jobs of Node workers, and how long its answer stands, s.
SCAN_STEPS = 10
SCAN_AGAIN_S = 30.0


@dataclass(slots=True)
class Scanned:
    """What only a walk over keys can find, kept for a while so that a screen that refreshes does not scan."""

    #: By queue until when it stands (monotonic s), and running jobs that Node workers took from a list.
    list_runs: dict[str, tuple[float, tuple[str, ...]]] = field(default_factory=dict)
    #: By queue and limit until when it stands, ids and cursor of the first page of jobs that wait for children.
    parents: dict[tuple[str, int], tuple[float, tuple[str, ...], str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The sources of a state by name, and how many jobs they hold; None where that cannot be known cheaply."""

    sources: dict[str, IdSource]
    total: int | None


async def find_sources(
    reader: Reader, scanned: Scanned, queue: str, state: str, newest: bool, since_ms: int | None = None
) -> Found:
    """Find the sources of a state, in the order that is asked for.

    Args:
        since_ms: only jobs made since then, epoch ms, are wanted: where a set is scored by when its jobs ended, those
            that ended before are not looked at.
    """
    if state == "waiting":
        return await _waiting(reader, queue, newest)
    if state == "active":
        return await _active(reader, scanned, queue, newest)
    if state == STALLED:
        return await _stalled(reader, scanned, queue, newest)
    if state in ("delayed", "prioritized"):
        return await _scheduled(reader, queue, newest, takes_turns=state == "prioritized")
    if state == "group-waiting":
        return await _parked(reader, queue, newest)
    key = f"{reader.keys(queue).root}:{state}"
    low = since_ms if since_ms is not None and state in _SCORED_BY_END else "-inf"
    total = await reader.read_one("ZCOUNT", key, low, "+inf")
    sources = {"z": from_sorted_set(reader, key, newest, low)}
    return Found(sources, None if failed(total) else integer(total))


async def _waiting(reader: Reader, queue: str, newest: bool) -> Found:
    keys = reader.keys(queue)
    length, groups, lifo, priority = await reader.read(
        [
            ("XLEN", keys.stream),
            ("XINFO", "GROUPS", keys.stream),
            ("LLEN", keys.lifo),
            ("LLEN", keys.priority),
        ]
    )
    pending, delivered = group_facts(groups)
    sources = {
        "s": from_stream(reader, keys.stream, f"({delivered}", "+", newest),
        # New jobs come in at the tail of `lifo` and at the head of `priority`.
        "l": from_list(reader, queue, keys.lifo, not newest, newest),
        "p": from_list(reader, queue, keys.priority, newest, newest),
    }
    return Found(sources, max(0, integer(length) - pending) + integer(lifo) + integer(priority))


async def _active(reader: Reader, scanned: Scanned, queue: str, newest: bool) -> Found:
    """Settled entries are deleted at once, so what the group has read and the stream still holds is running."""
    (pending, delivered), (ids, from_lists) = await _running(reader, scanned, queue, newest)
    sources = {"s": from_stream(reader, reader.keys(queue).stream, "-", delivered, newest)}
    if ids:
        sources["l"] = in_order(ids)
    return Found(sources, pending + from_lists)


async def _stalled(reader: Reader, scanned: Scanned, queue: str, newest: bool) -> Found:
    """Those of the jobs that have run longest whose heartbeat is overdue."""
    (_, delivered), (listed, _) = await _running(reader, scanned, queue, newest)
    ids = dict.fromkeys([*await longest_running(reader, queue, delivered, _RUNNING), *listed])
    overdue = await find_overdue(reader, queue, list(ids))
    return Found({"l": in_order(overdue[::-1] if newest else overdue)}, len(overdue))


async def _running(
    reader: Reader, scanned: Scanned, queue: str, newest: bool
) -> tuple[tuple[int, str], tuple[list[str], int]]:
    """Return facts of the workers' group, and ids and number of running jobs from lists."""

    async def search() -> tuple[str, ...]:
        until, known = scanned.list_runs.get(queue, (0.0, ()))
        if time.monotonic() < until:
            return known
        head, found = len(reader.keys(queue).job("")), list[str]()
        async for _, keys in scan_steps(reader, queue, "job:*", SCAN_STEPS):
            found += await pick_list_runs(reader, queue, [key[head:] for key in keys])
        scanned.list_runs[queue] = (time.monotonic() + SCAN_AGAIN_S, tuple(found))
        return tuple(found)

    groups, listed = await asyncio.gather(
        reader.read_one("XINFO", "GROUPS", reader.keys(queue).stream),
        list_runs(reader, queue, search, most=_RUNNING, newest=newest),
    )
    return group_facts(groups), listed


async def _scheduled(reader: Reader, queue: str, newest: bool, *, takes_turns: bool) -> Found:
    """A source a priority: within it the score is the due time, 0 for jobs that only wait for their turn."""
    key, order = reader.keys(queue).scheduled, _at() if takes_turns else _by_due_time
    sources: dict[str, IdSource] = {}
    if not takes_turns:
        sources["0"] = from_sorted_set(reader, key, newest, 0, PRIORITY_STEP - 1, order)
    bands, complete = await priority_bands(reader, key)
    for band in bands:
        low, high = (band, band) if takes_turns else (band + 1, band + PRIORITY_STEP - 1)
        sources[str(band // PRIORITY_STEP)] = from_sorted_set(reader, key, newest, low, high, order)
    if not complete:
        # More priorities than are worth a round trip each: the rest in the order in which they will run.
        rest = max(bands, default=0) + PRIORITY_STEP
        sources["rest"] = from_sorted_set(reader, key, newest, rest)
        return Found(sources, None)
    total, turns = integer(await reader.read_one("ZCARD", key)), sum(bands.values())
    return Found(sources, turns if takes_turns else total - turns)


async def _parked(reader: Reader, queue: str, newest: bool) -> Found:
    """A source an ordering key, in the order of the keys' names."""
    keys = reader.keys(queue)
    size, page = await reader.read([("HLEN", keys.ordering), ("HSCAN", keys.ordering, 0, "COUNT", _GROUPS)])
    names = [] if failed(page) else sorted(text(name) or "" for name, _ in pairs(page[1]))
    counts = await reader.read([("ZCARD", keys.groupq(name)) for name in names])
    sources = {
        f"g{name}": from_sorted_set(reader, keys.groupq(name), newest, order=_at(index))
        for index, (name, count) in enumerate(zip(names, counts, strict=True))
        if integer(count)
    }
    return Found(sources, sum(map(integer, counts)) if integer(size) <= len(names) else None)


def _by_due_time(score: float) -> Order:
    return (score % PRIORITY_STEP, score // PRIORITY_STEP)


def _at(*before: float) -> Callable[[float], Order]:
    """Order by these values first, then by the score."""
    return lambda score: (*before, score)
