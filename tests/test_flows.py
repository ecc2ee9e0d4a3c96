"""Flows: created whole or not at all, as on the wire; waiting, release, repair; read from any member."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually
from wire import assert_same_records, dump, recording, replay

from glidemq_core.connection import Connection
from glidemq_core.errors import (
    ClosedError,
    CycleError,
    DuplicateJobError,
    FlowDefinitionError,
    GlideMQError,
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
    PayloadTooLargeError,
)
from glidemq_core.flow_nodes import DagNode, FlowJob, JobNode, topo_sort, validate_dag
from glidemq_core.flows import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options import Actor, Budget, JobOptions, JobRef, Ordering, TokenBucket
from glidemq_core.queue import Queue
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

#: Keys outside every queue, which recordings leave out.
OUTSIDE = ("glide:queues",)
#: What workers leave behind that depends on which worker it was.
WORKING = (*OUTSIDE, "*:w:*", "*:metrics:*", "*:usage:queues")


@pytest.fixture
async def producer(connection: Connection) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(connection) as opened:
        yield opened


def step(name: str, queue: str, children: list[FlowJob] | None = None, **options: Any) -> FlowJob:
    return FlowJob(
        name, queue, {"step": name}, JobOptions(**options) if options else None, tuple(children or ())
    )


def rag(queue: str, **child: Any) -> FlowJob:
    steps = [step(name, queue, **child) for name in ("embed", "search", "generate")]
    return FlowJob("rag", queue, {"query": "q"}, None, steps)


async def states(connection: Connection, queue: str, *ids: str) -> list[str]:
    answers = await connection.pipeline([("HGET", f"glide:{{{queue}}}:job:{i}", "state") for i in ids])
    return [answer.decode() if answer else "unknown" for answer in answers]


async def everything(connection: Connection) -> dict[str, Any]:
    found = await dump(connection)
    return {key: entry["value"] for key, entry in found.items() if not key.endswith(":id")}


def ids_of(node: JobNode) -> Any:
    return node.job.id, None if node.children is None else [ids_of(child) for child in node.children]


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


def diamond(queue: str) -> list[DagNode]:
    return [
        DagNode("a", queue, {}),
        DagNode("b", queue, {}, deps=["a"]),
        DagNode("c", queue, {}, deps=["a"]),
        DagNode("d", queue, {}, deps=["b", "c"]),
    ]


async def run_until(queue: str, connection: Connection, process: Any, done: Any, **options: Any) -> None:
    async with Worker(queue, process, connection, log_errors=False, **options):
        await eventually(done)


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
    last = Job(await Queue(queue, connection).scope(), "4", {})
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
    monkeypatch.setattr("glidemq_core.flow_plan.MAX_JOBS", 2)
    with pytest.raises(FlowDefinitionError, match="at most 2 jobs, this one has 3"):
        await producer.add(FlowJob("r", "q", children=[FlowJob("c", "q")] * 2))
    monkeypatch.setattr("glidemq_core.flow_plan.MAX_BYTES", 50)
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
    """flows.md 1.4: inner nodes overwrite concurrency, children keep it, nothing is taken away."""
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


async def test_thousands_of_children_and_levels_are_one_call(
    connection: Connection, producer: FlowProducer
) -> None:
    before = connection.stats.commands
    await producer.add(FlowJob("wide", "q", children=[FlowJob("c", "q") for _ in range(3000)]))
    deep = FlowJob("leaf", "q")
    for level in range(1200):
        deep = FlowJob(str(level), "q", children=[deep])
    await producer.add(deep)

    assert connection.stats.commands - before == 3  # each flow, and the registry once
    assert await connection.command("SCARD", "glide:{q}:deps:1") == 3000


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


# Running -----------------------------------------------------------------------------------------------------


async def test_a_fast_worker_never_misses_a_parent(connection: Connection, producer: FlowProducer) -> None:
    """F1: links stand before anything can run, whatever a worker does meanwhile."""
    done: list[str] = []

    async def process(job: Job[Any, Any]) -> None:
        done.append(job.name)

    async with Worker("q", process, connection, concurrency=10):
        for n in range(10):
            inner = [FlowJob("m", "q", {}, None, [FlowJob("x", "q", {})]) for _ in range(5)]
            await producer.add(FlowJob(f"root-{n}", "q", {}, None, inner))
        await eventually(lambda: len([name for name in done if name.startswith("root")]) == 10)

    assert len(done) == 10 * 11


async def test_completion_reaches_parents_in_other_queues(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(step("r", "up", [step("a", "down"), step("b", "down"), step("c", "aside")]))

    async def waiting() -> bool:
        return await node.job.get_state() == "waiting"

    async with Worker("down", lambda job: None, connection), Worker("aside", lambda job: None, connection):
        await eventually(waiting)

    assert await connection.command("LLEN", "glide:{down}:outbox") == 0


async def test_retention_of_a_child_does_not_lose_its_parent(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(step("r", "q", [step("a", "q", remove_on_complete=True)]))

    await run_until("q", connection, lambda job: None, node.job.is_completed)


async def test_a_removed_parent_is_not_brought_back_by_its_child(
    connection: Connection, producer: FlowProducer
) -> None:
    """F11."""
    node = await producer.add(step("r", "q", [step("a", "q")]))
    await node.job.remove()
    assert node.children is not None

    await run_until("q", connection, lambda job: None, node.children[0].job.is_completed)

    assert await connection.command("EXISTS", "glide:{q}:job:1") == 0


async def test_a_reused_child_id_is_waited_for_again(connection: Connection) -> None:
    """F9: Node counts it as done before it has run."""
    queue = Queue("q", connection)
    parent = await queue.add("p", {})
    assert parent is not None
    await connection.command("HSET", "glide:{q}:job:1", "depdone:glide:{q}:kid", 1, "depsCompleted", 1)

    await queue.add("c", {}, job_id="kid", parent=parent.ref)

    fields = await connection.command("HMGET", "glide:{q}:job:1", "depdone:glide:{q}:kid", "depsCompleted")
    assert fields == [None, b"0"]


async def test_waiting_for_no_children_is_refused(connection: Connection) -> None:
    """F21: on Node's wire it would wait for ever."""
    job = await Queue("q", connection).add("p", {})
    assert job is not None

    async def process(job: Job[Any, Any]) -> None:
        await job.move_to_waiting_children()

    await run_until("q", connection, process, job.is_failed)
    await job.refresh()
    assert "has no children to wait for" in (job.failed_reason or "")


