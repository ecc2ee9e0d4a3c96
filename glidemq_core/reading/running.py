"""Running jobs whose worker has not been heard of for longer than their lock lasts."""

from __future__ import annotations

from glidemq_core.options.job import JobOptions
from glidemq_core.records.decoding import Fields
from glidemq_core.wire.numbers import to_int
from glidemq_core.wire.replies import entries, items, text

from .reader import Reader

#: Heartbeat silence after which a job counts as stalled when it names no lock of its own, ms.
DEFAULT_LOCK_MS = 30_000
#: Fields that tell.
HEARTBEAT_FIELDS = ("state", "lastActive", "processedOn", "opts")


def is_overdue(fields: Fields, now_ms: int) -> bool:
    """Tell whether a job is active and its heartbeat is overdue: its worker has died or hangs."""
    if fields.get("state") != b"active":
        return False
    lock: int = JobOptions.from_wire(fields.get("opts")).lock_duration or DEFAULT_LOCK_MS
    return now_ms - max(to_int(fields.get("lastActive")), to_int(fields.get("processedOn"))) > lock


async def running_longest(reader: Reader, queue: str, delivered: str, most: int) -> list[str]:
    """Return ids of the jobs that have run longest, `most` from the stream and as many that came from lists.

    Args:
        delivered: the last id that the workers have read from the stream.
    """
    keys = reader.keys(queue)
    running, listed = await reader.read(
        [
            ("XRANGE", keys.stream, "-", delivered, "COUNT", most),
            ("ZRANGE", keys.list_runs, 0, most - 1),
        ]
    )
    ids = [dict(fields).get("jobId") or "" for _, fields in entries(running)]
    return [*ids, *(text(job_id) or "" for job_id in items(listed))]
