"""Budgets: recorded ones, and caps that stop a flow."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.budget import (
    DAY_MS,
    WORKING,
    budget_of,
    fields_of,
    parked_are,
    steps_of,
    until_quiet,
    worker_of,
)
from kits.wire import assert_same_records, dump, recording, replay

from glidemq_core.errors import (
    BudgetExceededError,
)
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, Fallback, JobOptions, JobRef
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker

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
@pytest.mark.leaves_records
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
    await producer.add(
        steps_of(name, {"query": "q"}), budget=Budget(max_total_tokens=150, on_exceeded=policy)
    )

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

    await producer.add(steps_of(name), budget=Budget(max_total_cost=0.005, cost_unit="usd"))
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
    root = (await producer.add(steps_of(name, {"query": "q"}), budget=budget)).job
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
    root = (await producer.add(steps_of(name), budget=budget)).job
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
    node = await producer.add(steps_of("q"), budget=Budget(max_total_tokens=300))

    async with worker_of(connection, "q"):
        await eventually(node.job.is_completed)
    assert (await budget_of(connection, "q"))["exceeded"] == "0"


async def test_a_category_cap_stops_too_and_zero_is_no_cap(
    connection: Connection, producer: FlowProducer
) -> None:
    budget = Budget(max_total_tokens=0, max_tokens={"input": 150, "output": 0})
    await producer.add(steps_of("q"), budget=budget)

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


@pytest.mark.parametrize("policy", ["fail", "pause"])
async def test_a_flag_that_somebody_set_stops_a_flow_before_its_caps_are_reached(
    connection: Connection, producer: FlowProducer, policy: str
) -> None:
    """The flag decides at the start of a job, not the caps: so a flow can be stopped by hand, as with Node."""
    node = await producer.add(
        FlowJob("root", "q", children=[FlowJob("a", "q"), FlowJob("b", "q")]),
        budget=Budget(max_total_cost=0.01, on_exceeded=policy),
    )
    await connection.command("HSET", "glide:{q}:budget:1", "exceeded", "1")
    told: list[str] = []
    ran: list[str] = []

    async def process(job: Any) -> None:
        ran.append(job.id)

    worker = Worker("q", process, connection, promotion_interval=50, log_errors=False)
    worker.on("budget_exceeded", lambda job: told.append(job.name))
    async with worker:
        await eventually(lambda: sorted(told) == ["a", "b"])
        states = {await child.job.get_state() for child in node.children}

    assert ran == []
    assert states == {"failed" if policy == "fail" else "delayed"}
    assert (await budget_of(connection, "q"))["exceeded"] == "1"


async def test_a_flag_set_from_stale_caps_does_not_stop_a_flow(
    connection: Connection, producer: FlowProducer
) -> None:
    """D38: a peer books by the caps it has read before they were raised."""
    node = await producer.add(FlowJob("one", "q"), budget=Budget(max_tokens={"input": 100}))
    await Queue("q", connection).top_up_budget("1", add_tokens_by={"input": 50})
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


# Which are open ----------------------------------------------------------------------------------------------


async def open_budgets(connection: Connection, queue: str) -> list[str]:
    """Flows whose budget is noted as open, oldest first."""
    noted = await connection.command("ZRANGE", f"glide:{{{queue}}}:budgets", 0, -1)
    return [flow.decode() for flow in noted]


async def test_a_budget_is_noted_as_open_until_its_flow_ends(connection: Connection) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(total_tokens=1)

    async with FlowProducer(connection) as producer:
        budget = Budget(max_total_tokens=10_000)
        small = await producer.add(FlowJob("root", "q", children=[FlowJob("leaf", "q")]), budget=budget)
        leaves = [FlowJob("leaf", "q") for _ in range(520)]
        large = await producer.add(FlowJob("root", "q", children=leaves), budget=budget)
        assert await open_budgets(connection, "q") == [small.job.id, large.job.id]
        assert 0 < await connection.command("TTL", "glide:{q}:budgets") <= 30 * 86_400

        async with worker_of(connection, "q", process, concurrency=50) as worker:
            await worker.drain()

    assert await open_budgets(connection, "q") == []


async def test_a_budget_that_another_made_is_noted_when_it_is_drawn_on(connection: Connection) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(total_tokens=1)

    async with FlowProducer(connection) as producer, Queue[Any, Any]("q", connection) as queue:
        root = await producer.add(
            FlowJob("root", "q", children=[FlowJob("leaf", "leaves")]), budget=Budget(max_total_tokens=10)
        )
        await connection.command("DEL", "glide:{q}:budgets")

        async with worker_of(connection, "leaves", process) as worker:
            await worker.drain()

        assert await open_budgets(connection, "q") == [root.job.id]
        await queue.obliterate(force=True)
        assert await open_budgets(connection, "q") == []


@pytest.mark.leaves_records
async def test_a_foreign_key_in_place_of_the_note_hinders_nobody(connection: Connection) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(total_tokens=1)

    await connection.command("SET", "glide:{q}:budgets", "foreign")
    async with FlowProducer(connection) as producer, Queue[Any, Any]("q", connection) as queue:
        made = await producer.add(FlowJob("root", "q"), budget=Budget(max_total_tokens=10))
        async with worker_of(connection, "q", process) as worker:
            await worker.drain()
        job = await queue.get_job(made.job.id)

    assert job is not None
    assert job.state == "completed"
    assert await connection.command("GET", "glide:{q}:budgets") == b"foreign"
