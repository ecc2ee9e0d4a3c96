"""What jobs have spent, by model, flow and job: those that ended lately, newest first, and how far that looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from glidemq_core.ai.usage.ledger import attempts_of
from glidemq_core.ai.usage.summary import UsageSum
from glidemq_core.options.fields import EPOCH, from_epoch_ms
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records import Attempt, Usage, UsageGroup, UsageGroups
from glidemq_core.records.outcomes import UsageKey
from glidemq_core.records.usage import STORED_USAGE, decode_usage
from glidemq_core.wire.replies import as_text, failed, items

from .ended import Ended, newest_ended, read_once, with_ledgers

#: Attempts that are read of a job, the newest.
_ATTEMPTS = 50
_FIELDS = ("name", "parentId", "parentQueue", *STORED_USAGE)
#: Levels of a flow that are walked up to its root.
_LEVELS = 12
_WASTED = frozenset(("failed", "lost"))


@dataclass(frozen=True, slots=True)
class SpentJob:
    """What a job that has ended reported, attempt by attempt where that was kept."""

    ref: JobRef
    ended_ms: int
    name: str
    reports: tuple[tuple[Usage, bool], ...]
    """Each report, and whether it was for nothing: the attempt failed or was lost."""
    parent: JobRef | None


KnownSpending = dict[Ended, SpentJob]


@dataclass(slots=True)
class Spending:
    """The usage of one group of jobs."""

    used: UsageSum
    wasted: float | None = None


async def read_spent(
    reader: Reader, queues: Sequence[str], since_ms: int, limit: int, known: KnownSpending
) -> tuple[list[SpentJob], bool]:
    """Read the jobs of queues that ended since a moment (epoch ms); return them and whether these are all.

    Args:
        limit: jobs that are read at most, the newest of all queues.
        known: what an earlier call read; a job that ended then is not read again.
    """
    refs, complete = await newest_ended(reader, queues, ("completed", "failed"), since_ms, limit)
    return await read_once(refs, known, partial(_read, reader)), complete


async def _read(reader: Reader, wanted: Sequence[Ended]) -> dict[Ended, SpentJob]:
    return {
        one: _spent(*one, fields, ledger)
        async for one, fields, ledger in with_ledgers(reader, wanted, _FIELDS, 2 * _ATTEMPTS)
    }


def _spent(ref: JobRef, at_ms: int, fields: dict[str, bytes], ledger: Any) -> SpentJob:
    attempts = attempts_of(items(ledger), "completed") if not failed(ledger) else []
    reports = [(_usage(one), one.outcome in _WASTED) for one in attempts]
    latest = decode_usage(fields)
    if not any(usage != Usage() for usage, _ in reports):
        reports = [(latest, False)] if latest is not None else []
    parent, queue = as_text(fields.get("parentId")), as_text(fields.get("parentQueue"))
    return SpentJob(
        ref=ref,
        ended_ms=at_ms,
        name=as_text(fields.get("name")),
        reports=tuple(reports),
        parent=JobRef(queue, parent) if parent and queue else None,
    )


def _usage(one: Attempt) -> Usage:
    return Usage(
        model=one.model,
        provider=one.provider,
        tokens=one.tokens,
        total_tokens=one.total_tokens,
        costs=one.costs,
        total_cost=one.total_cost,
        cost_unit=one.cost_unit,
    )


# --- groups ------------------------------------------------------------------------------------------------

#: Names the group of a job, or of one of its reports.
KeyOf = Callable[[SpentJob, Usage], str | None]


def by_model(_job: SpentJob, usage: Usage) -> str | None:
    return usage.model


def by_job(job: SpentJob, _usage: Usage) -> str | None:
    return str(job.ref)


def by_queue(job: SpentJob, _usage: Usage) -> str | None:
    return job.ref.queue


def gather(jobs: Iterable[SpentJob], key_of: KeyOf) -> dict[str, Spending]:
    """Add up what jobs reported, group by group; reports without a group are left out."""
    groups: dict[str, Spending] = {}
    for job in jobs:
        mine: dict[str, list[tuple[Usage, bool]]] = {}
        for usage, wasted in job.reports:
            if (key := key_of(job, usage)) is not None:
                mine.setdefault(key, []).append((usage, wasted))
        for key, reports in mine.items():
            group = groups.setdefault(key, Spending(UsageSum()))
            group.used.add_job(usage for usage, _ in reports)
            for usage, wasted in reports:
                if wasted and usage.total_cost:
                    group.wasted = (group.wasted or 0.0) + usage.total_cost
    return groups


async def roots_of(reader: Reader, jobs: Sequence[SpentJob]) -> dict[JobRef, JobRef]:
    """Return the root of the flow of each job that is part of one, the root's own included."""
    above: dict[JobRef, JobRef | None] = {job.ref: job.parent for job in jobs}
    for _ in range(_LEVELS):
        missing = sorted({parent for parent in above.values() if parent is not None and parent not in above})
        if not missing:
            break
        above.update(await _parents(reader, missing))
    tops = {ref: _top(ref, above) for ref in above}
    parents = {parent for parent in above.values() if parent is not None}
    return {ref: top for ref, top in tops.items() if top != ref or ref in parents}


def _top(ref: JobRef, above: dict[JobRef, JobRef | None]) -> JobRef:
    for _ in range(_LEVELS):
        parent = above.get(ref)
        if parent is None:
            break
        ref = parent
    return ref


async def _parents(reader: Reader, refs: Sequence[JobRef]) -> dict[JobRef, JobRef | None]:
    answers = await reader.read(
        [("HMGET", reader.keys(ref.queue).job(ref.id), "parentId", "parentQueue") for ref in refs]
    )
    found: dict[JobRef, JobRef | None] = {}
    for ref, answer in zip(refs, answers, strict=True):
        job_id, queue = ("", "") if failed(answer) else map(as_text, answer)
        found[ref] = JobRef(queue, job_id) if job_id and queue else None
    return found


async def read_usage_groups(
    reader: Reader,
    queues: Sequence[str],
    by: UsageKey,
    *,
    since_ms: int,
    limit: int,
    top: int,
    known: KnownSpending,
) -> UsageGroups:
    """Add up what the jobs that ended since a moment have spent. See `Watch.usage_by`."""
    at = reader.now()
    jobs, complete = await read_spent(reader, queues, since_ms, limit, known)
    if by == "flow":
        roots = await roots_of(reader, jobs)
        groups = gather(jobs, lambda job, _: str(roots[job.ref]) if job.ref in roots else None)
    else:
        groups = gather(jobs, {"queue": by_queue, "model": by_model, "job": by_job}[by])
    records = [
        UsageGroup(key=key, wasted_cost=group.wasted, **group.used.totals())
        for key, group in groups.items()
        if group.used
    ]
    records.sort(key=lambda group: (-group.total_cost, -group.total_tokens, group.key))
    return UsageGroups(
        by=by,
        groups=tuple(records[:top]),
        jobs_read=len(jobs),
        complete=complete,
        start_at=from_epoch_ms(since_ms) or EPOCH,
        at=at,
    )
