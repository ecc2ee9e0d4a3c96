"""Which flows there are: those met in recent events at once, older ones by a slow search of the keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from glidemq_core.errors import GlideMQError
from glidemq_core.keys import discovery_pattern, queue_of
from glidemq_core.numbers import to_int
from glidemq_core.options import JobRef
from glidemq_core.records import Flow

from .flows import parents_in, read_flow, read_nodes
from .scan import STEP_KEYS, scan_step
from .source import Source, entries, failed, integer, text

#: Roots remembered; the oldest are forgotten first.
_MOST_ROOTS = 10_000
#: Steps of the search a call, and pause between two rounds of it, s.
_STEPS = 5
_ROUND_EVERY_S = 60.0
_RECENT_EVENTS = 200
#: Jobs of each flow that a list reads.
_NODES = 200
#: A flow whose jobs have all completed changes no more; it is read again this seldom, s, in case it was removed.
_COMPLETED_EVERY_S = 30.0


class FlowIndex:
    """Roots of flows known so far; every call searches a little further."""

    def __init__(self, source: Source) -> None:
        self._source = source
        #: Root -> creation time, epoch ms.
        self._roots: dict[JobRef, int] = {}
        self._cursors: dict[str, str] = {}
        self._round_ended: dict[str, float] = {}
        #: Completed flows as they were read, and when.
        self._completed: dict[JobRef, tuple[float, Flow]] = {}

    async def read(self, names: Sequence[str], limit: int) -> tuple[list[Flow], bool]:
        """Return the newest flows of some queues, and whether all keys have been searched once."""
        await self._take(await self._recent(names))
        await self._search(names)
        chosen = [ref for ref in self._roots if ref.queue in set(names)]
        newest = sorted(chosen, key=lambda ref: (self._roots[ref], ref), reverse=True)[:limit]
        flows: list[Flow] = []
        for ref, flow in zip(
            newest,
            await asyncio.gather(*(self._flow(ref) for ref in newest), return_exceptions=True),
            strict=True,
        ):
            if isinstance(flow, Flow):
                flows.append(flow)
            elif isinstance(flow, GlideMQError):
                self._roots.pop(ref, None)  # removed since
                self._completed.pop(ref, None)
            else:
                raise flow
        scopes = names if self._source.connection.is_cluster else ("",)
        return flows, all(name in self._round_ended for name in scopes)

    async def _flow(self, ref: JobRef) -> Flow:
        """Read a flow, unless it had completed shortly ago."""
        at, known = self._completed.get(ref, (0.0, None))
        if known is not None and time.monotonic() - at < _COMPLETED_EVERY_S:
            return known
        flow = await read_flow(self._source, ref, _NODES)
        self._completed.pop(ref, None)
        if all(node.state == "completed" for node in flow.nodes):
            if len(self._completed) >= _MOST_ROOTS:
                self._completed.clear()
            self._completed[ref] = time.monotonic(), flow
        return flow

    async def _recent(self, names: Sequence[str]) -> set[JobRef]:
        """Jobs of the latest events of each queue."""
        commands = [
            ("XREVRANGE", self._source.keys(name).events, "+", "-", "COUNT", _RECENT_EVENTS) for name in names
        ]
        found: set[JobRef] = set()
        for name, reply in zip(names, await self._source.ask(commands), strict=True):
            for _, fields in entries(None if failed(reply) else reply):
                job_id = dict(fields).get("jobId")
                if job_id:
                    found.add(JobRef(name, job_id))
        return found

    async def _search(self, names: Sequence[str]) -> None:
        """Look at some more keys: all queues in one walk, in a cluster each queue by itself."""
        cluster = self._source.connection.is_cluster
        for scope in names if cluster else ("",):
            if time.monotonic() - self._round_ended.get(scope, -_ROUND_EVERY_S) < _ROUND_EVERY_S:
                continue
            cursor, found = self._cursors.get(scope, "0"), set[JobRef]()
            for _ in range(1 if cluster else _STEPS):
                cursor, keys = await self._step(scope, cursor)
                found |= {ref for key in keys if (ref := _flow_of(self._source.prefix, key))}
                if cursor == "0":
                    self._round_ended[scope] = time.monotonic()
                    break
            self._cursors[scope] = cursor
            await self._take(found)

    async def _step(self, scope: str, cursor: str) -> tuple[str, list[str]]:
        if scope:
            return await scan_step(self._source, scope, cursor, "deps:*")
        pattern = discovery_pattern(self._source.prefix, "[bd][ue]*")  # budget:, deps:
        page: Any = await self._source.one("SCAN", cursor, "MATCH", pattern, "COUNT", STEP_KEYS)
        if failed(page):
            return "0", []
        return text(page[0]) or "0", [text(key) or "" for key in page[1]]

    async def _take(self, candidates: set[JobRef]) -> None:
        """Climb from jobs to the roots of their flows; jobs that are no flow are left out."""
        level, seen = [ref for ref in candidates if ref not in self._roots], set(candidates)
        while level:
            above: set[JobRef] = set()
            alone: list[JobRef] = []
            found = await read_nodes(self._source, level)
            for ref, fields in found.items():
                parents = parents_in(fields)
                above.update(parent for parent in parents if parent not in seen)
                if fields and not parents:
                    alone.append(ref)
            lengths = await self._source.ask(
                [("SCARD", self._source.keys(r.queue).deps(r.id)) for r in alone]
            )
            for ref, length in zip(alone, lengths, strict=True):
                if (not failed(length) and integer(length)) or "budgetKey" in found[ref]:
                    self._roots[ref] = to_int(found[ref].get("timestamp"))
            seen |= above
            level = [ref for ref in above if ref not in self._roots]
        while len(self._roots) > _MOST_ROOTS:
            del self._roots[min(self._roots, key=self._roots.__getitem__)]


def _flow_of(prefix: str, key: str) -> JobRef | None:
    """The job that a key `P:deps:<id>` or `P:budget:<id>` tells of."""
    queue = queue_of(prefix, key)
    if queue is None:
        return None
    kind, _, job_id = key[len(prefix) + len(queue) + 4 :].partition(":")
    return JobRef(queue, job_id) if kind in ("deps", "budget") and job_id and ":" not in job_id else None
