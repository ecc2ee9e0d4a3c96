"""A queue in memory tells what a queue tells: usage, budgets, schedulers, workers, metrics, vectors, deadlines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import (
    Budget,
    Deduplication,
    IndexNotFoundError,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    JobOptions,
    JobRef,
    JobTemplate,
    Queue,
    TagField,
    VectorField,
)
from glidemq_core.server.connection import Connection
from glidemq_core.testing import RecordedJob, TestQueue, TestWorker


@pytest.fixture
async def queue() -> AsyncIterator[TestQueue[Any, Any]]:
    async with TestQueue[Any, Any]("q") as opened:
        yield opened


async def add(queue: TestQueue[Any, Any], name: str = "a", data: Any = None, **options: Any) -> RecordedJob:
    job = await queue.add(name, data, **options)
    assert job is not None
    return job


# Jobs --------------------------------------------------------------------------------------------------------


async def test_what_is_done_to_a_job_outside_a_worker_stays(queue: TestQueue[Any, Any]) -> None:
    job = await add(queue, data={"x": 1})
    await job.report_usage(model="m", tokens={"input": 5})
    await job.report_tokens(9)
    await job.update_progress(40)
    await job.update_data({"x": 2})
    await job.change_priority(7)
    await job.change_delay(5_000)

    found = await queue.get_job(job.id)
    assert found is not None
    assert found.usage is not None
    assert (found.usage.total_tokens, found.tpm_tokens, found.progress, found.data) == (5, 9, 40, {"x": 2})
    assert (found.priority, found.delay_ms) == (7, 5_000)
    await found.promote()
    await job.refresh()
    assert job.delay_ms == 0
    for wrong in (job.change_priority(-1), job.change_delay(-1), job.report_tokens(-1)):
        with pytest.raises(InvalidOptionError):
            await wrong

    assert await job.get_state() == "waiting"
    await queue.remove_job(job.id)
    assert await job.get_state() == "unknown"
    with pytest.raises(JobNotFoundError):
        await job.refresh()


async def test_payloads_are_left_out_on_request(queue: TestQueue[Any, Any]) -> None:
    job = await add(queue, data={"x": 1})
    found = [
        await queue.get_job(job.id, exclude_data=True),
        *await queue.get_jobs("waiting", exclude_data=True),
        *await queue.search_jobs(data={"x": 1}, exclude_data=True),
    ]
    assert [(slim.name, slim.data, slim.result) for slim in found if slim is not None] == [
        ("a", None, None)
    ] * 3


async def test_a_suspension_ends_with_its_time_though_no_worker_is_left(queue: TestQueue[Any, Any]) -> None:
    async def process(job: Job[Any, Any]) -> Any:
        if not job.signals:
            await job.suspend(timeout="30ms")
        return "signalled"

    late, early = await add(queue), await add(queue)
    await TestWorker(queue, process).drain()
    assert await queue.signal(early.id, "go")
    await eventually(late.is_failed)

    await late.refresh()
    assert late.failed_reason == "Suspend timeout exceeded"
    assert late.finished_at is not None
    assert not await queue.signal(late.id, "go")
    assert await early.get_state() == "waiting"


# Events and figures ------------------------------------------------------------------------------------------


async def test_drained_is_told_whenever_nothing_is_left(queue: TestQueue[Any, Any]) -> None:
    told: list[str] = []
    worker: TestWorker[Any, Any] = TestWorker(queue, lambda job: job.name)
    worker.on("completed", lambda job, _: told.append(job.name))
    worker.on("drained", lambda: told.append("drained"))
    async with worker:
        for name in "ab":
            await add(queue, name)
        await eventually(lambda: told == ["a", "b", "drained"])
        await add(queue, "c")
        await eventually(lambda: told == ["a", "b", "drained", "c", "drained"])


async def test_workers_and_metrics(queue: TestQueue[Any, Any]) -> None:
    def process(job: Any) -> None:
        if job.name == "bad":
            raise ValueError("bad")

    assert await queue.get_workers() == []
    for name in ("ok", "ok", "bad"):
        await add(queue, name)
    first: TestWorker[Any, Any] = TestWorker(queue, process, concurrency=2)
    second: TestWorker[Any, Any] = TestWorker(queue, process)
    async with first, second:
        infos = await queue.get_workers()
        assert [info.id for info in infos] == [first.id, second.id]
        assert [(info.queue, info.pid, info.concurrency) for info in infos] == [
            ("q", os.getpid(), 2),
            ("q", os.getpid(), 1),
        ]
        await eventually(lambda: first.is_idle and second.is_idle)
    assert await queue.get_workers() == []

    done, failed = await queue.get_metrics("completed"), await queue.get_metrics("failed")
    assert (done.count, sum(point.count for point in done.points)) == (2, 2)
    assert (failed.count, sum(point.count for point in failed.points)) == (1, 1)
    assert (await queue.get_metrics("completed", -1)).points == done.points[-1:]
    with pytest.raises(InvalidOptionError):
        await queue.get_metrics("waiting")  # type: ignore[arg-type]


async def test_usage_of_flows_and_spans(queue: TestQueue[Any, Any]) -> None:
    root = await add(queue)
    async with TestQueue[Any, Any]("below") as below:
        child = await add(below, parent=JobRef("q", root.id))
        await add(below)
        await root.report_usage(model="m", tokens={"input": 5}, costs={"total": 0.5}, cost_unit="usd")
        await root.report_usage(model="n", tokens={"input": 3})
        await child.report_usage(model="m", tokens={"output": 4})

        flow = await queue.get_flow_usage(root.id)
        assert (flow.job_count, flow.tokens, flow.models) == (2, {"input": 3, "output": 4}, {"n": 1, "m": 1})
        assert (await queue.get_flow_usage("nobody")).job_count == 0
        span = await queue.get_usage_summary(window=300_000, queues=["q", "below"])
        assert (span.queues, span.job_count, span.total_tokens) == (("below", "q"), 2, 7)
        assert span.per_queue["q"].total_tokens == 3
        assert (await below.get_usage_summary(queues=["q"])).queues == ("q",)
    assert (await queue.get_usage_summary()).queues == ("q",), "only of queues that are open"
    later = queue_now() + 60_000
    assert (await queue.get_usage_summary(start_time=later, end_time=later + 60_000)).job_count == 0
    with pytest.raises(InvalidOptionError, match="windowMs must be a finite positive number"):
        await queue.get_usage_summary(window=0)


def queue_now() -> int:
    import time

    return int(time.time() * 1_000)


# Budgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "report"),
    [
        (Budget(max_total_cost=0.05), {"costs": {"total": 0.06}}),
        (Budget(max_total_tokens=500), {"tokens": {"input": 300, "output": 300}}),
        (Budget(max_tokens={"reasoning": 500}, max_total_tokens=10_000), {"tokens": {"reasoning": 800}}),
        (Budget(max_total_tokens=1_000, token_weights={"reasoning": 4}), {"tokens": {"reasoning": 300}}),
        (Budget(max_costs={"reasoning": 0.5}), {"costs": {"reasoning": 0.75}}),
    ],
)
async def test_a_budget_fails_what_starts_when_it_is_used_up(
    queue: TestQueue[Any, Any], budget: Budget, report: dict[str, Any]
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(report)

    told: list[str] = []
    one, two, free = await add(queue, "one"), await add(queue, "two"), await add(queue, "free")
    await queue.set_budget("flow", budget, jobs=[one.ref, two.id])
    worker: TestWorker[Any, Any] = TestWorker(queue, process)
    worker.on("budget_exceeded", lambda job: told.append(job.name))
    await worker.drain()

    assert [await job.get_state() for job in (one, two, free)] == ["completed", "failed", "completed"]
    await two.refresh()
    assert two.failed_reason == "Budget exceeded"
    assert told == ["one", "two"], "who used it up, and who was stopped"
    shown = await queue.get_flow_budget("flow")
    assert shown is not None
    assert shown.exceeded
    assert await queue.get_flow_budget("other") is None


async def test_a_budget_that_pauses_lets_jobs_go_on_once_there_is_a_larger_one(
    queue: TestQueue[Any, Any],
) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(tokens={"input": 60})

    root = await add(queue)
    await queue.set_budget(root.id, Budget(max_total_tokens=100, on_exceeded="pause"))
    jobs = [root, *[await add(queue, parent=JobRef("q", root.id)) for _ in range(3)]]
    await TestWorker(queue, process).drain()

    states = [await job.get_state() for job in jobs]
    assert states == ["completed", "completed", "waiting", "waiting"]
    shown = await queue.get_flow_budget(root.id)
    assert shown is not None
    assert (shown.used_tokens, len(shown.parked)) == (120, 2)

    await queue.set_budget(root.id, Budget(max_total_tokens=1_000, on_exceeded="pause"))
    await TestWorker(queue, process).drain()
    assert [await job.get_state() for job in jobs] == ["completed"] * 4


# Schedulers --------------------------------------------------------------------------------------------------


async def test_schedulers_are_kept_as_by_a_queue(queue: TestQueue[Any, Any], connection: Connection) -> None:
    real: Queue[Any, Any] = Queue("q", connection)
    start = queue_now() + 60_000
    timed: dict[str, Any] = {"every": 500, "start_date": start, "limit": 3}
    for calls in (queue, real):
        made = await calls.upsert_job_scheduler("s", template=JobTemplate("x", {"a": 1}), **timed)
        assert (made.every, made.limit, made.iteration_count, made.next_run) == (500, 3, 0, start)
        assert (await calls.upsert_job_scheduler("s", **timed)).template is None
        again = await calls.upsert_job_scheduler("s", every=250, start_date=start)
        assert (again.limit, again.next_run) == (None, start)
        await calls.upsert_job_scheduler("c", pattern="*/5 * * * *", tz="Asia/Tokyo")
        assert list(await calls.get_job_schedulers()) == ["c", "s"]
        assert await calls.get_job_scheduler("nobody") is None
        for wrong in ({"every": 0}, {"pattern": "* * *"}, {"every": 1_000, "tz": "Mars/Olympus"}, {}):
            with pytest.raises(InvalidOptionError):
                await calls.upsert_job_scheduler("bad", **wrong)
        assert await calls.remove_job_scheduler("s")
        assert not await calls.remove_job_scheduler("s")


async def test_schedulers_make_jobs_while_a_worker_has_started(queue: TestQueue[Any, Any]) -> None:
    odd = JobOptions(job_id="fixed", delay=60_000, deduplication=Deduplication("once"), attempts=2)
    await queue.upsert_job_scheduler("beat", every=20, limit=2, template=JobTemplate("tick", {"n": 1}, odd))
    await queue.upsert_job_scheduler("chain", repeat_after_complete=20)
    await asyncio.sleep(0.05)
    assert queue.entries == {}, "nobody is there to run them"

    seen: list[Any] = []
    async with TestWorker(queue, lambda job: seen.append((job.name, job.data))):
        await eventually(lambda: seen.count(("chain", {})) >= 3)
        await eventually(lambda: seen.count(("tick", {"n": 1})) == 2)
        assert await queue.get_job_scheduler("beat") is None, "its limit is reached"
        chain = await queue.get_job_scheduler("chain")
        assert chain is not None
        assert (chain.iteration_count or 0) >= 3
    assert {job.options.attempts for job in await queue.search_jobs(name="tick")} == {2}
    made = len(queue.entries)
    await asyncio.sleep(0.05)
    assert len(queue.entries) == made


# Search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["COSINE", "L2", "IP"])
async def test_vectors_are_found_as_by_a_queue(
    queue: TestQueue[Any, Any], connection: Connection, metric: Any
) -> None:
    real: Queue[Any, Any] = Queue("q", connection)
    found: list[list[tuple[str, float]]] = []
    for calls in (queue, real):
        await calls.create_job_index(
            vector_field=VectorField("v", 2, distance_metric=metric), fields=[TagField("kind")]
        )
        for name, vector in (("a", [1.0, 0.0]), ("b", [0.0, 1.0]), ("a", [1.0, 1.0])):
            job = await calls.add(name, {})
            assert job is not None
            await job.store_vector("v", vector)
        await calls.add("a", {})
        near = await calls.vector_search([1.0, 0.25], k=2)
        found.append([(hit.job.id, round(hit.score, 6)) for hit in near])
        assert [hit.job.id for hit in await calls.vector_search([0, 1], filter="@name:{a}")] == ["3", "1"]
        with pytest.raises(InvalidOptionError):
            await calls.vector_search([1.0])
        with pytest.raises(InvalidOptionError):
            await calls.create_job_index()
        await calls.drop_job_index()
        for gone in (calls.drop_job_index(), calls.vector_search([1.0, 0.0])):
            with pytest.raises(IndexNotFoundError):
                await gone
    assert found[0] == found[1]
