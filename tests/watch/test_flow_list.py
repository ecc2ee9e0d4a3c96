"""Flows are listed: which come first, how soon a change shows, and what the list costs the server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually
from kits.flow import diamond, run_until, states, step
from kits.watch import viewer_url

from glidemq_core.errors import ClosedError, InvalidOptionError, ServerUnavailableError
from glidemq_core.flows.nodes import DagNode, FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.options.job import Budget, JobOptions, NewJob
from glidemq_core.queue import Queue
from glidemq_core.records import FlowList
from glidemq_core.server.connection import Connection
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


async def test_looks_at_the_same_time_do_not_disturb_each_other(
    connection: Connection, producer: FlowProducer
) -> None:
    flows = [await producer.add(step(f"r{n}", "q", [step("a", "q")])) for n in range(20)]
    watch = Watch(connection, queues=["q"], calls_per_s=1_000)
    for left in range(19, 9, -1):
        gone = flows.pop()
        assert gone.children is not None
        for job in (gone.job, *(child.job for child in gone.children)):
            await job.remove()
        for listed in await asyncio.gather(*(watch.flows() for _ in range(5))):
            assert len(listed.items) <= left + 1
    assert len((await watch.flows()).items) == 10


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
        session = await watch._open()
        await session.connection.close()
        with pytest.raises((ClosedError, ServerUnavailableError)):
            await watch.flows()


async def _is(queue: Queue[Any, Any], job_id: str, state: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and await job.get_state() == state


async def _is_empty(watch: Watch) -> bool:
    return not (await watch.flows()).items


async def test_many_flows_are_read_by_a_call_for_each_queue(
    connection: Connection, producer: FlowProducer
) -> None:
    for _ in range(15):
        await producer.add(step("r", "q", [step("a", "p"), step("b", "q", [step("c", "p")])]))

    async with Watch(connection, queues=["q", "p"]) as watch:
        await searched(watch)
        changed = [
            ["XADD", "glide:{p}:events", "*", "event", "progress", "jobId", str(n)] for n in range(1, 31)
        ]
        await connection.pipeline(changed)
        before = connection.stats.commands
        listed = await watch.flows()

    assert len(listed.items) == 15
    assert all(len(flow.nodes) == 4 for flow in listed.items)
    # Counters, the events of two queues, and the jobs of two queues.
    assert connection.stats.commands - before <= 5


async def test_only_flows_on_screen_are_read_again_and_others_keep_their_place(
    connection: Connection, producer: FlowProducer
) -> None:
    for number in range(6):
        node = await producer.add(step(f"r{number}", "q", [step("a", "q")]))
        await connection.command("HSET", f"glide:{{q}}:job:{node.job.id}", "timestamp", 1_000 + number)

    async with Watch(connection, queues=["q"]) as watch:
        listed = await searched(watch)
        top = [flow.root for flow in listed.items[:2]]
        for job_id in ("1", "11"):  # r0 is at the end, r5 on screen
            await connection.command("HSET", f"glide:{{q}}:job:{job_id}", "state", "failed")
            await connection.command("XADD", "glide:{q}:events", "*", "event", "failed", "jobId", job_id)
        await connection.command("HSET", "glide:{q}:job:3", "state", "active")
        listed = await watch.flows(shown=top)

        assert names(listed) == ["r4", "r3", "r2", "r1", "r5", "r0"]
        states_of = {
            flow.root.id: next(n.state for n in flow.nodes if n.ref == flow.root) for flow in listed.items
        }
        assert (states_of["11"], states_of["1"], states_of["3"]) == (
            "failed",
            "waiting-children",
            "waiting-children",
        )


async def test_new_flows_are_read_some_at_a_time_for_who_is_shown_few(
    connection: Connection, producer: FlowProducer
) -> None:
    await asyncio.gather(*(producer.add(step("r", "q", [step("a", "q")])) for _ in range(70)))

    async with Watch(connection, queues=["q"]) as watch:
        await searched(watch)
    async with Watch(connection, queues=["q"]) as other:
        lengths = [len((await other.flows(shown=(), limit=60)).items) for _ in range(3)]

    assert lengths == [40, 60, 60]


async def test_events_with_large_results_are_not_read_whole(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(step("r", "q", [step("a", "q")]))
    large = "x" * 200_000
    added = [["XADD", "glide:{q}:events", "*", "event", "completed", "jobId", "7", "returnvalue", large]] * 40
    await connection.pipeline(added)

    async with Watch(connection, queues=["q"]) as watch:
        await searched(watch)
        told = (await connection.command("INFO", "stats")).decode()
        await connection.pipeline(added)
        await watch.flows()
        after = (await connection.command("INFO", "stats")).decode()

    sent = [int(text.split("total_net_output_bytes:")[1].split()[0]) for text in (told, after)]
    assert sent[1] - sent[0] < 100_000


@pytest.mark.parametrize("shape", ["wide", "deep", "across"])
async def test_one_flow_followed_costs_a_call_for_a_hundred_jobs(
    connection: Connection, producer: FlowProducer, shape: str
) -> None:
    if shape == "wide":
        await producer.add(step("r", "q", [step("a", "q") for _ in range(350)]))
    else:
        node = step("leaf", "q")
        for level in range(40):
            node = step("level", "q" if shape == "deep" or level % 2 else "p", [node])
        await producer.add(node)

    async with Watch(connection, calls_per_s=5_000) as watch:
        first = await watch.flow("q", "1", max_nodes=500)
        before = connection.stats.commands
        again = await watch.flow("q", "1", max_nodes=500)

    assert len(again.nodes) == {"wide": 351, "deep": 41, "across": 41}[shape]
    assert again.nodes == first.nodes
    assert connection.stats.commands - before == {"wide": 4, "deep": 1, "across": 2}[shape]


async def test_a_flow_reads_the_same_without_functions(
    connection: Connection, producer: FlowProducer, server_url: str
) -> None:
    budget = Budget(max_total_tokens=5, on_exceeded="pause")
    await producer.add(step("r", "q", [step("a", "p"), step("b", "q", [step("c", "p")])]), budget=budget)
    await producer.add_dag([*diamond("q"), DagNode("e", "p", {}, deps=["b"])])

    async with (
        Watch(connection, queues=["q", "p"]) as watch,
        Watch(await viewer_url(connection, server_url), queues=["q", "p"]) as poor,
    ):
        for member in ("1", "2", "4"):
            rich_flow, poor_flow = [await one.flow("q", member) for one in (watch, poor)]
            assert replace(rich_flow, at=poor_flow.at) == poor_flow
        listed, plainly = (await searched(watch)).items, (await searched(poor)).items
        assert [flow.nodes for flow in listed] == [flow.nodes for flow in plainly]
        assert [flow.budget for flow in listed] == [flow.budget for flow in plainly]
