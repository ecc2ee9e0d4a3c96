"""A queue in memory, for tests that want neither a server nor time to pass."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from ..installed import package_version
from ..jobs.snapshot import DataT, ResultT
from ..options.fields import UNSET, Duration, Instant, Unset, queue_name, some_text
from ..options.job import Budget, JobOptions, JobRef, JobTemplate
from ..options.types import Actor, JobIdLike, id_in
from ..records import (
    Decision,
    FlowBudget,
    FlowUsage,
    SignalResult,
    SuspendInfo,
    UsageSummary,
    VectorHit,
    WorkerInfo,
)
from ..records.decoding import decode_suspend
from ..records.outcomes import FinalState
from ..schedules.definition import define
from ..schedules.entry import SchedulerEntry
from ..search.schema import Field, VectorField
from ..wire.keys import NO_DEADLINE
from ..wire.serializer import JSON_SERIALIZER, Serializer
from .budgets import MemoryBudget
from .entries import Entry, now_ms
from .figures import sum_of, summarize
from .jobs import RecordedJob, decision_signal
from .schedules import MemorySchedules
from .store import JobStore
from .vectors import MemoryIndexes


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker tells its queue of itself."""

    id: str
    concurrency: int
    started_ms: int
    active_jobs: Callable[[], int]

    def info(self, queue: str) -> WorkerInfo:
        """Return what `Queue.get_workers` would tell."""
        seen_ms = now_ms()
        return WorkerInfo(
            queue=queue,
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=datetime.fromtimestamp(self.started_ms / 1_000, UTC),
            age_ms=seen_ms - self.started_ms,
            active_jobs=self.active_jobs(),
            language="python",
            version=package_version(),
            concurrency=self.concurrency,
            paused=False,
            seen_at=datetime.fromtimestamp(seen_ms / 1_000, UTC),
            jobs=(),
        )


