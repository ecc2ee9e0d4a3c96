"""Budgets under races, killed workers, and against a model."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from conftest import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kits.budget import (
    budget_of,
    reporting,
    worker_of,
)

from glidemq_core.errors import (
    UnrecoverableError,
)
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobOptions, JobRef
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

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


# A model -----------------------------------------------------------------------------------------------------

#: What a processor does in one attempt: tokens reported (None: nothing), and how it ends.
ATTEMPT = st.tuples(st.none() | st.integers(1, 60), st.sampled_from(["done", "fail", "fatal"]))
TOP_UPS = st.lists(st.integers(0, 80), max_size=4)


@settings(
    max_examples=25,
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
