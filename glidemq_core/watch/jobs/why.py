"""Why a job is not running, and what holds a queue back: bounded reads, one round trip a source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from glidemq_core.errors import JobNotFoundError, PermissionDeniedError
from glidemq_core.flows.budgets import get_flow_budget
from glidemq_core.options.types import JobIdLike, id_in
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import DEFAULT_LOCK_MS, group_facts
from glidemq_core.records import FlowBudget, Group, JobDetail, Limits, QueueSnapshot, Rate, WorkerList
from glidemq_core.records.jobs import Blocker, Why
from glidemq_core.records.outcomes import BlockerKind
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.wire.replies import entries, failed, integer, text

from ..session import WatchSession
from .detail import read_job

#: Entries of the stream that are looked through for the place of a job.
_LOOKED_THROUGH = 5_000
#: A job that expires within this time is told so, ms.
_SOON_MS = 300_000
#: Jobs in these states start as soon as something lets them.
_READY = frozenset(("waiting", "prioritized", "group-waiting"))
_ENDED = frozenset(("completed", "failed"))


@dataclass(frozen=True, slots=True)
class _Queue:
    """What is known of the queue that a job waits in."""

    snapshot: QueueSnapshot
    limits: Limits
    workers: WorkerList
    now: datetime

    def blockers(self) -> Iterator[Blocker]:
        """Yield what holds back every job of the queue."""
        name = self.snapshot.name
        if self.snapshot.paused:
            node = any(worker.language == "node" for worker in self.workers.workers)
            words = "the queue is paused" + (", Node workers go on all the same" if node else "")
            yield Blocker(kind="queue_paused", summary=words, command=f"glidemq resume {name}")
        if not self.workers.workers and self.workers.complete:
            yield Blocker(
                kind="no_worker", summary="no worker serves the queue", command="glidemq worker APP"
            )
        yield from self._busy()
        yield from self._rates()

    def _busy(self) -> Iterator[Blocker]:
        name, cap = self.snapshot.name, self.limits.global_concurrency
        if cap.max is not None and cap.used >= cap.max:
            yield Blocker(
                kind="global_concurrency",
                summary=f"{cap.used} of {cap.max} jobs at once run in the queue",
                command=f"glidemq limits {name} --concurrency N",
            )
        slots = [worker.concurrency for worker in self.workers.workers]
        # Registrations are some seconds old.
        running = max(self.snapshot.active, sum(worker.active_jobs for worker in self.workers.workers))
        if slots and None not in slots and running >= sum(slot or 0 for slot in slots):
            yield Blocker(
                kind="workers_busy",
                summary=f"all {running} slots of {len(slots)} worker{'s' if len(slots) > 1 else ''} are taken",
            )
        if slots and all(worker.paused for worker in self.workers.workers):
            yield Blocker(kind="workers_busy", summary="every worker of the queue is paused")

    def _rates(self) -> Iterator[Blocker]:
        name = self.snapshot.name
        for kind, rate, what in (("rpm", self.limits.rpm, "starts"), ("tpm", self.limits.tpm, "tokens")):
            if not _is_full(rate):
                continue
            by_worker = kind == "rpm" and rate.source == "worker"
            window = f"{(rate.window_ms or 0) / 1_000:g} s"
            yield Blocker(
                kind="rate_limited_by_worker" if by_worker else "rpm" if kind == "rpm" else "tpm",
                summary=f"{rate.used:g} of {rate.max:g} {what} in {window} are used",
                clears_at=rate.resets_at,
                command=None if rate.source == "worker" else f"glidemq limits {name} --rpm N",
            )


def _is_full(rate: Rate) -> bool:
    return rate.used is not None and bool(rate.max) and rate.used >= (rate.max or 0)


async def read_why(session: WatchSession, queue: str, job: JobIdLike | None) -> Why:
    """Tell why a job is not running, or without one what holds back the queue as a whole.

    Raises:
        JobNotFoundError: there is no such job.
        InvalidOptionError: it is a job of another queue.
    """
    if job is not None:
        return await _why_job(session, queue, id_in(queue, job))
    found = await _read_queue(session, queue)
    blockers = tuple(found.blockers())
    return Why(queue=queue, job=None, state=None, blockers=blockers, ahead=None, at=found.now)


async def _why_job(session: WatchSession, queue: str, job_id: str) -> Why:
    job, found = await asyncio.gather(
        read_job(session.reader, queue, job_id, payload_limit=0), _read_queue(session, queue)
    )
    if job is None:
        raise session.context(queue).missing(job_id)
    ahead = await _ahead(session.reader, job) if job.state in ("waiting", "prioritized") else None
    budget = await _budget(session, job)
    blockers = [*_own(job, found, budget)]
    if job.state in _READY:
        blockers += found.blockers()
        blockers += _order(job, found, ahead)
    elif job.state == "delayed":
        blockers += [one for one in found.blockers() if one.kind in ("queue_paused", "no_worker")]
    return Why(queue=queue, job=job.ref, state=job.state, blockers=tuple(blockers), ahead=ahead, at=found.now)


async def _read_queue(session: WatchSession, queue: str) -> _Queue:
    fleet, [limits], workers = await asyncio.gather(
        session.snapshot([queue]), session.limits.read([queue]), session.workers.read([queue], brief=False)
    )
    return _Queue(fleet.queues[0], limits, workers, session.reader.now())


async def _budget(session: WatchSession, job: JobDetail) -> FlowBudget | None:
    if job.budget is None:
        return None
    with suppress(PermissionDeniedError, JobNotFoundError):
        return await get_flow_budget(session.context(job.budget.queue), job.budget.id)
    return None


def _own(job: JobDetail, found: _Queue, budget: FlowBudget | None) -> Iterator[Blocker]:
    """Yield what holds back this job alone."""
    if job.state in _ENDED:
        words = f"it has {job.state}" + (f": {job.failed_reason}" if job.failed_reason else "")
        retry = f"glidemq retry {job.ref}" if job.state == "failed" else None
        yield Blocker(kind="ended", summary=words, since_at=job.finished_at, command=retry)
    elif job.state == "active":
        yield _running(job, found.now, found.workers.takeovers.get(job.queue))
    elif job.state == "suspended" and job.suspend is not None:
        reason = f": {job.suspend.reason}" if job.suspend.reason else ""
        yield Blocker(
            kind="suspended",
            summary=f"it waits for a signal or an approval{reason}",
            since_at=job.suspend.suspended_at,
            clears_at=job.suspend.deadline_at,
            command=f"glidemq review {job.ref}",
        )
    elif job.state == "waiting-children":
        yield from _children(job)
    elif job.state == "delayed":
        yield _delayed(job, budget)
    if job.state not in _ENDED and budget is not None and budget.exceeded and not job.parked:
        yield Blocker(
            kind="budget_exceeded",
            summary=f"the budget of flow {budget.flow} is used up: {_exceeded(budget)}; it "
            + ("will be parked" if budget.on_exceeded == "pause" else "will fail")
            + " when it starts",
            command=f"glidemq budget {budget.flow} --add-tokens N",
        )
    if job.expires_at is not None and job.state not in (*_ENDED, "active"):
        left = job.expires_at - found.now
        if left <= timedelta(milliseconds=_SOON_MS):
            yield Blocker(kind="expired_soon", summary="it expires soon", clears_at=job.expires_at)


def _running(job: JobDetail, now: datetime, takeover: datetime | None) -> Blocker:
    beat = max((at for at in (job.last_active_at, job.processed_at) if at is not None), default=None)
    if job.stalled:
        lock = timedelta(milliseconds=job.options.lock_duration or DEFAULT_LOCK_MS)
        return Blocker(
            kind="stalled",
            summary="its worker has died or hangs: the heartbeat is overdue; another worker takes it over",
            since_at=None if beat is None else beat + lock,
            clears_at=takeover,
            command=f"glidemq doctor {job.queue}",
        )
    last = f", its last heartbeat came {max(0, (now - beat).total_seconds()):.0f} s ago" if beat else ""
    if job.stream.last_id is not None:
        chunk_ms = integer(job.stream.last_id.partition("-")[0])
        last += f", its last chunk {max(0.0, now.timestamp() - chunk_ms / 1_000):.0f} s ago"
    return Blocker(kind="running", summary=f"it is running{last}", since_at=job.processed_at)


def _delayed(job: JobDetail, budget: FlowBudget | None) -> Blocker:
    if job.parked:
        flow = job.budget or job.ref
        words = _exceeded(budget) if budget is not None else "its cap is reached"
        return Blocker(
            kind="budget_parked",
            summary=f"the budget of flow {flow} is used up: {words}",
            command=f"glidemq budget {flow} --add-tokens N",
        )
    if job.attempts_made:
        reason = f": {job.failed_reason}" if job.failed_reason else ""
        return Blocker(
            kind="backoff",
            summary=f"attempt {job.attempts_made} of {max(job.max_attempts, 1)} failed{reason}",
            clears_at=job.due_at,
            command=f"glidemq promote {job.ref}",
        )
    return Blocker(
        kind="delayed",
        summary="it was added with a delay, or put off by its processor",
        since_at=job.created_at,
        clears_at=job.due_at,
        command=f"glidemq promote {job.ref}",
    )


def _exceeded(budget: FlowBudget) -> str:
    """Say which cap is reached."""
    if budget.max_total_tokens is not None and budget.used_tokens >= budget.max_total_tokens:
        return f"{budget.used_tokens:g} of {budget.max_total_tokens:g} tokens"
    if budget.max_total_cost is not None and budget.used_cost >= budget.max_total_cost:
        return f"{budget.used_cost:g} of {budget.max_total_cost:g} {budget.cost_unit or 'cost'}"
    for caps, used in ((budget.max_tokens, budget.used_tokens_by), (budget.max_costs, budget.used_costs_by)):
        for category, cap in caps.items():
            if used.get(category, 0) >= cap:
                return f"{used.get(category, 0):g} of {cap:g} {category}"
    return "a cap is reached"


def _children(job: JobDetail) -> Iterator[Blocker]:
    waiting = [child for child in job.children if child.state != "completed"]
    dead = [child for child in waiting if child.state in ("failed", "unknown")]
    chosen = dead or waiting
    named = ", ".join(f"{child.queue}:{child.id} ({child.state})" for child in chosen[:5])
    more = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    if dead:
        yield Blocker(
            kind="children",
            summary=f"it waits for ever for children that failed or are gone: {named}{more}",
            command=f"glidemq retry {dead[0].queue}:{dead[0].id}",
        )
    else:
        yield Blocker(kind="children", summary=f"it waits for its children: {named}{more}".rstrip(": "))


def _order(job: JobDetail, found: _Queue, ahead: int | None) -> Iterator[Blocker]:
    """Yield what of the order of jobs holds this one back."""
    group = next((one for one in found.limits.groups if one.key == job.ordering_key), None)
    if job.ordering_key is not None and group is not None:
        yield from _group(job, group, found)
    if ahead:
        rate = found.snapshot.completed_per_min + found.snapshot.failed_per_min
        clears = found.now + timedelta(minutes=ahead / rate) if rate > 0 else None
        yield Blocker(
            kind="ahead",
            summary=f"{ahead} job{'s' if ahead > 1 else ''} start before it",
            clears_at=clears,
        )


def _group(job: JobDetail, group: Group, found: _Queue) -> Iterator[Blocker]:
    key = group.key
    if group.max_concurrency is not None and group.active >= group.max_concurrency:
        held = found.snapshot.active + found.snapshot.suspended + (found.snapshot.delayed or 0)
        nobody = held + (found.snapshot.waiting_children or 0) == 0
        kind: BlockerKind = "group_blocked" if nobody else "group_concurrency"
        yield Blocker(
            kind=kind,
            summary=f"{group.active} of {group.max_concurrency} slots of ordering key '{key}' are taken"
            + (", but no job holds them" if nobody else ""),
            command=f"glidemq doctor {job.queue} --repair" if nobody else None,
        )
    if group.resume_at is not None or (group.rate is not None and _is_full(group.rate)):
        yield Blocker(
            kind="group_rate",
            summary=f"ordering key '{key}' is held back by its rate",
            clears_at=group.resume_at or (group.rate.resets_at if group.rate else None),
        )
    elif group.tokens is not None and group.tokens < (job.cost or 1):
        yield Blocker(
            kind="group_rate",
            summary=f"ordering key '{key}' has {group.tokens:g} of the {job.cost or 1:g} tokens it costs",
        )


async def _ahead(reader: Reader, job: JobDetail) -> int | None:
    """Count the jobs that start before one that is ready; None where that cannot be told cheaply."""
    keys = reader.keys(job.queue)
    if job.state == "prioritized":
        place, listed = await reader.read(
            [
                ("ZCOUNT", keys.scheduled, PRIORITY_STEP, f"({job.priority * PRIORITY_STEP}"),
                ("LLEN", keys.priority),
            ]
        )
        return None if failed(place) else integer(place) + (0 if failed(listed) else integer(listed))
    if job.lifo:
        return None
    groups = await reader.read_one("XINFO", "GROUPS", keys.stream)
    start = _after_delivered(groups)
    waiting = await reader.read_one("XRANGE", keys.stream, start, "+", "COUNT", _LOOKED_THROUGH)
    if failed(waiting):
        return None
    for place, (_, fields) in enumerate(entries(waiting)):
        if dict(fields).get("jobId") == job.id:
            return place
    return None


def _after_delivered(groups: Any) -> str:
    _, delivered = group_facts(groups)
    return f"({text(delivered)}" if delivered != "0-0" else "-"
