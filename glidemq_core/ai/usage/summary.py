"""Sum the usage of jobs, and of queues over a span of time from their minute buckets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import InvalidOptionError, PermissionDeniedError
from ...options.fields import EPOCH, Duration, Instant, from_epoch_ms, queue_name, refuse, to_epoch_ms, to_ms
from ...records import MinuteUsage, Totals, Usage, UsageSummary
from ...server.connection import Connection
from ...server.context import LazyConnection
from ...wire.keys import QueueKeys, usage_queues
from ...wire.numbers import parse_number
from ...wire.replies import as_text, readable, sliced

BUCKET_MS = 60_000
MAX_BUCKETS = 100_000
MAX_SPAN_MS = 30 * 86_400_000
_PAGE = 1_000
#: Smaller amounts are rounding errors, left where a report was added and subtracted again.
RESIDUE = 1e-12


@dataclass(slots=True)
class UsageSum:
    """Usage of several jobs, added up; `totals` gives the fields of the records."""

    job_count: int = 0
    tokens: dict[str, float] = field(default_factory=dict)
    total_tokens: float = 0
    costs: dict[str, float] = field(default_factory=dict)
    total_cost: float = 0
    models: dict[str, float] = field(default_factory=dict)
    units: dict[str, None] = field(default_factory=dict)

    def add_job(self, reports: Iterable[Usage]) -> None:
        """Add the reports of one job, several if it has several attempts; it counts once, and once a model."""
        models: dict[str, None] = {}
        counted = False
        for usage in reports:
            _add_amounts(self.tokens, usage.tokens)
            _add_amounts(self.costs, usage.costs)
            self.total_tokens += usage.total_tokens or 0
            self.total_cost += usage.total_cost or 0
            if usage.cost_unit:
                self.units[usage.cost_unit] = None
            if usage.model:
                models[usage.model] = None
            amounts = usage.tokens or usage.costs or usage.total_tokens or usage.total_cost
            counted = counted or bool(usage.model or amounts)
        self.job_count += counted
        _add_amounts(self.models, dict.fromkeys(models, 1))

    def add(self, other: UsageSum) -> None:
        """Add another sum."""
        self.job_count += other.job_count
        self.total_tokens += other.total_tokens
        self.total_cost += other.total_cost
        _add_amounts(self.tokens, other.tokens)
        _add_amounts(self.costs, other.costs)
        _add_amounts(self.models, other.models)
        self.units |= other.units

    def __bool__(self) -> bool:
        amounts = self.total_tokens or self.total_cost or self.tokens or self.costs or self.models
        return bool(self.job_count or amounts)

    def totals(self) -> dict[str, Any]:
        """Return the fields of a Totals record."""
        totals = asdict(self)
        units = tuple(totals.pop("units"))
        return {**totals, "cost_unit": units[0] if units else None, "cost_units": units}


def _add_amounts(into: dict[str, float], amounts: Any) -> None:
    """Add a map of amounts to another, category by category."""
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + amount


async def get_usage_summary(
    connection: str | Connection | None = None,
    *,
    window: Duration = 3_600_000,
    start_time: Instant | None = None,
    end_time: Instant | None = None,
    queues: Iterable[str] | None = None,
    prefix: str | None = None,
) -> UsageSummary:
    """Sum the usage reported in a span of time, of all queues of `prefix` or of those named, without a queue object.

    Spans and errors as of `Queue.get_usage_summary`.

    Args:
        connection: URL (opened for this call only), a shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix; None takes the connection's.
    """
    lazy = LazyConnection(connection, prefix, "queue", "get_usage_summary is done", "get_usage_summary")
    total = UsageSum()
    by_queue: dict[str, UsageSum] = {}
    try:
        reader = await lazy.get()
        start, end = usage_span(reader.now_ms(), window, start_time, end_time)
        async for queue, _, bucket in _buckets(reader, prefix or reader.prefix, start, end, queues):
            total.add(bucket)
            by_queue.setdefault(queue, UsageSum()).add(bucket)
    finally:
        await lazy.close()
    per_queue = {queue: Totals(**by_queue[queue].totals()) for queue in sorted(by_queue)}
    return UsageSummary(
        start_at=from_epoch_ms(start) or EPOCH,
        end_at=from_epoch_ms(end) or EPOCH,
        bucket_ms=BUCKET_MS,
        queues=tuple(per_queue),
        per_queue=per_queue,
        **total.totals(),
    )


async def get_usage_minutes(
    connection: Connection,
    *,
    window: Duration = 3_600_000,
    start_time: Instant | None = None,
    end_time: Instant | None = None,
    queues: Iterable[str] | None = None,
    prefix: str | None = None,
) -> list[MinuteUsage]:
    """Sum the usage of each minute of a span, oldest first; minutes without usage are left out."""
    start, end = usage_span(connection.now_ms(), window, start_time, end_time)
    minutes: dict[int, UsageSum] = {}
    async for _, minute, bucket in _buckets(connection, prefix or connection.prefix, start, end, queues):
        minutes.setdefault(minute, UsageSum()).add(bucket)
    found = sorted(minutes.items())
    return [MinuteUsage(at=from_epoch_ms(minute) or EPOCH, **bucket.totals()) for minute, bucket in found]


def _instant(value: Instant, option: str, message: str) -> int:
    try:
        return to_epoch_ms(value, option)
    except InvalidOptionError:
        if isinstance(value, (int, float)) or not hasattr(value, "tzinfo"):
            refuse(option, value, "epoch ms or an aware datetime", message)
        raise


def usage_span(
    now: int, window: Duration, start_time: Instant | None, end_time: Instant | None
) -> tuple[int, int]:
    """Return the first and the last moment, epoch ms."""
    end = now
    if end_time is not None:
        end = _instant(end_time, "end_time", "endTime must be a finite non-negative number")
    try:
        length = to_ms(window, "window")
    except InvalidOptionError:
        length = 0
    if length <= 0:
        refuse("window", window, "ms or a timedelta above 0", "windowMs must be a finite positive number")
    start = max(0, end - length)
    if start_time is not None:
        start = _instant(start_time, "start_time", "startTime must be a finite non-negative number")
    if start > end:
        refuse("start_time", start_time, "up to end_time", "startTime must be less than or equal to endTime")
    return max(start, end - MAX_SPAN_MS), end


async def _names(connection: Connection, prefix: str, queues: Iterable[str] | None) -> list[str]:
    if queues is not None:
        if isinstance(queues, str):
            refuse("queues", queues, "a list of names")
        return list(dict.fromkeys(queue_name(name, "queues") for name in queues))
    members = await connection.command("SMEMBERS", usage_queues(prefix))
    return sorted(name for name in map(as_text, members or ()) if name and not set(name) & set("{}:"))


async def _buckets(
    connection: Connection, prefix: str, start: int, end: int, queues: Iterable[str] | None
) -> AsyncIterator[tuple[str, int, UsageSum]]:
    """Yield queue, minute and sum of each bucket that is not empty; the minutes of both ends are included."""
    first, last = start - start % BUCKET_MS, end - end % BUCKET_MS
    minutes = range(first, last + 1, BUCKET_MS)
    names = await _names(connection, prefix, queues)
    reads = len(minutes) * len(names)
    if reads > MAX_BUCKETS:
        message = f"usage summary request exceeds maximum bucket reads ({reads} > {MAX_BUCKETS}); "
        message += "reduce queues or windowMs"
        refuse("window", reads, f"up to {MAX_BUCKETS} buckets", message)
    for name in names:
        keys = QueueKeys(prefix, name)
        for page in sliced(minutes, _PAGE):
            answers = await connection.pipeline([("HGETALL", keys.usage(minute)) for minute in page])
            for minute, answer in zip(page, answers, strict=True):
                if isinstance(answer, PermissionDeniedError):
                    break  # the user may not read this queue
                bucket = _bucket(readable(answer) or {})
                if bucket:
                    yield name, minute, bucket


def _bucket(stored: Mapping[bytes, bytes]) -> UsageSum:
    """Read a bucket; zeros and rounding errors are skipped."""
    bucket = UsageSum()
    for name, value in stored.items():
        key = as_text(name)
        if key == "costUnit":
            if unit := as_text(value):
                bucket.units[unit] = None
            continue
        amount = parse_number(value)
        if amount is None or math.fabs(amount) < RESIDUE:
            continue
        kind, colon, category = key.partition(":")
        if key == "jobCount":
            bucket.job_count = int(amount)
        elif key == "totalTokens":
            bucket.total_tokens = amount
        elif key == "totalCost":
            bucket.total_cost = amount
        elif colon and kind in ("tokens", "costs", "models"):
            getattr(bucket, kind)[category] = amount
    return bucket
