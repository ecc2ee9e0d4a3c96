"""Flows are read from any member and listed, recorded and damaged ones too."""

from __future__ import annotations

import pytest
from flow_kit import step
from wire import dump, replay

from glidemq_core.connection import Connection
from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
)
from glidemq_core.flow_nodes import FlowJob
from glidemq_core.flows import FlowProducer
from glidemq_core.options import JobRef
from glidemq_core.queue import Queue
from glidemq_core.records_json import to_json
from glidemq_core.watch import Watch

# Reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["1", "2", "3", "4", "5"])
async def test_a_flow_is_read_from_any_member(connection: Connection, member: str) -> None:
    await replay(connection, "flow_nested_budget")

    flow = await Watch(connection).flow("flow_nested_budget", member)

    assert (str(flow.root), flow.kind, flow.truncated) == ("flow_nested_budget:4", "tree", False)
    assert [(node.name, node.depth) for node in flow.nodes] == [
        ("rag", 0),
        ("plan", 1),
        ("embed", 1),
        ("tool-1", 2),
        ("tool-2", 2),
    ]
    assert flow.counts == {"waiting-children": 2, "waiting": 3}
    assert flow.budget is not None
    assert flow.budget.max_total_tokens == 1000
    assert flow.budget.tokens_per_min is None
    assert flow.budget.runs_out_at is None


async def test_usage_and_parked_jobs_of_recorded_flows(connection: Connection) -> None:
    await replay(connection, "flow_completed")
    await replay(connection, "budget_exceeded_pause")

    done = await Watch(connection).flow("flow_completed", "3")
    assert (done.usage.total_tokens, done.usage.total_cost, done.usage.job_count) == (330, 0.006, 3)
    assert done.counts == {"completed": 4}

    paused = await Watch(connection).flow("budget_exceeded_pause", "1")
    [parked] = [node for node in paused.nodes if node.parked]
    assert parked.name == "generate"
    assert parked.parked_at is not None
    assert "parked_at" not in to_json(parked)
    assert paused.budget is not None
    assert (paused.budget.exceeded, [ref.id for ref in paused.budget.parked]) == (True, ["4"])


async def test_a_recorded_diamond_is_read_with_levels(connection: Connection) -> None:
    await replay(connection, "dag_node_failed")

    flow = await Watch(connection).flow("dag_node_failed", "4")

    assert (flow.kind, str(flow.root)) == ("dag", "dag_node_failed:1")
    assert [(node.name, node.depth, node.state) for node in flow.nodes] == [
        ("d", 0, "waiting-children"),
        ("b", 1, "completed"),
        ("c", 1, "failed"),
        ("a", 2, "completed"),
    ]
    assert [str(ref) for ref in flow.nodes[3].parents] == ["dag_node_failed:2", "dag_node_failed:3"]


async def test_a_flow_with_a_cycle_or_too_many_jobs_is_bounded(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(FlowJob("r", "q", children=[FlowJob("c", "q") for _ in range(30)]))
    flow = await Watch(connection).flow("q", "31", max_nodes=10)
    assert (len(flow.nodes), flow.truncated, flow.root.id) == (10, True, "1")

    for one, two in (("a", "b"), ("b", "a")):
        fields = ("state", "waiting", "parentId", two, "parentQueue", "cyc")
        await connection.command("HSET", f"glide:{{cyc}}:job:{one}", *fields)
        await connection.command("SADD", f"glide:{{cyc}}:deps:{one}", f"glide:{{cyc}}:{two}")
    assert len((await Watch(connection).flow("cyc", "a")).nodes) == 2


async def test_a_root_alone_of_a_larger_flow_is_no_single_job(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(FlowJob("root", "q", children=[FlowJob("leaf", "q")]))
    async with Watch(connection) as watch:
        flow = await watch.flow("q", node.job.id, max_nodes=1)
    assert (len(flow.nodes), flow.kind, flow.truncated) == (1, "tree", True)


async def test_gone_members_are_shown_and_gone_jobs_refused(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(step("r", "q", [step("a", "q"), step("b", "q")]))
    await Queue("q", connection).remove_job("2")

    flow = await Watch(connection).flow("q", "3")
    assert [(node.id, node.state) for node in flow.nodes] == [
        ("1", "waiting-children"),
        ("2", "unknown"),
        ("3", "waiting"),
    ]
    with pytest.raises(JobNotFoundError):
        await Watch(connection).flow("q", "99")
    with pytest.raises(InvalidOptionError):
        await Watch(connection).flow("q", "1", max_nodes=0)


RECORDED = [
    ("flow_waiting", "tree", 4),
    ("flow_bulk", "tree", 4),
    ("flow_completed", "tree", 4),
    ("flow_child_failed", "tree", 4),
    ("flow_cross_queue", "tree", 4),
    ("flow_nested_budget", "tree", 5),
    ("flow_budget_cost_exceeded", "tree", 4),
    ("flow_budget_parent_completed", "tree", 4),
    ("budget_fresh", "tree", 4),
    ("budget_running", "tree", 4),
    ("budget_exceeded_fail", "tree", 4),
    ("budget_exceeded_pause", "tree", 4),
    ("dag_waiting", "dag", 4),
    ("dag_completed", "dag", 4),
    ("dag_node_failed", "dag", 4),
    ("workflow_chain", "tree", 3),
    ("waiting_children_resumed", "tree", 2),
]


@pytest.mark.parametrize(("name", "kind", "jobs"), RECORDED)
async def test_every_recorded_flow_is_listed_and_read(
    connection: Connection, name: str, kind: str, jobs: int
) -> None:
    loaded = await replay(connection, name)
    before = await dump(connection)

    async with Watch(connection, queues=[name]) as watch:
        [flow] = (await watch.flows()).items

    assert (flow.kind, len(flow.nodes), sum(flow.counts.values())) == (kind, jobs, jobs)
    stored = loaded["keys"]
    for node in flow.nodes:
        assert node.state == stored[f"glide:{{{node.queue}}}:job:{node.id}"]["value"]["state"]
    assert (flow.budget is None) == (f"glide:{{{name}}}:budget:{flow.root.id}" not in stored)
    assert await dump(connection) == before


async def test_parents_of_recorded_nodes_are_read_right(connection: Connection) -> None:
    """F4: Node cuts the members at the wrong colon."""
    await replay(connection, "dag_completed")

    job = await Queue("dag_completed", connection).get_job("4")
    assert job is not None
    assert await job.get_parents() == [JobRef("dag_completed", "2"), JobRef("dag_completed", "3")]


async def test_hostile_records_are_read_without_harm(connection: Connection) -> None:
    await connection.command(
        "SADD", "glide:{q}:deps:1", "no member", "glide:{q}:2", "else:{q}:3", b"\xff:{q}:4"
    )
    await connection.command("HSET", "glide:{q}:job:1", "state", b"\xff\x1b[2J", "name", "x" * 9000)
    await connection.command("SET", "glide:{q}:job:2", "no hash")
    await connection.command("HSET", "glide:{q}:job:9", "parentIds", "{", "parentId", "1", "parentQueue", "q")

    flow = await Watch(connection).flow("q", "9")

    assert next((node.id, node.state) for node in flow.nodes) == ("1", "\ufffd\x1b[2J")
    assert len(flow.nodes[0].name) == 4096
    assert flow.nodes[1].state == "unknown"
