"""`*` on jobs: it goes on behind what is loaded, ends at 10,000, and `esc` stops it without a mark."""

from __future__ import annotations

import pytest
from conftest import eventually
from kits.watch import fill
from textual.pilot import Pilot

from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.lists.marking import MOST_MARKED
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import console, shows_queue, text_on, told

pytestmark = pytest.mark.leaves_records


async def on_waiting(pilot: Pilot[int]) -> JobsScreen:
    await shows_queue(pilot, "work")
    await pilot.press("enter")
    await eventually(lambda: isinstance(s := pilot.app.screen, JobsScreen) and bool(s.listed), timeout=15)
    screen = pilot.app.screen
    assert isinstance(screen, JobsScreen)
    assert screen.selected_state == "waiting"
    return screen


async def test_no_more_than_ten_thousand_are_marked_and_the_command_for_more_is_told(
    connection: Connection, server_url: str
) -> None:
    await fill(connection, "work", MOST_MARKED + 700)
    await connection.command("SADD", "glide:queues", "work")
    async with console(server_url) as pilot:
        screen = await on_waiting(pilot)
        await pilot.press("asterisk")
        await eventually(
            told(
                pilot,
                "10,000 marked, and there are more: "
                "glidemq jobs work --state waiting lists all, for retry, promote and remove",
            ),
            timeout=60,
        )
        assert len(screen.marked_items) == len(screen.lines.marks) == MOST_MARKED
        listed = [row.id for row in screen.listed]
        assert [row.id for row in screen.marked_items][: len(listed)] == listed
        await pilot.press("X")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        dialog = pilot.app.screen
        assert isinstance(dialog, ConfirmDialog)
        assert "10,000 marked jobs" in dialog._title
        await pilot.press("n")
        await pilot.press("escape")
        await eventually(lambda: not screen.marked_items)
        await pilot.press("z")
        await eventually(told(pilot, "10,000 rows marked again"))
        assert len(screen.marked_items) == MOST_MARKED


async def test_escape_stops_the_scan_and_sets_no_mark(connection: Connection, server_url: str) -> None:
    await fill(connection, "work", 6_000)
    await connection.command("SADD", "glide:queues", "work")
    async with console(server_url) as pilot:
        screen = await on_waiting(pilot)
        # With a filter four pages are read a second.
        await pilot.press("slash", *"!id:1", "enter")
        await eventually(lambda: "looked at 500 of 6,000" in text_on(pilot), timeout=15)
        await pilot.press("space")
        await eventually(lambda: len(screen.marked_items) == 1)
        await pilot.press("asterisk")
        await eventually(told(pilot, "marking all that match: "), timeout=15)
        assert told(pilot, "found, esc stops")()
        await pilot.press("escape")
        await eventually(told(pilot, "stopped: no mark was set"))
        # What was marked before stays, and the filter too: esc closes the innermost.
        assert len(screen.marked_items) == 1
        assert screen.filter_text == "!id:1"
        counts = await Queue[object, object]("work", connection).get_job_counts()
        assert counts.waiting == 6_000
        await pilot.press("escape")
        await eventually(lambda: not screen.marked_items)
        assert screen.filter_text == "!id:1"


async def test_another_list_stops_the_scan(connection: Connection, server_url: str) -> None:
    await fill(connection, "work", 6_000)
    await connection.command("SADD", "glide:queues", "work")
    async with console(server_url) as pilot:
        screen = await on_waiting(pilot)
        await pilot.press("slash", *"!id:1", "enter")
        await eventually(lambda: "looked at 500 of 6,000" in text_on(pilot), timeout=15)
        await pilot.press("asterisk")
        await eventually(told(pilot, "marking all that match: "), timeout=15)
        await pilot.press("tab")
        await eventually(told(pilot, "stopped: no mark was set"), timeout=15)
        assert screen.marked_items == ()
