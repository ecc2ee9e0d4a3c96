"""Counting jobs: what the server function `snapshot` answers, and jobs per minute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from glidemq_core.options.fields import from_epoch_ms, one_of, whole
from glidemq_core.records import Metrics, MetricsPoint
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.wire.replies import failed, integer, pairs, sliced

from .reader import Reader

_MINUTE_MS = 60_000
#: Priorities that are worth two round trips each.
_MOST_BANDS = 16


class SnapshotReply(NamedTuple):
    """Parts of the reply in its order; None where something could not be read."""

    xlen: Any = None
    pending: Any = None
    lifo: Any = None
    priority: Any = None
    list_active: Any = None
    scheduled: Any = None
    prioritized: Any = None
    suspended: Any = None
    completed: Any = None
    failed: Any = None
    group_waiting: Any = None
    oldest: Any = None
    meta: Any = None
    rate: Any = None
    limits: Any = None
    tokens: Any = None
    done: Any = None
    lost: Any = None
    usage: Any = None
    stalled: Any = None
    #: Names of keys of foreign types.
    bad: Any = None
    failed_1h: Any = None
    parked: Any = None
    missed: Any = None
    #: The suspended job that times out first, and when.
    next_timeout: Any = None

    def counts(self) -> dict[str, Any]:
        """Return the fields of JobCounts."""
        unread = max(0, integer(self.xlen) - integer(self.pending))
        return {
            "waiting": unread + integer(self.lifo) + integer(self.priority),
            "active": integer(self.pending) + max(0, integer(self.list_active)),
            "delayed": integer(self.scheduled),
            "prioritized": None if self.prioritized is None else integer(self.prioritized),
            "suspended": integer(self.suspended),
            "waiting_children": None,
            "group_waiting": None if self.group_waiting is None else integer(self.group_waiting),
            "completed": integer(self.completed),
            "failed": integer(self.failed),
        }


async def priority_bands(reader: Reader, key: str) -> tuple[dict[int, int], bool]:
    """Read the priorities of delayed jobs in their order.

    Args:
        key: of the sorted set of delayed jobs.

    Returns:
        By the score at which the band of a priority begins, how many of its jobs only wait for their turn; and
        whether these are all: there may be too many, or some that cannot be read.
    """
    start, bands = PRIORITY_STEP, dict[int, int]()
    for _ in range(_MOST_BANDS):
        first = await reader.read_one("ZRANGEBYSCORE", key, start, "+inf", "WITHSCORES", "LIMIT", 0, 1)
        found = pairs(first)
        if not found:
            return bands, not failed(first)
        band = integer(found[0][1]) // PRIORITY_STEP * PRIORITY_STEP
        bands[band] = integer(await reader.read_one("ZCOUNT", key, band, band))
        start = band + PRIORITY_STEP
    return bands, False


def metrics_points(minutes: Iterable[tuple[int, int, int]]) -> tuple[MetricsPoint, ...]:
    """Make points of minutes in which jobs ended, given by start (epoch ms), jobs, and sum of their run times (ms)."""
    return tuple(
        MetricsPoint(at=at, count=jobs, avg_ms=(2 * spent_ms + jobs) // (2 * jobs))
        for minute, jobs, spent_ms in minutes
        if jobs > 0 and (at := from_epoch_ms(minute)) is not None
    )


async def read_metrics(reader: Reader, queue: str, kind: str, minutes: int) -> Metrics:
    """Read jobs per minute of the last `minutes`, the running one too; fields are read by name."""
    one_of("completed", "failed")(kind, "kind")
    whole(1, 1440)(minutes, "minutes")
    keys = reader.keys(queue)
    current = reader.now_ms() // _MINUTE_MS * _MINUTE_MS
    buckets = [current - i * _MINUTE_MS for i in range(minutes - 1, -1, -1)]
    fields = [f"m:{bucket}:{part}" for bucket in buckets for part in "cd"]
    total, values = await reader.read(
        [("ZCARD", f"{keys.root}:{kind}"), ("HMGET", keys.metrics(kind), *fields)]
    )
    sums = [] if failed(values) else sliced(values, 2)
    points = metrics_points(
        (bucket, integer(jobs), integer(spent)) for bucket, (jobs, spent) in zip(buckets, sums, strict=False)
    )
    return Metrics(count=integer(None if failed(total) else total), points=points)
