"""Running jobs, and those whose heartbeat is overdue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from glidemq_core.options.job import JobOptions
from glidemq_core.records.decoding import Fields
from glidemq_core.wire.keys import WORKERS_GROUP
from glidemq_core.wire.numbers import to_int
from glidemq_core.wire.replies import as_text, entries, integer, items, pairs, text

from .reader import Reader, read_fields

#: Heartbeat silence after which a job counts as stalled when it names no lock of its own, ms.
DEFAULT_LOCK_MS = 30_000
#: Fields that tell whether a heartbeat is overdue.
HEARTBEAT_FIELDS = ("state", "lastActive", "processedOn", "opts")


def is_overdue(fields: Fields, now_ms: int) -> bool:
    """Tell whether a job is active and its heartbeat is overdue: its worker has died or hangs."""
    if fields.get("state") != b"active":
        return False
    lock: int = JobOptions.from_wire(fields.get("opts")).lock_duration or DEFAULT_LOCK_MS
    return now_ms - max(to_int(fields.get("lastActive")), to_int(fields.get("processedOn"))) > lock


async def find_overdue(reader: Reader, queue: str, ids: Sequence[str]) -> list[str]:
    """Return those of some jobs whose heartbeat is overdue."""
    now_ms = reader.now_ms()
    found = await read_fields(reader, queue, ids, HEARTBEAT_FIELDS)
    return [job_id for job_id, fields in zip(ids, found, strict=True) if is_overdue(fields, now_ms)]


async def longest_running(reader: Reader, queue: str, delivered: str, most: int) -> list[str]:
    """Return ids of the jobs that have run longest, `most` from the stream and as many that came from lists.

    Args:
        delivered: the last id that the workers have read from the stream.
    """
    keys = reader.keys(queue)
    running, indexed = await reader.read(
        [
            ("XRANGE", keys.stream, "-", delivered, "COUNT", most),
            ("ZRANGE", keys.list_runs, 0, most - 1),
        ]
    )
    ids = [dict(fields).get("jobId") or "" for _, fields in entries(running)]
    return [*ids, *(as_text(job_id) for job_id in items(indexed))]


def group_facts(reply: Any) -> tuple[int, str]:
    """Return pending count and last delivered id of the ordinary workers' group out of XINFO GROUPS."""
    for group in items(reply):
        facts = {text(key): value for key, value in pairs(group)}
        if text(facts.get("name")) == WORKERS_GROUP:
            return integer(facts.get("pending")), text(facts.get("last-delivered-id")) or "0-0"
    return 0, "0-0"


async def list_runs(
    reader: Reader,
    queue: str,
    search: Callable[[], Awaitable[Sequence[str]]],
    *,
    most: int = 0,
    newest: bool = False,
) -> tuple[list[str], int]:
    """Return ids of running jobs that came from a list, and how many are counted.

    Args:
        search: finds those that Node workers run, which no index holds; called only when the counter says
            that there are some.
        most: ids taken from the index at most; 0 for all.
        newest: whether the latest start comes first.
    """
    keys = reader.keys(queue)
    counter, indexed = await reader.read(
        [
            ("GET", keys.list_active),
            ("ZREVRANGE" if newest else "ZRANGE", keys.list_runs, 0, most - 1),
        ]
    )
    ids = [as_text(job_id) for job_id in items(indexed)]
    counted = max(0, integer(counter))
    if counted > len(ids):
        ids += [job_id for job_id in await search() if job_id not in ids]
    return ids, counted


async def pick_list_runs(reader: Reader, queue: str, ids: Sequence[str]) -> list[str]:
    """Return those of some jobs that are running and came from a list."""
    found = await read_fields(reader, queue, ids, ("state", "lifo", "priority"))
    return [
        job_id
        for job_id, fields in zip(ids, found, strict=True)
        if fields.get("state") == b"active"
        and (fields.get("lifo") == b"1" or to_int(fields.get("priority")) > 0)
    ]
