"""Flows are listed: which come first, how soon a change shows, and what the list costs the server."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from flow_kit import diamond, run_until, states, step

from glidemq_core.connection import Connection
from glidemq_core.errors import ClosedError, InvalidOptionError, ServerUnavailableError
from glidemq_core.flow_nodes import DagNode, FlowJob
from glidemq_core.flows import FlowProducer
from glidemq_core.options import Budget, JobOptions, NewJob
from glidemq_core.queue import Queue
from glidemq_core.records import FlowList
from glidemq_core.watch import Watch


def names(listed: FlowList) -> list[str]:
    return [next(node.name for node in flow.nodes if node.ref == flow.root) for flow in listed.items]


async def searched(watch: Watch) -> FlowList:
    """List flows until every key has been seen once."""

    async def complete() -> FlowList | None:
        listed = await watch.flows()
        return listed if listed.complete else None

    found: FlowList = await eventually(complete)
    return found


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


async def test_flows_that_go_on_stand_before_newer_ones_that_ended(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(step("stuck", "q", [step("a", "nobody")]))
    for number in range(4):
        await producer.add(step(f"done-{number}", "q", [step("a", "q")]))
    roots = ["2", "4", "6", "8"]

    async def process(job: Any) -> None:
        return None

    async def done() -> bool:
        return set(await states(connection, "q", *roots)) == {"completed"}

    await run_until("q", connection, process, done)

    async with Watch(connection, queues=["q", "nobody"]) as watch:
        assert names(await searched(watch)) == ["stuck", "done-3", "done-2", "done-1", "done-0"]
        assert names(await watch.flows(limit=2)) == ["stuck", "done-3"]
        # An event of what ended does not lift it up.
        await connection.command("XADD", "glide:{q}:events", "*", "event", "progress", "jobId", "2")
        assert names(await watch.flows()) == ["stuck", "done-3", "done-2", "done-1", "done-0"]


async def test_a_list_that_nothing_changed_costs_a_command_a_queue(
    connection: Connection, producer: FlowProducer
) -> None:
    for _ in range(12):
        await producer.add(step("r", "q", [step("a", "q"), step("b", "q")]))
    await Queue("q", connection).add_bulk([NewJob("plain", {}) for _ in range(150)])

    async with Watch(connection, queues=["q", "other"]) as watch:
        await searched(watch)
        before = connection.stats.commands
        listed = await watch.flows()

        assert len(listed.items) == 12
        assert connection.stats.commands - before <= 3


async def test_a_change_of_a_flow_shows_at_the_next_look(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(step("r", "q", [step("a", "p")]))
    queue, parts = Queue("q", connection), Queue("p", connection)

    async with Watch(connection, queues=["q", "p"]) as watch:
        [flow] = (await searched(watch)).items
        assert flow.counts == {"waiting-children": 1, "waiting": 1}

        async def process(job: Any) -> None:
            raise ValueError("no")

        await run_until("p", connection, process, lambda: _is(parts, "1", "failed"))
        [flow] = (await watch.flows()).items
        assert flow.counts == {"waiting-children": 1, "failed": 1}

        # A child that is added later belongs to it too.
        await parts.add("late", {}, options=JobOptions(parent=node.job.ref))
        [flow] = (await watch.flows()).items
        assert sorted(child.name for child in flow.nodes) == ["a", "late", "r"]

        assert await queue.remove_job(node.job.id)
        await parts.obliterate(force=True)
        await eventually(lambda: _is_empty(watch), timeout=15)


async def test_what_ended_and_is_retried_goes_on(connection: Connection, producer: FlowProducer) -> None:
    await producer.add(FlowJob("first", "q"), budget=Budget(max_total_tokens=5))
    queue = Queue("q", connection)

    async def process(job: Any) -> None:
        raise ValueError("no")

    await run_until("q", connection, process, lambda: _is(queue, "1", "failed"))
    await producer.add(FlowJob("second", "p"), budget=Budget(max_total_tokens=5))

    async with Watch(connection, queues=["q", "p"]) as watch:
        assert names(await searched(watch)) == ["second", "first"]
        await queue.retry_job("1")

        async def goes_on() -> bool:
            return [flow.counts for flow in (await watch.flows()).items] == [{"waiting": 1}, {"delayed": 1}]

        await eventually(goes_on)


async def test_a_graph_with_two_ends_is_one_flow(connection: Connection, producer: FlowProducer) -> None:
    await producer.add_dag([*diamond("q"), DagNode("e", "q", {}, deps=["b"])])

    async with Watch(connection, queues=["q"]) as watch:
        [flow] = (await searched(watch)).items

    assert sorted(node.name for node in flow.nodes) == ["a", "b", "c", "d", "e"]


async def test_events_of_many_queues_are_heard_in_turn(
    connection: Connection, producer: FlowProducer
) -> None:
    await connection.command("SET", "glide:{q-000}:events", "of another type")
    queues = [f"q-{number:03}" for number in range(150)]

    async with Watch(connection, queues=queues) as watch:
        await searched(watch)
        await producer.add(step("r", "q-149", [step("a", "q-149")]))
        before = connection.stats.commands
        looks = [names(await watch.flows()) for _ in range(3)]

        assert looks[-1] == ["r"]
        assert connection.stats.commands - before < 250


async def test_a_lost_server_is_told_and_no_empty_list(
    connection: Connection, producer: FlowProducer, server_url: str
) -> None:
    await producer.add(step("r", "q", [step("a", "q")]))

    async with Watch(server_url, queues=["q"]) as watch:
        await searched(watch)
        eyes = await watch._look()
        await eyes.connection.close()
        with pytest.raises((ClosedError, ServerUnavailableError)):
            await watch.flows()


async def _is(queue: Queue[Any, Any], job_id: str, state: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and await job.get_state() == state


async def _is_empty(watch: Watch) -> bool:
    return not (await watch.flows()).items
