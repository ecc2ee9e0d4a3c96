"""Failures and dead letters on a real server: what is listed, and what is done with it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot

from glidemq_console.screens.approvals.editor import PayloadEditor
from glidemq_console.screens.failures.letters import LettersScreen
from glidemq_console.screens.failures.screen import FailuresScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_core import Queue, Worker
from glidemq_core.server.connection import Connection

from .pilot_kit import console, text_on, told


async def fail(connection: Connection, queue: str, *errors: str, dead: str | None = None) -> None:
    """Let a job of `queue` fail for good with each error."""

    async def process(job: Any) -> None:
        raise ValueError(job.data["error"])

    async with (
        Queue(queue, connection) as jobs,
        Worker(queue, process, connection, dead_letter_queue=dead, log_errors=False),
    ):
        before = (await jobs.get_job_counts()).failed
        for error in errors:
            await jobs.add("send", {"error": error, "api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f"})

        async def failed() -> bool:
            return (await jobs.get_job_counts()).failed == before + len(errors)

        await eventually(failed)


async def on_failures(pilot: Pilot[int], groups: int) -> FailuresScreen:
    await pilot.press("8")
    await eventually(lambda: isinstance(pilot.app.screen, FailuresScreen))
    screen = pilot.app.screen
    assert isinstance(screen, FailuresScreen)
    await eventually(lambda: len(screen.listed) == groups and screen.selected_item is not None, timeout=15)
    await pilot.pause()
    return screen


async def on_letters(pilot: Pilot[int], letters: int) -> LettersScreen:
    await pilot.press("8", "tab")
    await eventually(lambda: isinstance(pilot.app.screen, LettersScreen))
    screen = pilot.app.screen
    assert isinstance(screen, LettersScreen)
    await eventually(lambda: len(screen.listed) == letters and screen.selected_item is not None, timeout=15)
    await pilot.pause()
    return screen


async def asked(pilot: Pilot[int], words: str) -> None:
    await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog) and pilot.app.screen.is_seen)
    assert words in text_on(pilot)


async def test_failures_are_listed_by_cause_and_run_again_together(
    connection: Connection, server_url: str
) -> None:
    await fail(connection, "mail", "429 slow down 1", "429 slow down 22", "no such mailbox")
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        screen = await on_failures(pilot, 2)
        await eventually(lambda: "429 slow down 22" in text_on(pilot) and "in process" in text_on(pilot))
        shown = text_on(pilot)
        assert "ValueError  # slow down #" in shown
        assert "newest of 2: mail:2" in shown
        assert "sk-live" not in shown
        await pilot.press("v")
        assert "sk-live-4f1c9e2b7d6a4c3e8b5f" in text_on(pilot)

        await pilot.press("right_square_bracket")
        await eventually(lambda: "number 2 of 2: mail:1" in text_on(pilot))
        await pilot.press("R")
        await asked(pilot, "Retry 2 failed jobs of mail?")
        await pilot.press("n")
        await pilot.pause()
        assert (await queue.get_job_counts()).failed == 3
        await pilot.press("R")
        await asked(pilot, "skipped")
        await queue.retry_job("2")
        await pilot.press("y")

        await eventually(told(pilot, "1 job waits again"))
        counts = await queue.get_job_counts()
        assert (counts.waiting + counts.delayed, counts.failed) == (2, 1)
        assert [entry.action for entry in await queue.get_audit()][:1] == ["retry"]
        await eventually(lambda: len(screen.listed) == 1, timeout=15)


async def test_enter_lists_the_members_and_what_leads_on_from_one(
    connection: Connection, server_url: str
) -> None:
    await fail(connection, "mail", "429 slow down 1", "429 slow down 22", "no such mailbox")
    async with console(server_url) as pilot:
        await on_failures(pilot, 2)
        await pilot.press("enter")
        await eventually(
            lambda: isinstance(pilot.app.screen, JobsScreen) and len(pilot.app.screen.listed) == 2
        )
        assert "of one cause" in text_on(pilot)
        await pilot.press("escape")
        await eventually(
            lambda: isinstance(pilot.app.screen, JobsScreen) and len(pilot.app.screen.listed) == 3
        )
        await pilot.press("minus")
        await eventually(lambda: isinstance(pilot.app.screen, FailuresScreen))
        await pilot.press("o")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        await eventually(lambda: "mail : 2" in text_on(pilot))


async def test_the_window_moves_and_the_filter_narrows(connection: Connection, server_url: str) -> None:
    await fail(connection, "mail", "429 slow down", "no such mailbox")
    async with console(server_url, size=(80, 24)) as pilot:
        screen = await on_failures(pilot, 2)
        await pilot.press("right")
        await eventually(lambda: "last 6h" in text_on(pilot) and len(screen.listed) == 2)
        await pilot.press("left", "left")
        await eventually(lambda: "last 15m" in text_on(pilot))
        await pilot.press("slash", *"mailbox", "enter")
        await eventually(lambda: [group.message for group in screen.listed] == ["no such mailbox"])
        await pilot.press("escape")
        await eventually(lambda: len(screen.listed) == 2)
        await pilot.press("s")
        await eventually(told(pilot, "sorted by queue, lowest first"))


async def test_letters_are_replayed_with_or_without_another_payload_and_discarded(
    connection: Connection, server_url: str
) -> None:
    await fail(connection, "mail", "first", "second", "third", dead="mail-dead")
    async with Queue("mail", connection) as queue, console(server_url, size=(120, 40)) as pilot:
        screen = await on_letters(pilot, 3)
        assert screen.selected_item is not None
        assert screen.selected_item.data["error"] == "third"
        assert "sk-live" not in text_on(pilot)
        await pilot.press("R")
        await asked(pilot, "Replay mail:3?")
        await pilot.press("y")
        await eventually(told(pilot, "mail:3 runs again as 4"))
        await eventually(lambda: len(screen.listed) == 2, timeout=15)

        await pilot.press("e")
        await eventually(
            told(pilot, "it holds secrets that editing would show; v reveals them, then e edits")
        )
        await pilot.press("v", "e")
        await eventually(lambda: isinstance(pilot.app.screen, PayloadEditor))
        editor = pilot.app.screen
        assert isinstance(editor, PayloadEditor)
        await pilot.pause()
        editor.area.text = '{"error": "mended"}'
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "Replay with this" in text_on(pilot)
        await pilot.press("ctrl+s")
        await eventually(told(pilot, "mail:2 runs again as 5"))
        job = await queue.get_job("5")
        assert job is not None
        assert job.data == {"error": "mended"}

        await eventually(lambda: len(screen.listed) == 1, timeout=15)
        await pilot.press("X")
        await asked(pilot, "Discard the letter of mail:1?")
        await pilot.press("y")
        await eventually(told(pilot, "the letter of mail:1 is discarded"))
        await eventually(lambda: screen.listed == [], timeout=15)
        assert await queue.get_dead_letter_jobs() == []
        assert [entry.action for entry in await queue.get_audit()].count("replay") == 2


async def test_who_may_only_read_changes_nothing(connection: Connection, server_url: str) -> None:
    await fail(connection, "mail", "first", dead="mail-dead")
    async with console(server_url, read_only=True) as pilot:
        await on_failures(pilot, 1)
        await pilot.press("R")
        await eventually(told(pilot, "run again: this console is read-only (--read-only)"))
        await on_letters(pilot, 1)
        for key, what in (("R", "replay"), ("e", "edit, replay"), ("X", "discard")):
            await pilot.press(key)
            await eventually(told(pilot, f"{what}: this console is read-only (--read-only)"))


@pytest.mark.thorough
@pytest.mark.parametrize("size", [(60, 15), (220, 60)])
async def test_hostile_errors_and_payloads_are_inert(
    connection: Connection, server_url: str, size: tuple[int, int]
) -> None:
    texts = [text for text in CORPUS if text.strip()][:12]
    await fail(connection, "mail", *texts, dead="mail-dead")
    async with console(server_url, size=size) as pilot:
        await pilot.press("8")
        await eventually(
            lambda: isinstance(pilot.app.screen, FailuresScreen) and pilot.app.screen.listed, timeout=15
        )
        for _ in texts:
            await pilot.press("j")
            await pilot.pause(0.05)
            assert dangerous(text_on(pilot)) == []
        await pilot.press("v", "b", "tab")
        await eventually(
            lambda: isinstance(pilot.app.screen, LettersScreen) and pilot.app.screen.listed, timeout=15
        )
        for _ in texts:
            await pilot.press("j", "v")
            await pilot.pause(0.05)
            assert dangerous(text_on(pilot)) == []
