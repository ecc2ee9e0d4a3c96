"""Schedules on a real server: what is listed, and what is done with it; what is typed to change one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import eventually
from hypothesis import given
from hypothesis import strategies as st
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot

from glidemq_console.model.lists.schedules import Timing, read_timing, timing_text, upcoming
from glidemq_console.screens.schedules.dialog import ScheduleDialog
from glidemq_console.screens.schedules.screen import SchedulesScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_core import Queue
from glidemq_core.options.job import JobOptions, JobTemplate
from glidemq_core.schedules.entry import SchedulerEntry, shown_scheduler
from glidemq_core.server.connection import Connection

from .pilot_kit import console, text_on, told

NOW_MS = int(datetime(2026, 3, 14, 14, 2, 11, tzinfo=UTC).timestamp() * 1_000)
DIGEST: dict[str, Any] = {
    "pattern": "0 3 * * *",
    "tz": "Europe/Berlin",
    "end_date": 4_000_000_000_000,
    "template": JobTemplate(name="digest", data={"to": "team"}, options=JobOptions(attempts=3)),
}


async def on_schedules(pilot: Pilot[int], names: list[str]) -> SchedulesScreen:
    await pilot.press("9")
    await eventually(lambda: isinstance(pilot.app.screen, SchedulesScreen))
    screen = pilot.app.screen
    assert isinstance(screen, SchedulesScreen)
    await eventually(lambda: sorted(one.name for one in screen.listed) == names, timeout=15)
    await pilot.pause()
    return screen


async def test_a_schedule_is_run_now_and_keeps_its_next_run(connection: Connection, server_url: str) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        before = await queue.upsert_job_scheduler("nightly", **DIGEST)
        await on_schedules(pilot, ["nightly"])
        assert "every day at 03:00 Europe/Berlin" in text_on(pilot)
        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog) and pilot.app.screen.is_seen)
        assert "Run nightly now?" in text_on(pilot)
        await pilot.press("y")

        await eventually(told(pilot, "nightly runs now as reports:1"))
        job = await queue.get_job("1")
        assert job is not None
        assert (job.name, job.data) == ("digest", {"to": "team"})
        after = await queue.get_job_scheduler("nightly")
        assert after is not None
        assert (after.next_run, after.iteration_count) == (before.next_run, before.iteration_count)
        assert (await queue.get_audit())[0].action == "run_scheduler"


async def test_a_schedule_is_changed_with_its_next_runs_in_sight(
    connection: Connection, server_url: str
) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        await queue.upsert_job_scheduler("nightly", **DIGEST)
        await on_schedules(pilot, ["nightly"])
        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, ScheduleDialog) and pilot.app.screen.is_seen)
        # In the detail, and in the dialog.
        await eventually(lambda: len(re.findall(r"0[123]:00.*   in [0-9]+[dh]", text_on(pilot))) == 10)
        await pilot.press("ctrl+u", *"every 90", "ctrl+s")
        await pilot.pause()
        assert "a time zone belongs to a cron expression" in text_on(pilot)
        await pilot.press("tab", "ctrl+u", "tab", *"7", "ctrl+s")

        await eventually(told(pilot, "nightly runs at other times now"))
        after = await queue.get_job_scheduler("nightly")
        assert after is not None
        assert (after.every, after.pattern, after.tz, after.limit) == (90_000, None, None, 7)
        assert after.end_date == DIGEST["end_date"]
        assert after.template is not None
        assert (after.template.name, after.template.data) == ("digest", {"to": "team"})
        assert after.template.options is not None
        assert after.template.options.attempts == 3


async def test_a_schedule_is_removed_by_its_name(connection: Connection, server_url: str) -> None:
    async with Queue("reports", connection) as queue, console(server_url) as pilot:
        await queue.upsert_job_scheduler("nightly", **DIGEST)
        screen = await on_schedules(pilot, ["nightly"])
        await pilot.press("X")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog) and pilot.app.screen.is_seen)
        await pilot.press(*"night", "enter")
        await pilot.pause()
        assert await queue.get_job_scheduler("nightly") is not None
        await pilot.press(*"ly", "enter")
        await eventually(told(pilot, "nightly removed"))
        assert await queue.get_job_schedulers() == {}
        await eventually(lambda: screen.listed == [], timeout=15)


async def test_missed_runs_are_told_in_words(connection: Connection, server_url: str) -> None:
    clock = connection.now_ms
    async with Queue("crm", connection) as queue:
        connection.now_ms = lambda: clock() - 3_600_000  # type: ignore[method-assign]
        await queue.upsert_job_scheduler("sync", every=300_000)
        connection.now_ms = clock  # type: ignore[method-assign]
        async with console(server_url) as pilot:
            await on_schedules(pilot, ["sync"])
            shown = text_on(pilot)
            assert "◔ sync" in shown
            assert "missed 1" in shown
            assert "no Python worker serves the queue" in shown
            assert "1 has missed runs" in shown


async def test_who_may_only_read_changes_nothing(connection: Connection, server_url: str) -> None:
    await Queue("reports", connection).upsert_job_scheduler("nightly", **DIGEST)
    async with console(server_url, read_only=True) as pilot:
        await on_schedules(pilot, ["nightly"])
        for key, what in (("R", "run now"), ("e", "edit"), ("X", "remove")):
            await pilot.press(key)
            await eventually(told(pilot, f"{what}: this console is read-only (--read-only)"))


@pytest.mark.parametrize("size", [(60, 15), (220, 60)])
async def test_hostile_schedules_are_inert(
    connection: Connection, server_url: str, size: tuple[int, int]
) -> None:
    texts = [text for text in CORPUS if text.strip()][:12]
    queue = Queue("reports", connection)
    for text in texts:
        await queue.upsert_job_scheduler(
            text, every=60_000, template=JobTemplate(name=text, data={text: text})
        )
    async with console(server_url, size=size) as pilot:
        await pilot.press("9")
        await eventually(
            lambda: isinstance(pilot.app.screen, SchedulesScreen) and pilot.app.screen.listed, timeout=15
        )
        for _ in texts:
            await pilot.press("j", "v")
            await pilot.pause(0.05)
            assert dangerous(text_on(pilot)) == []


# --- what is typed ---


@pytest.mark.parametrize(
    ("typed", "timing"),
    [
        (("every 5m", "", ""), Timing(every=300_000)),
        (("every 1h 30m", "", "3"), Timing(every=5_400_000, limit=3)),
        (("5m after each run", "", ""), Timing(repeat_after_complete=300_000)),
        (("after 30s", "", ""), Timing(repeat_after_complete=30_000)),
        ((" 0 3  * * 1-5 ", "Europe/Berlin", ""), Timing(pattern="0 3 * * 1-5", tz="Europe/Berlin")),
    ],
)
def test_a_timing_is_read(typed: tuple[str, str, str], timing: Timing) -> None:
    assert read_timing(*typed) == timing


@pytest.mark.parametrize(
    "typed",
    [
        ("", "", ""),
        ("every", "", ""),
        ("every 0s", "", ""),
        ("every 5m", "Europe/Berlin", ""),
        ("61 3 * * *", "", ""),
        ("0 3 * * *", "Mars/Olympus", ""),
        ("every 5m", "", "-1"),
        ("every 5m", "", "many"),
    ],
)
def test_what_is_no_timing_says_why(typed: tuple[str, str, str]) -> None:
    assert isinstance(read_timing(*typed), str)


@given(st.integers(1, 400_000_000), st.booleans())
def test_a_timing_is_written_as_it_is_read(wait_ms: int, after: bool) -> None:
    entry = SchedulerEntry(repeat_after_complete=wait_ms) if after else SchedulerEntry(every=wait_ms)
    timing = read_timing(timing_text(shown_scheduler("q", "n", entry)), "", "")
    assert isinstance(timing, Timing)
    assert (timing.every, timing.repeat_after_complete) == (entry.every, entry.repeat_after_complete)


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=12))
def test_whatever_is_typed_is_answered(when: str, zone: str, limit: str) -> None:
    timing = read_timing(when, zone, limit)
    assert isinstance(timing, str) or upcoming(timing.entry(None), NOW_MS) is not None


def test_the_next_runs_end_with_the_limit_and_the_end() -> None:
    timing = read_timing("every 1m", "", "6")
    assert isinstance(timing, Timing)
    kept = SchedulerEntry(every=1, iteration_count=4)
    assert len(upcoming(timing.entry(kept), NOW_MS)) == 2
    ends = SchedulerEntry(every=1, end_date=NOW_MS + 130_000)
    assert len(upcoming(timing.entry(ends), NOW_MS)) == 2
