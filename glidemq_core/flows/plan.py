"""From a described flow to the jobs to create: validated as a whole, in the order of creation, with every link."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import DuplicateJobError
from ..jobs.add import Record, created_job, encode_job, ordering_spec
from ..options.fields import queue_name
from ..options.job import JobOptions, JobRef, millitokens
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.payload import refuse_size
from .nodes import DagNode, FlowJob, cycle_error, definition_error, dependents_of, levels_of, topo_sort

ScopeOf = Callable[[str], QueueContext]

#: Jobs of one flow, and bytes of their data: one call holds them all, and the server.
MAX_JOBS = 100_000
MAX_BYTES = 256 * 1_048_576
#: Jobs that may wait for one job: the call that completes it tells them all.
MAX_WAITERS = 10_000


@dataclass(slots=True, eq=False)
class Planned:
    """A job to create. `kind`: inner (waits for children), leaf (below an inner one), plain (as by `add`)."""

    scope: QueueContext
    name: str
    record: Record
    options: JobOptions
    kind: str
    #: The one job that waits for it, as `parentId`; in a graph also the first in another queue.
    parent: Planned | None = None
    #: All jobs that wait for it, where several may.
    dependents: list[Planned] = field(default_factory=list)
    #: What it waits for.
    members: list[Planned] = field(default_factory=list)
    #: A job outside the flow that waits for the root.
    outside: JobRef | None = None
    #: Known before creation: custom, or reserved.
    id: str = ""

    @property
    def waiters(self) -> list[Planned]:
        return self.dependents or ([self.parent] if self.parent else [])

    @property
    def member(self) -> str:
        """How it stands in the `deps` of those that wait for it; needs its id."""
        return self.scope.keys.member(self.id)


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs in the order of their ids, and in the order of placing and announcing (children first)."""

    jobs: list[Planned]
    announced: list[Planned]
    kind: str


def plan_tree(root: FlowJob, scope_of: ScopeOf) -> tuple[Plan, dict[int, list[Planned]], Planned]:
    """Plan a tree. Also returns the planned children of each inner job by `id()`, and the root.

    Raises: CycleError, FlowDefinitionError, InvalidOptionError, PayloadTooLargeError, SerializationError.
    """
    top = _planned_job(root, scope_of, None)
    children: dict[int, list[Planned]] = {}
    jobs: list[Planned] = []
    announced: list[Planned] = []
    above: dict[int, FlowJob] = {}
    stack: list[tuple[FlowJob, Planned, bool]] = [(root, top, False)]
    while stack:
        node, planned, expanded = stack.pop()
        below = children.get(id(planned), [])
        if expanded:
            above.popitem()
            leaves = [child for child in below if child.kind == "leaf"]
            jobs += [planned, *leaves]
            announced += [*leaves, planned]
            continue
        if id(node) in above:
            path = list(above.values())
            start = list(above).index(id(node))
            raise cycle_error("flow", [one.name for one in path[start:]] + [node.name])
        if not node.children:
            if planned is top:
                jobs, announced = [top], [top]
            continue
        above[id(node)] = node
        below = [_planned_job(child, scope_of, planned) for child in _children(node)]
        children[id(planned)] = below
        planned.members = below
        stack.append((node, planned, True))
        inner = [
            (child, job, False) for child, job in zip(node.children, below, strict=True) if child.children
        ]
        stack += reversed(inner)
    plan = Plan(jobs, announced, "flow")
    _check(plan, list(reversed(announced)))
    return plan, children, top


def plan_dag(nodes: Iterable[DagNode], scope_of: ScopeOf) -> Plan:
    """Plan a graph: dependents before prerequisites, level by level.

    Raises: CycleError, FlowDefinitionError, InvalidOptionError, PayloadTooLargeError, SerializationError.
    """
    given = list(nodes)
    order = topo_sort(given)
    level = levels_of(order)
    dependents = dependents_of(given)
    by_name = {node.name: _planned(node, scope_of, "inner" if node.deps else "plain") for node in given}
    for node in given:
        job = by_name[node.name]
        job.members = [by_name[dep] for dep in node.deps]
        waiters = [by_name[name] for name in dependents[node.name]]
        if job.kind == "plain" and len(waiters) == 1:
            job.parent = waiters[0]
            continue
        job.dependents = waiters
        # Node's workers obey the set for their own queue only, but a parent in any queue.
        job.parent = next((one for one in waiters if one.scope.queue != job.scope.queue), None)
    jobs = [by_name[node.name] for node in sorted(order, key=lambda node: -level[node.name])]
    plan = Plan(jobs, jobs, "DAG")
    _check(plan, jobs)
    return plan


def _children(node: FlowJob) -> Sequence[FlowJob]:
    if not isinstance(node.children, Sequence) or isinstance(node.children, (str, bytes)):
        raise definition_error(f'children of "{node.name}" must be a list of FlowJob', node.name, "children")
    return node.children


def _planned_job(node: FlowJob, scope_of: ScopeOf, parent: Planned | None) -> Planned:
    if not isinstance(node, FlowJob):
        raise definition_error(f"a flow is made of FlowJob, not {type(node).__name__}", "", value=node)
    kind = "inner" if node.children else "leaf" if parent else "plain"
    planned = _planned(node, scope_of, kind)
    planned.parent = parent
    return planned


