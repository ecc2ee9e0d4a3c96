"""Flows over the slots of a cluster: made as a whole, told by letters, stopped by a budget far away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually
from server.test_cluster import cluster, cluster_ports  # noqa: F401

from glidemq_core.errors import BulkError, CallTimeoutError, DuplicateJobError, InvalidOptionError
from glidemq_core.flows.nodes import DagNode, FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.flows.workflows import dag
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobOptions, JobRef, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

pytestmark = pytest.mark.xdist_group("cluster")

#: Queues in the slots of different nodes (see test_cluster.ROOTS).
FAR = ("b", "c", "a")


@pytest.fixture
async def empty(cluster: Connection) -> AsyncIterator[Connection]:  # noqa: F811
    import glide

    await cluster.client.custom_command(["FLUSHALL"], route=glide.AllPrimaries())
    return cluster


async def everything(connection: Connection) -> set[str]:
    import glide

    answers = await connection.client.custom_command(["KEYS", "*"], route=glide.AllPrimaries())
    pages = answers.values() if isinstance(answers, dict) else [answers]
    return {key.decode() for page in pages for key in page}


def tree(**options: Any) -> FlowJob:
    b, c, a = FAR
    deep = FlowJob("m", c, {}, None, [FlowJob("x", a, {}), FlowJob("y", c, {})])
    return FlowJob("r", b, {}, None, [deep, FlowJob("z", a, {}, JobOptions(**options))])


async def test_a_tree_over_slots_runs_to_its_root(empty: Connection) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        return sorted((await job.get_children_values()).values(), key=str) or job.name

    async with FlowProducer(empty) as producer:
        node = await producer.add(tree(), cross_slot=True)
    workers = [Worker(queue, process, empty, log_errors=False) for queue in FAR]
    try:
        for worker in workers:
            await worker.start()
        await eventually(node.job.is_completed, timeout=20)
    finally:
        for worker in workers:
            await worker.close()
    await node.job.refresh()
    assert node.job.result == [["x", "y"], "z"]
    flow = await Watch(empty).flow("a", "1")
    assert (str(flow.root), flow.counts) == ("b:1", {"completed": 5})


async def test_node_workers_never_meet_a_flow_over_slots_that_nobody_vouched_for(empty: Connection) -> None:
    root = await Queue("b", empty).add("root", {})
    assert root is not None
    before = await everything(empty)
    below = JobOptions(parent=root.ref)
    nodes = [DagNode("load", "a", {}), DagNode("join", "b", {}, deps=["load"])]

    async with FlowProducer(empty) as producer, Queue[Any, Any]("a", empty) as far:
        for refused in (
            producer.add(tree()),
            producer.add(FlowJob("sub", "c", {}, below)),
            producer.add_bulk([tree()]),
            producer.add_dag(nodes),
            dag(nodes, connection=producer),
            far.add("child", {}, parent=root.ref),
            far.add("child", {}, options=below),
            far.add_and_wait("child", {}, parent=root.ref),
        ):
            with pytest.raises(InvalidOptionError, match="different slots") as caught:
                await refused
            assert (caught.value.option, caught.value.value) == ("cross_slot", False)
        with pytest.raises(BulkError, match="different slots"):
            await far.add_bulk([NewJob("child", {}, below)])
        assert await everything(empty) == before

        # What lies in one slot is nobody's business.
        assert await Queue("b", empty).add("child", {}, parent=root.ref)
        assert await producer.add(FlowJob("r", "a", {}, None, [FlowJob("x", "a", {})]))


async def test_on_a_server_of_its_own_a_flow_spans_queues_as_it_likes(connection: Connection) -> None:
    async with FlowProducer(connection) as producer:
        root = (await producer.add(tree())).job
    assert await Queue("far", connection).add("child", {}, parent=root.ref)


async def test_a_taken_id_is_found_before_anything_is_made(empty: Connection) -> None:
    await Queue("a", empty).add("old", {}, job_id="taken")
    before = await everything(empty)

    async with FlowProducer(empty) as producer:
        with pytest.raises(DuplicateJobError):
            await producer.add(tree(job_id="taken"), budget=Budget(max_total_tokens=1), cross_slot=True)

    assert {key for key in await everything(empty) - before if not key.endswith("}:id")} == set()


@pytest.mark.parametrize("step", range(1, 6))
async def test_a_step_that_fails_takes_everything_back(
    empty: Connection, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    call, made = empty.call, 0

    async def failing(function: str, key: str, *args: Any) -> Any:
        nonlocal made
        answer = await call(function, key, *args)
        if function in ("make_flow", "link_flow"):
            made += 1
            if made == step:  # the reply is lost, the call was made
                raise CallTimeoutError("no answer", command=function, timeout_ms=5)
        return answer

    monkeypatch.setattr(empty, "call", failing)
    async with FlowProducer(empty) as producer:
        with pytest.raises(CallTimeoutError):
            await producer.add(tree(), budget=Budget(max_total_tokens=1), cross_slot=True)

    left = {
        key
        for key in await everything(empty)
        if ":job:" in key or ":deps:" in key or ":budget" in key or "flow-" in key
    }
    assert left == set()
    lengths = await empty.pipeline([("XLEN", f"glide:{{{queue}}}:stream") for queue in FAR])
    assert lengths == [0, 0, 0]


async def test_a_graph_over_slots(empty: Connection) -> None:
    b, c, a = FAR
    nodes = [
        DagNode("load", a, {}),
        DagNode("left", b, {}, deps=["load"]),
        DagNode("right", c, {}, deps=["load"]),
        DagNode("join", a, {}, deps=["left", "right"]),
    ]
    async with FlowProducer(empty) as producer:
        jobs = await producer.add_dag(nodes, cross_slot=True)
    workers = [Worker(queue, lambda job: job.name, empty, log_errors=False) for queue in FAR]
    try:
        for worker in workers:
            await worker.start()
        await eventually(jobs["join"].is_completed, timeout=20)
    finally:
        for worker in workers:
            await worker.close()
    assert sorted((await jobs["join"].get_children_values()).values()) == ["left", "right"]


@pytest.mark.parametrize("policy", ["pause", "fail"])
async def test_a_budget_in_another_slot_stops_jobs_and_is_charged(empty: Connection, policy: str) -> None:
    children = [FlowJob(str(n), "a", {}) for n in range(3)]
    async with FlowProducer(empty) as producer:
        node = await producer.add(
            FlowJob("r", "b", {}, None, children),
            budget=Budget(max_total_tokens=15, on_exceeded=policy),
            cross_slot=True,
        )
    queue = Queue("b", empty)
    told: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(model="m", total_tokens=10)

    async with Worker("a", process, empty, log_errors=False) as worker:
        worker.on("budget_exceeded", lambda job: told.append(job.id))

        async def spent() -> bool:
            budget = await queue.get_flow_budget(node.job.id)
            return budget is not None and budget.used_tokens == 20 and budget.exceeded and bool(told)

        await eventually(spent, timeout=20)
    budget = await queue.get_flow_budget(node.job.id)
    assert budget is not None
    assert budget.parked == ((JobRef("a", "3"),) if policy == "pause" else ())
    top_up = await queue.top_up_budget(node.job.id, add_tokens=100, retry_failed=True)
    assert top_up.released == (JobRef("a", "3"),)


async def test_a_booking_that_comes_twice_counts_once(empty: Connection) -> None:
    async with FlowProducer(empty) as producer:
        await producer.add(FlowJob("r", "b"), budget=Budget(max_total_tokens=15))
    words = ("budget_book", "glide:{b}", "1", '{"totalTokens":"4"}', "glide:{a}:1:5")

    assert [await empty.call(*words) for _ in range(3)] == [[b"ok"], [b"known"], [b"known"]]
    budget = await Queue("b", empty).get_flow_budget("1")
    assert budget is not None
    assert budget.used_tokens == 4


async def test_children_and_sub_flows_of_a_parent_in_another_slot(empty: Connection) -> None:
    async with FlowProducer(empty) as producer:
        root = (await producer.add(FlowJob("agent", "b"), budget=Budget(max_total_tokens=9))).job

        child = await Queue("a", empty).add("tool", {}, parent=root.ref, cross_slot=True)
        sub = await producer.add(FlowJob("sub", "c", {}, JobOptions(parent=root.ref)), cross_slot=True)

    assert child is not None
    for job in (child, sub.job):
        await job.refresh()
        assert (job.parent, job.budget) == (root.ref, root.ref)
    members = await empty.command("SMEMBERS", "glide:{b}:deps:1")
    assert {member.decode() for member in members} == {"glide:{a}:1", "glide:{c}:1"}
