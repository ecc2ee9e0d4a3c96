"""Filters of failures and dead letters act on all there are: found page by page, and acted on exactly."""

from __future__ import annotations

import pytest
from conftest import eventually
from kits.failures import fail as fail_many
from kits.failures import leave
from kits.hostile import CORPUS, dangerous

from glidemq_console.feed import job_search
from glidemq_console.screens.failures import halves
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import console, text_on, told
from .test_failures_screen import asked, fail, on_failures, on_letters

pytestmark = [pytest.mark.thorough, pytest.mark.leaves_records]


async def test_a_filter_finds_failures_behind_the_newest_thousand(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 1_000)
    await fail_many(connection, "mail", 2_501)
    await connection.command("SADD", "glide:queues", "mail")
    async with console(server_url) as pilot:
        screen = await on_failures(pilot, 2)
        await pilot.press("slash", *"error:timeout", "enter")
        await eventually(
            lambda: "100 match · looked at 1,000 of 2,501 · enter looks further" in text_on(pilot), timeout=15
        )
        assert [(one.message, one.count) for one in screen.listed] == [("timeout after # s", 100)]
        await pilot.press("G", "enter")
        await eventually(lambda: "200 match · looked at 2,000 of 2,501" in text_on(pilot), timeout=15)
        assert "looking" not in text_on(pilot)
        await pilot.press("G", "enter")
        await eventually(lambda: "251 match · looked at 2,501" in text_on(pilot), timeout=15)
        assert "enter looks further" not in text_on(pilot)
        assert screen.listed[0].count == 251
        await pilot.press("escape")
        await eventually(lambda: len(screen.listed) == 2, timeout=15)
        await pilot.press("z")
        await eventually(lambda: [one.count for one in screen.listed] == [100], timeout=15)


async def test_a_cause_under_a_filter_means_the_jobs_that_it_takes(
    connection: Connection, server_url: str
) -> None:
    await fail(
        connection, "mail", "429 slow down 1", "429 slow down 22", "429 slow down 333", "no such mailbox"
    )
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        screen = await on_failures(pilot, 2)
        await pilot.press("slash", *"!id:2 error:slow", "enter")
        await eventually(lambda: [one.count for one in screen.listed] == [2], timeout=15)
        await eventually(lambda: screen.selected_item is not None)
        await pilot.press("enter")
        await eventually(
            lambda: (
                isinstance(s := pilot.app.screen, JobsScreen)
                and sorted(row.id for row in s.listed) == ["1", "3"]
            )
        )
        await pilot.press("minus")
        await eventually(lambda: pilot.app.screen is screen and screen.selected_item is not None)
        await pilot.press("R")
        await asked(pilot, "Retry 2 failed jobs of mail?")
        await pilot.press("y")
        await eventually(told(pilot, "2 of mail wait again"))
        jobs = [await queue.get_job(job_id) for job_id in ("1", "2", "3", "4")]
        states = [await job.get_state() for job in jobs if job is not None]
        assert states[1] == states[3] == "failed"
        assert "failed" not in (states[0], states[2])
        await eventually(lambda: not screen.listed, timeout=15)
        assert "No failure matches the filter; esc clears it." in text_on(pilot)
        # What fails from now on comes in.
        await fail(connection, "chat", "429 slow down 4")
        await eventually(lambda: [one.queue for one in screen.listed] == ["chat"], timeout=20)


async def test_failures_refuse_what_they_do_not_have_while_it_is_typed(
    connection: Connection, server_url: str
) -> None:
    await fail(connection, "mail", "429 slow down")
    async with console(server_url) as pilot:
        screen = await on_failures(pilot, 1)
        await pilot.press("slash", *"slow state:failed")
        await eventually(lambda: "at character 6: failures have no state; use name, model" in text_on(pilot))
        await pilot.press(*["backspace"] * 13, "enter")
        await eventually(lambda: screen.filter_text == "slow")
        await eventually(lambda: len(screen.listed) == 1, timeout=15)


async def test_a_filter_finds_letters_behind_the_newest_thousand(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 1_500)
    await leave(connection, "mail", 2_001)
    await connection.command("SADD", "glide:queues", "mail", "mail-dead")
    async with console(server_url) as pilot:
        screen = await on_letters(pilot, 1_000)
        await pilot.press("slash", *"error:timeout user=0", "enter")
        wanted = [at for at in range(2_000, -1, -1) if at % 70 == 0]
        await eventually(
            lambda: "21 match · looked at 1,500 of 2,001" in text_on(pilot) and len(screen.listed) == 21,
            timeout=15,
        )
        assert [one.id for one in screen.listed] == [f"l{at}" for at in wanted[:21]]
        await pilot.press("G")
        await eventually(lambda: "looked at 1,500 of 2,001 · enter looks further" in text_on(pilot))
        await pilot.press("enter")
        await eventually(lambda: len(screen.listed) == len(wanted) == 29, timeout=15)
        await pilot.press("asterisk")
        await eventually(told(pilot, "29 marked"))

        # Marks outlive another filter, and only what is gone is told.
        await pilot.press("slash", *" id:l1960", "enter")
        await eventually(lambda: [one.id for one in screen.listed] == ["l1960"], timeout=15)
        assert len(screen.marked_items) == 29
        await eventually(lambda: "29 marked, 28 not listed" in text_on(pilot))
        assert not told(pilot, "gone")()


