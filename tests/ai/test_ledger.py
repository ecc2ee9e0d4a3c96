"""The ledger keeps every run of a job that reported, however the run ended."""

from __future__ import annotations

import asyncio
from typing import Any

from conftest import eventually
from kits.budget import worker_of

from glidemq_core.job import Job
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection


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
    assert [(run.outcome, run.total_tokens, run.error, run.error_type) for run in ledger] == [
        ("delayed", 10, None, None),
        ("failed", 20, "group rate limited", "GroupRateLimitError"),
    ]


async def test_a_failed_attempt_keeps_what_kind_of_error_it_was_and_where(connection: Connection) -> None:
    """Of the newest three the traceback too; the others keep type and text."""
    queue = Queue[Any, Any]("q", connection)

    async def process(job: Job[Any, Any]) -> None:
        await job.report_usage(tokens={"trace": 1})
        match job.attempts_made:
            case 3:
                raise TimeoutError
            case 4:
                return
        raise ValueError(f'no model "{job.attempts_made}"')

    job = await queue.add("n", attempts=9)
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_completed)

    ledger = await queue.get_ledger(job.id)
    assert ledger is not None
    assert [(run.outcome, run.error_type, run.error) for run in ledger] == [
        ("failed", "ValueError", 'no model "0"'),
        ("failed", "ValueError", 'no model "1"'),
        ("failed", "ValueError", 'no model "2"'),
        ("failed", "TimeoutError", "TimeoutError"),
        ("completed", None, None),
    ]
    assert [run.trace is not None for run in ledger] == [False, True, True, True, False]
    trace = ledger[2].trace
    assert trace is not None
    assert trace.startswith("Traceback (most recent call last):\n  File ")
    assert trace.endswith('ValueError: no model "2"')
    assert "raise ValueError(" in trace
    assert "glidemq_core/worker" not in trace, "our own frames say nothing"
    assert {run.total_tokens for run in ledger} == {1}


async def test_the_innermost_part_of_a_long_traceback_is_kept(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)

    def deeper(left: int) -> None:
        if not left:
            raise ValueError("ü" * 50_000)
        deeper(left - 1)

    async def process(job: Job[Any, Any]) -> None:
        deeper(300)

    job = await queue.add("n")
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_failed)
    ledger = await queue.get_ledger(job.id)
    assert ledger is not None
    trace = ledger[0].trace
    assert trace is not None
    assert len(trace.encode()) <= 4_096
    assert 'raise ValueError("ü" * 50_000)' in trace


async def test_an_error_nobody_raised_has_a_type_and_no_traceback(connection: Connection) -> None:
    queue = Queue[Any, Any]("q", connection)

    async def process(_: Job[Any, Any]) -> None:
        await asyncio.Event().wait()

    job = await queue.add("n", timeout=20)
    assert job is not None
    async with worker_of(connection, "q", process):
        await eventually(job.is_failed)
    ledger = await queue.get_ledger(job.id)
    assert ledger is not None
    assert (ledger[0].error_type, ledger[0].trace) == ("JobTimeoutError", None)
