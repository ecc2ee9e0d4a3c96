"""The flows of a server: those of recent events at once, older ones by a slow search of the keys."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from glidemq_core.errors import JobNotFoundError
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.scan import scan_step
from glidemq_core.records import Flow
from glidemq_core.wire.keys import queue_of
from glidemq_core.wire.numbers import to_int
from glidemq_core.wire.replies import text

from .loader import PARENT_FIELDS, FlowLoader, Part
from .read import ENDED, FLOW_FIELDS, parents_in, read_flow
from .recent import RecentJobs

#: Roots remembered; the oldest are forgotten first.
_MOST_ROOTS = 10_000
#: Steps of the search a call, and pause between two rounds of it, s.
_STEPS = 5
_ROUND_EVERY_S = 60.0
#: Jobs of recent events that a call reads, at most.
_JOBS = 1_000
#: How long jobs that are part of no flow are remembered, s, and how many.
_ALONE_S, _MOST_ALONE = 30.0, 50_000
#: Jobs whose flow is remembered, so that an event of theirs marks it as changed.
_MOST_MEMBERS = 50_000
#: Jobs of each flow that a list reads.
_NODES = 200
#: New flows that one call reads for a caller who names those on screen, and changed ones off screen whose state
#: it reads.
_NEW_FLOWS, _UNSURE = 40, 500
#: A flow without events is read again this seldom, s: its workers may emit none, a retry does not.
#: Once all its jobs have completed, only removal is left.
_QUIET_EVERY_S, _COMPLETED_EVERY_S = 5.0, 30.0
_FIELDS = ("state", "timestamp", "budgetKey", *PARENT_FIELDS)


@dataclass(slots=True)
class _Root:
    """A job without parents, with what was last read of its flow."""

    created_ms: int
    ended: bool
    flow: Flow | None = None
    #: When the flow is to be read again, by the monotonic clock.
    due: float = 0.0


class FlowIndex:
    """Roots of flows known so far; every call reads new events and searches the keys a little further."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: One call at a time: each changes what is remembered, between its questions.
        self._reading = asyncio.Lock()
        self._roots: dict[JobRef, _Root] = {}
        #: Root of the flow that a job belongs to.
        self._members: dict[JobRef, JobRef] = {}
        self._alone: dict[JobRef, float] = {}
        #: Roots of flows that have changed since their state was read.
        self._unsure: set[JobRef] = set()
        self._recent_jobs = RecentJobs(reader)
        #: Queues of the flows that were read again last.
        self._involved: frozenset[str] = frozenset()
        self._cursors: dict[str, str] = {}
        self._round_ended: dict[str, float] = {}

    async def read(
        self, names: Sequence[str], limit: int, shown: Collection[JobRef] | None
    ) -> tuple[list[Flow], bool]:
        """Return flows of some queues, those that go on before those that ended, each newest first.

        The second value tells whether all keys have been searched once. `shown`: see `Watch.flows`.
        """
        async with self._reading:
            await self._find_roots(await self._recent(names))
            await self._search(names)
            await self._read_states(shown)
            mine = set(names)
            known = (ref for ref in self._roots if ref.queue in mine)
            chosen = heapq.nlargest(limit, known, key=self._rank)
            await self._refresh(chosen, shown)
            # A flow with several roots is found by each of them.
            found = {flow.root: flow for ref in chosen if (flow := self._flow(ref)) is not None}
            flows = sorted(found.values(), key=lambda flow: self._rank(flow.root), reverse=True)
            scopes = names if self._reader.connection.is_cluster else ("",)
            return flows, all(name in self._round_ended for name in scopes)

    def _flow(self, ref: JobRef) -> Flow | None:
        root = self._roots.get(ref)
        return root.flow if root is not None else None

    def _rank(self, ref: JobRef) -> tuple[bool, int, JobRef]:
        root = self._roots.get(ref)
        return (not root.ended, root.created_ms, ref) if root is not None else (True, 0, ref)

    def _is_followed(self, ref: JobRef, shown: Collection[JobRef] | None) -> bool:
        """Tell whether a flow is one of those that are read again when they change."""
        flow = self._flow(ref)
        return flow is not None and (shown is None or flow.root in shown)

    async def _read_states(self, shown: Collection[JobRef] | None) -> None:
        """Read whether changed flows still go on, of those that are not read again anyway."""
        unsure = [ref for ref in self._unsure if not self._is_followed(ref, shown)][:_UNSURE]
        parts = await FlowLoader(self._reader, _FIELDS, 1, "none").take(unsure)
        for ref, part in parts.items():
            self._unsure.discard(ref)
            if part.fields:
                self._roots[ref].ended = text(part.fields.get("state")) in ENDED
            else:
                self._forget(ref)

    async def _refresh(self, chosen: Sequence[JobRef], shown: Collection[JobRef] | None) -> None:
        """Read the flows again that have changed or were not read for long; keep no others."""
        now = time.monotonic()
        due = [ref for ref in chosen if self._roots[ref].due <= now and self._is_followed(ref, shown)]
        fresh = [ref for ref in chosen if self._flow(ref) is None]
        if shown is not None:
            fresh = fresh[:_NEW_FLOWS]
        loader = FlowLoader(self._reader, FLOW_FIELDS, _NODES + 1)
        # Most of their jobs are the same as before: one call a queue reads those.
        await loader.know(node.ref for ref in due if (flow := self._flow(ref)) for node in flow.nodes)
        due += fresh
        answers = await asyncio.gather(
            *(read_flow(loader, ref, _NODES) for ref in due), return_exceptions=True
        )
        for ref, answer in zip(due, answers, strict=True):
            if isinstance(answer, Flow):
                self._keep(ref, answer, now)
            elif isinstance(answer, JobNotFoundError):
                self._forget(ref)
            else:
                raise answer
        for ref in self._roots.keys() - set(chosen):
            self._roots[ref].flow, self._roots[ref].due = None, 0.0
        seen = [flow for ref in chosen if self._is_followed(ref, shown) and (flow := self._flow(ref))]
        self._involved = frozenset(node.queue for flow in seen for node in flow.nodes)
        if len(self._members) > _MOST_MEMBERS:
            known = ((ref, flow) for ref in chosen if (flow := self._flow(ref)))
            self._members = {node.ref: ref for ref, flow in known for node in flow.nodes}

    def _forget(self, ref: JobRef) -> None:
        del self._roots[ref]
        self._unsure.discard(ref)

    def _keep(self, ref: JobRef, flow: Flow, now: float) -> None:
        root = self._roots[ref]
        over = all(node.state == "completed" for node in flow.nodes)
        root.flow, root.due = flow, now + (_COMPLETED_EVERY_S if over else _QUIET_EVERY_S)
        self._unsure.discard(ref)
        for node in flow.nodes:
            self._members[node.ref] = ref
            if node.ref == ref:
                root.ended = node.state in ENDED

    async def _recent(self, names: Sequence[str]) -> list[JobRef]:
        """Read the new events of some queues; returns jobs of no known flow, the latest first."""
        found, since = await self._recent_jobs.jobs(names, self._involved), time.monotonic() - _ALONE_S
        unknown = [ref for ref in found if not self._changed(ref) and self._alone.get(ref, since) <= since]
        return unknown[:_JOBS]

    def _changed(self, ref: JobRef) -> bool:
        """Mark the flow of a job as changed; False if it is of no known flow."""
        top = self._members.get(ref, ref)
        root = self._roots.get(top)
        if root is not None:
            root.due = 0.0
            self._unsure.add(top)
        return root is not None

    async def _search(self, names: Sequence[str]) -> None:
        """Search some more keys: of all queues in one walk, in a cluster of each queue by itself."""
        cluster, now = self._reader.connection.is_cluster, time.monotonic()
        due = [
            queue
            for queue in (names if cluster else ("",))
            if now - self._round_ended.get(queue, -_ROUND_EVERY_S) >= _ROUND_EVERY_S
        ]
        # Those never searched to their end come first.
        due.sort(key=lambda queue: self._round_ended.get(queue, 0.0))
        for queue in due[:_STEPS]:
            cursor, found = self._cursors.get(queue, "0"), set[JobRef]()
            for _ in range(1 if cluster else _STEPS):
                # Without a queue of its own, budgets are found along with parents.
                pattern = "deps:*" if queue else "[bd][ue]*"
                cursor, keys = await scan_step(self._reader, queue, cursor, pattern)
                found |= {ref for key in keys if (ref := _flow_of(self._reader.prefix, key))}
                if cursor == "0":
                    self._round_ended[queue] = time.monotonic()
                    break
            self._cursors[queue] = cursor
            await self._find_roots(ref for ref in found if ref not in self._members)

    async def _find_roots(self, candidates: Iterable[JobRef]) -> None:
        """Climb from jobs to the roots of their flows; jobs of no flow are left out."""
        loader = FlowLoader(self._reader, _FIELDS, 1, "up")
        level = [ref for ref in candidates if ref not in self._roots]
        seen = set(level)
        while level:
            above: set[JobRef] = set()
            for ref, part in (await loader.take(level)).items():
                parents = parents_in(part.fields)
                # A new member of a flow that is known changes it.
                above |= {parent for parent in parents if parent not in seen and not self._changed(parent)}
                if part.fields and not parents:
                    self._keep_root(ref, part)
            seen |= above
            level = list(above)
        surplus = len(self._roots) - _MOST_ROOTS
        for ref in heapq.nsmallest(surplus, self._roots, key=lambda ref: self._roots[ref].created_ms):
            self._forget(ref)

    def _keep_root(self, ref: JobRef, part: Part) -> None:
        """Remember a root; a job without children and budget is of no flow."""
        if part.members or part.has_more or "budgetKey" in part.fields:
            ended = text(part.fields.get("state")) in ENDED
            self._roots[ref] = _Root(to_int(part.fields.get("timestamp")), ended)
            return
        if len(self._alone) > _MOST_ALONE:
            self._alone.clear()
        self._alone[ref] = time.monotonic()


def _flow_of(prefix: str, key: str) -> JobRef | None:
    """Return the job that a key `P:deps:<id>` or `P:budget:<id>` belongs to."""
    queue = queue_of(prefix, key)
    if queue is None:
        return None
    kind, _, job_id = key[len(prefix) + len(queue) + 4 :].partition(":")
    return JobRef(queue, job_id) if kind in ("deps", "budget") and job_id and ":" not in job_id else None
