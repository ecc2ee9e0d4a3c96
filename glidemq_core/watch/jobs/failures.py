"""Failed jobs of queues gathered by cause: the newest ones, small fields only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from glidemq_core.ai.usage.ledger import attempts_of
from glidemq_core.filters.failures import FailedJob
from glidemq_core.filters.language import Expression
from glidemq_core.options.fields import EPOCH, from_epoch_ms, whole
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records.decoding import instant
from glidemq_core.records.failures import FailureGroup, Failures, message_pattern
from glidemq_core.wire.numbers import parse_number, to_int
from glidemq_core.wire.replies import as_text, items

from .ended import Ended, newest_ended, read_once, with_ledgers

#: Members that a group names.
_SAMPLE = 10
_FIELDS = (
    *("name", "state", "failedReason", "timestamp", "attemptsMade"),
    *("usage:model", "usage:totalTokens", "usage:totalCost", "usage:costUnit"),
)


def group_of(key: str, members: Sequence[FailedJob]) -> FailureGroup:
    """Return what is told of a group whose members are given newest first."""
    newest, oldest = members[0], members[-1]
    unit = next((job.cost_unit for job in members if job.cost is not None), None)
    costs = [job.cost for job in members if job.cost is not None and job.cost_unit == unit]
    return FailureGroup(
        key=key,
        queue=newest.ref.queue,
        error_type=newest.error_type,
        message=message_pattern(newest.message, newest.ref.id),
        count=len(members),
        first_at=_time(oldest.failed_ms),
        last_at=_time(newest.failed_ms),
        models=dict(Counter(job.model for job in members if job.model is not None)),
        names=dict(Counter(job.name for job in members)),
        wasted_cost=sum(costs) if costs else None,
        sample=tuple(job.ref for job in members[:_SAMPLE]),
    )


def in_order_of_size(groups: Iterable[FailureGroup]) -> tuple[FailureGroup, ...]:
    """Sort groups, the largest first."""
    return tuple(sorted(groups, key=lambda group: (-group.count, -group.last_at.timestamp(), group.key)))


def _time(ms: int) -> datetime:
    return from_epoch_ms(ms) or EPOCH


KnownFailures = dict[Ended, FailedJob]


async def read_failures(
    reader: Reader,
    queues: Sequence[str],
    since_ms: int,
    limit: int,
    known: KnownFailures,
    where: Expression[FailedJob] | None = None,
) -> Failures:
    """Gather the newest failed jobs of queues by cause, whatever the number of older ones.

    Args:
        since_ms: how far back to look, ms.
        limit: jobs that are read at most, the newest of all queues.
        known: what an earlier call read; a job that failed then and not since is not read again.
        where: only jobs that it takes are gathered.

    Raises:
        InvalidOptionError: `limit` is not a whole number from 1 on.
    """
    whole(1)(limit, "limit")
    at = reader.now()
    refs, complete = await newest_ended(reader, queues, ("failed",), reader.now_ms() - since_ms, limit)
    groups: dict[str, list[FailedJob]] = {}
    for job in await read_once(refs, known, partial(read_failed, reader)):
        if where is None or where.fits(job, at):
            groups.setdefault(job.key, []).append(job)
    records = in_order_of_size(group_of(key, members) for key, members in groups.items())
    return Failures(groups=records, jobs_read=len(refs), complete=complete, at=at)


async def read_failed(reader: Reader, wanted: Sequence[Ended]) -> dict[Ended, FailedJob]:
    """Read jobs that may have failed; those that have not, or are retried meanwhile, are left out."""
    return {
        one: _failed_job(*one, fields, ledger)
        async for one, fields, ledger in with_ledgers(reader, wanted, _FIELDS, 1)
        if fields.get("state") == b"failed"
    }


def _failed_job(ref: JobRef, failed_ms: int, fields: dict[str, bytes], end: Any) -> FailedJob:
    attempts = attempts_of(items(end), "failed")
    last = attempts[-1] if attempts else None
    return FailedJob(
        ref=ref,
        failed_ms=failed_ms,
        name=as_text(fields.get("name")),
        error_type=last.error_type if last is not None else None,
        message=as_text(fields.get("failedReason")),
        model=as_text(fields.get("usage:model")) or None,
        cost=parse_number(fields.get("usage:totalCost") or b""),
        cost_unit=as_text(fields.get("usage:costUnit")) or None,
        created_at=instant(fields.get("timestamp")),
        attempts_made=to_int(fields.get("attemptsMade")),
        total_tokens=parse_number(fields.get("usage:totalTokens") or b""),
    )


async def members_of(reader: Reader, queue: str, key: str, limit: int, known: KnownFailures) -> list[str]:
    """Return ids of the failed jobs of a queue that belong to a group now, newest first.

    Args:
        key: key of the group.
        limit: failed jobs that are looked at.
        known: as of `read_failures`.
    """
    refs, _ = await newest_ended(reader, [queue], ("failed",), 0, limit)
    jobs = await read_once(refs, known, partial(read_failed, reader))
    return [job.ref.id for job in jobs if job.key == key]
