"""Figures of queues in memory: jobs by minute, and usage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ..ai.usage.summary import BUCKET_MS, UsageSum, usage_span
from ..options.fields import EPOCH, Duration, Instant, from_epoch_ms
from ..reading.counts import metrics_points
from ..records import Metrics, Totals, UsageSummary
from ..records.usage import decode_usage
from ..wire.numbers import to_int
from .entries import Entry, now_ms


class EndsByMinute:
    """How many jobs ended in which minute, and how long they ran."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, kind: str, at_ms: int, ran_ms: int) -> None:
        """Count the end of a job."""
        sums = self._sums[kind, at_ms // BUCKET_MS * BUCKET_MS]
        sums[0] += 1
        sums[1] += max(0, ran_ms)

    def metrics(self, kind: str, total: int, start: int, end: int) -> Metrics:
        """Return the minutes at places `start`..`end`, as `Queue.get_metrics`."""
        minutes = sorted((minute, *sums) for (what, minute), sums in self._sums.items() if what == kind)
        points = metrics_points((minute, count, ran) for minute, count, ran in minutes)
        first = max(0, len(points) + start) if start < 0 else start
        last = len(points) + end if end < 0 else end
        return Metrics(count=total, points=points[first : last + 1])


def sum_of(entries: Iterable[Entry]) -> UsageSum:
    """Add up what jobs have reported."""
    total = UsageSum()
    for entry in entries:
        usage = decode_usage(entry.fields)
        if usage is not None:
            total.add_job([usage])
    return total


def summarize(
    queues: Iterable[tuple[str, Iterable[Entry]]],
    window: Duration,
    start_time: Instant | None,
    end_time: Instant | None,
) -> UsageSummary:
    """Add up what the jobs of queues have reported within a span, as `Queue.get_usage_summary`."""
    start, end = usage_span(now_ms(), window, start_time, end_time)
    span = range(start // BUCKET_MS * BUCKET_MS, end + 1)
    total, per_queue = UsageSum(), dict[str, Totals]()
    for name, entries in sorted(queues, key=lambda queue: queue[0]):
        mine = sum_of(e for e in entries if to_int(e.fields.get("usage:bucketTs")) in span)
        if mine:
            total.add(mine)
            per_queue[name] = Totals(**mine.totals())
    return UsageSummary(
        start_at=from_epoch_ms(start) or EPOCH,
        end_at=from_epoch_ms(end) or EPOCH,
        queues=tuple(per_queue),
        per_queue=per_queue,
        **total.totals(),
    )
