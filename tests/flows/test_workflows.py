"""Chain, group, chord and graph in one call, as on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.wire import assert_same_records, dump, recording

from glidemq_core import chain, chord, dag, group
from glidemq_core.errors import CycleError, InvalidOptionError
from glidemq_core.flows.nodes import DagNode, JobNode
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import JobOptions, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

OUTSIDE = ("glide:queues",)


def new_jobs(*names: str) -> list[NewJob]:
    return [NewJob(name, {"name": name}) for name in names]


async def finished(connection: Connection, queue: str, node: JobNode, seen: list[str]) -> Any:
    async def process(job: Job[Any, Any]) -> Any:
        seen.append(job.name)
        below = await job.get_children_values()
        return {"name": job.name, "below": sorted(value["name"] for value in below.values())}

    async with Worker(queue, process, connection):
        await eventually(node.job.is_completed)
    await node.job.refresh()
    return node.job.result


async def test_a_chain_is_written_as_recorded_and_runs_from_the_last(connection: Connection) -> None:
    node = await chain("workflow_chain", new_jobs("one", "two", "three"), connection=connection)

    assert [{"id": node.job.id, "name": node.job.name}] == recording("workflow_chain")["results"]
    assert_same_records(recording("workflow_chain"), await dump(connection), ignore=OUTSIDE)
    seen: list[str] = []
    assert await finished(connection, "workflow_chain", node, seen) == {"name": "one", "below": ["two"]}
    assert seen == ["three", "two", "one"]


async def test_a_chain_of_one_is_an_ordinary_job(connection: Connection) -> None:
    node = await chain("q", new_jobs("only"), connection=connection)

    assert node.children is None
    assert await node.job.get_state() == "waiting"


async def test_a_long_chain_is_one_flow(connection: Connection) -> None:
    node = await chain("q", new_jobs(*(str(n) for n in range(1500))), connection=connection)

    assert node.job.name == "0"
    assert await connection.command("XLEN", "glide:{q}:stream") == 1


async def test_a_group_is_collected_in_a_job_of_a_known_name(connection: Connection) -> None:
    async with FlowProducer(connection) as producer:
        node = await group("q", new_jobs("a", "b"), connection=producer)
        assert (node.job.name, node.job.data, node.job.options) == ("__group__", {}, JobOptions())

        assert await finished(connection, "q", node, []) == {"name": "__group__", "below": ["a", "b"]}
        await producer.add_bulk([])  # a producer that was lent stays open


async def test_a_chord_ends_in_its_callback(connection: Connection, server_url: str) -> None:
    callback = NewJob("sum", {"n": 1}, JobOptions(attempts=2))

    lent = await chord("q", new_jobs("a", "b"), callback, connection=server_url)
    job = await Queue("q", connection).get_job(lent.job.id)
    assert job is not None
    node = JobNode(job)

    assert (node.job.name, node.job.data) == ("sum", {"n": 1})
    assert await connection.command("HGET", "glide:{q}:job:1", "maxAttempts") == b"2"
    assert await finished(connection, "q", node, []) == {"name": "sum", "below": ["a", "b"]}


async def test_a_graph_by_one_call(connection: Connection) -> None:
    jobs = await dag([DagNode("a", "q"), DagNode("b", "q", deps=["a"])], connection=connection)

    assert list(jobs) == ["b", "a"]
    with pytest.raises(CycleError):
        await dag([DagNode("a", "q", deps=["a"])], connection=connection)


async def test_a_prefix_of_its_own(connection: Connection) -> None:
    await chain("q", new_jobs("a", "b"), connection=connection, prefix="other")

    assert {key.partition(":{")[0] for key in await dump(connection)} == {"other:queues", "other"}


async def test_nothing_to_do_is_refused_with_the_known_texts(connection: Connection) -> None:
    for call, text in (
        (lambda: chain("q", [], connection=connection), "chain() requires at least one job"),
        (lambda: group("q", [], connection=connection), "group() requires at least one job"),
        (
            lambda: chord("q", [], NewJob("c"), connection=connection),
            "chord() requires at least one group job",
        ),
        (lambda: dag([], connection=connection), "dag() requires at least one node"),
        (lambda: chain("q", ["a"], connection=connection), "jobs must be NewJob objects"),  # type: ignore[list-item]
    ):
        with pytest.raises(InvalidOptionError) as caught:
            await call()
        assert text in str(caught.value)
    assert await dump(connection) == {}