async def test_children_in_another_queue_of_a_running_job(connection: Connection) -> None:
    agents, tools = Queue("agents", connection), Queue("tools", connection)

    async def process(job: Job[Any, Any]) -> Any:
        values = await job.get_children_values()
        if not values:
            for n in range(3):
                await tools.add("tool", {"n": n}, parent=job.ref)
            await job.move_to_waiting_children()
        return sorted(values.values())

    async def work(job: Job[Any, Any]) -> Any:
        return job.data["n"]

    agent = await agents.add("agent", {})
    assert agent is not None
    async with Worker("tools", work, connection, concurrency=3):
        await run_until("agents", connection, process, agent.is_completed)
    await agent.refresh()
    assert agent.result == [0, 1, 2]


@pytest.mark.parametrize("where", ["agents", "tools"])
async def test_what_a_budgeted_job_starts_draws_on_its_budget(
    connection: Connection, producer: FlowProducer, where: str
) -> None:
    root = (await producer.add(FlowJob("agent", "agents"), budget=Budget(max_total_tokens=9))).job

    child = await Queue(where, connection).add("tool", {}, parent=root.ref)
    assert child is not None
    await child.refresh()
    assert child.budget == root.ref


@pytest.mark.parametrize("where", ["agents", "tools"])
async def test_a_sub_flow_may_name_a_running_parent(
    connection: Connection, producer: FlowProducer, where: str
) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        if job.name != "agent":
            return job.name
        values = await job.get_children_values()
        if not values:
            sub = FlowJob("sub", where, {}, JobOptions(parent=job.ref), [FlowJob("leaf", where)])
            await producer.add(sub)
            await job.move_to_waiting_children()
        return list(values.values())

    agent = (await producer.add(FlowJob("agent", "agents"), budget=Budget(max_total_tokens=9))).job
    async with Worker("tools", process, connection):
        await run_until("agents", connection, process, agent.is_completed)

    await agent.refresh()
    assert agent.result == ["sub"]
    flow = await Watch(connection).flow("agents", agent.id)
    assert [node.name for node in flow.nodes] == ["agent", "sub", "leaf"]
    keys = await connection.pipeline(
        [("HGET", f"glide:{{{node.queue}}}:job:{node.id}", "budgetKey") for node in flow.nodes]
    )
    assert set(keys) == {b"glide:{agents}:budget:1"}


# Mending -----------------------------------------------------------------------------------------------------


