"""How a queue is: counts, metrics, workers, whether it exists."""

from __future__ import annotations

from typing import Literal

from ..errors import ServerError
from ..options.fields import integer, one_of
from ..reading.counts import SnapshotReply, metrics_points
from ..records.jobs import JobCounts
from ..records.operations import Metrics
from ..server.context import QueueContext
from ..wire.numbers import to_int


async def get_job_counts(scope: QueueContext) -> JobCounts:
    """Count jobs by state, in one call whose cost does not grow with them.

    `prioritized` is part of `delayed`; it and `group_waiting` are None where many priorities or ordering keys
    would make the sum dear, `waiting_children` always (nothing on the wire counts them).
    """
    reply = SnapshotReply(*(await scope.read("snapshot", scope.now_ms(), 1, ""))[1:])
    if reply.bad:
        spoilt = ", ".join(sorted({f"{scope.keys.root}:{key.decode()}" for key in reply.bad}))
        raise ServerError(
            f"queue '{scope.queue}' holds keys of another type: {spoilt}",
            hint="something else uses these names; choose another prefix",
            command="FCALL_RO",
            code="WRONGTYPE",
        )
    return JobCounts(**reply.counts())


async def count(scope: QueueContext) -> int:
    """Length of the stream: FIFO jobs that wait or run."""
    return int(await scope.connection.command("XLEN", scope.keys.stream))


async def exists(scope: QueueContext) -> bool:
    """Whether anything that makes up a queue is there."""
    return bool(await scope.connection.command("EXISTS", *scope.keys.signs()))


async def get_metrics(
    scope: QueueContext, kind: Literal["completed", "failed"], start: int = 0, end: int = -1
) -> Metrics:
    """Jobs per minute, oldest first, sliced `start`..`end` inclusive (negative: from the end).

    Raises InvalidOptionError.
    """
    one_of("completed", "failed")(kind, "kind")
    start, end = integer(start, "start"), integer(end, "end")
    total, stored = await scope.gather(
        ("ZCARD", f"{scope.keys.root}:{kind}"), ("HGETALL", scope.keys.metrics(kind))
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
