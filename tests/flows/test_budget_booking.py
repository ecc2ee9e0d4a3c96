"""Bookings of a budget: none is missed, none is made twice."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from conftest import eventually
from kits.budget import (
    budget_of,
    exceeded_flow,
    parked_are,
    until_quiet,
    worker_of,
)

from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobOptions
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

# Booking -----------------------------------------------------------------------------------------------------


async def test_failed_attempts_are_booked_once_each(connection: Connection, producer: FlowProducer) -> None:
    """D33: what an attempt spent is spent, whatever became of it; unchanged reports count once."""
    reports = iter([True, False, True])

    async def process(job: Job[Any, Any]) -> int:
        if next(reports):
            await job.report_usage(model="m", tokens={"input": 10})
        if job.attempts_made < 2:
            raise RuntimeError("again")
        return 1

    node = await producer.add(
        FlowJob("one", "q", options=JobOptions(attempts=3)), budget=Budget(max_total_tokens=1000)
    )
    async with worker_of(connection, "q", process):
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["usedTokens"] == "20"


async def test_what_a_node_attempt_reported_between_two_of_ours_is_booked(
    connection: Connection, producer: FlowProducer
) -> None:
    """Node replaces the report, fails and books nothing, and leaves our note that the report before was booked."""
    key, stream = "glide:{q}:job:1", "glide:{q}:stream"

    async def process(job: Job[Any, Any]) -> int:
        if job.attempts_made == 0:
            await job.report_usage(model="m", total_tokens=10)
            raise RuntimeError("again")
        return 1

    node = await producer.add(
        FlowJob("one", "q", options=JobOptions(attempts=3, backoff=3_600_000)),
        budget=Budget(max_total_tokens=1000),
    )
    async with worker_of(connection, "q", process):

        async def delayed() -> bool:
            return await node.job.get_state() == "delayed"

        await eventually(delayed)
        await connection.command("ZREM", "glide:{q}:scheduled", "1")
        await connection.command(
            "HSET", key, "usage:totalTokens", "7", "attemptsMade", "2", "state", "waiting"
        )
        await connection.command("XADD", stream, "*", "jobId", "1", "name", "one")
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["usedTokens"] == "17"


async def test_a_report_before_a_suspension_is_booked_at_the_end(
    connection: Connection, producer: FlowProducer
) -> None:
    async def process(job: Job[Any, Any]) -> int:
        if not job.signals:
            await job.report_usage(model="m", total_tokens=40)
            await job.suspend(reason="look")
        return 1

    node = await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=1000))
    async with worker_of(connection, "q", process):

        async def suspended() -> bool:
            return await node.job.get_state() == "suspended"

        await eventually(suspended)
        assert (await budget_of(connection, "q"))["usedTokens"] == "0"
        await Queue("q", connection).signal("1", "go")
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["usedTokens"] == "40"


async def test_what_a_dead_worker_or_a_removed_job_spent_is_booked(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(
        FlowJob("r", "q", children=[FlowJob("a", "q"), FlowJob("b", "q")]),
        budget=Budget(max_total_tokens=1000),
    )
    assert node.children is not None
    for child in node.children:
        await child.job.report_usage(model="m", total_tokens=7)
        await connection.command(
            "HSET", f"glide:{{q}}:job:{child.job.id}", "state", "active", "lastActive", 1
        )
    await connection.command("XGROUP", "CREATE", "glide:{q}:stream", "workers", "0")
    await connection.command("XREADGROUP", "GROUP", "workers", "dead", "STREAMS", "glide:{q}:stream", ">")

    await connection.call("stalls", "glide:{q}", connection.now_ms(), 0, 1000, 1, "me", "0-0")
    assert (await budget_of(connection, "q"))["usedTokens"] == "14"
    await Queue("q", connection).remove_job("2", force=True)  # booked already
    assert (await budget_of(connection, "q"))["usedTokens"] == "14"
    await node.children[1].job.report_usage(model="m", total_tokens=5)
    await Queue("q", connection).remove_job("3", force=True)
    assert (await budget_of(connection, "q"))["usedTokens"] == "19"


async def test_a_weighted_sum_beyond_all_numbers_exceeds_every_cap(
    connection: Connection, producer: FlowProducer
) -> None:
    budget = Budget(max_total_tokens=10, token_weights={"input": sys.float_info.max})
    await producer.add(FlowJob("one", "q"), budget=budget)

    async with worker_of(connection, "q"):
        await until_quiet(connection, "q", 1)

    found = await budget_of(connection, "q")
    assert (float(found["usedTokens"]), found["exceeded"]) == (sys.float_info.max, "1")


async def test_all_zero_weights_fall_back_to_the_total(
    connection: Connection, producer: FlowProducer
) -> None:
    budget = Budget(max_total_tokens=1000, token_weights={"input": 0})
    await producer.add(FlowJob("one", "q"), budget=budget)

    async with worker_of(connection, "q"):
        await until_quiet(connection, "q", 1)
    found = await budget_of(connection, "q")
    assert (found["usedTokens"], found["usedTokens:input"]) == ("100", "100")


async def test_the_budget_is_charged_from_every_queue(connection: Connection, producer: FlowProducer) -> None:
    tree = FlowJob("rag", "up", children=[FlowJob("a", "down"), FlowJob("b", "aside")])
    node = await producer.add(tree, budget=Budget(max_total_tokens=150, on_exceeded="pause"))

    async with worker_of(connection, "down"), worker_of(connection, "aside"), worker_of(connection, "up"):
        await eventually(lambda: parked_are(Queue("up", connection), {"1"}))
        await Queue("up", connection).top_up_budget("1", add_tokens=1000)
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "up"))["usedTokens"] == "200"


async def test_a_reused_flow_id_starts_anew(connection: Connection, producer: FlowProducer) -> None:
    """D37."""
    await connection.command(
        "HSET", "glide:{q}:budget:mine", "usedTokens", 9, "maxTotalCost", 1, "usedTokens:input", 9
    )

    await producer.add(
        FlowJob("one", "q", options=JobOptions(job_id="mine")), budget=Budget(max_total_tokens=5)
    )

    assert await budget_of(connection, "q", "mine") == {
        "usedTokens": "0",
        "usedCost": "0",
        "exceeded": "0",
        "onExceeded": "fail",
        "maxTotalTokens": "5",
    }


@pytest.mark.parametrize("how", ["remove", "drain", "revoke"])
async def test_parked_jobs_that_go_hold_up_nothing(
    connection: Connection, producer: FlowProducer, how: str
) -> None:
    """The budget of a flow that ended is forgotten in time, whatever became of the jobs it had parked."""
    node = await exceeded_flow(connection, producer)
    queue = Queue[Any, Any]("q", connection)
    [parked] = await queue.get_parked_jobs("1")
    if how == "remove":
        await queue.remove_job(parked.id)
    elif how == "drain":
        await queue.drain(delayed=True)
    else:
        assert await queue.revoke(parked.id) == "revoked"
    assert await connection.command("EXISTS", "glide:{q}:budget-parked:1") == 0

    await queue.top_up_budget("1", add_tokens=1000)
    await queue.release_parent("1")
    async with worker_of(connection, "q"):
        await eventually(node.job.is_completed)
    assert 0 < await connection.command("TTL", "glide:{q}:budget:1") <= 30 * 86_400


async def test_a_booking_costs_the_same_however_many_there_were(
    connection: Connection, producer: FlowProducer
) -> None:
    """Letters from other slots leave a mark each, which must not make the budget longer for those who read it."""
    await producer.add(
        FlowJob("one", "q"), budget=Budget(max_total_tokens=10_000, max_tokens={"input": 9_000})
    )
    keys = (await Queue("q", connection).context()).keys
    before = await connection.command("HLEN", keys.budget("1"))
    spend = '{"tokens":"{\\"input\\":1}","totalTokens":"1"}'

    async def book(number: int) -> bytes:
        [status] = await connection.call("budget_book", keys.root, "1", spend, f"glide:{{far}}:{number}:1000")
        return bytes(status)

    assert {await book(number) for number in range(200)} == {b"ok"}
    assert {await book(number) for number in range(200)} == {b"known"}
    stored = await budget_of(connection, "q")
    assert (stored["usedTokens"], stored["usedTokens:input"]) == ("200", "200")
    assert await connection.command("HLEN", keys.budget("1")) <= before + 2
    assert await connection.command("TTL", keys.budget_booked("1")) > 0


async def test_marks_of_bookings_go_after_a_month(connection: Connection, producer: FlowProducer) -> None:
    await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=10_000))
    keys = (await Queue("q", connection).context()).keys
    month = 30 * 86_400_000
    for at in (1_000, 2_000, month + 5_000):
        await connection.call("budget_book", keys.root, "1", '{"totalTokens":"1"}', f"glide:{{far}}:1:{at}")
    assert await connection.command("ZRANGE", keys.budget_booked("1"), 0, -1) == [
        f"glide:{{far}}:1:{month + 5_000}".encode()
    ]
