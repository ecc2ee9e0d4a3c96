"""Flows are read from any member and listed, recorded and damaged ones too."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.flow import step
from kits.wire import dump, replay

from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    UnrecoverableError,
)
from glidemq_core.flows.nodes import FlowJob, JobNode
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import JobRef
from glidemq_core.queue import Queue
from glidemq_core.records.base import to_json
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

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
@pytest.mark.leaves_records
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


@pytest.mark.leaves_records
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


# What is left of removed jobs ----------------------------------------------------------------------------------


async def run_with_usage(connection: Connection, producer: FlowProducer, **options: Any) -> JobNode:
    async def process(job: Job[Any, Any]) -> int:
        if job.name.startswith("step"):
            await job.report_usage(model="m", tokens={"input": 10}, costs={"input": 0.5}, cost_unit="USD")
        if job.name == "step-bad":
            raise UnrecoverableError("no")
        return 1

    children = [step(f"step-{n}", "q", **options) for n in range(4)]
    inner = step("inner", "q", [step("step-deep", "far", **options)], **options)
    bad = step("step-bad", "q", **options)
    node = await producer.add(FlowJob("root", "q", {}, None, [*children, inner, bad]))
    workers = [Worker(queue, process, connection, log_errors=False) for queue in ("q", "far")]
    async with workers[0], workers[1]:

        async def all_ran() -> bool:
            counted = await connection.command("HGET", "glide:{q}:job:2", "depsCompleted")
            failed = await connection.command("ZCARD", "glide:{q}:failed")
            gone = await connection.command("EXISTS", "glide:{q}:job:7")
            return counted == b"5" and (failed == 1 or not gone)

        await eventually(all_ran)
    return node


async def test_figures_of_a_flow_stay_when_its_children_are_trimmed(
    connection: Connection, producer: FlowProducer
) -> None:
    await run_with_usage(connection, producer)
    whole = await Watch(connection).flow("q", "2")
    deep = await Queue("q", connection).get_flow_usage("2", deep=True)
    await connection.command("FLUSHALL")

    await run_with_usage(connection, producer, remove_on_complete=True, remove_on_fail=True)
    assert await connection.command("EXISTS", "glide:{q}:job:3") == 0
    trimmed = await Watch(connection).flow("q", "2")

    assert trimmed.usage == whole.usage
    assert (trimmed.usage.total_tokens, trimmed.usage.total_cost, trimmed.usage.job_count) == (60, 3.0, 6)
    assert trimmed.counts == whole.counts == {"waiting-children": 1, "completed": 6, "failed": 1}
    assert (trimmed.removed, whole.removed) == (7, 0)
    assert {node.name for node in trimmed.nodes if node.removed and node.total_tokens} == {
        *(f"step-{n}" for n in range(4)),
        "step-deep",
        "step-bad",
    }
    assert await Queue("q", connection).get_flow_usage("2", deep=True) == deep
    assert await Queue("q", connection).get_blocking_children("2") == [JobRef("q", "7")]
    assert await connection.command("TTL", "glide:{q}:kept:3") > 0


async def test_a_child_that_a_peer_ran_and_removed_is_done_and_told_as_removed(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(
        FlowJob("root", "q", {}, None, [step("a", "q"), step("b", "q"), step("c", "q")])
    )
    await connection.call("child_done", "glide:{q}", node.job.id, "glide:{q}:2")
    await connection.command("UNLINK", "glide:{q}:job:2", "glide:{q}:job:3")

    flow = await Watch(connection).flow("q", node.job.id)
    assert [(one.id, one.state, one.removed) for one in flow.nodes] == [
        ("1", "waiting-children", False),
        ("2", "completed", True),
        ("3", "unknown", True),
        ("4", "waiting", False),
    ]
    assert flow.counts == {"waiting-children": 1, "completed": 1, "unknown": 1, "waiting": 1}


async def test_what_is_kept_of_removed_jobs_is_read_without_functions_too(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_with_usage(connection, producer, remove_on_complete=True, remove_on_fail=True)
    whole = await Watch(connection).flow("q", "2")
    monkeypatch.setattr(connection._client, "functions_available", False)
    plain = await Watch(connection).flow("q", "2")
    assert (plain.usage, plain.counts, plain.removed) == (whole.usage, whole.counts, whole.removed)
