"""Budgets: caps that stop a flow, bookings that miss nothing, and topping up that releases each job once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import assert_same_records, dump, recording, replay

from glidemq_core.budget_fields import decode_budget
from glidemq_core.connection import Connection, connect
from glidemq_core.errors import (
    BudgetExceededError,
    BudgetNotFoundError,
    InvalidOptionError,
    UnrecoverableError,
)
from glidemq_core.flow_nodes import FlowJob, JobNode
from glidemq_core.flows import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options import Actor, Budget, Fallback, JobOptions, JobRef
from glidemq_core.queue import Queue
from glidemq_core.records import to_json
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

WORKING = ("glide:queues", "*:w:*", "*:metrics:*", "*:usage:queues", "*:budget-parked:*", "*:events")
DAY_MS = 86_400_000


@pytest.fixture
async def producer(connection: Connection) -> AsyncIterator[FlowProducer]:
    async with FlowProducer(connection) as opened:
        yield opened


def rag(queue: str, data: Any = None, **options: Any) -> FlowJob:
    """A root and three steps that run in order: one worker, one at a time."""
    given = JobOptions(**options) if options else None
    steps = [FlowJob(name, queue, {"step": name}, given) for name in ("embed", "search", "generate")]
    return FlowJob("rag", queue, data or {"step": "rag"}, None, steps)


async def reporting(job: Job[Any, Any]) -> int:
    """A processor that spends 100 tokens a step and nothing in the root."""
    if job.name != "rag":
        await job.report_usage(model="m", tokens={"input": 100})
    return 1


def worker_of(connection: Connection, queue: str, process: Any = reporting, **options: Any) -> Worker:
    return Worker(queue, process, connection, log_errors=False, **options)


async def fields_of(connection: Connection, key: str) -> dict[str, str]:
    reply = await connection.command("HGETALL", key)
    return {name.decode(): value.decode() for name, value in (reply or {}).items()}


async def budget_of(connection: Connection, queue: str, flow_id: str = "1") -> dict[str, str]:
    return await fields_of(connection, f"glide:{{{queue}}}:budget:{flow_id}")


async def until_quiet(connection: Connection, queue: str, ended: int) -> None:
    """Wait until so many jobs of a queue have ended or are parked, and nothing is ready any more."""

    async def quiet() -> bool:
        sets = [("ZCARD", f"glide:{{{queue}}}:{name}") for name in ("completed", "failed", "scheduled")]
        answers = await connection.pipeline([*sets, ("XLEN", f"glide:{{{queue}}}:stream")])
        return sum(answers[:3]) == ended and answers[3] == 0

    await eventually(quiet)


# Recordings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("budget_fresh", 1),
        ("budget_running", 0),
        ("budget_exceeded_fail", 0),
        ("budget_exceeded_pause", 0),
        ("flow_budget_cost_exceeded", 0),
    ],
)
async def test_recorded_budgets_read_as_node_reads_them(
    connection: Connection, name: str, place: int
) -> None:
    recorded = (await replay(connection, name))["results"][place]

    budget = await Queue(name, connection).get_flow_budget("1")

    assert budget is not None
    assert budget.flow == JobRef(name, "1")
    told = {
        "maxTotalTokens": budget.max_total_tokens,
        "maxTokens": dict(budget.max_tokens) or None,
        "tokenWeights": dict(budget.token_weights) or None,
        "maxTotalCost": budget.max_total_cost,
        "maxCosts": dict(budget.max_costs) or None,
        "costUnit": budget.cost_unit,
        "usedTokens": budget.used_tokens,
        "usedCost": budget.used_cost,
        "exceeded": budget.exceeded,
        "onExceeded": budget.on_exceeded,
    }
    assert {key: value for key, value in told.items() if value is not None} == recorded


@pytest.mark.parametrize("policy", ["fail", "pause"])
async def test_an_exceeded_budget_stops_jobs_as_recorded(
    connection: Connection, producer: FlowProducer, policy: str
) -> None:
    name = f"budget_exceeded_{policy}"
    told: list[str] = []
    failures: list[BaseException] = []
    await producer.add(rag(name, {"query": "q"}), budget=Budget(max_total_tokens=150, on_exceeded=policy))

    worker = worker_of(connection, name)
    worker.on("budget_exceeded", lambda job: told.append(job.id))
    worker.on("failed", lambda job, error: failures.append(error))
    async with worker:
        await until_quiet(connection, name, 3)

    assert_same_records(recording(name), await dump(connection), ignore=WORKING)
    assert told == ["4"]
    assert [type(error) for error in failures] == ([BudgetExceededError] if policy == "fail" else [])
    parked = await Queue(name, connection).get_parked_jobs("1")
    assert parked == ([JobRef(name, "4")] if policy == "pause" else [])


async def test_costs_stop_a_flow_as_recorded(connection: Connection, producer: FlowProducer) -> None:
    name = "flow_budget_cost_exceeded"

    async def process(job: Job[Any, Any]) -> int:
        await job.report_usage(model="m", tokens={"input": 10}, costs={"total": 0.004}, cost_unit="usd")
        return 1

    await producer.add(rag(name), budget=Budget(max_total_cost=0.005, cost_unit="usd"))
    async with worker_of(connection, name, process):
        await until_quiet(connection, name, 3)

    assert await budget_of(connection, name) == recording(name)["keys"][f"glide:{{{name}}}:budget:1"]["value"]


async def test_weights_and_categories_add_up_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    name = "budget_running"

    async def process(job: Job[Any, Any]) -> int:
        if job.name != "rag":
            await job.report_usage(
                model="m",
                tokens={"input": 100, "output": 50, "reasoning": 10},
                costs={"total": 0.004},
                cost_unit="usd",
            )
        return 1

    budget = Budget(
        max_total_tokens=2000, token_weights={"reasoning": 4}, max_total_cost=0.05, cost_unit="usd"
    )
    root = (await producer.add(rag(name, {"query": "q"}), budget=budget)).job
    async with worker_of(connection, name, process):
        await eventually(root.is_completed)

    assert await budget_of(connection, name) == recording(name)["keys"][f"glide:{{{name}}}:budget:1"]["value"]
    ttl = await connection.command("TTL", f"glide:{{{name}}}:budget:1")
    assert 0 < ttl <= 30 * 86_400  # D37: Node keeps it for ever


async def test_a_budget_that_is_enough_ends_as_recorded(
    connection: Connection, producer: FlowProducer
) -> None:
    name = "flow_budget_parent_completed"

    async def process(job: Job[Any, Any]) -> str:
        await job.report_usage(model=job.name, provider="p", tokens={"input": 10, "reasoning": 5})
        return job.name

    budget = Budget(max_total_tokens=10_000, token_weights={"reasoning": 4})
    root = (await producer.add(rag(name), budget=budget)).job
    async with worker_of(connection, name, process):
        await eventually(root.is_completed)

    assert_same_records(
        {key: entry for key, entry in recording(name)["keys"].items() if ":job:" in key or ":budget:" in key},
        {
            key: entry
            for key, entry in (await dump(connection)).items()
            if ":job:" in key or ":budget:" in key
        },
    )


async def test_a_node_parked_job_is_found_and_released(connection: Connection) -> None:
    """D36: Node leaves no mark but processedOn, delay and due time."""
    await replay(connection, "budget_exceeded_pause")
    queue = Queue("budget_exceeded_pause", connection)
    assert await queue.get_parked_jobs("1") == [JobRef(queue.name, "4")]

    top_up = await queue.top_up_budget("1", add_tokens=200)

    assert (top_up.before.max_total_tokens, top_up.after.max_total_tokens) == (150, 350)
    assert (top_up.still_exceeded, top_up.released) == (False, (JobRef(queue.name, "4"),))
    assert await queue.get_parked_jobs("1") == []
    root = await queue.get_job("1")
    assert root is not None
    async with worker_of(connection, queue.name):
        await eventually(root.is_completed)


async def test_an_ordinary_delay_is_not_taken_for_parked(
    connection: Connection, producer: FlowProducer
) -> None:
    tree = FlowJob("r", "q", children=[FlowJob("c", "q", options=JobOptions(delay=DAY_MS))])
    await producer.add(tree, budget=Budget(max_total_tokens=1, on_exceeded="pause"))

    assert await Queue("q", connection).get_parked_jobs("1") == []


async def test_a_mark_left_over_by_node_is_no_parking(connection: Connection, producer: FlowProducer) -> None:
    """Node promotes our parked job, runs it and lets it wait for a retry: the mark still stands."""
    await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=5, on_exceeded="pause"))
    await connection.command("HSET", "glide:{q}:budget:1", "usedTokens", 6, "exceeded", 1)
    queue = Queue("q", connection)
    async with worker_of(connection, "q"):
        await eventually(lambda: parked_are(queue, {"1"}))
    marked = int((await fields_of(connection, "glide:{q}:job:1"))["budgetPausedAt"])
    await connection.command("HSET", "glide:{q}:job:1", "processedOn", marked + 5_000)
    await connection.command("ZADD", "glide:{q}:scheduled", marked + 9_000, "1")

    assert await queue.get_parked_jobs("1") == []
    assert not (await Watch(connection).flow("q", "1")).nodes[0].parked
    assert (await queue.top_up_budget("1", add_tokens=100)).released == ()


# Checks at the start -----------------------------------------------------------------------------------------


async def test_every_job_of_a_flow_is_checked_the_root_too(
    connection: Connection, producer: FlowProducer
) -> None:
    node = await producer.add(
        FlowJob("rag", "q", children=[FlowJob("spend", "q")]), budget=Budget(max_total_tokens=50)
    )

    async with worker_of(connection, "q"):
        await eventually(node.job.is_failed)
    await node.job.refresh()
    assert node.job.failed_reason == "Budget exceeded"


async def test_none_escapes_an_idle_worker(connection: Connection, producer: FlowProducer) -> None:
    """D32: with Node 40 of 40 first children ran without a budget."""
    children = [FlowJob("spend", "q") for _ in range(40)]
    async with worker_of(connection, "q", concurrency=4):
        await producer.add(FlowJob("rag", "q", children=children), budget=Budget(max_total_tokens=300))
        await until_quiet(connection, "q", 40)

    used = float((await budget_of(connection, "q"))["usedTokens"])
    assert 300 < used <= 300 + 4 * 100 * 2
    assert await connection.command("ZCARD", "glide:{q}:failed") == 40 - used / 100


async def test_equal_to_a_cap_is_not_exceeded(connection: Connection, producer: FlowProducer) -> None:
    node = await producer.add(rag("q"), budget=Budget(max_total_tokens=300))

    async with worker_of(connection, "q"):
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["exceeded"] == "0"


async def test_a_category_cap_stops_too_and_zero_is_no_cap(
    connection: Connection, producer: FlowProducer
) -> None:
    budget = Budget(max_total_tokens=0, max_tokens={"input": 150, "output": 0})
    await producer.add(rag("q"), budget=budget)

    async with worker_of(connection, "q"):
        await until_quiet(connection, "q", 3)
    found = await Queue("q", connection).get_flow_budget("1")
    assert found is not None
    assert (found.exceeded, found.max_total_tokens, dict(found.max_tokens)) == (True, None, {"input": 150})
    assert dict(found.used_tokens_by) == {"input": 200}


async def test_failing_by_budget_uses_attempts_and_fallbacks(
    connection: Connection, producer: FlowProducer
) -> None:
    """D35, as Node."""
    options = JobOptions(attempts=3, fallbacks=[Fallback("b"), Fallback("c")])
    tree = FlowJob("rag", "q", children=[FlowJob("spend", "q"), FlowJob("late", "q", options=options)])
    node = await producer.add(tree, budget=Budget(max_total_tokens=50))
    assert node.children is not None
    late = node.children[1].job

    async with worker_of(connection, "q"):
        await eventually(late.is_failed)
    await late.refresh()
    assert (late.attempts_made, late.fallback_index, late.failed_reason) == (3, 2, "Budget exceeded")


async def test_a_flag_set_from_stale_caps_does_not_stop_a_flow(
    connection: Connection, producer: FlowProducer
) -> None:
    """D38."""
    node = await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=100))
    await connection.command("HSET", "glide:{q}:budget:1", "exceeded", "1")

    async with worker_of(connection, "q"):
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["exceeded"] == "0"


async def test_jobs_without_their_budget_hash_just_run(
    connection: Connection, producer: FlowProducer
) -> None:
    gone = await producer.add(FlowJob("rag", "q"), budget=Budget(max_total_tokens=10))
    odd = await producer.add(FlowJob("rag", "q"), budget=Budget(max_total_tokens=10))
    await connection.command("DEL", "glide:{q}:budget:1", "glide:{q}:budget:2")
    await connection.command("SET", "glide:{q}:budget:2", "no hash")

    async with worker_of(connection, "q"):
        await eventually(gone.job.is_completed)
        await eventually(odd.job.is_completed)
    assert await connection.command("EXISTS", "glide:{q}:budget:1") == 0


async def test_a_paused_job_of_a_list_and_an_ordered_one(
    connection: Connection, producer: FlowProducer
) -> None:
    children = [
        FlowJob("spend", "q"),
        FlowJob("listed", "q", options=JobOptions(lifo=True, delay=1)),
        FlowJob("ordered", "q", options=JobOptions(ordering="k")),
        FlowJob("behind", "q", options=JobOptions(ordering="k")),
    ]
    tree = FlowJob("rag", "q", children=children)
    await producer.add(tree, budget=Budget(max_total_tokens=50, on_exceeded="pause"))
    await connection.command("HSET", "glide:{q}:budget:1", "usedTokens", 60, "exceeded", 1)
    queue = Queue("q", connection)

    async with worker_of(connection, "q"):
        await eventually(lambda: parked_are(queue, {"2", "3", "4"}))
        # The key of an ordered parked job stands still; list counts are given back.
        assert (await fields_of(connection, "glide:{q}:job:5"))["state"] == "group-waiting"
        assert (await connection.command("GET", "glide:{q}:list-active") or b"0") == b"0"
        top_up = await queue.top_up_budget("1", add_tokens=1000)
        assert {ref.id for ref in top_up.released} == {"2", "3", "4"}
        root = await queue.get_job("1")
        assert root is not None
        await eventually(root.is_completed)


async def parked_are(queue: Queue[Any, Any], ids: set[str]) -> bool:
    return {ref.id for ref in await queue.get_parked_jobs("1")} == ids


async def test_a_parked_job_promoted_by_hand_is_parked_again(
    connection: Connection, producer: FlowProducer
) -> None:
    await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=5, on_exceeded="pause"))
    await connection.command("HSET", "glide:{q}:budget:1", "usedTokens", 6, "exceeded", 1)
    queue = Queue("q", connection)
    told: list[str] = []

    worker = worker_of(connection, "q")
    worker.on("budget_exceeded", lambda job: told.append(job.id))
    async with worker:
        await eventually(lambda: parked_are(queue, {"1"}))
        await queue.promote_job("1")
        await eventually(lambda: len(told) == 2)
        assert await parked_are(queue, {"1"})


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


CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from glidemq_core.worker import Worker

    async def process(job):
        await job.report_usage(model="m", total_tokens=30)
        print("spent", flush=True)
        await asyncio.sleep(3600)

    asyncio.run(Worker("q", process, sys.argv[1], lock_duration=1_000, stalled_interval=1_000).run())
    """
)


