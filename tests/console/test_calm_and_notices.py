"""A calm console, and what it tells somebody who looks elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually
from kits.terminal import console

from console.fixed import NOW_MS, QUEUES
from console.pilot_kit import app_of, enter, shows_queue, told
from console.pilot_kit import console as pilot_console
from glidemq_console.model.snapshot import Link, LinkState, Snapshot
from glidemq_console.model.trouble import news
from glidemq_console.text import format as fmt
from glidemq_core import Job, Queue, Worker
from glidemq_core.server.connection import Connection


@pytest.fixture(autouse=True)
def _not_calm_afterwards() -> Iterator[None]:
    yield
    fmt.be_calm(False)


# --- calm ---


def test_ages_are_told_by_the_minute_and_the_clock_has_no_seconds() -> None:
    fmt.be_calm(True)

    ages = [fmt.age(0, passed * 1_000) for passed in (0, 59, 60, 192, 3_599, 7_500, 200_000)]
    assert ages == ["<1m", "<1m", "1m", "3m", "59m", "2h 05m", "2d"]
    assert fmt.age(None, 0) == fmt.UNKNOWN
    assert fmt.clock(NOW_MS).count(":") == 1
    # What is about to happen is told to the second all the same.
    assert fmt.countdown(5_000, 0) == "5s"


async def test_a_calm_console_writes_at_most_four_frames_a_second(
    connection: Connection, server_url: str
) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, "--calm", answers=True) as terminal:
            await terminal.shows("inference")
            await terminal.shows("<1m")
            await asyncio.sleep(1)
            before = bytes(terminal.got).count(b"\x1b[?2026h")
            for _ in range(20):
                terminal.press("j" if _ % 2 else ":")
                terminal.press("\x1b" if _ % 2 == 0 else "k")
                await asyncio.sleep(0.1)
            assert bytes(terminal.got).count(b"\x1b[?2026h") - before <= 4 * 3


async def test_settings_change_while_it_runs(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue, pilot_console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")

        await enter(pilot, "set calm on")
        await eventually(told(pilot, "calm on"))
        assert app_of(pilot)._gate.interval_s == 0.25
        await enter(pilot, "set calm off")
        await eventually(told(pilot, "calm off"))
        assert app_of(pilot)._gate.interval_s == 0
        await enter(pilot, "set notify osc9")
        await eventually(told(pilot, "notices: osc9"))
        await enter(pilot, "set notify loud")
        await eventually(told(pilot, "notify is one of auto, off, bell, osc9, osc777"))
        await enter(pilot, "set colour on")
        await eventually(
            told(pilot, "no setting 'colour'; there are undo, refresh, notify, bell, calm, theme")
        )


async def test_a_second_that_brought_a_snapshot_is_not_drawn_twice(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Queue("inference", connection) as queue, pilot_console(server_url) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")
        app = app_of(pilot)
        drawn: list[Snapshot] = []
        monkeypatch.setattr(app, "_take", drawn.append)

        app.on_snapshot_ready(type("Event", (), {"snapshot": app.snapshot, "feed": app.feed})())  # type: ignore[arg-type]
        assert len(drawn) == 1
        app._second()
        assert len(drawn) == 1
        # A second in which nothing came: ages go on.
        app._is_drawn = False
        app._second()
        assert len(drawn) == 2


# --- notices ---


def snapshot(**changes: Any) -> Snapshot:
    known = Snapshot(link=Link(state=LinkState.LIVE, address="x"), queues=QUEUES, has_data=True)
    return replace(known, **changes)


def test_only_what_has_become_worse_is_news() -> None:
    calm = snapshot()
    asked = snapshot(queues=(replace(QUEUES[0], suspended=(QUEUES[0].suspended or 0) + 1), *QUEUES[1:]))
    stalled = snapshot(queues=(replace(QUEUES[0], stalled=50), *QUEUES[1:]))
    lost = snapshot(link=Link(state=LinkState.LOST, address="x"))

    assert news(calm, calm) == ""
    assert "for a person" in news(calm, asked)
    assert news(asked, calm) == ""
    assert "jobs stalled" in news(calm, stalled)
    assert news(stalled, stalled) == ""
    assert news(calm, lost) == "the connection to the server is lost"
    assert news(lost, lost) == ""
    assert news(replace(calm, has_data=False), asked) == ""


async def ask(job: Job[Any, Any]) -> None:
    await job.suspend(reason="secret reason")


async def test_only_somebody_who_looks_elsewhere_is_told_and_not_often(
    connection: Connection, server_url: str
) -> None:
    queue: Queue[Any, Any]
    async with Queue("inference", connection) as queue, Worker("inference", ask, connection, concurrency=9):
        with console(server_url, "--notify", "osc777", answers=True) as terminal:
            await terminal.shows("inference") if await queue.add("first", {}) else None
            await terminal.shows("◆")
            await queue.add("seen", {})
            await terminal.shows("◆ 2")
            assert notices(terminal.screen.log) == []

            # The focus goes.
            terminal.press("\x1b[O")
            await asyncio.sleep(0.3)
            await queue.add("unseen", {"prompt": "secret"})
            await eventually(lambda: notices(terminal.screen.log), timeout=20)
            await queue.add("at once", {})
            await terminal.shows("◆ 4")
            await asyncio.sleep(1)
            assert notices(terminal.screen.log) == ["]777;notify;glidemq;3 jobs wait for a person\a"]

            # Told after ten seconds, though nothing else has come meanwhile.
            await eventually(lambda: len(notices(terminal.screen.log)) == 2, timeout=20)
            assert notices(terminal.screen.log)[1] == "]777;notify;glidemq;4 jobs wait for a person\a"

            terminal.press("\x1b[I")
            await asyncio.sleep(0.3)
            await queue.add("seen again", {})
            await terminal.shows("◆ 5")
            assert len(notices(terminal.screen.log)) == 2


def notices(log: list[str]) -> list[str]:
    return [entry for entry in log if entry.startswith("]777;")]


async def test_redrawing_writes_everything_again(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            await terminal.shows("live")
            terminal.screen.clear()
            since = terminal.press("\x0c")
            await terminal.shows("inference", since)
            await terminal.shows("glidemq", since)
            await terminal.shows("queues", since)
