"""Topping up a budget: told before, done once, refused when it makes no sense; rates and forecast."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from conftest import eventually
from kits.budget import (
    budget_of,
    exceeded_flow,
    parked_are,
    steps_of,
    worker_of,
)
from kits.wire import dump

from glidemq_core.errors import (
    BudgetNotFoundError,
    InvalidOptionError,
)
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.options.job import Actor, Budget, JobRef
from glidemq_core.queue import Queue
from glidemq_core.records import to_json
from glidemq_core.records.budgets import decode_budget
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

# Topping up --------------------------------------------------------------------------------------------------


async def test_a_preview_tells_all_and_changes_nothing(
    connection: Connection, producer: FlowProducer
) -> None:
    await exceeded_flow(connection, producer)
    before = await dump(connection)
    queue = Queue("q", connection)

    would = await queue.top_up_budget("1", add_tokens=100, preview=True, actor=Actor("ada"))
    still = await queue.top_up_budget("1", add_tokens=50, preview=True)  # equal is enough
    short = await queue.top_up_budget("1", add_tokens=49, preview=True)

    assert await dump(connection) == before
    assert (would.preview, would.before.exceeded, would.after.exceeded) == (True, True, False)
    assert (would.after.max_total_tokens, would.after.left_tokens) == (250, 50)
    assert (would.released, would.before.parked) == ((JobRef("q", "4"),), (JobRef("q", "4"),))
    assert would.after.parked == ()
    assert not still.still_exceeded
    assert (short.still_exceeded, short.released, short.over) == (True, (), ("maxTotalTokens",))
    assert set(to_json(would)) == {"preview", "before", "after", "still_exceeded", "released"}


async def test_a_top_up_below_what_is_used_is_kept_but_releases_nothing(
    connection: Connection, producer: FlowProducer
) -> None:
    await exceeded_flow(connection, producer)
    queue = Queue("q", connection)

    top_up = await queue.top_up_budget("1", add_tokens=10)

    assert (top_up.still_exceeded, top_up.released, top_up.after.parked) == (True, (), (JobRef("q", "4"),))
    found = await budget_of(connection, "q")
    assert (found["maxTotalTokens"], found["exceeded"]) == ("160", "1")
    assert await parked_are(queue, {"4"})


async def test_two_operators_at_once_both_count_and_each_job_goes_once(
    connection: Connection, producer: FlowProducer
) -> None:
    await exceeded_flow(connection, producer)
    queue = Queue("q", connection)

    answers = await asyncio.gather(
        *(queue.top_up_budget("1", add_tokens=30, actor=Actor(f"op {n}")) for n in range(6))
    )

    assert [ref for answer in answers for ref in answer.released] == [JobRef("q", "4")]
    assert (await budget_of(connection, "q"))["maxTotalTokens"] == "330"
    assert await connection.command("XLEN", "glide:{q}:stream") == 1
    assert len(await queue.get_audit()) == 6
    assert await connection.command("EXISTS", "glide:{q}:budget-parked:1") == 0


async def test_caps_that_changed_since_they_were_shown_stop_a_top_up(
    connection: Connection, producer: FlowProducer
) -> None:
    await exceeded_flow(connection, producer, max_tokens={"input": 500})
    queue = Queue("q", connection)
    shown = await queue.get_flow_budget("1")
    await queue.top_up_budget("1", add_tokens=10, expect=shown)
    now = await budget_of(connection, "q")

    with pytest.raises(InvalidOptionError, match="changed meanwhile") as caught:
        await queue.top_up_budget("1", add_tokens=100, expect=shown)

    assert caught.value.option == "expect"
    assert await budget_of(connection, "q") == now
    await queue.top_up_budget("1", add_tokens=100, expect=await queue.get_flow_budget("1"))


async def test_caps_that_do_not_exist_stay_so(connection: Connection, producer: FlowProducer) -> None:
    await exceeded_flow(connection, producer, max_tokens={"input": 500})

    top_up = await Queue("q", connection).top_up_budget(
        "1", add_cost=5, add_tokens_by={"input": 1, "output": 5}, add_costs_by={"total": 3}
    )

    assert (top_up.after.max_total_cost, dict(top_up.after.max_costs)) == (None, {})
    assert dict(top_up.after.max_tokens) == {"input": 501}
    found = await budget_of(connection, "q")
    assert found["maxTokens"] == '{"input":501}'
    assert "maxTotalCost" not in found


async def test_fractions_are_added_exactly(connection: Connection, producer: FlowProducer) -> None:
    budget = Budget(max_total_cost=0.1, max_costs={"a/b \u00e9": 0.30000000000000004})
    await producer.add(FlowJob("one", "q"), budget=budget)

    top_up = await Queue("q", connection).top_up_budget("1", add_cost=0.2, add_costs_by={"a/b \u00e9": 1})

    assert top_up.after.max_total_cost == 0.1 + 0.2
    assert dict(top_up.after.max_costs) == {"a/b \u00e9": 1.3}
    read = await Queue("q", connection).get_flow_budget("1")
    assert read is not None
    assert (read.max_total_cost, dict(read.max_costs)) == (0.1 + 0.2, {"a/b \u00e9": 1.3})


async def test_raised_caps_are_written_without_exponent(
    connection: Connection, producer: FlowProducer
) -> None:
    caps = Budget(max_total_tokens=999_999_999_999_999, max_total_cost=0.00002, max_costs={"a": 0.00001})
    await producer.add(FlowJob("one", "q"), budget=caps)

    more: dict[str, Any] = {"add_tokens": 1, "add_cost": 0.00003, "add_costs_by": {"a": 0.00002}}
    answer = await Queue[Any, Any]("q", connection).top_up_budget("1", **more)

    stored = await budget_of(connection, "q")
    assert stored["maxTotalTokens"] == "1000000000000000"
    assert stored["maxTotalCost"] == "0.00005"
    assert stored["maxCosts"] == '{"a":0.000030000000000000004}'
    assert answer.after.max_costs == {"a": 0.00001 + 0.00002}


async def test_a_cap_is_never_raised_beyond_what_a_number_can_hold(
    connection: Connection, producer: FlowProducer
) -> None:
    most = sys.float_info.max
    await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=most, max_tokens={"input": most}))

    answer = await Queue[Any, Any]("q", connection).top_up_budget(
        "1", add_tokens=most, add_tokens_by={"input": most}
    )

    assert (answer.after.max_total_tokens, float(answer.after.max_tokens["input"])) == (most, most)
    stored = await budget_of(connection, "q")
    assert (float(stored["maxTotalTokens"]), float(json.loads(stored["maxTokens"])["input"])) == (most, most)


async def test_failed_jobs_are_retried_only_on_request_and_only_those_of_the_budget(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await exceeded_flow(connection, producer, "fail")
    queue = Queue("q", connection)
    await connection.command("HSET", "glide:{q}:job:3", "state", "failed", "failedReason", "broken")

    assert (await queue.top_up_budget("1", add_tokens=1000)).released == ()
    top_up = await queue.top_up_budget("1", retry_failed=True)
    assert top_up.released == (JobRef("q", "4"),)
    assert (await queue.top_up_budget("1", retry_failed=True)).released == ()
    await connection.command("HSET", "glide:{q}:job:3", "state", "completed")

    async with worker_of(connection, "q"):
        await eventually(node.job.is_completed)


async def test_only_what_is_still_stopped_is_let_go(connection: Connection, producer: FlowProducer) -> None:
    """Between looking and letting go a job may have gone on, and wait for something else by now."""
    await exceeded_flow(connection, producer)
    queue = Queue[Any, Any]("q", connection)
    scope = await queue.context()
    [parked] = await queue.get_parked_jobs("1")
    await queue.promote_job(parked.id)
    await queue.change_job_delay(parked.id, 5_000)
    other = await queue.add("other", {}, delay=60_000)
    assert other is not None

    for kind in ("parked", "failed"):
        words = ("budget_release", scope.keys.root, scope.keys.budget("1"), scope.now_ms(), kind)
        assert await connection.call(*words, parked.id, other.id, "2", "99") == []
    assert await other.get_state() == "delayed"


async def test_without_release_jobs_stay_parked(connection: Connection, producer: FlowProducer) -> None:
    await exceeded_flow(connection, producer)
    queue = Queue("q", connection)

    top_up = await queue.top_up_budget("1", add_tokens=1000, release=False)

    assert (top_up.released, top_up.after.parked, top_up.after.exceeded) == ((), (JobRef("q", "4"),), False)
    assert (await queue.top_up_budget("1")).released == (JobRef("q", "4"),)


async def test_a_flag_that_node_sets_again_after_a_raise_is_taken_back(
    connection: Connection, producer: FlowProducer
) -> None:
    """D38: Node tests categories against the caps it read before."""
    await exceeded_flow(connection, producer, max_total_tokens=None, max_tokens={"input": 150})
    queue = Queue("q", connection)
    key = "glide:{q}:budget:1"

    async def node_worker() -> None:
        async def raised() -> bool:
            return bool(await connection.command("HGET", key, "exceeded") == b"0")

        await eventually(raised)
        await connection.command("HSET", key, "exceeded", "1")

    _, top_up = await asyncio.gather(node_worker(), queue.top_up_budget("1", add_tokens_by={"input": 500}))

    assert not top_up.still_exceeded
    assert await connection.command("HGET", key, "exceeded") == b"0"


async def test_a_raise_waits_for_no_node_worker_when_nothing_has_completed_lately(
    connection: Connection, producer: FlowProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_core.flows.budgets._STALE_CAPS_S", 3600)
    await exceeded_flow(connection, producer, max_total_tokens=None, max_tokens={"input": 150})
    a_minute_later = connection.now_ms() + 60_000
    connection.now_ms = lambda: a_minute_later

    top_up = await Queue("q", connection).top_up_budget("1", add_tokens_by={"input": 500})

    assert top_up.released == (JobRef("q", "4"),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"add_tokens": -1},
        {"add_tokens": float("nan")},
        {"add_cost": float("inf")},
        {"add_cost": "5"},
        {"add_tokens": True},
        {"add_tokens_by": {"input": -1}},
        {"add_costs_by": {"total": float("nan")}},
        {"add_costs_by": 5},
        {"release": "yes"},
        {"expect": {"max_total_tokens": 1}},
        {"actor": Actor("a\x1bb")},
    ],
)
async def test_bad_top_ups_are_refused_and_nothing_is_written(
    connection: Connection, producer: FlowProducer, wrong: dict[str, Any]
) -> None:
    await producer.add(steps_of("q"), budget=Budget(max_total_tokens=5))
    before = await dump(connection)

    with pytest.raises(InvalidOptionError):
        await Queue("q", connection).top_up_budget("1", **wrong)

    assert await dump(connection) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_total_tokens": -1},
        {"max_total_cost": float("nan")},
        {"max_tokens": {"input": float("inf")}},
        {"token_weights": {"input": "2"}},
        {"token_weights": {"input": -2}},
        {"on_exceeded": "explode"},
        {"max_costs": 3},
    ],
)
def test_bad_budgets_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        Budget(**wrong)


async def test_a_flow_without_a_budget(connection: Connection, producer: FlowProducer) -> None:
    await producer.add(steps_of("q"))
    queue = Queue("q", connection)

    assert await queue.get_flow_budget("1") is None
    assert await queue.get_parked_jobs("1") == []
    for preview in (True, False):
        with pytest.raises(BudgetNotFoundError, match="flow 'q:1' has no budget"):
            await queue.top_up_budget("1", add_tokens=1, preview=preview)
    with pytest.raises(InvalidOptionError, match="budget must be a Budget"):
        await producer.add(steps_of("q"), budget={"max_total_tokens": 5})  # type: ignore[arg-type]


async def test_a_read_only_connection_previews_but_does_not_top_up(
    connection: Connection, producer: FlowProducer, server_url: str
) -> None:
    await exceeded_flow(connection, producer)
    async with connect(server_url, read_only=True) as viewer:
        queue = Queue("q", viewer)
        assert (await queue.top_up_budget("1", add_tokens=100, preview=True)).released
        with pytest.raises(PermissionError):
            await queue.top_up_budget("1", add_tokens=100)


async def test_the_audit_names_who_topped_up_what(connection: Connection, producer: FlowProducer) -> None:
    await exceeded_flow(connection, producer)
    queue = Queue("q", connection)
    await queue.top_up_budget("1", add_tokens=10, actor=Actor("ada", comment="a bit"))
    await queue.top_up_budget("1", add_tokens=100, actor=Actor("bob"))

    newest, first = await queue.get_audit()

    assert (first.action, first.by, first.outcome, first.job_ids) == (
        "top_up_budget",
        "ada",
        "still_exceeded",
        ("1",),
    )
    assert (newest.outcome, newest.detail) == ("topped_up", {"maxTotalTokens": 100})
    assert (await queue.verify_audit()).ok


# Rates -------------------------------------------------------------------------------------------------------


async def test_rates_and_forecast_are_told_only_when_known(
    connection: Connection, producer: FlowProducer
) -> None:
    connection.now_ms = lambda: 1_795_467_240_000
    node = await producer.add(steps_of("q"), budget=Budget(max_total_tokens=1000, max_total_cost=9))
    assert node.children is not None

    async def budget() -> Any:
        return (await Watch(connection).flow("q", "1")).budget

    none = await budget()
    assert (none.tokens_per_min, none.cost_per_hour, none.runs_out_at) == (None, None, None)

    connection.now_ms = lambda: 1_795_467_240_000 + 2 * 60_000
    await node.children[0].job.report_usage(model="m", total_tokens=200, total_cost=0.5)
    await connection.command("HSET", "glide:{q}:budget:1", "usedTokens", 200, "usedCost", 0.5)
    spending = await budget()
    assert (spending.tokens_per_min, spending.cost_per_hour) == (100, 15)
    assert to_json(spending)["runs_out_ms"] == 1_795_467_240_000 + 10 * 60_000

    connection.now_ms = lambda: 1_795_467_240_000 + 60 * 60_000
    steady = await budget()
    assert (steady.tokens_per_min, steady.runs_out_at) == (0, None)


def test_damaged_budgets_are_read_without_harm() -> None:
    stored = {
        "usedTokens": b"NaN",
        "usedCost": b"\xff",
        "maxTokens": b"[1]",
        "maxCosts": b'{"a":"x","b":2,"c":-1}',
        "tokenWeights": b"{",
        "onExceeded": b"explode",
        "maxTotalTokens": b"-5",
        "usedTokens:\x1b[2J": b"3",
    }

    budget = decode_budget(JobRef("q", "1"), stored)

    assert (budget.used_tokens, budget.used_cost, budget.on_exceeded) == (0, 0, "fail")
    assert (dict(budget.max_tokens), dict(budget.max_costs), dict(budget.token_weights)) == ({}, {"b": 2}, {})
    assert budget.max_total_tokens is None