async def test_a_worker_killed_between_report_and_settle_has_spent(
    connection: Connection, producer: FlowProducer, server_url: str, tmp_path: Path
) -> None:
    node = await producer.add(FlowJob("one", "q"), budget=Budget(max_total_tokens=1000))
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    with subprocess.Popen([sys.executable, str(script), server_url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == b"spent\n"
        os.kill(child.pid, signal.SIGKILL)

    async with worker_of(connection, "q", lock_duration=1_000, stalled_interval=1_000):
        await eventually(node.job.is_completed, timeout=20)
    assert (await budget_of(connection, "q"))["usedTokens"] == "130"


async def test_top_ups_race_with_the_jobs_they_release(
    connection: Connection, producer: FlowProducer
) -> None:
    """Whoever wins, every job runs once and everything is booked."""
    ran: list[str] = []

    async def process(job: Job[Any, Any]) -> int:
        ran.append(job.id)
        return await reporting(job)

    steps = [FlowJob("step", "q") for _ in range(30)]
    budget = Budget(max_total_tokens=50, on_exceeded="pause")
    node = await producer.add(FlowJob("rag", "q", children=steps), budget=budget)
    queue, released = Queue("q", connection), list[JobRef]()

    async with worker_of(connection, "q", process, concurrency=5):
        while not await node.job.is_completed():
            answers = await asyncio.gather(*(queue.top_up_budget("1", add_tokens=90) for _ in range(2)))
            released += [ref for answer in answers for ref in answer.released]
    assert sorted(map(int, ran)) == list(range(1, 32))
    assert (await budget_of(connection, "q"))["usedTokens"] == "3000"
    assert released


# Topping up --------------------------------------------------------------------------------------------------


async def exceeded_flow(
    connection: Connection, producer: FlowProducer, policy: str = "pause", **caps: Any
) -> JobNode:
    """A flow of which two steps ran and one was stopped; 200 tokens used of 150."""
    node = await producer.add(
        rag("q"), budget=Budget(**{"max_total_tokens": 150, **caps}, on_exceeded=policy)
    )
    async with worker_of(connection, "q"):
        await until_quiet(connection, "q", 3)
    return node


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
    await producer.add(rag("q"), budget=Budget(max_total_tokens=5))
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
    await producer.add(rag("q"))
    queue = Queue("q", connection)

    assert await queue.get_flow_budget("1") is None
    assert await queue.get_parked_jobs("1") == []
    for preview in (True, False):
        with pytest.raises(BudgetNotFoundError, match="flow 'q:1' has no budget"):
            await queue.top_up_budget("1", add_tokens=1, preview=preview)
    with pytest.raises(InvalidOptionError, match="budget must be a Budget"):
        await producer.add(rag("q"), budget={"max_total_tokens": 5})  # type: ignore[arg-type]


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
    node = await producer.add(rag("q"), budget=Budget(max_total_tokens=1000, max_total_cost=9))
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


# A model -----------------------------------------------------------------------------------------------------

#: What a processor does in one attempt: tokens reported (None: nothing), and how it ends.
ATTEMPT = st.tuples(st.none() | st.integers(1, 60), st.sampled_from(["done", "fail", "fatal"]))
TOP_UPS = st.lists(st.integers(0, 80), max_size=4)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    plans=st.lists(st.lists(ATTEMPT, min_size=3, max_size=3), min_size=1, max_size=6),
    top_ups=TOP_UPS,
    cap=st.integers(1, 150),
    policy=st.sampled_from(["pause", "fail"]),
)
async def test_budgets_never_undercount_and_each_parked_job_is_released_once(
    connection: Connection,
    plans: list[list[tuple[int | None, str]]],
    top_ups: list[int],
    cap: int,
    policy: str,
) -> None:
    await connection.command("FLUSHALL")
    spent = 0
    runs = 0
    attempts: dict[str, int] = {}

    async def process(job: Job[Any, Any]) -> int:
        nonlocal spent, runs
        runs += 1
        if job.name == "root":
            return 0
        attempt = attempts.get(job.name, 0)
        attempts[job.name] = attempt + 1
        tokens, end = plans[int(job.name)][min(attempt, 2)]
        if tokens is not None:
            await job.report_usage(model="m", tokens={"t": tokens})
            spent += tokens
        if end == "fail":
            raise RuntimeError("again")
        if end == "fatal":
            raise UnrecoverableError("no more")
        return 1

    children = [FlowJob(str(n), "q", options=JobOptions(attempts=3)) for n in range(len(plans))]
    async with FlowProducer(connection) as producer:
        await producer.add(
            FlowJob("root", "q", children=children), budget=Budget(max_total_tokens=cap, on_exceeded=policy)
        )
    queue = Queue("q", connection)
    released: list[JobRef] = []
    parkings = 0

    def count_parking(job: Job[Any, Any]) -> None:
        nonlocal parkings
        parkings += policy == "pause"

    async def settled() -> bool:
        names = [("HGET", f"glide:{{q}}:job:{n + 1}", "state") for n in range(len(plans) + 1)]
        states = await connection.pipeline(names)
        parked = {ref.id for ref in await queue.get_parked_jobs("1")}
        if states[0] in (b"completed", b"failed"):
            return True
        return all(
            state in (b"completed", b"failed") or str(n + 2) in parked for n, state in enumerate(states[1:])
        ) and (states[0] == b"waiting-children" or "1" in parked)

    worker = worker_of(connection, "q", process, concurrency=3, promotion_interval=50)
    worker.on("budget_exceeded", count_parking)
    async with worker:
        for amount in top_ups:
            pair = await asyncio.gather(
                queue.top_up_budget("1", add_tokens=amount), queue.top_up_budget("1", add_tokens=amount)
            )
            released += [ref for answer in pair for ref in answer.released]
            assert float((await budget_of(connection, "q"))["usedTokens"]) <= spent
        await eventually(settled)

    found = await budget_of(connection, "q")
    assert float(found["usedTokens"]) == spent
    assert float(found["maxTotalTokens"]) == cap + 2 * sum(top_ups)
    assert (found["exceeded"] == "1") == (spent > cap + 2 * sum(top_ups)) or found["exceeded"] == "0"
    parked = await queue.get_parked_jobs("1")
    assert parkings == len(released) + len(parked)
