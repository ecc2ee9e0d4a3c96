"""Why a job does not run and what holds a queue back, asked where it is seen."""

from __future__ import annotations

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.actions import keys
from glidemq_console.screens.overlays.why import WhyScreen
from glidemq_console.screens.registry import ACTIONS
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, fail_one, on_jobs, shows_queue, text_on


async def asked(pilot: Pilot[int], *words: str) -> None:
    await pilot.press("w")
    await eventually(lambda: isinstance(pilot.app.screen, WhyScreen))
    await eventually(lambda: all(word in text_on(pilot) for word in words))
    await pilot.press("w")
    await eventually(lambda: not isinstance(pilot.app.screen, WhyScreen))


async def test_a_queue_and_its_jobs_say_what_holds_them_and_what_mends_it(
    connection: Connection, server_url: str
) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("send", {})
        await queue.add("later", {}, delay=600_000)
        await queue.pause()
        await shows_queue(pilot, "mail")
        await asked(
            pilot, "why  mail", "the queue is paused", "1 p resumes the queue", "no worker serves the queue"
        )
        await on_jobs(pilot, "waiting", 1)
        await asked(pilot, "why  mail:1", "waiting", "the queue is paused")
        await pilot.press("tab")
        while "delayed" not in str(pilot.app.screen.selected_state):  # type: ignore[attr-defined]
            await pilot.press("tab")
            await pilot.pause()
        await eventually(lambda: pilot.app.screen.selected is not None)  # type: ignore[attr-defined]
        await asked(pilot, "why  mail:2", "P lets it start now")


async def test_a_failed_job_says_how_it_runs_again(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await fail_one(queue)
        await shows_queue(pilot, "mail")
        await on_jobs(pilot, "failed", 1)
        await asked(pilot, "failed", "R runs it again")
        await pilot.press("enter")
        await pilot.pause(0.3)
        await asked(pilot, "R runs it again")


async def test_with_nothing_selected_it_says_so(connection: Connection, server_url: str) -> None:
    async with console(server_url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.has_data)
        await pilot.pause()
        screen = app_of(pilot).console_screen
        assert screen is not None
        assert ACTIONS["queues.why"].unavailable(screen.context()) == "nothing is selected"
        await pilot.press("w")
        await pilot.pause(0.3)
        assert not isinstance(pilot.app.screen, WhyScreen)


@pytest.mark.parametrize("letter", keys.WHY.where)
def test_it_is_asked_wherever_the_table_says(letter: str) -> None:
    scope = keys.SCREEN_LETTERS[letter]
    assert [action.id for action in ACTIONS.values() if action.scope == scope and "w" in action.keys] == [
        f"{scope}.why"
    ]
