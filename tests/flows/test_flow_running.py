"""Flows run to their end: parents hear of their children, and are mended when they did not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.flow import run_until, states, step
from kits.wire import replay

from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
)
from glidemq_core.flows import repair
from glidemq_core.flows.nodes import DagNode, FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Actor, Budget, Deduplication, JobOptions, JobRef, NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

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


@pytest.mark.parametrize("tools", ["tools", "agents"])
async def test_a_child_added_again_under_its_id_stays_done(connection: Connection, tools: str) -> None:
    """A processor that starts from the top adds its children again; the add is refused, what is done stays done."""
    agents, other = Queue("agents", connection), Queue(tools, connection)

    async def process(job: Job[Any, Any]) -> Any:
        if job.name == "tool":
            return "found"
        await other.add("tool", job_id="only-once", parent=job.ref)
        values = await job.get_children_values()
        if not values:
            await job.move_to_waiting_children()
        if job.attempts_made == 0:
            raise RuntimeError("once more from the top")
        await other.add("tool", job_id="only-once", parent=job.ref)
        return list(values.values())

    agent = await agents.add("agent", attempts=2)
    assert agent is not None
    async with Worker("tools", process, connection, promotion_interval=50):
        await run_until("agents", connection, process, agent.is_completed, promotion_interval=50)

    await agent.refresh()
    assert agent.result == ["found"]
    assert agent.fields["depsCompleted"] == b"1"
    assert await connection.command("SCARD", "glide:{agents}:deps:1") == 1


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_parent_does_not_wait_for_a_child_that_was_not_added(
    connection: Connection, bulk: bool
) -> None:
    agents, tools = Queue("agents", connection), Queue("tools", connection)
    once = Deduplication("same", 60_000, "throttle")
    await tools.add("first", deduplication=once)

    async def process(job: Job[Any, Any]) -> Any:
        values = await job.get_children_values()
        if values:
            return list(values.values())
        options = JobOptions(parent=job.ref, deduplication=once)
        added = (
            await tools.add_bulk([NewJob("again", options=options)])
            if bulk
            else await tools.add("again", options=options)
        )
        assert not added
        await tools.add("other", parent=job.ref)
        await job.move_to_waiting_children()
        return None

    agent = await agents.add("agent")
    assert agent is not None
    async with Worker("tools", lambda job: job.name, connection):
        await run_until("agents", connection, process, agent.is_completed)

    await agent.refresh()
    assert agent.result == ["other"]


@pytest.mark.leaves_records
async def test_a_parent_in_a_queue_that_does_not_exist_is_warned_of(
    connection: Connection, producer: FlowProducer
) -> None:
    """As with Node it is not looked at: it may come later. Each child is a member of its own parent's set."""
    queue = Queue("q", connection)
    with pytest.warns(UserWarning, match="there is no queue 'nowhere' so far"):
        one = await queue.add("child", parent=JobRef("nowhere", "1"))
    assert one is not None
    with pytest.warns(UserWarning, match="there is no queue 'elsewhere' so far"):
        added = await queue.add_bulk(
            [
                NewJob("seed", options=JobOptions(job_id=one.id)),
                NewJob("child", options=JobOptions(parent=JobRef("elsewhere", "a"))),
                NewJob("other"),
            ]
        )
    with pytest.warns(UserWarning, match="there is no queue 'faraway' so far"):
        sub = await producer.add(
            FlowJob(
                "sub", "q", options=JobOptions(parent=JobRef("faraway", "b")), children=[FlowJob("x", "q")]
            )
        )

    assert [job.name for job in added] == ["child", "other"]
    for where, child in (
        ("nowhere}:deps:1", one),
        ("elsewhere}:deps:a", added[0]),
        ("faraway}:deps:b", sub.job),
    ):
        member = f"glide:{{q}}:{child.id}".encode()
        assert await connection.command("SMEMBERS", "glide:{" + where) == {member}


async def test_a_parent_that_is_gone_from_its_queue_is_no_error(connection: Connection) -> None:
    parents = Queue("p", connection)
    parent = await parents.add("parent")
    assert parent is not None
    await parent.remove()

    child = await Queue("q", connection).add("child", parent=parent.ref)

    assert child is not None
    assert child.parent == parent.ref


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


async def test_repair_names_a_shared_child_once(connection: Connection, producer: FlowProducer) -> None:
    nodes = [DagNode("s", "q"), DagNode("x", "p", deps=["s"]), DagNode("y", "q", deps=["s"])]
    jobs = await producer.add_dag([*nodes, DagNode("z", "q", deps=["x", "y"])])
    await connection.command("HSET", f"glide:{{q}}:job:{jobs['s'].id}", "state", "completed")

    told = await Queue("q", connection).repair_flow(jobs["z"].id, older_than=0)

    assert told == [jobs["s"].ref]
    assert [await jobs[name].get_state() for name in "xy"] == ["waiting", "waiting"]


async def test_a_parent_that_is_removed_during_a_repair_does_not_end_it(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = FlowJob("r", "q", {}, None, [FlowJob("m", "q", {}, None, [FlowJob("a", "q")])])
    root = await producer.add(tree)
    assert root.children is not None
    inner, read = root.children[0].job, repair.pending_children

    async def slow(scope: Any, parent: JobRef) -> Any:
        found = await read(scope, parent)
        if parent == inner.ref:
            await inner.remove()
        return found

    monkeypatch.setattr(repair, "pending_children", slow)
    assert await Queue("q", connection).repair_flow(root.job.id, older_than=0) == []
    assert await root.job.get_state() == "waiting-children"


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
