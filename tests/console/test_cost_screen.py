"""What is spent, on a real server: added up by queue, model, flow and job, in the console and by the command."""

from __future__ import annotations

from typing import Any

from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.screens.cost.screen import CostScreen
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_core import FlowJob, FlowProducer, Job, Queue, Usage, Worker
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .pilot_kit import console, text_on


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
