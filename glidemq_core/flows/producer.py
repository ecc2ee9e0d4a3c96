"""Create flows: trees and graphs of jobs, each completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from ..errors import ServerError
from ..job import Job
from ..jobs.adding.around import add_all_through
from ..jobs.adding.links import refused_error, warn_of_no_queue
from ..jobs.registry import register_queue
from ..options.fields import instance_of
from ..options.job import Budget
from ..options.middleware import AddRequest, FlowRequest, Middleware, everywhere, middleware_for
from ..records.budgets import new_budget
from ..server.connection import Connection
from ..server.context import LazyConnection, QueueContext
from ..server.slots import check_one_slot, slot_of
from ..wire.keys import QueueKeys
from ..wire.serializer import JSON_SERIALIZER, Serializer
from .nodes import DagNode, FlowJob, JobNode
from .parts import CALL_BYTES, CALL_JOBS, PartedFlow
from .plan import (
    ContextOf,
    Plan,
    PlannedJob,
    change_jobs,
    duplicate,
    hash_of,
    node_words,
    plan_dag,
    plan_tree,
)


class FlowProducer:
    """Creates flows. Connects at first use; never compresses, always emits events.

    Args:
        connection: URL (opened and owned), a shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix; None takes the connection's.
        serializer: of the data; the workers of the queues need the same.
        middleware: code around every job of a flow, outermost first; their `call_next` returns when the flow is stored.
    """

    def __init__(
        self,
        connection: str | Connection | None = None,
        *,
        prefix: str | None = None,
        serializer: Serializer = JSON_SERIALIZER,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        self._lazy = LazyConnection(connection, prefix, "flows", "FlowProducer is closing", "FlowProducer")
        self._middleware = middleware_for("add")(middleware, "middleware")
        self._prefix = prefix
        self._serializer = serializer

    async def add(self, flow: FlowJob, *, budget: Budget | None = None, cross_slot: bool = False) -> JobNode:
        """Create a tree of jobs: a parent runs when all its children have completed.

        Everything is checked first. A flow is created in one atomic call; one of more than 500 jobs or 2 MiB, or over
        several slots of a cluster, in parts: nothing runs before all jobs are written with their links and the budget.
        A failure before that removes everything; later calls are repeated. A root whose options name a `parent`
        becomes a child of that job, which must be running or waiting; without a budget of its own it draws on that
        job's.

        Args:
            budget: what the flow may spend.
            cross_slot: the jobs may lie in several slots of a cluster: only Python workers serve their queues.

        Raises:
            CycleError, FlowDefinitionError, DuplicateJobError, InvalidOptionError, PayloadTooLargeError,
                SerializationError: nothing was created.
        """
        if budget is not None:
            instance_of(Budget)(budget, "budget")
        connection = await self._lazy.get()
        plan = plan_tree(flow, self._context_of(connection))
        creation = _Creation(connection, plan, budget)
        await self._create(creation, cross_slot)
        built: dict[PlannedJob, JobNode] = {}
        for job in plan.announced:  # children first
            children = tuple(built[child] for child in job.members)
            built[job] = JobNode(creation.job_of(job), children or None)
        return built[plan.root]

    async def add_bulk(self, flows: Iterable[FlowJob], *, cross_slot: bool = False) -> list[JobNode]:
        """Create flows one after another; stops at the first error, earlier flows stay. As `add`."""
        return [await self.add(flow, cross_slot=cross_slot) for flow in flows]

    async def add_dag(
        self, nodes: Iterable[DagNode], *, cross_slot: bool = False
    ) -> dict[str, Job[Any, Any]]:
        """Create a graph of jobs: a node runs when all its `deps` have completed. Returns the jobs by name.

        Created completely or not at all, like a tree. Where a Node worker runs a node with dependents in several
        foreign queues, only the first of them is informed of its end; Python workers inform all, and `repair_flow`
        mends the rest.

        Args:
            cross_slot: as in `add`.

        Raises:
            CycleError, FlowDefinitionError, DuplicateJobError, InvalidOptionError, PayloadTooLargeError,
                SerializationError: nothing was created.
        """
        connection = await self._lazy.get()
        given = list(nodes)
        if not given:
            return {}
        plan = plan_dag(given, self._context_of(connection))
        creation = _Creation(connection, plan, None)
        await self._create(creation, cross_slot)
        return {job.node.name: creation.job_of(job) for job in plan.jobs}

    async def _create(self, creation: _Creation, cross_slot: bool) -> None:
        """Create a planned flow, through middleware if there is any."""
        middleware = everywhere(self._middleware)
        if not middleware:
            return await creation.run(cross_slot)
        plan = creation.plan
        request = FlowRequest(
            kind="flow" if plan.kind == "flow" else "dag",
            queue=plan.root.context.queue,
            name=plan.root.name,
            children=len(plan.root.members),
            jobs=len(plan.jobs),
        )

        async def store(requests: Sequence[AddRequest]) -> list[Job[Any, Any]]:
            change_jobs(plan, requests)
            await creation.run(cross_slot)
            return list(map(creation.job_of, plan.jobs))

        asked = [
            AddRequest(queue=job.context.queue, name=job.name, data=job.node.data, options=job.options)
            for job in plan.jobs
        ]
        with ExitStack() as surroundings:
            for one in middleware:
                surroundings.enter_context(one.flow(request))
            outcomes = await add_all_through(middleware, asked, store, whole=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return None

    async def close(self) -> None:
        """Close the connection if this object opened it; twice is fine."""
        await self._lazy.close()

    async def __aenter__(self) -> Self:
        await self._lazy.get()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _context_of(self, connection: Connection) -> ContextOf:
        contexts: dict[str, QueueContext] = {}
        prefix = self._prefix or connection.prefix

        def context_of(queue: str) -> QueueContext:
            if queue not in contexts:
                contexts[queue] = QueueContext(connection, QueueKeys(prefix, queue), self._serializer)
            return contexts[queue]

        return context_of


class _Creation:
    """Creates one flow."""

    def __init__(self, connection: Connection, plan: Plan, budget: Budget | None) -> None:
        self._connection = connection
        self.plan = plan
        self._root = plan.root
        self._budget = budget
        self._inherited = ""
        self._now_ms = connection.now_ms()

    @property
    def _budget_key(self) -> str:
        return self._root.context.keys.budget(self._root.id) if self._budget is not None else self._inherited

    async def run(self, cross_slot: bool) -> None:
        """Create all jobs; their ids are known afterwards.

        Args:
            cross_slot: whether they may lie in several slots; else InvalidOptionError is raised.
        """
        if self.plan.kind == "flow":
            self._root.outside = self._root.options.parent
        outside = self._root.outside
        queues = [job.context.keys for job in self.plan.jobs]
        if outside is not None:
            queues.append(QueueKeys(self._root.context.keys.prefix, outside.queue))
        check_one_slot(self._connection, queues, cross_slot)
        if outside is not None:
            await warn_of_no_queue(self._root.context, outside)
            stored = await self._connection.command("HGET", queues[-1].job(outside.id), "budgetKey")
            self._inherited = stored.decode() if stored else ""
        slots = {slot_of(self._connection, keys) for keys in queues}
        words = None if len(slots) > 1 else self._in_one_call()
        if words is None:
            await PartedFlow(
                self._connection,
                self.plan,
                self._now_ms,
                budget=None if self._budget is None else new_budget(self._budget),
                budget_key=lambda: self._budget_key,
                take_ids=self._take_ids,
            ).create()
        else:
            reply = await self.plan.jobs[0].context.call("add_flow", *words)
            self._take_ids(self.plan.jobs, reply)
        for context in {job.context.queue: job.context for job in self.plan.jobs}.values():
            await register_queue(context)

    def _in_one_call(self) -> list[str | int] | None:
        """Return the arguments that create the flow in one call; None if that call would be too large."""
        jobs = self.plan.jobs
        if len(jobs) > CALL_JOBS:
            return None
        order = json.dumps([job.number for job in self.plan.announced])
        budget: dict[str, Any] | None = None
        if self._budget is not None:
            budget = {"root": self._root.number, "fields": new_budget(self._budget)}
        elif self._inherited:
            budget = {"key": self._inherited}
        words = [word for job in jobs for word in node_words(job)]
        if sum(map(len, words)) > CALL_BYTES:
            return None
        return [self._now_ms, json.dumps(budget, ensure_ascii=False) if budget else "", order, *words]

    def _take_ids(self, jobs: Sequence[PlannedJob], reply: list[Any]) -> None:
        status = reply[0]
        if status == b"refused":
            raise refused_error(self._root.outside, reply[1].decode("utf-8", "replace"))
        if status == b"duplicate":
            raise duplicate(self.plan, jobs[int(reply[1]) - 1])
        if status != b"ok":
            raise ServerError(
                "Failed to generate job ID: too many collisions with custom job IDs",
                command="add_flow",
                code="IDS",
            )
        for job, job_id in zip(jobs, reply[1:], strict=True):
            job.id = job_id.decode()

    def job_of(self, planned: PlannedJob) -> Job[Any, Any]:
        """Return a created job as it was written, without reading it."""
        return Job(planned.context, planned.id, hash_of(planned, self._now_ms, self._budget_key))
