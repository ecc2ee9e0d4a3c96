"""A flow from any of its jobs: up to its parents, and down to all children."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from glidemq_core.ai.usage.summary import UsageSum
from glidemq_core.errors import PermissionDeniedError
from glidemq_core.flows.budgets import with_rates
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records import Flow, FlowBudget, FlowNode, FlowUsage
from glidemq_core.records.budgets import decode_budget
from glidemq_core.records.decoding import Fields, budget_of, decode_parent, decode_parents, instant
from glidemq_core.records.usage import STORED_USAGE, decode_usage
from glidemq_core.wire.numbers import to_int
from glidemq_core.wire.replies import as_text

from ..jobs.rows import SHARED_FIELDS, is_parked, shared_facts
from .loader import PARENT_FIELDS, FlowLoader

#: What is read of each job of a flow.
FLOW_FIELDS = (*PARENT_FIELDS, *SHARED_FIELDS, "usage:bucketTs", *STORED_USAGE)
#: States in which a job has ended.
ENDED = frozenset({"completed", "failed"})


@dataclass(slots=True)
class _Found:
    """What has been read of a flow so far."""

    fields: dict[JobRef, Fields] = field(default_factory=dict)
    #: Parents and children within the flow.
    parents: dict[JobRef, list[JobRef]] = field(default_factory=dict)
    children: dict[JobRef, list[JobRef]] = field(default_factory=dict)
    #: Jobs whose records are gone.
    removed: set[JobRef] = field(default_factory=set)
    truncated: bool = False


class FlowReader:
    """Reads flows; remembers the jobs of the one read last, which is mostly asked for again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._latest: tuple[JobRef | None, tuple[JobRef, ...]] = (None, ())

    async def read(self, start: JobRef, max_nodes: int) -> Flow:
        """Read the flow a job belongs to; see `Watch.flow`. Raises JobNotFoundError."""
        loader = FlowLoader(self._reader, FLOW_FIELDS, max_nodes + 1)
        before, refs = self._latest
        if before == start:
            await loader.know(refs)
        flow = await read_flow(loader, start, max_nodes)
        self._latest = start, tuple(node.ref for node in flow.nodes)
        return flow


async def read_flow(loader: FlowLoader, start: JobRef, max_nodes: int) -> Flow:
    """Read the flow a job belongs to; see `Watch.flow`. Raises JobNotFoundError.

    Flows read at one moment through the same loader, one of `FLOW_FIELDS`, share their calls.
    """
    reader, found = loader.reader, _Found()
    await _climb(loader, found, [start], max_nodes)
    if not found.fields[start]:
        seen = await reader.read_one("EXISTS", reader.keys(start.queue).job(start.id))
        if isinstance(seen, PermissionDeniedError):
            raise seen
        raise reader.context(start.queue).missing(start.id)
    await _descend(loader, found, max_nodes)
    await _mark_removed(loader, found)
    tops = [ref for ref in found.fields if not found.parents[ref]] or [start]
    root = min(tops, key=lambda ref: (to_int(found.fields[ref].get("timestamp")), ref))
    depth = _depths(found, tops)
    parked, budget = await _budget(loader, found, [root, start])
    now_ms = reader.now_ms()
    nodes = [
        _node(ref, found.fields[ref], depth.get(ref, 0), ref in parked, ref in found.removed, now_ms)
        for ref in sorted(found.fields, key=lambda ref: (depth.get(ref, 0), _place(ref, found)))
    ]
    total = UsageSum()
    for fields in found.fields.values():
        usage = decode_usage(fields)
        total.add_job([usage] if usage else [])
    branching = any("parentIds" in fields for fields in found.fields.values())
    branching = branching or any(len(parents) > 1 for parents in found.parents.values())
    return Flow(
        root=root,
        kind="single" if len(nodes) == 1 and not found.truncated else "dag" if branching else "tree",
        nodes=tuple(nodes),
        counts=dict(Counter(node.state for node in nodes)),
        removed=sum(node.removed for node in nodes),
        usage=FlowUsage(**total.totals()),
        budget=budget,
        truncated=found.truncated,
        at=reader.now(),
    )


def parents_in(fields: Fields) -> list[JobRef]:
    """All who wait for a job, as its record names them."""
    parent = decode_parent(fields)
    return list(dict.fromkeys([*decode_parents(fields), *([parent] if parent else [])]))


async def _climb(loader: FlowLoader, found: _Found, level: Sequence[JobRef], max_nodes: int) -> None:
    """Add jobs and all above them; parents that are gone do not count."""
    while level:
        above: dict[JobRef, None] = {}
        for ref, part in (await loader.take(level)).items():
            found.fields[ref] = part.fields
            found.parents[ref] = parents_in(part.fields)
            above |= dict.fromkeys(parent for parent in found.parents[ref] if parent not in found.fields)
        room = max_nodes - len(found.fields)
        found.truncated = found.truncated or len(above) > room
        level = list(above)[:room]
    for ref, parents in found.parents.items():
        found.parents[ref] = [parent for parent in parents if found.fields.get(parent)]
    if len(found.fields) > 1:
        for ref in [ref for ref, fields in found.fields.items() if not fields]:
            if not any(ref in below for below in found.children.values()):
                del found.fields[ref], found.parents[ref]