def _planned(node: FlowJob | DagNode, scope_of: ScopeOf, kind: str) -> Planned:
    options = node.options if node.options is not None else JobOptions()
    if not isinstance(options, JobOptions):
        raise definition_error(
            f'options of "{node.name}" must be JobOptions', str(node.name), "options", node.options
        )
    scope = scope_of(queue_name(node.queue, "queue"))
    record = encode_job(scope, node.name, node.data, options)
    return Planned(scope, node.name, record, options, kind, id=options.job_id or "")


def _check(plan: Plan, top_down: Sequence[Planned]) -> None:
    """Refuse too much, an id given twice, and a job that shares its ordering key with one that waits for it."""
    if len(plan.jobs) > MAX_JOBS:
        raise definition_error(
            f"a {plan.kind} has at most {MAX_JOBS} jobs, this one has {len(plan.jobs)}", plan.jobs[0].name
        )
    size = sum(len(job.record[2]) for job in plan.jobs)
    if size > MAX_BYTES:
        message = f"the data of a {plan.kind} is at most {MAX_BYTES} bytes together, this is {size}"
        refuse_size("data", size, limit=MAX_BYTES, message=message)
    taken: set[str] = set()
    for job in plan.jobs:
        if len(job.dependents) > MAX_WAITERS:
            raise definition_error(
                f'{len(job.dependents)} nodes wait for "{job.name}", at most {MAX_WAITERS} may',
                job.name,
                "deps",
            )
        if job.id and job.member in taken:
            raise duplicate(plan, job)
        if job.id:
            taken.add(job.member)
    above: dict[int, frozenset[tuple[str, str]]] = {}
    for job in top_down:
        keys = frozenset[tuple[str, str]]()
        for waiter in job.waiters:
            keys |= above[id(waiter)]
        if job.options.ordering is not None:
            mine = (job.scope.queue, job.options.ordering.key)
            if mine in keys:
                raise definition_error(
                    f"\"{job.name}\" has the ordering key '{mine[1]}' of a job that waits for it: "
                    "both would wait for ever",
                    job.name,
                    "ordering",
                    mine[1],
                )
            keys |= {mine}
        above[id(job)] = keys


def duplicate(plan: Plan, job: Planned) -> DuplicateJobError:
    """Build the error for a custom id that is taken; nothing was created."""
    return DuplicateJobError(
        f"Duplicate job ID in {plan.kind}: '{job.scope.queue}:{job.id}' is taken, nothing was added",
        queue=job.scope.queue,
        job_id=job.id,
    )


def node_words(job: Planned, numbers: dict[int, int]) -> tuple[str, ...]:
    """Return a job as the arguments of the function that creates a flow in one call.

    Args:
        numbers: the jobs of the flow by `id()`.
    """
    links: dict[str, Any] = {"k": job.kind}
    options = job.options
    if options.ordering is not None:
        links["o"] = group_spec(job)
    if options.cost:
        links["c"] = _milli(job)(options.cost)
    if options.ttl:
        links["t"] = options.ttl
    if job.parent is not None:
        links["p"], links["q"] = numbers[id(job.parent)], job.parent.scope.queue
    if job.dependents:
        links["d"] = [numbers[id(one)] for one in job.dependents]
        links["e"] = [one.scope.queue for one in job.dependents]
    if job.outside is not None:
        links["r"] = QueueKeys(job.scope.keys.prefix, job.outside.queue).member(job.outside.id)
        links["q"] = job.outside.queue
    return (job.scope.keys.root, job.id, *job.record[1:8], json.dumps(links, ensure_ascii=False))


def group_spec(job: Planned) -> dict[str, Any]:
    """Settings of the ordering group of a job that has one, as the server reads them."""
    assert job.options.ordering is not None
    return ordering_spec(job.options.ordering, _milli(job))


def hash_of(job: Planned, now_ms: int, budget_key: str) -> dict[str, bytes]:
    """Fields of a job's hash as it is created, its sequence number left out; ids are known."""
    fields = created_job(job.scope, now_ms, job.record, job.options, job.id.encode()).fields
    fields.pop("parentId", None)
    fields.pop("parentQueue", None)
    if job.kind == "inner":
        fields["state"] = b"waiting-children"
        fields.pop("lifo", None)
    if job.options.cost:
        fields["cost"] = str(_milli(job)(job.options.cost)).encode()
    above = job.outside or (JobRef(job.parent.scope.queue, job.parent.id) if job.parent else None)
    if above is not None:
        fields["parentId"], fields["parentQueue"] = above.id.encode(), above.queue.encode()
    if job.dependents:
        fields["parentIds"] = _compact([one.id for one in job.dependents])
        fields["parentQueues"] = _compact([one.scope.queue for one in job.dependents])
    if budget_key:
        fields["budgetKey"] = budget_key.encode()
    return fields


def _compact(items: list[str]) -> bytes:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode()


def _milli(job: Planned) -> Callable[[float], int]:
    """How a job turns tokens into thousandths: below and above others Node rounds them down."""
    return millitokens if job.kind == "plain" else _floored


def _floored(tokens: float) -> int:
    return math.floor(tokens * 1000)
