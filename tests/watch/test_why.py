"""Why a job is not running: every cause that can be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench

from glidemq_core import (
    Backoff,
    Budget,
    FlowJob,
    FlowProducer,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    Ordering,
    Queue,
    RateLimit,
    Watch,
    Why,
    Worker,
)
from glidemq_core.server.connection import Connection


@pytest.fixture
async def watch(connection: Connection) -> AsyncIterator[Watch]:
    async with Watch(connection, queues=["q"], calls_per_s=1_000) as opened:
        yield opened


def kinds(why: Why) -> list[str]:
    return [blocker.kind for blocker in why.blockers]


async def reached(watch: Watch, job_id: str, kind: str, queue: str = "q") -> Why:
    """Wait until a cause is told first."""

    async def told() -> Why | None:
        why = await watch.why(queue, job_id)
        return why if kinds(why)[:1] == [kind] else None

    found: Why = await eventually(told)
    return found


async def test_nobody_works_and_jobs_are_ahead(bench: Bench, watch: Watch) -> None:
    ids = [await bench.add() for _ in range(3)]
    why = await watch.why("q", ids[2])

    assert (why.state, why.ahead) == ("waiting", 2)
    assert kinds(why) == ["no_worker", "ahead"]
    assert kinds(await watch.why("q")) == ["no_worker"]


async def test_a_paused_queue_comes_first(bench: Bench, watch: Watch) -> None:
    job_id = await bench.add()
    await bench.queue.pause()
    why = await watch.why("q", job_id)

    assert kinds(why)[:2] == ["queue_paused", "no_worker"]
    assert why.blockers[0].command == "glidemq resume q"


async def test_priorities_go_first(bench: Bench, watch: Watch) -> None:
    later = await bench.add(priority=9)
    for _ in range(2):
        await bench.add(priority=1)

    assert (await watch.why("q", later)).ahead == 2


async def test_slots_caps_and_rates(connection: Connection, watch: Watch) -> None:
    async def process(_: Any) -> None:
        await asyncio.Event().wait()

    async with Queue("q", connection) as queue:
        await queue.set_global_concurrency(1)
        await queue.set_global_rate_limit(RateLimit(max=1, duration=60_000))
        await queue.add("a")
        waiting = await queue.add("a")
        async with Worker("q", process, connection, concurrency=1, grace=0):
            why = await reached(watch, waiting.id, "global_concurrency")
            assert set(kinds(why)) >= {"global_concurrency", "workers_busy", "rpm"}
            [rpm] = [blocker for blocker in why.blockers if blocker.kind == "rpm"]
            assert rpm.summary == "1 of 1 starts in 60 s are used"
            assert rpm.clears_at is not None
            running = await reached(watch, "1", "running")
            assert "its last heartbeat came" in running.blockers[0].summary


async def test_ordering_keys(bench: Bench, watch: Watch) -> None:
    await bench.add(ordering=Ordering("k", concurrency=1))
    second = await bench.add(ordering=Ordering("k", concurrency=1))
    await bench.claim(2)
    why = await watch.why("q", second)

    assert why.state == "group-waiting"
    assert "group_concurrency" in kinds(why)
    await bench.command("DEL", "glide:{q}:stream")
    await bench.command("HSET", "glide:{q}:job:1", "state", "completed")


async def test_delays_and_backoff(connection: Connection, watch: Watch) -> None:
    async def process(_: Any) -> None:
        raise ValueError("no")

    async with Queue("q", connection) as queue, Worker("q", process, connection, log_errors=False):
        delayed = await queue.add("a", delay=60_000)
        failing = await queue.add("a", attempts=3, backoff=Backoff("fixed", 60_000))
        backoff = await reached(watch, failing.id, "backoff")
        assert backoff.blockers[0].summary == "attempt 1 of 3 failed: no"
        assert backoff.blockers[0].clears_at is not None
        why = await watch.why("q", delayed.id)
        assert kinds(why) == ["delayed"]
        assert why.blockers[0].command == f"glidemq promote {delayed.ref}"


async def test_people_children_and_budgets(connection: Connection, watch: Watch) -> None:
    async def process(job: Job[Any, Any]) -> None:
        if job.name == "ask":
            await job.suspend(reason="look at it", timeout=600_000)
        await job.report_usage(tokens={"input": 100})

    async with (
        Queue("q", connection) as queue,
        FlowProducer(connection) as producer,
        Worker("q", process, connection, concurrency=1, log_errors=False),
    ):
        asked = await queue.add("ask")
        suspended = await reached(watch, asked.id, "suspended")
        assert suspended.blockers[0].summary == "it waits for a signal or an approval: look at it"
        leaves = tuple(FlowJob("spend", "q") for _ in range(2))
        flow = await producer.add(
            FlowJob("root", "q", children=leaves), budget=Budget(max_total_tokens=50, on_exceeded="pause")
        )
        root = await watch.why("q", flow.job.id)
        assert kinds(root)[0] == "children"
        states = [await _first(watch, child.job.id) for child in flow.children]

        async def one_is_parked() -> bool:
            return "budget_parked" in [await _first(watch, child.job.id) for child in flow.children]

        await eventually(one_is_parked)
        assert states


async def _first(watch: Watch, job_id: str) -> str:
    return (kinds(await watch.why("q", job_id)) or [""])[0]


async def test_stalled_ended_and_expiring(bench: Bench, watch: Watch) -> None:
    stalled = await bench.add()
    await bench.claim()
    await bench.command("HSET", f"glide:{{q}}:job:{stalled}", "lastActive", 1, "processedOn", 1)
    why = await watch.why("q", stalled)
    assert (kinds(why), why.blockers[0].clears_at) == (["stalled"], None)
    # A worker swept a while ago: nobody takes the job over before its turn is over.
    await bench.command("SET", "glide:{q}:turn:stalls", "1", "PX", 12_000)
    [blocker] = (await watch.why("q", stalled)).blockers
    assert blocker.clears_at is not None
    assert 10 < (blocker.clears_at - why.at).total_seconds() < 14
    await bench.command("HSET", f"glide:{{q}}:job:{stalled}", "state", "failed", "failedReason", "boom")
    ended = await watch.why("q", stalled)
    assert (kinds(ended), ended.blockers[0].summary) == (["ended"], "it has failed: boom")
    expiring = await bench.add(ttl=60_000)
    assert "expired_soon" in kinds(await watch.why("q", expiring))


async def test_what_is_not_there(bench: Bench, watch: Watch) -> None:
    with pytest.raises(JobNotFoundError):
        await watch.why("q", "9")
    with pytest.raises(InvalidOptionError):
        await watch.why("q", "other:1")