async def test_marking_all_looks_through_all_letters_that_there_are(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 500)
    await leave(connection, "mail", 2_001)
    await connection.command("SADD", "glide:queues", "mail", "mail-dead")
    async with console(server_url) as pilot:
        screen = await on_letters(pilot, 1_000)
        await pilot.press("slash", *"error:timeout user=0", "enter")
        await eventually(lambda: "looked at 500 of 2,001 · enter looks further" in text_on(pilot), timeout=15)
        await pilot.press("asterisk")
        await eventually(told(pilot, "marking all that match: "), timeout=15)
        assert told(pilot, "esc stops")()
        await eventually(told(pilot, "29 marked"), timeout=30)
        assert len(screen.marked_items) == 29
        await pilot.press("escape")
        await eventually(lambda: not screen.marked_items)
        await pilot.press("z")
        await eventually(lambda: len(screen.marked_items) == 29)


async def test_escape_and_leaving_stop_the_marking_of_all_without_a_mark(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "MOST", 500)
    await fail_many(connection, "mail", 6_000)
    await connection.command("SADD", "glide:queues", "mail")
    async with console(server_url) as pilot:
        screen = await on_failures(pilot, 2)
        await pilot.press("slash", *"error:timeout", "enter")
        await eventually(lambda: "looked at 500 of 6,000" in text_on(pilot), timeout=15)
        for leaving in ("escape", "1"):
            await pilot.press("asterisk")
            await eventually(told(pilot, "marking all that match: "), timeout=15)
            await pilot.press(leaving)
            await eventually(told(pilot, "stopped: no mark was set"), timeout=15)
            assert not screen.marked_items
            assert screen.filter_text == "error:timeout"
            await pilot.press("8")
            await eventually(lambda: pilot.app.screen is screen and bool(screen.listed), timeout=15)


async def test_no_more_failed_jobs_are_marked_than_acts_take(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "MOST_MARKED", 120)
    monkeypatch.setattr(job_search, "MOST", 500)
    await fail_many(connection, "mail", 2_501)
    await connection.command("SADD", "glide:queues", "mail")
    async with console(server_url) as pilot:
        screen = await on_failures(pilot, 2)
        await pilot.press("slash", *"error:timeout", "enter")
        await eventually(lambda: "50 match · looked at 500 of 2,501" in text_on(pilot), timeout=15)
        await pilot.press("asterisk")
        words = "1 row with 150 marked, and there are more: glidemq failures --where lists all"
        await eventually(told(pilot, words), timeout=30)
        assert [one.count for one in screen.marked_items] == [150]


async def test_letters_under_a_filter_are_replayed_and_go(connection: Connection, server_url: str) -> None:
    await fail(connection, "mail", "first", "second", "third", dead="mail-dead")
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        screen = await on_letters(pilot, 3)
        await pilot.press("slash", *"error:first,third", "enter")
        await eventually(lambda: len(screen.listed) == 2, timeout=15)
        await pilot.press("asterisk")
        await eventually(told(pilot, "2 marked"))
        await pilot.press("R")
        await asked(pilot, "Replay 2 marked letters?")
        await pilot.press("y")
        await eventually(told(pilot, "2 letters replayed"))
        assert (await queue.get_job_counts()).waiting == 2
        await eventually(lambda: not screen.listed, timeout=15)
        assert "No dead letter matches the filter; esc clears it." in text_on(pilot)
        await fail(connection, "other", "first", dead="mail-dead")
        await pilot.press("escape")
        await eventually(lambda: "second" in {one.failed_reason for one in screen.listed}, timeout=15)


async def test_hostile_errors_are_found_and_drawn_inert(connection: Connection, server_url: str) -> None:
    # Payloads are UTF-8 and so are errors.
    texts = [text[:300].encode(errors="replace").decode() for text in CORPUS.values()]
    await fail(connection, "mail", *(f"mark {text}" for text in texts), dead="mail-dead")
    async with console(server_url, (160, 60)) as pilot:
        screen = await on_letters(pilot, len(texts))
        await pilot.press("slash", *"error:mark /^mark/", "enter")
        await eventually(
            lambda: (p := screen.progress) is not None and p.matches == len(texts) == len(screen.listed),
            timeout=15,
        )
        assert dangerous(text_on(pilot)) == []
        await pilot.press("8")
        await eventually(lambda: screen is not pilot.app.screen)
        await pilot.press("slash", *"error:mark", "enter")
        await eventually(lambda: f"{len(texts)} match" in text_on(pilot), timeout=15)
        assert dangerous(text_on(pilot)) == []