async def _descend(loader: FlowLoader, found: _Found, max_nodes: int) -> None:
    """Add all children, and their other parents."""
    level = list(found.fields)
    while level:
        below: dict[JobRef, None] = {}
        for ref, part in (await loader.take(level)).items():
            found.truncated = found.truncated or part.has_more
            found.children[ref] = part.members
            below |= dict.fromkeys(member for member in part.members if member not in found.fields)
        room = max_nodes - len(found.fields)
        found.truncated = found.truncated or len(below) > room
        before = set(found.fields)
        await _climb(loader, found, list(below)[: max(0, room)], max_nodes)
        level = [ref for ref in found.fields if ref not in before]
    for ref, members in found.children.items():
        for member in members:
            # The parent's set decides; a child's own record may be gone, or name one parent of several.
            if member in found.fields and ref not in found.parents[member]:
                found.parents[member].append(ref)


async def _mark_removed(loader: FlowLoader, found: _Found) -> None:
    """Find the jobs that are gone, and which of them were done: their parents have counted those."""
    gone = [ref for ref, part in (await loader.take(found.fields)).items() if part.is_gone or not part.fields]
    found.removed = set(gone)
    answers = await loader.counted(
        (parent, ref) for ref in gone for parent in found.parents[ref] if parent not in found.removed
    )
    done = {ref for (_, ref), counted in answers.items() if counted}
    # The children of a job that was done were done before it.
    waiting = list(done)
    while waiting:
        children = found.children.get(waiting.pop(), ())
        below = [ref for ref in children if ref in found.removed and ref not in done]
        done.update(below)
        waiting += below
    for ref in gone:
        kept = as_text(found.fields[ref].get("state"))
        if ref in done or kept == "completed":
            found.fields[ref] = {**found.fields[ref], "state": b"completed"}
        elif kept and kept != "failed":
            found.fields[ref] = {name: value for name, value in found.fields[ref].items() if name != "state"}


def _depths(found: _Found, tops: Sequence[JobRef]) -> dict[JobRef, int]:
    """Return the longest distance of each job from the top; jobs in a cycle are as deep as they were first met."""
    waiting = {ref: len(parents) for ref, parents in found.parents.items()}
    below: dict[JobRef, list[JobRef]] = {}
    for child, parents in found.parents.items():
        for parent in parents:
            below.setdefault(parent, []).append(child)
    depth = dict.fromkeys(tops, 0)
    ready = deque(tops)
    while ready:
        ref = ready.popleft()
        for child in below.get(ref, ()):
            depth[child] = max(depth.get(child, 0), depth[ref] + 1)
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return depth


def _place(ref: JobRef, found: _Found) -> tuple[int, int, JobRef]:
    """Sort key of jobs of one depth: by creation time, then by id, numbers as numbers."""
    created = to_int(found.fields[ref].get("timestamp"))
    return created, int(ref.id) if ref.id.isdecimal() and len(ref.id) < 16 else 0, ref


def _node(ref: JobRef, fields: Fields, depth: int, parked: bool, removed: bool, now_ms: int) -> FlowNode:
    return FlowNode(
        **shared_facts(ref, fields, decode_usage(fields), now_ms),
        depth=depth,
        parents=tuple(parents_in(fields)),
        parked=parked,
        removed=removed,
        parked_at=instant(fields.get("budgetPausedAt") or fields.get("processedOn")) if parked else None,
    )


async def _budget(
    loader: FlowLoader, found: _Found, owners: Sequence[JobRef]
) -> tuple[set[JobRef], FlowBudget | None]:
    """Read the budget of the first of some jobs that has one, and the jobs of the flow that it has parked."""
    reader = loader.reader
    owner = next((ref for one in owners if (ref := budget_of(found.fields[one], reader.prefix))), None)
    key = reader.keys(owner.queue).budget(owner.id) if owner is not None else ""
    stored = {} if owner is None else await loader.budget(key)
    if owner is None or not stored:
        return set(), None
    mine = {ref: fields for ref, fields in found.fields.items() if as_text(fields.get("budgetKey")) == key}
    parked = await _parked(loader, mine)
    budget = decode_budget(owner, stored, parked)
    if found.truncated:
        return set(parked), budget  # rates of a part would be wrong
    reports = [
        (to_int(fields.get("usage:bucketTs")), usage)
        for fields in mine.values()
        if (usage := decode_usage(fields)) is not None
    ]
    created = min((to_int(fields.get("timestamp")) for fields in mine.values()), default=0)
    running = any(as_text(fields.get("state")) not in ENDED for fields in mine.values() if fields)
    now_ms = reader.now_ms()
    return set(parked), with_rates(budget, reports, created_ms=created, now_ms=now_ms, running=running)


async def _parked(loader: FlowLoader, jobs: Mapping[JobRef, Fields]) -> list[JobRef]:
    """Return those of some jobs with a budget that it has parked."""
    return [ref for ref, part in (await loader.take(jobs)).items() if is_parked(jobs[ref], part.score)]
