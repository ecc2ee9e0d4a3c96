"""What a worker in a program writes to its log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import in_state

from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_a_program_that_runs_a_worker_sees_why_jobs_fail(
    bench: Bench, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def process(job: Any) -> None:
        raise ValueError(f"attempt {job.attempts_made}\nforged line")

    job_id = await bench.add("summary", attempts=2)
    async with Worker("q", process, connection):
        await eventually(lambda: in_state(bench, job_id, "failed"))
        await eventually(lambda: len(caplog.records) == 2)
    first, last = caplog.records
    assert (first.name, first.levelno, last.levelno) == ("glidemq.worker", logging.WARNING, logging.ERROR)
    assert first.getMessage() == "job q:1 (summary) failed in attempt 1, runs again: attempt 0 forged line"
    assert last.getMessage() == "job q:1 (summary) failed in attempt 2: attempt 1 forged line"
    assert (last.job, last.attempt) == ("q:1", 2)  # type: ignore[attr-defined]
    assert 0 <= last.duration_ms < 10_000  # type: ignore[attr-defined]
    assert last.exc_text is not None
    assert "raise ValueError(" in last.exc_text


async def test_log_errors_false_keeps_failures_out_of_the_log(
    bench: Bench, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def process(_: Any) -> None:
        raise Mute

    job_id = await bench.add()
    async with Worker("q", process, connection, log_errors=False):
        await eventually(lambda: in_state(bench, job_id, "failed"))
    assert caplog.records == []


async def test_an_error_that_cannot_name_itself_is_logged(
    bench: Bench, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def process(_: Any) -> None:
        raise Mute

    await bench.add()
    async with Worker("q", process, connection):
        await eventually(lambda: caplog.records)
    assert caplog.records[0].getMessage() == "job q:1 (a) failed in attempt 1: Mute"
