"""How a queue is: counts, metrics, workers, whether it exists."""

from __future__ import annotations

from ..errors import ServerError
from ..options.fields import integer, one_of
from ..reading.counts import SnapshotReply, metrics_points
from ..records import JobCounts, Metrics
from ..records.outcomes import FinalState
from ..server.context import QueueContext
from ..wire.numbers import to_int


async def get_job_counts(context: QueueContext) -> JobCounts:
    """Count jobs by state, in one call whose cost does not grow with them.

    `prioritized` is part of `delayed`; it and `group_waiting` are None where many priorities or ordering keys
    would make the sum dear, `waiting_children` always (nothing on the wire counts them).
    """
    reply = SnapshotReply(*(await context.read("snapshot", context.now_ms(), 1, ""))[1:])
    if reply.bad:
        spoilt = ", ".join(sorted({f"{context.keys.root}:{key.decode()}" for key in reply.bad}))
        raise ServerError(
            f"queue '{context.queue}' holds keys of another type: {spoilt}",
            hint="something else uses these names; choose another prefix",
            command="FCALL_RO",
            code="WRONGTYPE",
        )
    return JobCounts(**reply.counts())


async def count(context: QueueContext) -> int:
    """Length of the stream: FIFO jobs that wait or run."""
    return int(await context.connection.command("XLEN", context.keys.stream))


async def exists(context: QueueContext) -> bool:
    """Whether anything that makes up a queue is there."""
    return bool(await context.connection.command("EXISTS", *context.keys.signs()))


async def get_metrics(context: QueueContext, kind: FinalState, start: int = 0, end: int = -1) -> Metrics:
    """Read jobs per minute; see `Queue.get_metrics`."""
    one_of("completed", "failed")(kind, "kind")
    start, end = integer(start, "start"), integer(end, "end")
    total, stored = await context.gather(
        ("ZCARD", f"{context.keys.root}:{kind}"), ("HGETALL", context.keys.metrics(kind))
    )
    minutes: dict[int, dict[str, int]] = {}
    for name, value in (stored or {}).items():
        mark, _, rest = name.decode("utf-8", "replace").partition(":")
        minute, _, what = rest.partition(":")
        if mark == "m" and minute.isdigit() and what in ("c", "d"):
            minutes.setdefault(int(minute), {})[what] = to_int(value)
    points = metrics_points(
        (minute, sums.get("c", 0), sums.get("d", 0)) for minute, sums in sorted(minutes.items())
    )
    first = max(0, len(points) + start) if start < 0 else start
    last = len(points) + end if end < 0 else end
    return Metrics(count=int(total or 0), points=points[first : last + 1])
