"""Common shapes of flows in one call: chain, group, chord, graph.

`connection` is a producer, a shared Connection or a URL. A connection opened from a URL is closed afterwards: the
jobs returned can then be read, but not asked anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..job import Job
from ..options.fields import refuse
from ..options.job import NewJob
from ..server.connection import Connection
from .nodes import DagNode, FlowJob, JobNode
from .producer import FlowProducer

#: Name of the job that a group is collected in.
GROUP_NAME = "__group__"

Where = str | Connection | FlowProducer | None


async def chain(
    queue: str, jobs: Sequence[NewJob], *, connection: Where = None, prefix: str | None = None
) -> JobNode:
    """Run jobs one after another: the **last** runs first, the first runs last and is the root.

    Each reads its predecessor's result with `get_children_values()`.
    Raises:
        InvalidOptionError: an empty list; else as `FlowProducer.add`.
    """
    if not jobs:
        refuse("jobs", jobs, "at least one job", "chain() requires at least one job")
    below: tuple[FlowJob, ...] = ()
    for job in reversed(jobs):
        below = (_flow_job(queue, job, below),)
    async with _producer(connection, prefix) as producer:
        return await producer.add(below[0])


async def group(
    queue: str, jobs: Sequence[NewJob], *, connection: Where = None, prefix: str | None = None
) -> JobNode:
    """Run jobs side by side, collected in a job named `__group__`, which a worker of the queue must process.

    Raises:
        InvalidOptionError: an empty list; else as `FlowProducer.add`.
    """
    if not jobs:
        refuse("jobs", jobs, "at least one job", "group() requires at least one job")
    return await _above(FlowJob(GROUP_NAME, queue, {}), jobs, connection, prefix)


async def chord(
    queue: str,
    jobs: Sequence[NewJob],
    callback: NewJob,
    *,
    connection: Where = None,
    prefix: str | None = None,
) -> JobNode:
    """Run jobs side by side, then `callback`, which reads their results with `get_children_values()`.

    Raises:
        InvalidOptionError: an empty list; else as `FlowProducer.add`.
    """
    if not jobs:
        refuse("jobs", jobs, "at least one job", "chord() requires at least one group job")
    return await _above(_flow_job(queue, callback), jobs, connection, prefix)


async def dag(
    nodes: Iterable[DagNode],
    *,
    connection: Where = None,
    prefix: str | None = None,
    cross_slot: bool = False,
) -> dict[str, Job[Any, Any]]:
    """Create a graph of jobs, as `FlowProducer.add_dag`.

    Raises:
        InvalidOptionError: there are no nodes; else as `FlowProducer.add_dag`.
    """
    given = list(nodes)
    if not given:
        refuse("nodes", given, "at least one node", "dag() requires at least one node")
    async with _producer(connection, prefix) as producer:
        return await producer.add_dag(given, cross_slot=cross_slot)


async def _above(root: FlowJob, jobs: Sequence[NewJob], connection: Where, prefix: str | None) -> JobNode:
    children = tuple(_flow_job(root.queue, job) for job in jobs)
    async with _producer(connection, prefix) as producer:
        return await producer.add(FlowJob(root.name, root.queue, root.data, root.options, children))


def _flow_job(queue: str, job: NewJob, children: Sequence[FlowJob] = ()) -> FlowJob:
    if not isinstance(job, NewJob):
        refuse("jobs", job, "NewJob objects")
    return FlowJob(job.name, queue, job.data, job.options, children)


@asynccontextmanager
async def _producer(where: Where, prefix: str | None) -> AsyncIterator[FlowProducer]:
    """Give the producer given, or one of our own that is closed afterwards."""
    if isinstance(where, FlowProducer):
        yield where
        return
    async with FlowProducer(where, prefix=prefix) as producer:
        yield producer
