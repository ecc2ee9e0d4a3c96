"""Flows are created whole or not at all; what cannot be is refused before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.flow import everything, ids_of, run_until, step
from kits.wire import dump

from glidemq_core.errors import (
    ClosedError,
    CycleError,
    DuplicateJobError,
    FlowDefinitionError,
    GlideMQError,
    InvalidOptionError,
    PayloadTooLargeError,
)
from glidemq_core.flows.nodes import DagNode, FlowJob, topo_sort, validate_dag
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobOptions, JobRef, Ordering, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

# Definitions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        FlowJob("a", "no:queue"),
        FlowJob("a", "q", children=[FlowJob("b", "")]),
        FlowJob("a", "q", children=[FlowJob("b", "q", data=float("nan"))]),
        FlowJob("a", "q", children="bc"),  # type: ignore[arg-type]
        FlowJob("a", "q", children=["b"]),  # type: ignore[list-item]
        FlowJob("a", "q", options={"delay": 1}),  # type: ignore[arg-type]
        FlowJob(5, "q"),  # type: ignore[arg-type]
        "a",
    ],
)
async def test_a_bad_tree_is_refused_whole(connection: Connection, producer: FlowProducer, bad: Any) -> None:
    with pytest.raises(GlideMQError):
        await producer.add(bad)
    with pytest.raises(GlideMQError):
        await producer.add(FlowJob("root", "q", children=[FlowJob("ok", "q"), bad]))

    assert await dump(connection) == {}


async def test_options_are_validated_before_a_flow_is_made() -> None:
    for wrong in ({"priority": 2049}, {"ttl": -1}, {"job_id": "a||b"}, {"lifo": True, "ordering": "k"}):
        with pytest.raises(InvalidOptionError):
            JobOptions(**wrong)  # type: ignore[arg-type]


async def test_data_too_large_anywhere_refuses_the_flow(
    connection: Connection, producer: FlowProducer
) -> None:
    with pytest.raises(PayloadTooLargeError):
        await producer.add(FlowJob("r", "q", children=[FlowJob("c", "q", "x" * 1_048_577)]))

    assert await dump(connection) == {}


async def test_more_than_a_call_can_hold_is_refused(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_core.flows.plan.MAX_JOBS", 2)
    with pytest.raises(FlowDefinitionError, match="at most 2 jobs, this one has 3"):
        await producer.add(FlowJob("r", "q", children=[FlowJob("c", "q")] * 2))
    monkeypatch.setattr("glidemq_core.flows.plan.MAX_BYTES", 50)
    with pytest.raises(PayloadTooLargeError, match="at most 50 bytes together"):
        await producer.add_dag([DagNode("a", "q", "x" * 30), DagNode("b", "q", "x" * 30)])
    assert await dump(connection) == {}


async def test_a_node_that_contains_itself_is_refused(producer: FlowProducer) -> None:
    children: list[FlowJob] = []
    inner = FlowJob("inner", "q", children=children)
    children.append(FlowJob("deeper", "q", children=[inner]))

    with pytest.raises(CycleError, match="flow contains a cycle: inner -> deeper -> inner") as caught:
        await producer.add(FlowJob("root", "q", children=[inner]))

    assert caught.value.cycle == ["inner", "deeper", "inner"]


async def test_one_node_object_in_two_places_is_two_jobs(producer: FlowProducer) -> None:
    shared = FlowJob("s", "q", children=[FlowJob("leaf", "q")])

    node = await producer.add(FlowJob("root", "q", children=[shared, shared]))

    assert node.children is not None
    assert len({child.job.id for child in node.children}) == 2


async def test_ids_taken_within_a_flow_refuse_it_before_anything_is_written(
    connection: Connection, producer: FlowProducer
) -> None:
    with pytest.raises(DuplicateJobError):
        await producer.add(step("r", "q", [step("a", "q", job_id="x"), step("b", "q", job_id="x")]))
    with pytest.raises(DuplicateJobError):
        await producer.add(step("r", "q", [step("a", "q", job_id="x")], job_id="x"))
    assert await dump(connection) == {}

    node = await producer.add(step("r", "q", [step("a", "p", job_id="x")], job_id="x"))
    assert node.children is not None
    assert node.children[0].job.ref == JobRef("p", "x")


async def test_an_id_that_raises_the_counter_does_not_meet_a_sibling(
    connection: Connection, producer: FlowProducer
) -> None:
    """F7: Node's first automatic child of X=50 becomes 51, which a sibling has asked for."""
    node = await producer.add(step("x", "q", [step("auto", "q"), step("b", "q", job_id="51")], job_id="50"))

    assert ids_of(node) == ("50", [("52", None), ("51", None)])


