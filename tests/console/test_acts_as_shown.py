"""A key on one job acts on it as it was shown: what it became meanwhile is told, and left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, enter, told
from .test_marks import asked, listed


@pytest.mark.parametrize(
    ("key", "state", "options", "after"),
    [("R", "failed", {}, "delayed"), ("P", "delayed", {"delay": 600_000}, "waiting")],
)
@pytest.mark.parametrize("on_page", [False, True])
async def test_a_job_that_went_on_meanwhile_is_left_alone(
    connection: Connection,
    server_url: str,
    key: str,
    state: str,
    options: dict[str, int],
    after: str,
    on_page: bool,
) -> None:
    async with listed(connection, server_url, state, 1, **options) as (queue, [job_id], pilot, _):
        if on_page:
            await pilot.press("enter")
            await eventually(lambda: app_of(pilot).snapshot.job is not None)
            await pilot.pause()
        await pilot.press(key)
        await asked(pilot)
        # Somebody else is faster.
        await (queue.retry_job if key == "R" else queue.promote_job)(job_id)
        audited = len(await queue.get_audit())

        await pilot.press("y")

        await eventually(told(pilot, f"work:{job_id} skipped: it is now {after}"))
        assert len(await queue.get_audit()) == audited
        # It was no act, so what came before it can still be undone.
        assert not app_of(pilot).undo._barred


async def test_a_job_that_a_worker_has_taken_is_not_removed_as_one_that_waits(
    connection: Connection, server_url: str
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def run(_: Job[Any, Any]) -> None:
        begun.set()
        await end.wait()

    async with listed(connection, server_url, "waiting", 1) as (queue, [job_id], pilot, _):
        await pilot.press("X")
        assert "running" not in (await asked(pilot))._body
        async with Worker("work", run, server_url):
            await begun.wait()
            await pilot.press("y")
            await eventually(told(pilot, f"work:{job_id} skipped: it is now active"))
            end.set()
            job = await queue.get_job(job_id)
            assert job is not None
            await eventually(job.is_completed)


@pytest.mark.parametrize("key", ["R", "X"])
async def test_a_job_that_is_gone_is_told(connection: Connection, server_url: str, key: str) -> None:
    async with listed(connection, server_url, "failed", 1) as (queue, [job_id], pilot, _):
        await pilot.press(key)
        await asked(pilot)
        await queue.remove_job(job_id)
        await pilot.press("y")
        await eventually(told(pilot, f"work:{job_id} was gone already"))


async def test_a_command_names_a_job_that_is_not_listed(connection: Connection, server_url: str) -> None:
    queue = Queue[dict[str, str], None]("work", connection)
    job = await queue.add("a", {"x": "y"}, delay=600_000)
    assert job is not None
    async with console(server_url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.queue("work") is not None)
        await enter(pilot, f"promote work:{job.id}")
        await asked(pilot)
        await pilot.press("y")
        await eventually(told(pilot, f"work:{job.id} promoted"))
        assert await job.get_state() == "waiting"
