"""Limits of queues and what is used of them: starts, tokens, jobs at once, ordering groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glidemq_core.reading.reader import Reader
from glidemq_core.reading.scan import scan_steps
from glidemq_core.records import Concurrency, Group, Limits, QueueSnapshot, Rate
from glidemq_core.records.decoding import instant
from glidemq_core.server.context import QueueContext
from glidemq_core.wire.replies import failed, integer, items, number, pairs, text

from .discovery import token_windows
from .snapshot import snapshots

#: Groups shown of one queue: those with waiting jobs first.
_MOST_GROUPS = 50
#: Steps of one search for a token counter that nobody published, at most.
_SEARCH_STEPS = 20
#: Queues searched for token counters by one call at most, each only once.
_SEARCHES = 5
_GROUP_FIELDS = (
    "maxConcurrency",
    "active",
    "rateMax",
    "rateDuration",
    "rateWindowStart",
    "rateCount",
    "tbCapacity",
    "tbRefillRate",
    "tbTokens",
    "tbLastRefill",
)


class LimitsReader:
    """Reads the limits of queues, searching each queue once for token counters that nobody published.

    Args:
        windows: lengths of token windows (ms) by queue, as far as they are known; what is found is added.
    """

    def __init__(self, reader: Reader, windows: dict[str, int]) -> None:
        self._reader = reader
        self._windows = windows
        self._searched: set[str] = set()

    async def read(self, names: Sequence[str]) -> tuple[Limits, ...]:
        """Read the limits: a snapshot of each queue, and a call each for their groups."""
        found = await self._read(names)
        unknown = [one.queue for one in found if one.tpm.used is None and one.queue not in self._searched]
        learned = False
        for name in unknown[:_SEARCHES]:
            self._searched.add(name)
            if window := await _find_token_window(self._reader, name):
                self._windows[name], learned = window, True
        return await self._read(names) if learned else found

    async def _read(self, names: Sequence[str]) -> tuple[Limits, ...]:
        reader = self._reader
        queues = await snapshots(reader, names, self._windows)
        replies = await reader.call_each(
            "groups", [(reader.keys(name).root, (4 * _MOST_GROUPS, *_GROUP_FIELDS)) for name in names]
        )
        found = await _plain(reader, names) if replies is None else [_read(reply) for reply in replies]
        return tuple(
            _limits(snapshot, total, facts, reader)
            for snapshot, (total, facts) in zip(queues, found, strict=True)
        )


async def queue_limits(context: QueueContext) -> Limits:
    """Read the limits of one queue; see `Queue.get_limits`."""
    [limits] = await LimitsReader(Reader.of(context), {}).read([context.queue])
    return limits


async def _find_token_window(reader: Reader, name: str) -> int | None:
    """Search for a token counter of a queue whose workers publish nothing; returns its window in ms."""
    async for _, keys in scan_steps(reader, name, "tpm:*", _SEARCH_STEPS):
        for _, length in token_windows(reader, keys):
            return length
    return None


#: How many groups a queue has, None where that cannot be read, and of some their key, fields, parked jobs and
#: when each is looked at again.
_Facts = tuple[int | None, list[tuple[str, Any, Any, Any]]]


def _read(reply: Any) -> _Facts:
    if failed(reply) or text(reply[0]) != "ok":
        return None, []
    return integer(reply[1]), [(text(key) or "", *facts) for key, *facts in reply[2:]]


async def _plain(reader: Reader, names: Sequence[str]) -> list[_Facts]:
    """Read the groups by plain commands, for users who may not call functions."""
    queues = [reader.keys(name) for name in names]
    found = await reader.read_each(
        queues,
        lambda keys: [
            ("HLEN", keys.ordering),
            ("HSCAN", keys.ordering, "0", "COUNT", 4 * _MOST_GROUPS),
        ],
    )
    groups = [(keys, key) for keys, (_, page) in zip(queues, found, strict=True) for key in _group_keys(page)]
    facts = await reader.read_each(
        groups,
        lambda group: [
            ("HMGET", group[0].group(group[1]), *_GROUP_FIELDS),
            ("ZCARD", group[0].groupq(group[1])),
            ("ZSCORE", group[0].ratelimited, group[1]),
        ],
    )
    rows = iter([(key, *fact) for (_, key), fact in zip(groups, facts, strict=True)])
    return [
        (None if failed(total) else integer(total), [next(rows) for _ in _group_keys(page)])
        for total, page in found
    ]


def _group_keys(page: Any) -> list[str]:
    return sorted(text(key) or "" for key, _ in pairs(page[1])) if len(items(page)) > 1 else []


def _group(key: str, fields: Any, parked: Any, resume: Any, *, now: int) -> Group:
    values = [number(value) for value in items(fields)] or [None] * len(_GROUP_FIELDS)
    limit, active, rate_max, rate_ms, begun, count, capacity, refill, tokens, refilled = values
    rate = None
    if rate_max and rate_ms:
        running = begun is not None and now - begun < rate_ms
        rate = Rate(
            used=(count or 0) if running else 0,
            max=rate_max,
            window_ms=int(rate_ms),
            resets_at=instant((begun or 0) + rate_ms) if running else None,
            source="queue",
        )
    level = None
    if capacity:
        level = capacity if tokens is None else tokens
        if tokens is not None and refilled is not None and refill:
            level = min(capacity, tokens + max(0, now - refilled) * refill / 1000)
    held_until = number(resume)
    return Group(
        key=key,
        active=int(active or 0),
        max_concurrency=int(limit) if limit else None,
        waiting=integer(parked),
        rate=rate,
        tokens=None if level is None else level / 1000,
        capacity=capacity / 1000 if capacity else None,
        refill_per_s=refill / 1000 if refill and capacity else None,
        resume_at=instant(held_until) if held_until is not None and held_until > now else None,
    )


def _limits(
    snapshot: QueueSnapshot, total: int | None, facts: Sequence[tuple[str, Any, Any, Any]], reader: Reader
) -> Limits:
    groups = [_group(*fact, now=reader.now_ms()) for fact in facts]
    groups.sort(key=lambda group: (-group.waiting, -group.active, group.key))
    return Limits(
        queue=snapshot.name,
        rpm=snapshot.rpm,
        tpm=snapshot.tpm,
        global_concurrency=Concurrency(used=snapshot.active, max=snapshot.global_concurrency),
        groups=tuple(groups[:_MOST_GROUPS]),
        groups_total=total,
        at=reader.now(),
    )
