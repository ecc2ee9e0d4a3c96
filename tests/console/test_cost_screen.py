"""What is spent, on a real server: added up by queue, model, flow and job, in the console and by the command."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.screens.cost.screen import CostScreen
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_core import FlowJob, FlowProducer, Job, Queue, Usage, Worker
from glidemq_core.errors import InvalidOptionError
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .pilot_kit import app_of, console, text_on


async def spend(connection: Connection) -> None:
    """Run a flow of two jobs and a job that fails once, each reporting what it used."""

    async def process(job: Job[Any]) -> None:
        model, cost, fails = job.data
        if job.attempts_made == 0 or not fails:
            await job.report_usage(
                Usage(model=model, tokens={"input": 100}, total_tokens=100, total_cost=cost, cost_unit="usd")
            )
        if fails:
            raise ValueError("429 slow down")

    async with (
        Queue("ai", connection) as ai,
        Queue("mail", connection) as mail,
        FlowProducer(connection) as flows,
        Worker("ai", process, connection, log_errors=False),
        Worker("mail", process, connection, log_errors=False),
    ):
        await flows.add(
            FlowJob(
                "report", "ai", ["large", 0.5, False], children=[FlowJob("part", "ai", ["small", 0.1, False])]
            )
        )
        await mail.add("send", ["small", 0.2, True])

        async def ended() -> bool:
            return (await ai.get_job_counts()).completed == 2 and (await mail.get_job_counts()).failed == 1

        await eventually(ended)


async def test_usage_is_added_up_in_four_ways(connection: Connection) -> None:
    await spend(connection)
    async with Watch(connection) as watch:

        async def groups(by: Any, **options: Any) -> list[tuple[str, float, float | None]]:
            found = await watch.usage_by(by, **options)
            return [(one.key, round(one.total_cost, 6), one.wasted_cost) for one in found.groups]

        assert await groups("queue") == [("ai", 0.6, None), ("mail", 0.2, 0.2)]
        assert await groups("model") == [("large", 0.5, None), ("small", 0.3, 0.2)]
        assert await groups("flow") == [("ai:1", 0.6, None)] or await groups("flow") == [("ai:2", 0.6, None)]
        assert [cost for _, cost, _ in await groups("job")] == [0.5, 0.2, 0.1]
        assert [cost for _, cost, _ in await groups("job", top=1)] == [0.5]
        assert await groups("queue", names=["mail"]) == [("mail", 0.2, 0.2)]
        part = await watch.usage_by("job", ["ai", "mail"], limit=1)
        assert (part.jobs_read, part.complete) == (1, False)
        before = connection.stats.commands
        whole = await watch.usage_by("job", ["ai", "mail"])
        assert (whole.jobs_read, whole.complete) == (3, True)
        again = connection.stats.commands
        await watch.usage_by("job", ["ai", "mail"])
        assert connection.stats.commands - again <= again - before
        assert connection.stats.commands - again == 4


async def on_cost(pilot: Pilot[int]) -> CostScreen:
    await pilot.press("dollar_sign")
    await eventually(lambda: isinstance(pilot.app.screen, CostScreen))
    screen = pilot.app.screen
    assert isinstance(screen, CostScreen)
    return screen


async def test_nothing_else_waits_while_spending_is_added_up(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spend(connection)
    added_up, asked, usage_by = asyncio.Event(), asyncio.Event(), Watch.usage_by

    async def slow(watch: Watch, *arguments: Any, **options: Any) -> Any:
        asked.set()
        await added_up.wait()
        return await usage_by(watch, *arguments, **options)

    monkeypatch.setattr(Watch, "usage_by", slow)
    async with console(server_url) as pilot:
        screen = await on_cost(pilot)
        await asyncio.wait_for(asked.wait(), 15)
        # The rounds go on, also on another screen and back.
        asked_at = screen.snapshot.at_ms
        await eventually(lambda: screen.snapshot.at_ms > asked_at + 500)
        assert "reading …" in text_on(pilot)
        await pilot.press("1")
        await eventually(lambda: app_of(pilot).snapshot.queue("ai") is not None)
        await pilot.press("dollar_sign")
        await eventually(lambda: pilot.app.screen is screen)
        assert not screen.listed

        added_up.set()
        await eventually(lambda: [row.key for row in screen.listed] == ["ai", "mail"], timeout=15)


async def test_what_hinders_the_adding_up_is_told(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spend(connection)

    async def odd(*_: Any, **__: Any) -> Any:
        raise InvalidOptionError("no such sum")

    monkeypatch.setattr(Watch, "usage_by", odd)
    async with console(server_url) as pilot:
        await on_cost(pilot)
        await eventually(lambda: app_of(pilot).snapshot.trouble == "no such sum", timeout=15)


async def test_the_dearest_are_shown_by_queue_model_flow_and_job(
    connection: Connection, server_url: str
) -> None:
    await spend(connection)
    async with console(server_url) as pilot:
        screen = await on_cost(pilot)
        await eventually(lambda: [row.key for row in screen.listed] == ["ai", "mail"], timeout=15)
        await pilot.pause()
        shown = text_on(pilot)
        assert "looked at all 3 jobs" in shown
        assert "75 %" in shown
        await pilot.press("right")
        await eventually(lambda: [row.key for row in screen.listed] == ["large", "small"], timeout=15)
        await pilot.press("right")
        await eventually(lambda: len(screen.listed) == 1, timeout=15)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, FlowScreen))
        await pilot.press("escape", "right")
        await eventually(lambda: len(screen.listed) == 3, timeout=15)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        await pilot.press("escape", "tab")
        await eventually(lambda: [row.key for row in screen.listed] == ["ai", "mail"], timeout=15)
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
