"""Marked rows: they are followed by what they are, acts work on exactly them, what changed meanwhile is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.actions import bulk
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_console.widgets.dialogs.form import FormDialog
from glidemq_core import NewJob, Queue
from glidemq_core.errors import CallTimeoutError
from glidemq_core.jobs.bulk import shown
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, fail_one, on_jobs, shows_queue, text_on, told


@asynccontextmanager
async def listed(
    connection: Connection, url: str, state: str, count: int = 4, **options: int
) -> AsyncIterator[tuple[Queue[dict[str, str], None], list[str], Pilot[int], JobsScreen]]:
    """So many jobs in a state, and the list of them; the ids in the order of the list."""
    queue = Queue[dict[str, str], None]("work", connection)
    for _ in range(count):
        if state == "failed":
            await fail_one(queue)
        else:
            await queue.add("a", {"x": "y"}, **options)
    async with console(url) as pilot:
        await shows_queue(pilot, "work")
        screen = await on_jobs(pilot, state, count)
        yield queue, [row.id for row in screen.listed], pilot, screen


async def asked(pilot: Pilot[int]) -> ConfirmDialog:
    await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
    assert isinstance(pilot.app.screen, ConfirmDialog)
    await pilot.pause()
    return pilot.app.screen


async def test_marks_stay_on_their_rows_and_go_with_them(connection: Connection, server_url: str) -> None:
    async with listed(connection, server_url, "failed") as (queue, ids, pilot, screen):
        await pilot.press("space", "space", "space")
        await eventually(lambda: "3 marked" in text_on(pilot))
        await fail_one(queue)
        await eventually(lambda: screen.lines.total == 5)
        assert {row.id for row in screen.marked_items} == set(ids[:3])

        await queue.remove_job(ids[1])
        await eventually(told(pilot, "1 marked row is gone"))
        assert {row.id for row in screen.marked_items} == {ids[0], ids[2]}
        await pilot.press("escape")
        await eventually(lambda: not screen.marked_items)
        await pilot.press("z")
        await eventually(told(pilot, "2 rows marked again"))
        assert {row.id for row in screen.marked_items} == {ids[0], ids[2]}


async def test_escape_takes_the_marks_before_the_filter(connection: Connection, server_url: str) -> None:
    async with listed(connection, server_url, "failed") as (_, ids, pilot, screen):
        await pilot.press("space", "slash", *ids[1], "enter")
        await eventually(lambda: screen.lines.total == 1)
        await eventually(lambda: "1 marked, 1 not listed" in text_on(pilot))
        await pilot.press("escape")
        await eventually(lambda: not screen.marked_items)
        assert screen.filter_text == ids[1]
        await pilot.press("escape")
        await eventually(lambda: screen.filter_text == "")


@pytest.mark.parametrize(
    ("key", "state", "options", "after"),
    [
        ("R", "failed", {}, {"delayed"}),
        ("P", "delayed", {"delay": 600_000}, {"waiting"}),
        ("X", "waiting", {}, {"unknown"}),
    ],
)
async def test_an_act_works_on_what_is_marked_and_skips_what_changed(
    connection: Connection, server_url: str, key: str, state: str, options: dict[str, int], after: set[str]
) -> None:
    async with listed(connection, server_url, state, **options) as (queue, ids, pilot, screen):
        await pilot.press("space", "shift+down", "shift+up", key)
        dialog = await asked(pilot)
        assert "3 marked jobs" in dialog._title
        assert f"work:{ids[0]}, work:{ids[1]}, work:{ids[2]}" in dialog._body
        assert f"3 {state}" in dialog._body
        assert "cannot be undone" in dialog._body
        # Between question and answer one of them goes on.
        if key == "X":
            await queue.change_job_delay(ids[1], 600_000)
        else:
            await queue.remove_job(ids[1])

        await pilot.press("y")
        await eventually(told(pilot, "2 of 3 jobs"))
        await eventually(told(pilot, "1 skipped: changed meanwhile"))
        jobs = [await queue.get_job(job_id) for job_id in (ids[0], ids[2])]
        assert {await job.get_state() if job is not None else "unknown" for job in jobs} == after
        untouched = await queue.get_job(ids[3])
        assert untouched is not None
        assert await untouched.get_state() == state
        await eventually(lambda: not screen.marked_items)
        await pilot.press("z")
        await eventually(told(pilot, "cannot be undone"))


async def test_the_question_leaves_out_what_the_act_does_not_suit(
    connection: Connection, server_url: str
) -> None:
    async with listed(connection, server_url, "failed", 2) as (queue, _, pilot, screen):
        await queue.add("a", {"x": "y"}, delay=600_000)
        while screen.selected_state is not None:
            await pilot.press("shift+tab")
            await pilot.pause()
        await eventually(lambda: screen.lines.total == 3)
        await pilot.press("asterisk")
        await eventually(told(pilot, "3 marked"))
        await pilot.press("R")
        dialog = await asked(pilot)
        assert "2 marked jobs" in dialog._title
        assert "1 of the marked cannot be retried and is left out." in dialog._body
        await pilot.press("n")
        await pilot.press("P")
        assert "1 marked job?" in (await asked(pilot))._title


async def test_all_that_match_are_marked_behind_what_is_loaded(
    connection: Connection, server_url: str
) -> None:
    queue = Queue[dict[str, str], None]("work", connection)
    for _ in range(3):
        await queue.add_bulk([NewJob("a", {"x": "y"})] * 200)
    async with console(server_url) as pilot:
        await shows_queue(pilot, "work")
        await pilot.press("enter")
        await eventually(lambda: isinstance(app_of(pilot).console_screen, JobsScreen))
        await eventually(lambda: isinstance(s := pilot.app.screen, JobsScreen) and s.listed)
        await pilot.press("asterisk")
        await eventually(told(pilot, "600 marked"))
        await pilot.press("X")
        dialog = await asked(pilot)
        assert "600 marked jobs" in dialog._title
        assert "and 595 more" in dialog._body
        await pilot.press("y")
        await eventually(told(pilot, "600 jobs removed"))
        counts = await queue.get_job_counts()
        assert counts.waiting == 0


async def test_times_of_marked_jobs_are_changed_and_set_back_as_a_whole(
    connection: Connection, server_url: str
) -> None:
    async with listed(connection, server_url, "waiting") as (queue, ids, pilot, _):
        await pilot.press("space", "shift+down", "shift+up", "e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press(*"10m", "ctrl+s")
        await eventually(told(pilot, "3 jobs changed; z undoes it"))
        jobs = [await queue.get_job(job_id) for job_id in ids]
        assert [await job.get_state() for job in jobs if job is not None] == ["delayed"] * 3 + ["waiting"]

        # One of them is changed by somebody else: it is not set back, the others are.
        await queue.change_job_delay(ids[1], 700_000)
        await pilot.press("z")
        await eventually(told(pilot, "2 of 3 jobs set back, 1 skipped: changed meanwhile"))
        assert [await job.get_state() for job in jobs if job is not None] == [
            "waiting",
            "delayed",
            "waiting",
            "waiting",
        ]


async def test_marked_queues_are_paused_and_resumed_by_undo(connection: Connection, server_url: str) -> None:
    queues = [Queue[dict[str, str], None](name, connection) for name in ("a", "b", "c")]
    for queue in queues:
        await queue.add("x", {})
    async with console(server_url) as pilot:
        await shows_queue(pilot, "c")
        await eventually(lambda: len(app_of(pilot).snapshot.queues) == 3)
        await pilot.press("space", "space", "p")
        await eventually(told(pilot, "2 queues paused; z undoes it"))
        assert [await queue.is_paused() for queue in queues].count(True) == 2
        await pilot.press("z")
        await eventually(told(pilot, "2 queues resumed again"))
        assert not any([await queue.is_paused() for queue in queues])


async def test_failed_jobs_of_marked_queues_run_again(connection: Connection, server_url: str) -> None:
    queues = [Queue[dict[str, str], None](name, connection) for name in ("a", "b", "c")]
    for queue in queues:
        await fail_one(queue)
    async with console(server_url) as pilot:
        await eventually(lambda: sum(row.failed or 0 for row in app_of(pilot).snapshot.queues) == 3)
        await pilot.press("asterisk", "space", "R")
        dialog = await asked(pilot)
        assert "2 marked queues" in dialog._title
        await pilot.press("y")
        await eventually(told(pilot, "2 queues retried: 2 jobs"))
        assert [(await queue.get_job_counts()).failed for queue in queues].count(0) == 2


async def test_what_is_never_answered_is_lost_and_stays_marked(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server goes away in the middle: the first part is done, the second lost, the third not sent."""
    monkeypatch.setattr(bulk, "PART", 1)
    async with listed(connection, server_url, "failed", 3) as (queue, _, pilot, screen):
        act, calls = shown.act_on_shown, []

        async def lossy(*args: Any, **options: Any) -> list[str]:
            calls.append(args)
            if len(calls) == 2:
                raise CallTimeoutError("no answer", command="act_on_shown", timeout_ms=1)
            return await act(*args, **options)

        monkeypatch.setattr(shown, "act_on_shown", lossy)
        await pilot.press("asterisk", "R")
        await asked(pilot)
        await pilot.press("y")
        await eventually(
            told(pilot, "1 of 3 jobs retried, 1 lost: no answer, they may have been retried, 1 not sent")
        )
        assert (await queue.get_job_counts()).failed == 2
        assert len(screen.marked_items) == 2
