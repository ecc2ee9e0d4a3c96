"""Plan a described flow: its jobs, validated as a whole, in the order of creation, with every link."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import DuplicateJobError
from ..jobs.add import created_job
from ..jobs.adding.records import Record, encode_job, ordering_spec
from ..options.fields import instance_of, queue_name
from ..options.job import JobOptions, JobRef, millitokens
from ..options.middleware import AddRequest
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.payload import refuse_size
from .nodes import DagNode, FlowJob, cycle_error, definition_error, dependents_of, levels_of, topo_sort

ContextOf = Callable[[str], QueueContext]

#: Jobs of one flow, and bytes of their data, at most.
MAX_JOBS = 100_000
MAX_BYTES = 256 * 1_048_576
#: Jobs that may wait for one job: the call that completes it informs them all.
MAX_WAITERS = 10_000


#: What a job is: inner ones wait for others, leaves are below an inner one, plain ones are as `add` makes them.
JobKind = Literal["inner", "leaf", "plain"]


@dataclass(slots=True, eq=False)
class PlannedJob:
    """A job to create; compared by identity."""

    context: QueueContext
    node: FlowJob | DagNode
    name: str
    record: Record
    options: JobOptions
    kind: JobKind
    #: The one job that waits for it, as `parentId`; in a graph also the first in another queue.
    parent: PlannedJob | None = None
    #: All jobs that wait for it, where several may.
    dependents: list[PlannedJob] = field(default_factory=list)
    #: What it waits for, in the order given.
    members: list[PlannedJob] = field(default_factory=list)
    #: A job outside the flow that waits for the root.
    outside: JobRef | None = None
    #: Known before creation: custom, or reserved.
    id: str = ""
    #: Place among the jobs of the plan, from 1 on.
    number: int = 0

    @property
    def waiters(self) -> list[PlannedJob]:
        """The jobs of the flow that wait for it."""
        return self.dependents or ([self.parent] if self.parent else [])

    @property
    def member(self) -> str:
        """Its name in the `deps` of those that wait for it; needs its id."""
        return self.context.keys.member(self.id)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a flow: numbered in the order of their ids, and in the order of placing and announcing."""

    kind: Literal["flow", "DAG"]
    root: PlannedJob
    jobs: list[PlannedJob]
    announced: list[PlannedJob]

    def __post_init__(self) -> None:
        for number, job in enumerate(self.jobs, 1):
            job.number = number


def plan_tree(flow: FlowJob, context_of: ContextOf) -> Plan:
    """Plan a tree. A job and its leaves have ids in a row; each job is announced after its children.

    Raises:
        CycleError, FlowDefinitionError, InvalidOptionError, PayloadTooLargeError, SerializationError.
    """
    root = _planned_job(flow, context_of, None)
    jobs: list[PlannedJob] = []
    announced: list[PlannedJob] = []
    #: From the root down to the job at hand, by identity: data of callers has no hash.
    path: dict[int, FlowJob] = {}
    stack = [(flow, root)] if flow.children else []
    while stack:
        node, job = stack.pop()
        if job.members:  # everything below is planned
            path.popitem()
            leaves = [child for child in job.members if child.kind == "leaf"]
            jobs += [job, *leaves]
            announced += [*leaves, job]
            continue
        if id(node) in path:
            names = [above.name for above in path.values()]
            raise cycle_error("flow", [*names[list(path).index(id(node)) :], node.name])
        path[id(node)] = node
        job.members = [_planned_job(child, context_of, job) for child in _children(node)]
        stack.append((node, job))
        below = zip(node.children, job.members, strict=True)
        stack += reversed([(child, planned) for child, planned in below if planned.kind == "inner"])
    plan = Plan("flow", root, jobs or [root], announced or [root])
    _check(plan)
    return plan


def plan_dag(nodes: Sequence[DagNode], context_of: ContextOf) -> Plan:
    """Plan a graph of at least one node: dependents before prerequisites, level by level.

    Raises:
        CycleError, FlowDefinitionError, InvalidOptionError, PayloadTooLargeError, SerializationError.
    """
    order = topo_sort(nodes)
    level = levels_of(order)
    dependents = dependents_of(nodes)
    by_name = {node.name: _planned(node, context_of, "inner" if node.deps else "plain") for node in nodes}
    for node in nodes:
        job = by_name[node.name]
        job.members = [by_name[dep] for dep in node.deps]
        waiters = [by_name[name] for name in dependents[node.name]]
        if job.kind == "plain" and len(waiters) == 1:
            job.parent = waiters[0]
            continue
        job.dependents = waiters
        # Node's workers obey the set for their own queue only, but a parent in any queue.
        job.parent = next((one for one in waiters if one.context.queue != job.context.queue), None)
    jobs = [by_name[node.name] for node in sorted(order, key=lambda node: -level[node.name])]
    plan = Plan("DAG", jobs[0], jobs, jobs)
    _check(plan)
    return plan


def change_jobs(plan: Plan, requests: Sequence[AddRequest]) -> None:
    """Give the jobs of a plan, in their order, the names, payloads and options that middleware asks for.

    Raises: as planning.
    """
    for job, wanted in zip(plan.jobs, requests, strict=True):
        options = instance_of(JobOptions)(wanted.options, "options")
        job.record = encode_job(job.context, wanted.name, wanted.data, options)
        job.name, job.options, job.id = wanted.name, options, options.job_id or ""
    _check(plan)


def _children(node: FlowJob) -> Sequence[FlowJob]:
    if not isinstance(node.children, Sequence) or isinstance(node.children, (str, bytes)):
        raise definition_error(f'children of "{node.name}" must be a list of FlowJob', node.name, "children")
    return node.children


