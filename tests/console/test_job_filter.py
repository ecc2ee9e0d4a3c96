"""Filters of job lists on a real server: all jobs, as far as was asked for, and wrong syntax told at its place."""

from __future__ import annotations

import pytest
from conftest import eventually
from kits.watch import quick_watch  # noqa: F401
from textual.pilot import Pilot

from glidemq_console.feed import job_search
from glidemq_console.feed.job_search import JobSearch
from glidemq_console.model.snapshot import JobsQuery
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.lists.list_screen import ListScreen
from glidemq_console.screens.typed.command_line import CommandLine
from glidemq_core import Queue
from glidemq_core.options.job import NewJob
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .pilot_kit import console, shows_queue, text_on


async def add(connection: Connection, number: int) -> None:
    """Add jobs of which every hundredth is named `odd`, the oldest first."""
    async with Queue("mail", connection) as queue:
        await queue.add_bulk([NewJob("odd" if n % 100 == 0 else "send", n) for n in range(number)])


def line(pilot: Pilot[int]) -> CommandLine:
    return pilot.app.screen.query_one(CommandLine)


async def opened(pilot: Pilot[int]) -> JobsScreen:
    """Open the jobs of the queue."""
    await shows_queue(pilot, "mail")
    await pilot.press("enter")
    await eventually(lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.lines.total)
    screen = pilot.app.screen
    assert isinstance(screen, JobsScreen)
    return screen


async def test_a_search_stops_after_so_many_and_goes_on_when_asked(
    connection: Connection, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 1_200)
    await add(connection, 2_000)
    search = JobSearch(JobsQuery(queue="mail", state="waiting", find="name:odd"))
    while search.is_searching:
        await search.search(watch)
    shown = search.listing(0)
    assert (len(shown.rows), shown.looked, shown.total, shown.has_more) == (12, 1_200, 2_000, True)
    assert not search.is_due
    search.look_further(1)
    search.look_further(1)
    while search.is_searching:
        await search.search(watch)
    shown = search.listing(0)
    assert (len(shown.rows), shown.looked, shown.has_more, shown.is_searching) == (20, 2_000, False, False)


async def test_a_search_stops_after_fifty_matches_and_waits_between_pages(
    connection: Connection, watch: Watch
) -> None:
    await add(connection, 1_200)
    search = JobSearch(JobsQuery(queue="mail", find="name:send"))
    await search.search(watch)
    assert not search.is_searching
    assert search.listing(0).looked == 500
    search.look_further(10)
    assert search.is_searching
    rare = JobSearch(JobsQuery(queue="mail", find="name:odd"))
    assert rare.is_due
    await rare.search(watch)
    assert rare.is_searching
    assert not rare.is_due


async def test_what_was_found_is_read_again_and_new_jobs_come_in_at_the_head(
    connection: Connection, watch: Watch
) -> None:
    await add(connection, 301)
    search = JobSearch(JobsQuery(queue="mail", state="waiting", find="name:odd"))
    await search.search(watch)
    assert [row.id for row in search.listing(0).rows] == ["301", "201", "101", "1"]
    async with Queue("mail", connection) as queue:
        await queue.add("odd", 1)
        await queue.add("send", 1)
        job = await queue.get_job("201")
        assert job is not None
        await job.remove()
    await search.refresh(watch, (0, 50))
    assert [row.id for row in search.listing(0).rows] == ["302", "301", "101", "1"]


async def test_enter_on_the_last_row_looks_further(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 500)
    await add(connection, 801)
    async with console(server_url) as pilot:
        screen = await opened(pilot)
        await pilot.press("slash", *"name:odd", "enter")
        await eventually(lambda: screen.lines.total == 6)
        await eventually(lambda: "5 match · looked at 500 of 801 · enter looks further" in text_on(pilot))
        await pilot.press("G", "space", "enter")
        await eventually(lambda: screen.lines.total == 9)
        assert "9 match · looked at 801" in text_on(pilot)
        assert screen.lines.marks == frozenset()


async def test_wrong_syntax_is_told_while_typing_and_not_applied(
    connection: Connection, server_url: str
) -> None:
    await add(connection, 101)
    async with console(server_url) as pilot:
        screen = await opened(pilot)
        await pilot.press("slash", *"name:odd")
        await eventually(lambda: screen.lines.total == 2)
        await pilot.press("space", *"foo:x", "enter")
        await eventually(lambda: "at character 10: 'foo' is no key" in text_on(pilot))
        assert line(pilot).is_open
        assert line(pilot).has_class("-wrong")
        assert screen.filter_text == "name:odd foo"
        await pilot.press(*["backspace"] * 6, "enter")
        await eventually(lambda: not line(pilot).is_open)
        await eventually(lambda: screen.lines.total == 2)


async def test_other_lists_take_words_and_refuse_keys_that_they_do_not_have(
    connection: Connection, server_url: str
) -> None:
    await add(connection, 1)
    async with Queue("news", connection) as queue:
        await queue.add("send", 1)
    async with console(server_url) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, ListScreen)
        await eventually(lambda: screen.lines.total == 2)
        await pilot.press("slash", *"!mai")
        await eventually(lambda: screen.lines.total == 1)
        await pilot.press(*["backspace"] * 4, *"/^n/")
        await eventually(lambda: screen.lines.total == 1)
        await pilot.press(*["backspace"] * 4, *"state:x")
        await eventually(lambda: "at character 7: 'x' is no state, there are waiting" in text_on(pilot))
        await pilot.press(*["backspace"] * 7, *"tries:1")
        await eventually(
            lambda: "at character 1: queues have no tries; use state, name, queue" in text_on(pilot)
        )