async def test_a_taken_id_deep_in_a_tree_leaves_nothing(
    connection: Connection, producer: FlowProducer
) -> None:
    await Queue("q", connection).add("old", {}, job_id="taken")
    before = await everything(connection)
    tree = step(
        "r", "q", [step("m", "other", [step("l", "other")]), step("n", "q", [step("t", "q", job_id="taken")])]
    )

    with pytest.raises(DuplicateJobError):
        await producer.add(tree, budget=Budget(max_total_tokens=1))

    assert await everything(connection) == before


async def test_existing_hashes_are_skipped_by_automatic_ids(
    connection: Connection, producer: FlowProducer
) -> None:
    for taken in ("1", "2", "4"):
        await connection.command("HSET", f"glide:{{q}}:job:{taken}", "state", "waiting")

    node = await producer.add(step("r", "q", [step("a", "q"), step("b", "q")]))

    assert ids_of(node) == ("3", [("5", None), ("6", None)])


async def test_an_ordering_key_shared_with_a_waiting_job_is_refused(
    connection: Connection, producer: FlowProducer
) -> None:
    """F6: they would wait for each other for ever; another queue's key is another key."""
    keyed = {"ordering": "k"}
    with pytest.raises(FlowDefinitionError, match="ordering key 'k'") as caught:
        await producer.add(step("r", "q", [step("m", "q", [step("leaf", "q", **keyed)])], **keyed))
    assert caught.value.node == "leaf"
    nodes = [
        DagNode("a", "q", {}, JobOptions(ordering="k")),
        DagNode("b", "q", {}, deps=["a"]),
        DagNode("c", "q", {}, JobOptions(ordering="k"), deps=["b"]),
    ]
    with pytest.raises(FlowDefinitionError, match="ordering key 'k'"):
        await producer.add_dag(nodes)
    assert await dump(connection) == {}

    await producer.add(step("r", "q", [step("a", "p", **keyed), step("b", "p", **keyed)], **keyed))


async def test_group_settings_inside_flows(connection: Connection, producer: FlowProducer) -> None:
    """Inner nodes overwrite concurrency, children keep it, nothing is taken away."""
    bucket = TokenBucket(1.9999, 1)
    wide = Ordering("inner", concurrency=3, token_bucket=bucket)
    leaf = JobOptions(ordering=Ordering("leaf", concurrency=5), cost=0.5)
    tree = FlowJob("r", "q", {}, JobOptions(ordering=wide, cost=1.9999), [FlowJob("l", "q", {}, leaf)])
    await connection.command("HSET", "glide:{q}:group:inner", "maxConcurrency", 9, "rateMax", 7)
    await connection.command("HSET", "glide:{q}:group:leaf", "maxConcurrency", 9)

    await producer.add(tree)

    found = await everything(connection)
    inner = found["glide:{q}:group:inner"]
    assert (inner["maxConcurrency"], inner["rateMax"], inner["tbCapacity"]) == ("3", "7", "1999")
    assert (inner["tbTokens"], inner["active"], inner["nextSeq"]) == ("1999", "0", "1")
    assert found["glide:{q}:group:leaf"]["maxConcurrency"] == "9"
    assert found["glide:{q}:job:1"]["cost"] == "1999"
    assert (found["glide:{q}:job:2"]["cost"], found["glide:{q}:job:2"]["orderingSeq"]) == ("500", "1")