def _planned_job(node: FlowJob, context_of: ContextOf, parent: PlannedJob | None) -> PlannedJob:
    if not isinstance(node, FlowJob):
        raise definition_error(f"a flow is made of FlowJob, not {type(node).__name__}", "", value=node)
    planned = _planned(node, context_of, "inner" if node.children else "leaf" if parent else "plain")
    planned.parent = parent
    return planned


def _planned(node: FlowJob | DagNode, context_of: ContextOf, kind: JobKind) -> PlannedJob:
    options = node.options if node.options is not None else JobOptions()
    if not isinstance(options, JobOptions):
        message = f'options of "{node.name}" must be JobOptions'
        raise definition_error(message, str(node.name), "options", node.options)
    context = context_of(queue_name(node.queue, "queue"))
    record = encode_job(context, node.name, node.data, options)
    return PlannedJob(context, node, node.name, record, options, kind, id=options.job_id or "")


def _check(plan: Plan) -> None:
    """Refuse a flow that is too large, ids given twice, and jobs with the ordering key of a job that waits for them."""
    if len(plan.jobs) > MAX_JOBS:
        message = f"a {plan.kind} has at most {MAX_JOBS} jobs, this one has {len(plan.jobs)}"
        raise definition_error(message, plan.jobs[0].name)
    size = sum(len(job.record[2]) for job in plan.jobs)
    if size > MAX_BYTES:
        message = f"the data of a {plan.kind} is at most {MAX_BYTES} bytes together, this is {size}"
        refuse_size("data", size, limit=MAX_BYTES, message=message)
    taken: set[str] = set()
    for job in plan.jobs:
        if len(job.dependents) > MAX_WAITERS:
            message = f'{len(job.dependents)} nodes wait for "{job.name}", at most {MAX_WAITERS} may'
            raise definition_error(message, job.name, "deps")
        if job.id and job.member in taken:
            raise duplicate(plan, job)
        if job.id:
            taken.add(job.member)
    keys_of: dict[PlannedJob, frozenset[tuple[str, str]]] = {}
    for job in plan.jobs if plan.kind == "DAG" else reversed(plan.announced):  # from the top down
        keys = frozenset[tuple[str, str]]()
        for waiter in job.waiters:
            keys |= keys_of[waiter]
        if job.options.ordering is not None:
            mine = (job.context.queue, job.options.ordering.key)
            if mine in keys:
                message = f"\"{job.name}\" has the ordering key '{mine[1]}' of a job that waits for it: "
                message += "both would wait for ever"
                raise definition_error(message, job.name, "ordering", mine[1])
            keys |= {mine}
        keys_of[job] = keys


def duplicate(plan: Plan, job: PlannedJob) -> DuplicateJobError:
    """Build the error for a custom id that is taken; nothing was created."""
    return DuplicateJobError(
        f"Duplicate job ID in {plan.kind}: '{job.context.queue}:{job.id}' is taken, nothing was added",
        queue=job.context.queue,
        job_id=job.id,
    )


def node_words(job: PlannedJob) -> tuple[str, ...]:
    """Return a job as the arguments of the function that creates a flow in one call."""
    links: dict[str, Any] = {"k": job.kind}
    options = job.options
    if options.ordering is not None:
        links["o"] = group_spec(job)
    if options.cost:
        links["c"] = _milli(job)(options.cost)
    if options.ttl:
        links["t"] = options.ttl
    if job.parent is not None:
        links["p"], links["q"] = job.parent.number, job.parent.context.queue
    if job.dependents:
        links["d"] = [one.number for one in job.dependents]
        links["e"] = [one.context.queue for one in job.dependents]
    if job.outside is not None:
        links["r"] = QueueKeys(job.context.keys.prefix, job.outside.queue).member(job.outside.id)
        links["q"] = job.outside.queue
    return (job.context.keys.root, job.id, *job.record[1:8], json.dumps(links, ensure_ascii=False))


def group_spec(job: PlannedJob) -> dict[str, Any]:
    """Return the settings of a job's ordering group, which it must have, as the server reads them."""
    assert job.options.ordering is not None
    return ordering_spec(job.options.ordering, _milli(job))


def hash_of(job: PlannedJob, now_ms: int, budget_key: str) -> dict[str, bytes]:
    """Return the fields of a job's hash as it is created, without its sequence number; ids must be known."""
    fields = created_job(job.context, now_ms, job.record, job.options, job.id.encode()).fields
    fields.pop("parentId", None)
    fields.pop("parentQueue", None)
    if job.kind == "inner":
        fields["state"] = b"waiting-children"
        fields.pop("lifo", None)
    if job.options.cost:
        fields["cost"] = str(_milli(job)(job.options.cost)).encode()
    above = job.outside or (JobRef(job.parent.context.queue, job.parent.id) if job.parent else None)
    if above is not None:
        fields["parentId"], fields["parentQueue"] = above.id.encode(), above.queue.encode()
    if job.dependents:
        fields["parentIds"] = _compact([one.id for one in job.dependents])
        fields["parentQueues"] = _compact([one.context.queue for one in job.dependents])
    if budget_key:
        fields["budgetKey"] = budget_key.encode()
    return fields


def _compact(items: list[str]) -> bytes:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode()


def _milli(job: PlannedJob) -> Callable[[float], int]:
    """Return how a job converts tokens into thousandths: Node rounds them down for jobs with links."""
    return millitokens if job.kind == "plain" else lambda tokens: math.floor(tokens * 1000)