class TestQueue(JobStore[DataT, ResultT]):
    """The calls of `Queue` that a test of an application needs, on jobs in memory.

    Jobs run in the order in which they were added: `priority`, `lifo`, ordering keys, `timeout` and the wait of a
    backoff are accepted and change nothing. A job with a `delay` counts as delayed until a worker takes it, which it
    does without waiting. There are no flows, limits, audit or dead letters: for those, and for
    whatever happens between processes, use the fixture `glidemq_queue`.

    Args:
        name: as of `Queue`.
        serializer: data and results go through it, as on the wire.
    """

    __test__ = False

    def __init__(self, name: str, *, serializer: Serializer = JSON_SERIALIZER) -> None:
        super().__init__(name, serializer=serializer)
        #: Workers that have started and not closed.
        self.workers: dict[str, WorkerFacts] = {}
        self._schedules = MemorySchedules()
        self._ticking: asyncio.Task[None] | None = None
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._budgets: dict[str, MemoryBudget] = {}
        self._indexes = MemoryIndexes()
        _open_queues.add(self)

    async def close(self) -> None:
        """Take no more jobs, make none and end no suspension; twice is fine."""
        await super().close()
        _open_queues.discard(self)
        for timer in self._deadlines.values():
            timer.cancel()
        self._stop_ticking()

    # Suspended jobs ------------------------------------------------------------------------------------------

    async def signal(self, job_id: JobIdLike, name: str, data: Any | Unset = UNSET) -> SignalResult:
        """Send a signal to a suspended job; it goes on."""
        said = "" if data is UNSET else data
        return await self._resume(job_id, {"name": name, "data": said, "receivedAt": now_ms()})

    async def approve(
        self, job_id: JobIdLike, *, actor: Actor, data: Any | Unset = UNSET, comment: str | None = None
    ) -> Decision:
        """Approve a suspended job, with an edited payload if `data` is given."""
        return await self._decide("approve", job_id, actor, data, comment=comment)

    async def reject(
        self, job_id: JobIdLike, *, actor: Actor, reason: str, data: Any | Unset = UNSET
    ) -> Decision:
        """Reject a suspended job."""
        return await self._decide("reject", job_id, actor, data, comment=reason, reason=reason)

    async def get_suspend_info(self, job_id: JobIdLike) -> SuspendInfo | None:
        """Return why and until when a job is suspended; None if it is not."""
        entry = self.entries.get(id_in(self.name, job_id))
        if entry is None or entry.state != "suspended":
            return None
        timeout_ms = int(entry.fields["suspendTimeout"])
        deadline = int(entry.fields["suspendedAt"]) + timeout_ms if timeout_ms else NO_DEADLINE
        return decode_suspend(entry.fields, deadline)

    async def get_suspended_jobs(self, start: int = 0, end: int = -1) -> list[RecordedJob]:
        """Return the suspended jobs, oldest first."""
        return await self.get_jobs("suspended", start, end)

    async def _decide(
        self,
        action: Literal["approve", "reject"],
        job_id: JobIdLike,
        actor: Actor,
        data: Any,
        **more: str | None,
    ) -> Decision:
        found = id_in(self.name, job_id)
        entry, at_ms = self.entries.get(found), now_ms()
        outcome = "not_found"
        if entry is not None:
            signal = decision_signal(action, entry.fields["data"].decode(), data, actor.by, at_ms)
            signal["data"] |= more
            result = await self._resume(found, signal)
            outcome = "sent" if result else result.outcome
            if result and data is not UNSET:
                entry.steps.clear()
        return Decision(
            queue=self.name,
            id=found,
            action=action,
            ok=outcome == "sent",
            outcome=outcome,  # type: ignore[arg-type]  # one of a decision's words
            signal=action,
            by=actor.by,
            at=datetime.fromtimestamp(at_ms / 1_000, UTC),
        )

    async def _resume(self, job_id: JobIdLike, signal: dict[str, Any]) -> SignalResult:
        found = id_in(self.name, job_id)
        entry = self.entries.get(found)
        if entry is None:
            return SignalResult(outcome="not_found")
        if entry.state != "suspended":
            return SignalResult(outcome="not_suspended")
        if timer := self._deadlines.pop(found, None):
            timer.cancel()
        received = json.loads(entry.fields.get("signals", b"[]"))
        entry.put(signals=json.dumps([*received, signal]))
        await self.put_back(found)
        return SignalResult(outcome="resumed")

    def suspend(self, job_id: str, reason: str, timeout_ms: int) -> None:
        """Let a job wait for a signal; it fails at the end of its time, whether a worker is there or not."""
        self.entries[job_id].put(
            state="suspended", suspendedAt=now_ms(), suspendReason=reason, suspendTimeout=timeout_ms
        )
        if timeout_ms:
            loop = asyncio.get_running_loop()
            self._deadlines[job_id] = loop.call_later(timeout_ms / 1_000, self._expire, job_id)

    def _expire(self, job_id: str) -> None:
        self._deadlines.pop(job_id, None)
        entry = self.entries.get(job_id)
        if entry is not None and entry.state == "suspended":
            self.end(job_id, "failed", failedReason="Suspend timeout exceeded")
            entry.fields["processedOn"] = entry.fields["finishedOn"]

    # Workers and schedulers ----------------------------------------------------------------------------------

    async def get_workers(self) -> list[WorkerInfo]:
        """Return the workers that have started and not closed, oldest first."""
        return [worker.info(self.name) for worker in self.workers.values()]

    def attach(self, worker_id: str, facts: WorkerFacts) -> None:
        """A worker has started; schedulers make jobs while there is one."""
        self.workers[worker_id] = facts
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._schedules.run(self._make_job))

    def detach(self, worker_id: str) -> None:
        """A worker has closed."""
        self.workers.pop(worker_id, None)
        if not self.workers:
            self._stop_ticking()

    def _stop_ticking(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def _make_job(self, name: str, entry: SchedulerEntry, waited_for: bool) -> None:
        template = entry.template or JobTemplate()
        data: Any = {} if template.data is None else template.data
        # As on a server: what decides when, where and as which job it is added does not count.
        options = replace(
            template.options or JobOptions(),
            job_id=None,
            delay=0,
            deduplication=None,
            parent=None,
            ordering=None,
            cost=None,
        )
        added = await self.add(template.name or name, data, options=options)
        if added is not None and waited_for:
            self.entries[added.id].put(schedulerName=name)

    def end(self, job_id: str, state: FinalState, **words: object) -> None:
        super().end(job_id, state, **words)
        if name := self.entries[job_id].fields.get("schedulerName"):
            self._schedules.job_ended(name.decode())

    async def upsert_job_scheduler(
        self,
        name: str,
        *,
        pattern: str | None = None,
        every: Duration | None = None,
        repeat_after_complete: Duration | None = None,
        tz: str | None = None,
        start_date: Instant | None = None,
        end_date: Instant | None = None,
        limit: int | None = None,
        template: JobTemplate | None = None,
    ) -> SchedulerEntry:
        """Set a scheduler, checked as by `Queue`; it makes jobs in real time while a worker has started."""
        definition = define(
            pattern=pattern,
            every=every,
            repeat_after_complete=repeat_after_complete,
            tz=tz,
            start_date=start_date,
            end_date=end_date,
            limit=limit,
            template=template,
            serializer=self.serializer,
        )
        return self._schedules.upsert(some_text(name, "name"), definition)

    async def remove_job_scheduler(self, name: str) -> bool:
        """Remove a scheduler, not its jobs; False when there is none."""
        return self._schedules.remove(name)

    async def get_job_scheduler(self, name: str) -> SchedulerEntry | None:
        """Return a scheduler; None when there is none."""
        return self._schedules.get(name)

    async def get_job_schedulers(self) -> dict[str, SchedulerEntry]:
        """Return all schedulers by name."""
        return self._schedules.all()

    # Usage and budgets ---------------------------------------------------------------------------------------

    async def get_flow_usage(self, job_id: JobIdLike) -> FlowUsage:
        """Add up what a job and its children have reported: jobs added with `parent=` in any open `TestQueue`."""
        found = id_in(self.name, job_id)
        ref, own = JobRef(self.name, found), self.entries.get(found)
        everywhere = [entry for queue in _open_here() for entry in queue.entries.values()]
        below = [entry for entry in everywhere if entry.options.parent == ref]
        return FlowUsage(**sum_of([*([own] if own is not None else []), *below]).totals())

    async def get_usage_summary(
        self,
        *,
        window: Duration = 3_600_000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        queues: Iterable[str] | None = None,
    ) -> UsageSummary:
        """Add up what the jobs of open `TestQueue`s, or of those named, have reported within a span."""
        wanted = None if queues is None else {queue_name(name) for name in queues}
        chosen = [queue for queue in _open_here() if wanted is None or queue.name in wanted]
        by_name: dict[str, list[Entry]] = {}
        for queue in chosen:
            by_name.setdefault(queue.name, []).extend(queue.entries.values())
        return summarize(by_name.items(), window, start_time, end_time)

    async def set_budget(self, flow_id: JobIdLike, budget: Budget, *, jobs: Iterable[JobIdLike] = ()) -> None:
        """Give a flow a budget of which nothing is used; what an earlier one had parked goes on.

        Args:
            flow_id: a job; it need not exist. It draws on the budget, and so do jobs added with it as `parent=`.
            jobs: more jobs that do.
        """
        flow = id_in(self.name, flow_id)
        before = self._budgets.get(flow)
        self._budgets[flow] = MemoryBudget(budget, (id_in(self.name, job) for job in jobs))
        for job_id in [] if before is None else before.parked:
            if job_id in self.entries:
                await self.put_back(job_id)

    async def get_flow_budget(self, flow_id: JobIdLike) -> FlowBudget | None:
        """Return the budget of a flow, what is used and what is left; None when it has none."""
        flow = id_in(self.name, flow_id)
        budget = self._budgets.get(flow)
        return None if budget is None else budget.shown(JobRef(self.name, flow))

    def budget_of(self, job_id: str) -> tuple[JobRef, MemoryBudget] | None:
        """Return the budget on which a job draws, with its flow."""
        parent = self.entries[job_id].options.parent
        for flow, budget in self._budgets.items():
            ref = JobRef(self.name, flow)
            if job_id == flow or job_id in budget.jobs or parent == ref:
                return ref, budget
        return None

    # Search --------------------------------------------------------------------------------------------------

    async def create_job_index(
        self,
        name: str | None = None,
        *,
        vector_field: VectorField | None = None,
        fields: Sequence[Field] = (),
    ) -> None:
        """Create a search index, named `<queue>-idx` unless said otherwise. Raises InvalidOptionError."""
        self._indexes.create(name or f"{self.name}-idx", fields, vector_field)

    async def drop_job_index(self, name: str | None = None) -> None:
        """Drop an index; jobs and their vectors stay. Raises IndexNotFoundError."""
        self._indexes.drop(name or f"{self.name}-idx")

    async def vector_search(
        self, embedding: Any, *, k: int = 10, filter: str = "*", index_name: str | None = None
    ) -> list[VectorHit]:
        """Find the `k` jobs whose vectors are nearest, nearest first. Raises IndexNotFoundError, InvalidOptionError."""
        hits = self._indexes.nearest(index_name or f"{self.name}-idx", embedding, k, filter, self.entries)
        return [VectorHit(job=self.job_of(hit.job_id), score=hit.score) for hit in hits]


#: What is not closed: usage is added up over all queues.
_open_queues: weakref.WeakSet[TestQueue[Any, Any]] = weakref.WeakSet()


def _open_here() -> list[TestQueue[Any, Any]]:
    """Queues of this event loop, so of this test: those of an earlier one may have been left open."""
    loop = asyncio.get_running_loop()
    return [queue for queue in _open_queues if queue.loop is loop]
