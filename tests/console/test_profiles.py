"""`:profile` shows the server of another profile; nothing of the one before is left, and PROD servers ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_console.screens.typed.commands import completions
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connection import Connection

from .fixed import config, script
from .pilot_kit import app_of, enter, fail_one, names_of_clients, shows_queue, text_on, told

pytestmark = [pytest.mark.thorough, pytest.mark.leaves_records]


@pytest.fixture
def path(config_path: Path, server_url: str, second_url: str) -> Path:
    config_path.write_text(
        f'refresh = "200ms"\nprofile = "staging"\n[profiles.staging]\nurl = "{server_url}"\nuser = "tester"\n'
        f'[profiles.prod]\nurl = "{second_url}"\nprod = true\nuser = "carol"\nundo = "30s"\ntheme = "glidemq-light"\n'
        '[profiles.broken]\nurl = "http://x"\n[profiles.away]\nurl = "valkey://127.0.0.1:1"\n'
    )
    return config_path


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Pilot[int]]:
    source = FileSource(given=Given())
    app = ConsoleApp(source.config(state_path=path.with_name("console.json"), **options))
    async with app.run_test(size=(140, 40)) as pilot:
        yield pilot


async def test_another_profile_is_shown_and_the_old_connection_closed(
    connection: Connection, second: Connection, path: Path
) -> None:
    async with (
        Queue("inference", connection) as here,
        Queue("elsewhere", second) as there,
        opened(path) as pilot,
    ):
        await here.add("answer", {})
        await there.add("answer", {})
        app = app_of(pilot)
        await shows_queue(pilot, "inference")
        assert "glidemq-console" in await names_of_clients(connection)
        await pilot.press("slash", "i", "enter")
        await pilot.press("2")
        await eventually(lambda: app.current_mode == "jobs")

        await enter(pilot, "profile prod")

        await eventually(lambda: app.snapshot.queue("elsewhere") is not None)
        await eventually(told(pilot, "now on prod"))
        assert app.snapshot.queue("inference") is None
        assert isinstance(app.screen, QueuesScreen)
        assert (app.screen.filter_text, app.crumbs) == ("", ["queues"])
        assert (app.config.user, app.outbox.undo_ms, app.theme) == ("carol", 30_000, "glidemq-light")
        await eventually(lambda: "prod · PROD" in text_on(pilot))
        assert "inference" not in text_on(pilot)

        async def is_closed() -> bool:
            return "glidemq-console" not in await names_of_clients(connection)

        await eventually(is_closed)
        # Back: what was remembered of the first one is there again.
        await enter(pilot, "profile staging")
        await eventually(lambda: app.snapshot.queue("inference") is not None)
        assert app.current_mode == "jobs"
        assert "PROD" not in text_on(pilot)
        await pilot.press("1")
        await eventually(lambda: isinstance(app.screen, QueuesScreen))
        assert app.screen.filter_text == "i"


async def test_acts_go_to_the_server_that_is_shown(
    connection: Connection, second: Connection, path: Path
) -> None:
    async with Queue("same", connection) as here, Queue("same", second) as there, opened(path) as pilot:
        await here.add("answer", {})
        await there.add("answer", {})
        await shows_queue(pilot, "same")
        await enter(pilot, "profile prod")
        await eventually(told(pilot, "now on prod"))
        await shows_queue(pilot, "same")
        await pilot.press("p")
        await eventually(there.is_paused)
        assert not await here.is_paused()
        [entry] = await there.get_audit()
        assert entry.by == "carol"


async def test_held_decisions_are_asked_about_first(
    connection: Connection, second: Connection, path: Path
) -> None:
    async def ask(job: Job[Any, Any]) -> str:
        if not job.signals:
            await job.suspend(reason="look")
        return "done"

    async with (
        Queue("same", connection) as here,
        Worker("same", ask, connection),
        opened(path, screen="approvals") as pilot,
    ):
        app = app_of(pilot)
        job = await here.add("moderate", {"n": 1})
        assert job is not None
        await eventually(lambda: here.get_suspend_info(job.id))
        await eventually(lambda: "Approve  a" in text_on(pilot))
        await pilot.pause(0.4)
        await enter(pilot, "set undo 60s")
        await pilot.press("a")
        await eventually(lambda: app.outbox.pending)

        await enter(pilot, "profile prod")
        await eventually(lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("escape")
        await eventually(told(pilot, "still on staging"))
        assert app.config.label == "staging"
        assert len(app.outbox.pending) == 1

        await enter(pilot, "profile prod")
        await eventually(lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, "now on prod"))
        assert not app.outbox.unsent

        async def is_done() -> bool:
            return (await here.get_job_counts()).completed == 1

        await eventually(is_done)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("profile", "profile staging; there are staging, prod, broken, away"),
        ("profile nowhere", "no profile 'nowhere'; there are staging, prod, broken, away"),
        ("profile staging", "this is staging"),
        ("profile broken", "URL"),
    ],
)
async def test_what_is_no_other_profile_is_said_and_nothing_changes(
    connection: Connection, path: Path, line: str, words: str
) -> None:
    async with opened(path) as pilot:
        feed = app_of(pilot).feed
        await enter(pilot, line)
        await eventually(told(pilot, words))
        assert app_of(pilot).feed is feed


async def test_a_server_that_cannot_be_reached_is_told_and_can_be_left(
    connection: Connection, path: Path
) -> None:
    async with Queue("inference", connection) as queue, opened(path) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")
        await enter(pilot, "profile away")
        await eventually(lambda: "cannot reach the server" in text_on(pilot))
        assert "inference" not in text_on(pilot)
        await enter(pilot, "profile staging")
        await shows_queue(pilot, "inference")


async def test_names_are_completed_and_without_a_config_there_are_none(
    connection: Connection, path: Path
) -> None:
    async with opened(path) as pilot:
        await eventually(lambda: app_of(pilot).console_screen)
        screen = app_of(pilot).console_screen
        assert screen is not None
        assert completions("profile st", screen.context()) == ["profile staging"]
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await enter(pilot, "profile prod")
        await eventually(told(pilot, "without a config file"))


async def test_a_prod_server_asks_before_every_capital(
    connection: Connection, second: Connection, path: Path
) -> None:
    async with Queue("later", second) as there, opened(path) as pilot:
        job = await there.add("answer", {}, delay=600_000)
        assert job is not None
        await fail_one(there)
        await enter(pilot, "profile prod")
        await shows_queue(pilot, "later")
        # One that asks anyway names the server.
        await eventually(lambda: app_of(pilot).snapshot.queue("later").failed == 1)  # type: ignore[union-attr]
        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.pause()
        assert "This is prod, a PROD server." in text_on(pilot)
        await pilot.press("escape")
        # One that is done at once elsewhere asks here.
        await pilot.press("enter")
        await eventually(lambda: app_of(pilot).current_mode == "jobs")
        await enter(pilot, f"promote later:{job.id}")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert await job.get_state() == "delayed"
        await enter(pilot, f"promote later:{job.id}")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")

        async def is_promoted() -> bool:
            return await job.get_state() == "waiting"

        await eventually(is_promoted)
