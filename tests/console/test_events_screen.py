"""What happens, on a real server, and how bursts of it are folded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot

from glidemq_console.model.lists.events import A_GO, KEPT, EventLine, fold
from glidemq_console.screens.events.screen import EventsScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_core import Queue, Worker
from glidemq_core.records import QueueEvent
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .pilot_kit import app_of, console, shows_queue, text_on

START_MS = 1_773_496_931_000


def event(ms: int, queue: str, kind: str, job: str | None = None) -> QueueEvent:
    at = datetime.fromtimestamp((START_MS + ms) / 1_000, UTC)
    return QueueEvent(queue=queue, id=f"{START_MS + ms}-0", at=at, event=kind, job_id=job)


def told(lines: list[EventLine]) -> list[tuple[str, str, int]]:
    return [(line.event, line.queue, line.count) for line in lines]


async def on_events(pilot: Pilot[int]) -> EventsScreen:
    await pilot.press("0")
    await eventually(lambda: isinstance(pilot.app.screen, EventsScreen))
    screen = pilot.app.screen
    assert isinstance(screen, EventsScreen)
    await eventually(lambda: app_of(pilot).snapshot.events is not None)
    return screen


async def test_what_happens_is_told_newest_first_and_leads_to_its_job(
    connection: Connection, server_url: str
) -> None:
    async def process(_: Any) -> None:
        raise ValueError("429 slow down")

    async with Queue("mail", connection) as queue, console(server_url, (120, 36)) as pilot:
        await queue.add("send", {})
        await shows_queue(pilot, "mail")
        screen = await on_events(pilot)
        await eventually(lambda: [line.event for line in screen.listed] == ["added"])
        async with Worker("mail", process, connection, log_errors=False):
            await eventually(lambda: [line.event for line in screen.listed][:1] == ["failed"])
        await pilot.pause()
        shown = text_on(pilot)
        assert "✗ failed" in shown
        assert "429 slow down" in shown
        await pilot.press("g", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen))
        assert str(pilot.app.screen.ref) == "mail:1"  # type: ignore[attr-defined]


async def test_a_burst_is_one_line_that_counts_and_opens_its_queue(
    connection: Connection, server_url: str
) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("send", {})
        await shows_queue(pilot, "mail")
        screen = await on_events(pilot)
        await eventually(lambda: len(screen.listed) == 1)
        for number in range(30):
            await queue.add("send", {"number": number})
        await eventually(lambda: sum(line.count for line in screen.listed) == 31)
        assert len(screen.listed) <= 8
        await eventually(lambda: "× " in text_on(pilot))
        burst = next(index for index, line in enumerate(screen.listed) if line.count > 1)
        await pilot.press("g", *["j"] * burst, "enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))


async def test_a_dot_holds_still_and_the_filter_keeps_a_kind(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("send", {})
        await queue.pause()
        await shows_queue(pilot, "mail")
        screen = await on_events(pilot)
        await eventually(lambda: [line.event for line in screen.listed] == ["paused", "added"])
        await pilot.press("full_stop")
        await queue.resume()
        await eventually(lambda: app_of(pilot).snapshot.events.lines[0].event == "resumed")  # type: ignore[union-attr]
        await pilot.pause()
        assert [line.event for line in screen.listed] == ["paused", "added"]
        assert "held still" in text_on(pilot)
        await pilot.press("full_stop")
        await eventually(lambda: len(screen.listed) == 3)
        await pilot.press("slash", *"added", "enter")
        await eventually(lambda: [line.event for line in screen.listed] == ["added"])
        await pilot.press("escape")
        await pilot.pause()
        await pilot.click("#kinds", offset=(8, 0))
        await eventually(lambda: len(screen.listed) == 1)


async def test_nothing_is_read_while_the_screen_is_left(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("send", {})
        await shows_queue(pilot, "mail")
        await on_events(pilot)
        await eventually(lambda: len(app_of(pilot).snapshot.events.lines) == 1)  # type: ignore[union-attr]
        await pilot.press("1")
        await queue.add("send", {})
        await pilot.pause(1.5)
        assert len(app_of(pilot).snapshot.events.lines) == 1  # type: ignore[union-attr]
        await pilot.press("0")
        await eventually(lambda: sum(line.count for line in app_of(pilot).snapshot.events.lines) == 2)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [(60, 15), (220, 60)])
async def test_hostile_events_are_inert(
    connection: Connection, server_url: str, size: tuple[int, int]
) -> None:
    texts = [text for text in CORPUS if text.strip()][:10]
    queue = Queue("mail", connection)
    for text in texts:
        await queue.add(text, {})
        await connection.command("XADD", "glide:{mail}:events", "*", "event", text, "jobId", text, text, text)
    async with console(server_url, size=size) as pilot:
        await shows_queue(pilot, "mail")
        screen = await on_events(pilot)
        await eventually(lambda: len(screen.listed) > 0)
        for _ in screen.listed:
            await pilot.press("j")
            await pilot.pause(0.02)
            assert dangerous(text_on(pilot)) == []


# --- reading and folding ---


async def test_only_what_is_new_is_read_and_what_is_left_out_is_told(connection: Connection) -> None:
    async with Queue("mail", connection) as queue, Watch(connection) as watch:
        for _ in range(5):
            await queue.add("send", {})
        first = await watch.recent_events(["mail", "none"], limit=3)
        assert [one.job_id for one in first.events] == ["3", "4", "5"]
        assert first.cut == ()
        seen = {"mail": first.events[-1].id}
        assert (await watch.recent_events(["mail"], seen=seen)).events == ()
        for _ in range(4):
            await queue.add("send", {})
        after = await watch.recent_events(["mail"], seen=seen, limit=2)
        assert [one.job_id for one in after.events] == ["8", "9"]
        assert after.cut == ("mail",)


def test_few_are_told_one_by_one_and_many_as_a_burst() -> None:
    few = [event(n, "mail", "added", str(n)) for n in range(3)]
    assert told(fold([], few, frozenset())) == [("added", "mail", 1)] * 3
    many = [event(n, "mail", "added", str(n)) for n in range(312)]
    [line] = fold([], many, frozenset(("mail",)))
    assert (line.count, line.at_least, line.job_id) == (312, True, "311")


def test_a_burst_counts_on_until_it_is_old() -> None:
    lines = fold([], [event(n, "mail", "added") for n in range(10)], frozenset())
    lines = fold(lines, [event(2_000, "mail", "added"), event(2_000, "chat", "added")], frozenset())
    assert told(lines) == [("added", "chat", 1), ("added", "mail", 11)]
    lines = fold(lines, [event(20_000, "mail", "added")], frozenset())
    assert told(lines)[0] == ("added", "mail", 1)


def test_more_lines_than_can_be_read_in_a_go_are_told_by_kind() -> None:
    many = [event(n, f"q{n}", kind) for n in range(40) for kind in ("added", "active")]
    lines = fold([], [*many, event(50, "mail", "failed", "9")], frozenset())
    assert len(lines) <= A_GO
    assert {(line.event, line.count, line.queues) for line in lines} == {
        ("failed", 1, 1),
        ("added", 40, 40),
        ("active", 40, 40),
    }
    again = fold(
        lines,
        [event(2_000 + n, f"q{n}", kind) for n in range(9) for kind in ("added", "active")],
        frozenset(),
    )
    assert [(line.event, line.count) for line in again if line.queues > 1] == [
        (line.event, 49) for line in lines if line.queues > 1
    ]
    failures = [event(30_000 + n, f"q{n}", "failed") for n in range(9)]
    assert told(fold(again, failures, frozenset()))[0] == ("failed", "q8", 9)


def test_the_oldest_lines_go() -> None:
    lines: list[EventLine] = []
    for n in range(KEPT + 5):
        lines = fold(lines, [event(100_000 * n, "mail", f"kind{n}")], frozenset())
    assert len(lines) == KEPT
    assert lines[0].event == f"kind{KEPT + 4}"
