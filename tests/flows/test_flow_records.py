"""Flows written and run by us leave what the recordings of the real system hold."""

from __future__ import annotations

from typing import Any

import pytest
from kits.flow import OUTSIDE, WORKING, diamond, ids_of, rag, run_until, step
from kits.wire import assert_same_records, dump, recording

from glidemq_core.errors import (
    DuplicateJobError,
    InvalidOptionError,
)
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobRef
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

# Recordings: the same calls write the same -----------------------------------------------------------------


async def test_a_tree_is_written_as_recorded(connection: Connection, producer: FlowProducer) -> None:
    node = await producer.add(rag("flow_waiting"))

    assert ids_of(node) == ("1", [("2", None), ("3", None), ("4", None)])
    assert_same_records(recording("flow_waiting"), await dump(connection), ignore=OUTSIDE)


async def test_a_nested_tree_with_a_budget_is_written_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    queue = "flow_nested_budget"
    tree = step(
        "rag",
        queue,
        [step("embed", queue), step("plan", queue, [step("tool-1", queue), step("tool-2", queue)])],
    )

    node = await producer.add(tree, budget=Budget(max_total_tokens=1000, on_exceeded="pause"))

    assert ids_of(node) == ("4", [("5", None), ("1", [("2", None), ("3", None)])])
    assert_same_records(recording(queue), await dump(connection), ignore=OUTSIDE)
    assert node.children is not None
    assert node.children[0].job.budget == JobRef(queue, "4")


async def test_every_budget_option_is_written_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    budget = Budget(
        max_total_tokens=2000,
        max_tokens={"input": 1500, "reasoning": 300},
        token_weights={"reasoning": 4, "cachedInput": 0.25},
        max_total_cost=0.05,
        max_costs={"total": 0.04},
        cost_unit="usd",
        on_exceeded="fail",
    )

    await producer.add(rag("budget_fresh"), budget=budget)

    assert_same_records(recording("budget_fresh"), await dump(connection), ignore=OUTSIDE)


async def test_custom_ids_are_written_as_recorded_and_refused_the_second_time(
    connection: Connection, producer: FlowProducer
) -> None:
    queue = "flow_custom_ids"
    kids = [step("a", queue, job_id="kid-1", priority=4), step("b", queue, job_id="kid-2", delay=3_600_000)]
    tree = step("rag", queue, kids, job_id="root-1", attempts=2)

    await producer.add(tree)
    written = await dump(connection)
    with pytest.raises(DuplicateJobError, match="Duplicate job ID in flow") as caught:
        await producer.add(tree)

    assert_same_records(recording(queue), written, ignore=OUTSIDE)
    assert await dump(connection) == written
    assert (caught.value.queue, caught.value.job_id) == (queue, "root-1")


async def test_a_tree_over_queues_is_written_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    queue, other = "flow_cross_queue", "flow_cross_queue-other"
    middle = FlowJob("mid", queue, {}, None, [FlowJob("leaf", other, {})])

    await producer.add(FlowJob("p", queue, {}, None, [middle, FlowJob("k", other, {})]))

    assert_same_records(recording(queue), await dump(connection), ignore=OUTSIDE)


async def test_bulk_is_written_as_recorded_and_stops_at_the_first_error(
    connection: Connection, producer: FlowProducer
) -> None:
    steps = [step(name, "flow_bulk") for name in ("embed", "search", "generate")]
    flows = [step("rag", "flow_bulk", steps), step("solo", "flow_bulk")]

    nodes = await producer.add_bulk(flows)
    assert [ids_of(node) for node in nodes] == [("1", [("2", None), ("3", None), ("4", None)]), ("5", None)]
    assert_same_records(recording("flow_bulk"), await dump(connection), ignore=OUTSIDE)

    with pytest.raises(InvalidOptionError):
        await producer.add_bulk([step("x", "bulk"), step("y", "no:queue"), step("z", "bulk")])
    assert await connection.command("GET", "glide:{bulk}:id") == b"1"


async def test_a_diamond_is_written_as_recorded(connection: Connection, producer: FlowProducer) -> None:
    jobs = await producer.add_dag(diamond("dag_waiting"))

    assert {name: job.id for name, job in jobs.items()} == recording("dag_waiting")["results"][0]
    assert_same_records(recording("dag_waiting"), await dump(connection), ignore=OUTSIDE)


async def test_a_tree_completes_as_recorded(connection: Connection, producer: FlowProducer) -> None:
    queue = "flow_completed"

    async def process(job: Job[Any, Any]) -> Any:
        if job.name == "rag":
            return dict(sorted((await job.get_children_values()).items()))
        await job.report_usage(
            model="gpt-5.4", tokens={"input": 100, "output": 10}, costs={"total": 0.002}, cost_unit="usd"
        )
        return job.name

    await producer.add(rag(queue))
    root = await Queue(queue, connection).get_job("1")
    assert root is not None
    await run_until(queue, connection, process, root.is_completed)

    await root.refresh()
    assert root.result == recording(queue)["results"][1]
    assert_same_records(recording(queue), await dump(connection), ignore=WORKING)


async def test_a_failed_child_blocks_its_parent_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    queue = "flow_child_failed"

    async def process(job: Job[Any, Any]) -> Any:
        if job.name == "search":
            raise RuntimeError("index down")
        return job.name

    await producer.add(rag(queue))
    last = Job(await Queue(queue, connection).context(), "4", {})
    await run_until(queue, connection, process, last.is_completed)

    assert_same_records(recording(queue), await dump(connection), ignore=WORKING)


@pytest.mark.parametrize("name", ["dag_completed", "dag_node_failed"])
async def test_a_diamond_runs_as_recorded(connection: Connection, producer: FlowProducer, name: str) -> None:
    order: list[str] = []

    async def process(job: Job[Any, Any]) -> Any:
        order.append(job.name)
        if job.name == "c" and name == "dag_node_failed":
            raise RuntimeError("c broke")
        return job.name

    jobs = await producer.add_dag(diamond(name))
    last = jobs["d" if name == "dag_completed" else "c"]

    async def ended() -> bool:
        return await last.get_state() in ("completed", "failed")

    await run_until(name, connection, process, ended)

    assert order == ["a", "b", "c", "d"][: 4 if name == "dag_completed" else 3]
    assert_same_records(recording(name), await dump(connection), ignore=(*WORKING, "*:events"))


async def test_dynamic_children_run_as_recorded(connection: Connection) -> None:
    queue = Queue("waiting_children_resumed", connection)
    runs = 0

    async def process(job: Job[Any, Any]) -> Any:
        nonlocal runs
        if job.name == "tool":
            return {"found": 3}
        runs += 1
        values = await job.get_children_values()
        if not values:
            await queue.add("tool", {}, parent=job.ref)
            await job.move_to_waiting_children()
        return values

    agent = await queue.add("agent", {})
    assert agent is not None
    await run_until(queue.name, connection, process, agent.is_completed)

    await agent.refresh()
    tool = await queue.get_job("2")
    assert tool is not None
    recorded = recording(queue.name)["results"]
    assert [[runs, agent.result], [ref.to_json() for ref in await tool.get_parents()]] == recorded
    assert_same_records(recording(queue.name), await dump(connection), ignore=(*WORKING, "*:events"))