async def test_options_of_inner_nodes_are_stored_and_not_applied(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(
        step("r", "q", [step("l", "q", lifo=True)], delay=5000, priority=3, lifo=True, ttl=60_000)
    )

    found = await everything(connection)
    root = found["glide:{q}:job:1"]
    assert (root["delay"], root["priority"], root["state"]) == ("5000", "3", "waiting-children")
    assert "lifo" not in root
    assert int(root["expireAt"]) == int(root["timestamp"]) + 60_000
    assert "glide:{q}:scheduled" not in found
    assert found["glide:{q}:lifo"] == ["2"]
    assert found["glide:{q}:job:2"]["lifo"] == "1"


async def test_a_closed_producer_says_so(connection: Connection) -> None:
    producer = FlowProducer(connection)
    await producer.close()
    await producer.close()
    with pytest.raises(ClosedError, match="FlowProducer is closing"):
        await producer.add(FlowJob("a", "q"))


async def test_hundreds_of_children_and_levels_are_one_call(
    connection: Connection, producer: FlowProducer
) -> None:
    before = connection.stats.commands
    await producer.add(FlowJob("wide", "q", children=[FlowJob("c", "q") for _ in range(499)]))
    deep = FlowJob("leaf", "q")
    for level in range(499):
        deep = FlowJob(str(level), "q", children=[deep])
    await producer.add(deep)

    assert connection.stats.commands - before == 3  # each flow, and the registry once
    assert await connection.command("SCARD", "glide:{q}:deps:1") == 499


# Graphs ------------------------------------------------------------------------------------------------------


def test_graphs_are_sorted_breadth_first_with_ties_as_given() -> None:
    nodes = [
        DagNode("d", "q", deps=["b", "c"]),
        DagNode("b", "q", deps=["a"]),
        DagNode("c", "q", deps=["a", "a"]),
        DagNode("a", "q"),
        DagNode("z", "q"),
    ]

    assert [node.name for node in topo_sort(nodes)] == ["a", "z", "b", "c", "d"]
    validate_dag([])


@pytest.mark.parametrize(
    ("deps", "error", "message"),
    [
        ([("a", ()), ("a", ("x",))], FlowDefinitionError, "Duplicate node name: a"),
        ([("a", ("x",)), ("b", ("b",))], FlowDefinitionError, 'Node "a" depends on unknown node "x"'),
        ([("a", ("a", "x"))], CycleError, "DAG contains a cycle: a -> a"),
        ([("a", ("c",)), ("b", ("a",)), ("c", ("b",))], CycleError, "DAG contains a cycle: a -> b -> c -> a"),
        ([("x", ("b",)), ("a", ("b",)), ("b", ("a",))], CycleError, "DAG contains a cycle: a -> b -> a"),
    ],
)
async def test_bad_graphs_are_refused_with_the_known_texts(
    connection: Connection, producer: FlowProducer, deps: Any, error: type[Exception], message: str
) -> None:
    nodes = [DagNode(name, "q", {}, deps=below) for name, below in deps]
    for attempt in (validate_dag, topo_sort):
        with pytest.raises(error) as caught:
            attempt(nodes)
        assert str(caught.value) == message
    with pytest.raises(error):
        await producer.add_dag(nodes)
    assert await dump(connection) == {}


def test_a_cycle_names_the_closed_path() -> None:
    with pytest.raises(CycleError) as caught:
        validate_dag([DagNode("a", "q", deps=["b"]), DagNode("b", "q", deps=["a"])])
    assert caught.value.cycle == ["a", "b", "a"]


async def test_no_nodes_are_no_jobs(producer: FlowProducer) -> None:
    assert await producer.add_dag([]) == {}


async def test_a_leaf_with_one_dependent_has_the_plain_link(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add_dag([DagNode("a", "q", {}), DagNode("b", "p", {}, deps=["a"])])

    found = await everything(connection)
    leaf = found["glide:{q}:job:1"]
    assert (leaf["parentId"], leaf["parentQueue"]) == ("1", "p")
    assert "parentIds" not in leaf
    assert "glide:{q}:parents:1" not in found
    assert found["glide:{p}:deps:1"] == ["glide:{q}:1"]


async def test_dependents_in_other_queues_all_hear_of_the_end(
    connection: Connection, producer: FlowProducer
) -> None:
    """F3: Node forgets edges between queues where a node has several dependents."""
    nodes = [
        DagNode("a", "q", {}),
        DagNode("here", "q", {}, deps=["a"]),
        DagNode("there", "p", {}, deps=["a"]),
        DagNode("far", "r", {}, deps=["a"]),
    ]
    jobs = await producer.add_dag(nodes)
    leaf = jobs["a"].fields
    assert (leaf["parentId"], leaf["parentQueue"]) == (jobs["there"].id.encode(), b"p")
    assert [str(ref) for ref in await jobs["a"].get_parents()] == ["p:1", "q:1", "r:1"]

    async def ready() -> bool:
        return [await jobs[name].get_state() for name in ("here", "there", "far")] == [
            "completed",
            "waiting",
            "waiting",
        ]

    await run_until("q", connection, lambda job: None, ready)


async def test_many_prerequisites_are_all_there_before_a_dependent_runs(
    connection: Connection, producer: FlowProducer
) -> None:
    """F2: with Node two dependents of 400 leaves ran although one leaf was still delayed."""
    names = [f"leaf-{n}" for n in range(120)]
    nodes = [DagNode(name, "q", {}) for name in names]
    nodes += [DagNode(name, "q", {}, deps=names) for name in ("left", "right")]
    seen: dict[str, int] = {}

    async def process(job: Job[Any, Any]) -> None:
        seen[job.name] = len(await job.get_children_values())

    async with Worker("q", process, connection, concurrency=20):
        jobs = await producer.add_dag(nodes)
        await eventually(lambda: "left" in seen and "right" in seen)

    assert (seen["left"], seen["right"]) == (120, 120)
    assert await jobs["left"].get_state() in ("active", "completed")
