"""The jobs screen on a real server: what it lists and finds, and what is done from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from conftest import eventually
from kits.budget import exceeded_flow

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.jobs.columns import COLUMNS
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.lists.queue_list import REST_S
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_console.widgets.dialogs.form import FormDialog
from glidemq_core import FlowProducer, Job, Queue, Worker
from glidemq_core.server.connection import Connection

from .fixed import FAILED, NOW, ROWS, config, script
from .pilot_kit import app_of, console, fail_one, on_jobs, shows_queue, text_on, told


async def test_the_filter_finds_parts_of_names_and_errors_and_their_jobs_are_retried_together(
    connection: Connection, server_url: str
) -> None:
    async def fail(job: Job[Any]) -> None:
        raise RuntimeError(job.data)

    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        for error in ("429 slow down", "429 Slow down", "no such mailbox"):
            await queue.add("send", error)
        async with Worker("mail", fail, connection):
            await eventually(lambda: app_of(pilot).snapshot.queue("mail") is not None)
            await eventually(lambda: app_of(pilot).snapshot.queue("mail").failed == 3)  # type: ignore[union-attr]
        screen = await on_jobs(pilot, "failed", 3)

        await pilot.press("slash", *"SEN", "enter")
        await pilot.pause(0.5)
        assert screen.lines.total == 3
        await pilot.press("escape", "slash", *"slow", "enter")
        await eventually(lambda: screen.lines.total == 2)
        await pilot.press("colon", *"retry-listed", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")

        await eventually(told(pilot, "mail: 2 jobs retried"))
        counts = await queue.get_job_counts()
        assert (counts.waiting + counts.delayed, counts.failed) == (2, 1)
        assert (await queue.get_audit())[0].action == "retry"


async def test_all_lists_every_state_but_completed_newest_first(
    connection: Connection, server_url: str
) -> None:
    async with Queue("mail", connection) as queue, console(server_url, size=(80, 24)) as pilot:
        await fail_one(queue)
        await queue.add("later", {}, delay=600_000)
        await queue.add("urgent", {}, priority=3)
        await queue.add("plain", {})
        await shows_queue(pilot, "mail")

        screen = await on_jobs(pilot, None, 4)

        shown = text_on(pilot)
        places = [
            shown.index(cell)
            for cell in (
                "4           ○ waiting",
                "3           ▲ prioritized",
                "2           ◷ delayed",
                "1           ✗ failed",
            )
        ]
        assert places == sorted(places)
        assert "all 4" in shown
        # What has a priority is not told to be delayed as well, though the wire counts it there.
        assert "delayed 1" in shown
        assert "▲ 1" in shown
        assert screen.selected is not None


async def test_delay_and_priority_of_a_job_that_has_not_started_are_changed(
    connection: Connection, server_url: str
) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        job = await queue.add("letter", {})
        assert job is not None
        await shows_queue(pilot, "mail")
        screen = await on_jobs(pilot, "waiting", 1)

        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press(*"soon", "enter", "enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, FormDialog)
        await pilot.press(*(["backspace"] * 4), *"10m", "enter", "enter")
        await eventually(told(pilot, "starts in 10m 00s"))
        assert await job.get_state() == "delayed"

        await pilot.press("colon", *"promote", "space", *"mail", "colon", *"99", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(told(pilot, "promote: job 'mail:99' not found"))

        while screen.selected_state != "delayed":
            await pilot.press("tab")
            await pilot.pause()
        await eventually(lambda: screen.selected is not None)
        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press("enter", *"7", "enter")
        await eventually(told(pilot, "has priority 7"))
        audited = [(entry.action, entry.detail) for entry in await queue.get_audit()]
        assert audited == [("retime", {"priority": 7}), ("retime", {"delay_ms": 600_000})]
        # Each is taken back by itself, the latest first.
        await pilot.press("z")
        await eventually(told(pilot, "1 job set back"))
        await job.refresh()
        assert (await job.get_state(), job.options.priority) == ("delayed", 0)
        await pilot.press("z")
        await eventually(lambda: _is_waiting(job))


async def _is_waiting(job: Job[Any, Any]) -> bool:
    return await job.get_state() == "waiting"


async def test_jobs_parked_by_a_budget_are_not_told_to_be_delayed_for_a_day(
    connection: Connection, server_url: str
) -> None:
    async with Queue("q", connection), console(server_url) as pilot:
        await exceeded_flow(connection, FlowProducer(connection))
        await shows_queue(pilot, "q")
        screen = await on_jobs(pilot, "delayed", 1)

        row = screen.selected
        assert row is not None
        assert row.parked
        assert "parked" in text_on(pilot)
        assert "23h" not in text_on(pilot)
        await pilot.press("e")
        await eventually(told(pilot, "budget has parked it"))
        await pilot.press("enter")
        await eventually(
            lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail is not None
        )
        await pilot.pause()
        assert "ran out and parked this job" in text_on(pilot)


async def test_jobs_are_sorted_by_any_column_that_says_something_and_back() -> None:
    rows = tuple(
        replace(
            ROWS[1],
            id=f"{number}",
            attempts_made=tries,
            processed_at=None,
            finished_at=NOW - timedelta(seconds=seconds),
        )
        for number, tries, seconds in ((1, 2, 50), (2, 1, 10), (3, 3, 30))
    )
    app = ConsoleApp(config(ScriptedFeed(script(rows=rows))))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await on_jobs(pilot, "failed", 3)

        assert screen.lines.shows("failed-at")
        # Nothing ran to its end here, none reported anything: those columns have given way.
        assert not any(screen.lines.shows(column) for column in ("finished", "ran", "tokens", "cost"))

        seen = {}
        for _ in COLUMNS:
            await pilot.press("s")
            await pilot.pause()
            words = screen.message or ""
            seen[words.removeprefix("sorted by ").partition(",")[0]] = [row.id for row in screen.listed]
            if words == "as the queue has them":
                break
        assert seen["failed-at"] == ["2", "3", "1"]
        assert seen["tries"] == ["3", "1", "2"]
        assert list(seen.values())[-1] == ["1", "2", "3"]

        await pilot.press("s", "S")
        await pilot.pause()
        assert [row.id for row in screen.listed] == ["3", "2", "1"]
        assert "sorted by id, highest first" in text_on(pilot)


async def test_columns_are_chosen_when_the_tab_changes_and_not_by_a_refresh() -> None:
    waiting = replace(
        ROWS[0], state="waiting", processed_at=None, attempts_made=0, model=None, total_tokens=None
    )
    known = [(replace(waiting, total_cost=None),)]
    feed = ScriptedFeed(lambda wants: script(rows=known[-1])(wants))
    async with ConsoleApp(config(feed)).run_test(size=(140, 36)) as pilot:
        screen = await on_jobs(pilot, "waiting", 1)
        assert not any(screen.lines.shows(column) for column in ("ran", "tries", "model", "tokens", "cost"))

        known.append((replace(waiting, id="2", total_tokens=7, total_cost=0.2), *known[-1]))
        feed.refresh_now()
        await eventually(lambda: screen.lines.total == 2)
        assert not screen.lines.shows("tokens")

        await pilot.press("tab")
        await pilot.pause()
        await pilot.press("shift+tab")
        await eventually(lambda: screen.selected_state == "waiting" and screen.lines.shows("tokens"))


async def test_a_stalled_job_is_stalled_in_the_list_and_beside_it() -> None:
    job = replace(FAILED, state="active", stalled=True, finished_at=None)
    row = replace(ROWS[0], id=job.id, stalled=True)
    app = ConsoleApp(config(ScriptedFeed(script(rows=(row,), job=job))))
    async with app.run_test(size=(160, 45)) as pilot:
        await on_jobs(pilot, "active", 1)
        await pilot.pause(REST_S * 2)

        shown = text_on(pilot)
        assert shown.count("▼ stalled") >= 2
        assert "its worker is silent" in shown
        assert "attempts  3 of 3 failed" in shown
        assert "sk-live" not in shown