async def test_repair_tells_parents_of_children_that_ended_unheard(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(step("r", "q", [step("m", "p", [step("l", "q")]), step("x", "q")]))
    queue = Queue("q", connection)
    for ref in ("q:1", "p:1"):  # as Node leaves them (F1, F3): completed, no parent told
        name, _, job_id = ref.partition(":")
        await connection.command("HSET", f"glide:{{{name}}}:job:{job_id}", "state", "completed")

    assert await queue.repair_flow(node.job.id) == []  # too young: perhaps it is being wired
    told = await queue.repair_flow(node.job.id, older_than=0, actor=Actor("ada"))

    assert [str(ref) for ref in told] == ["p:1"]  # what had completed itself is not asked for its children
    assert await states(connection, "q", "2") == ["waiting-children"]
    await connection.command("HSET", "glide:{q}:job:3", "state", "completed")
    assert [str(ref) for ref in await queue.repair_flow(node.job.id, older_than=0)] == ["q:3"]
    assert await states(connection, "q", "2") == ["waiting"]
    assert await queue.repair_flow(node.job.id, older_than=0) == []
    [entry] = await queue.get_audit()
    assert (entry.action, entry.by, entry.job_ids) == ("repair_flow", "ada", ("2",))


async def test_a_recorded_stuck_parent_is_released_without_the_failed_child(connection: Connection) -> None:
    """F20."""
    await replay(connection, "flow_child_failed")
    queue = Queue("flow_child_failed", connection)

    assert [str(ref) for ref in await queue.get_blocking_children("1")] == ["flow_child_failed:3"]
    released = await asyncio.gather(
        *(queue.release_parent("1", actor=Actor("ada")) for _ in range(3)), return_exceptions=True
    )

    counted = [refs for refs in released if isinstance(refs, list) and refs]
    assert [[ref.id for ref in refs] for refs in counted] == [["3"]]
    assert await connection.command("XLEN", "glide:{flow_child_failed}:stream") == 1
    [entry] = await queue.get_audit()
    assert (entry.action, entry.outcome, entry.detail["children"]) == (
        "release_parent",
        "released",
        ["glide:{flow_child_failed}:3"],
    )
    parent = await queue.get_job("1")
    assert parent is not None
    await run_until(queue.name, connection, lambda job: None, parent.is_completed)
    assert sorted(await parent.get_children_values()) == [
        "glide:{flow_child_failed}:2",
        "glide:{flow_child_failed}:4",
    ]


async def test_a_parent_is_released_without_children_that_are_gone_but_not_without_running_ones(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(step("r", "q", [step("a", "p"), step("b", "q")]))
    queue = Queue("q", connection)
    await Queue("p", connection).remove_job("1")

    with pytest.raises(InvalidOptionError, match="may still complete"):
        await queue.release_parent("1", children=[JobRef("q", "2")])
    with pytest.raises(InvalidOptionError, match="does not wait for"):
        await queue.release_parent("1", children=[JobRef("q", "77")])
    assert await queue.release_parent("1") == [JobRef("p", "1")]
    assert await node.job.get_state() == "waiting-children"
    with pytest.raises(JobNotFoundError):
        await queue.release_parent("99")
    with pytest.raises(JobStateError, match="does not wait for children"):
        await queue.release_parent("2")


async def test_a_failed_child_that_is_retried_releases_its_parent(connection: Connection) -> None:
    await replay(connection, "flow_child_failed")
    queue = Queue("flow_child_failed", connection)
    await queue.retry_job("3")
    parent = await queue.get_job("1")
    assert parent is not None

    await run_until(queue.name, connection, lambda job: None, parent.is_completed)


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
    assert [node.name for node in paused.nodes if node.parked] == ["generate"]
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


async def test_flows_are_listed_newest_first_whether_recent_or_found(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(step("old", "q", [step("a", "p")]))
    await producer.add(step("new", "q", [step("a", "p")]))
    await producer.add(FlowJob("single", "q"), budget=Budget(max_total_tokens=5))
    await Queue("q", connection).add("plain", {})
    await connection.command("HSET", "glide:{q}:job:1", "timestamp", 5)
    await connection.command("UNLINK", "glide:{q}:events", "glide:{p}:events")

    async with Watch(connection, queues=["q", "p"]) as watch:

        async def complete() -> Any:
            listed = await watch.flows()
            return listed if listed.complete else None

        listed = await eventually(complete)
        assert sorted(flow.nodes[0].name for flow in listed.items) == ["new", "old", "single"]
        assert listed.items[-1].nodes[0].name == "old"
        assert len((await watch.flows(["q"], limit=1)).items) == 1
        await producer.add(step("newest", "q", [step("a", "q")]))
        assert "newest" in [flow.nodes[0].name for flow in (await watch.flows()).items]
        with pytest.raises(InvalidOptionError):
            await watch.flows(limit=0)
