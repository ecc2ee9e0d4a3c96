"""The ledger keeps every run of a job that reported, however the run ended."""

from __future__ import annotations

from typing import Any

from budget_kit import worker_of
from conftest import eventually

from glidemq_core.connection import Connection
from glidemq_core.job import Job
from glidemq_core.queue import Queue


async def test_a_run_that_waits_for_children_keeps_what_it_spent(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)

    async def process(job: Job[Any, Any]) -> None:
        if job.name == "child":
            return
        if not await job.get_children_values():
            await job.report_usage(model="plan", tokens={"t": 10})
            await queue.add("child", parent=job.ref)
            await job.move_to_waiting_children()
        await job.report_usage(model="write", tokens={"t": 20})

    job = await queue.add("parent")
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_completed)

    ledger = await queue.get_ledger(job.id)
    assert ledger is not None
    assert [(run.outcome, run.model, run.total_tokens) for run in ledger] == [
        ("delayed", "plan", 10),
        ("completed", "write", 20),
    ]
    assert (await queue.get_flow_usage(job.id, ledger=True)).total_tokens == 30
    assert await queue.get_ledger("2") is None, "the child reported nothing and ran once"


async def test_waiting_for_children_alone_leaves_no_ledger(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)

    async def process(job: Job[Any, Any]) -> None:
        if job.name == "parent" and not await job.get_children_values():
            await queue.add("child", parent=job.ref)
            await job.move_to_waiting_children()

    job = await queue.add("parent")
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_completed)

    assert await connection.command("EXISTS", "glide:{q}:ledger:1") == 0


async def test_runs_that_hold_their_group_are_kept(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)
    runs = 0

    async def process(job: Job[Any, Any]) -> None:
        nonlocal runs
        runs += 1
        await job.report_usage(model="m", tokens={"t": 10 * runs})
        await job.rate_limit_group(20, current_job="requeue" if runs == 1 else "fail")

    job = await queue.add("n", ordering="key")
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_failed)

    ledger = await queue.get_ledger(job.id)
    assert ledger is not None
    assert [(run.outcome, run.total_tokens, run.error) for run in ledger] == [
        ("delayed", 10, None),
        ("failed", 20, "group rate limited"),
    ]
