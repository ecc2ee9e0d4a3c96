"""The mouse on every list, on a real server: a click selects and sorts, a double click opens, the wheel scrolls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import eventually
from textual import events
from textual.pilot import Pilot

from glidemq_console.screens.failures.letters import LettersScreen
from glidemq_console.screens.flows.columns import called
from glidemq_console.screens.flows.list import FlowsScreen
from glidemq_console.screens.lists.list_screen import ListScreen
from glidemq_console.screens.schedules.screen import SchedulesScreen
from glidemq_console.widgets.key_bar import LinkBar
from glidemq_console.widgets.lists.columns import Heading, column_at, sortable
from glidemq_core import FlowJob, FlowProducer, Job, JobTemplate, Queue, Worker
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, text_on

pytestmark = pytest.mark.thorough

#: How each list is come to, and its rows at least: enough that it scrolls where many are.
LISTS: dict[str, tuple[str, ...]] = {
    "queues": ("1",),
    "jobs": ("2",),
    "approvals": ("4",),
    "flows": ("5",),
    "flow": ("5", "enter"),
    "limits": ("6",),
    "workers": ("7",),
    "failures": ("8",),
    "deadletters": ("8", "tab"),
    "schedules": ("9",),
    "events": ("0",),
    "cost": ("dollar_sign", "shift+tab"),
}
#: Jobs of each kind: more than there is room for on a small terminal.
MANY = 30


async def _process(job: Job[Any, Any]) -> str:
    await job.report_usage(model=f"model-{job.id}", total_tokens=10, total_cost=0.01, cost_unit="usd")
    if job.name == "ask":
        await job.suspend(reason=f"look at {job.id}")
    if job.name == "fail":
        raise RuntimeError(f"cause {'abcdefghijklmnopqrstuvwxyz'[int(job.data) % 26] * 3}")
    return "done"


@asynccontextmanager
async def everything(connection: Connection) -> AsyncIterator[None]:
    """A server on which every list has rows, and which does nothing more."""
    queue = Queue[Any, Any]("mail", connection, dead_letter_queue="mail-dead")
    async with queue, Worker("mail", _process, connection, concurrency=20, dead_letter_queue="mail-dead"):
        for number in range(MANY):
            await queue.add("ask", number)
            await queue.add("fail", number)
            await queue.add("ok", number)
            await queue.upsert_job_scheduler(
                f"every {number}", every=86_400_000, template=JobTemplate(name="ok", data=number)
            )
        async with FlowProducer(connection) as flows:
            for number in range(3):
                steps = [FlowJob("ok", "mail", f"{number} {step}") for step in range(MANY)]
                await flows.add(FlowJob("root", "mail", number, None, steps))
        for number in range(MANY):
            await Queue(f"other-{number:02}", connection).add("later", {}, delay=600_000)

        async def is_still() -> bool:
            counts = await queue.get_job_counts()
            return (counts.waiting, counts.active, counts.failed) == (0, 0, MANY)

        await eventually(is_still, timeout=20)
        async with Worker("other-00", _process, connection), Worker("other-01", _process, connection):
            yield


def _on_list(pilot: Pilot[int], name: str) -> ListScreen[Any]:
    screen = pilot.app.screen
    assert isinstance(screen, ListScreen), (name, screen)
    return screen


@pytest.mark.leaves_records
@pytest.mark.parametrize("name", LISTS)
async def test_the_mouse_on_a_list(connection: Connection, server_url: str, name: str) -> None:
    async with everything(connection), console(server_url, size=(110, 26)) as pilot:
        # Queues that are found later would move the rows that are clicked: mail, its dead letters, and the others.
        await eventually(lambda: len(app_of(pilot).snapshot.queues) == MANY + 2)
        if name == "jobs":
            await eventually(lambda: text_on(pilot).count("mail") > 0)
            app_of(pilot).go("jobs", "mail")
        else:
            await pilot.press(LISTS[name][0])
        for key in LISTS[name][1:]:
            screen = _on_list(pilot, name)
            await eventually(lambda: screen.is_up and (screen.listed or screen.SCOPE == "failures"))  # noqa: B023
            await pilot.press(key)
        await eventually(lambda: getattr(pilot.app.screen, "SCOPE", "") == name)
        screen = _on_list(pilot, name)
        await eventually(lambda: screen.is_up and screen.lines.total >= 3)
        await eventually(lambda: screen.lines.row_at(2) is not None)
        await pilot.pause()
        lines = screen.lines

        # A click selects.
        top = lines.header_lines
        await pilot.click(lines, offset=(6, top + 2))
        await eventually(lambda: lines.cursor_index == 2)
        await pilot.click(lines, offset=(6, top + 1))
        await eventually(lambda: lines.cursor_index == 1)
        key = lines.cursor_key
        assert key is not None

        # The wheel scrolls and leaves the cursor on its row.
        if lines.max_scroll_y > 0:
            for _ in range(3):
                await pilot._post_mouse_events([events.MouseScrollDown], lines, (6, top + 1))
            await eventually(lambda: lines.scroll_y > 0)
            assert lines.cursor_key == key
            for _ in range(6):
                await pilot._post_mouse_events([events.MouseScrollUp], lines, (6, top + 1))
            await eventually(lambda: lines.scroll_y == 0)
        else:
            assert name in ("workers", "flows", "events", "cost"), "the list is long enough to scroll"

        # A click on a title sorts by it, another one turns the order round.
        sortable = [column for column, _ in lines._layout if column.sort_key is not None and column.title]
        titles = "".join(segment.text for segment in lines.render_line(0))
        for column in sortable[:2]:
            x = titles.index(column.title)
            assert column_at(lines._layout, x) is column
            await pilot.click(lines, offset=(x, 0))
            await eventually(lambda: lines._sort is not None and lines._sort[0] == column.key)  # noqa: B023
            assert lines._sort is not None
            before = lines._sort[1]
            await pilot.click(lines, offset=(x, 0))
            await eventually(lambda: lines._sort == (column.key, not before))  # noqa: B023
        assert sortable or name in ("flow", "events")

        # A double click opens what is under the mouse.
        await eventually(lambda: lines.row_at(1) is not None and not isinstance(lines.key_at(1), Heading))
        trail = list(app_of(pilot).crumbs)
        await pilot.click(lines, offset=(6, top + 1), times=2)
        if name == "approvals":
            await eventually(lambda: screen.review.has_focus_within)  # type: ignore[attr-defined]
        elif isinstance(screen, LettersScreen | SchedulesScreen):
            await eventually(lambda: screen.has_class("-zoomed"))
        else:
            await eventually(lambda: list(app_of(pilot).crumbs) != trail)


@pytest.mark.leaves_records
async def test_a_click_on_the_line_of_trouble_goes_where_its_word_leads(
    connection: Connection, server_url: str
) -> None:
    async with everything(connection), console(server_url, size=(160, 36)) as pilot:
        bar = app_of(pilot).screen.query_one("#trouble", LinkBar)
        await eventually(lambda: "failed" in bar.text and "wait" in bar.text and "dead letters" in bar.text)
        for words, scope in (("wait", "approvals"), ("failed", "failures"), ("dead letters", "deadletters")):
            bar = pilot.app.screen.query_one("#trouble", LinkBar)
            await eventually(lambda: words in bar.text)  # noqa: B023
            await pilot.click(bar, offset=(1 + bar.text.index(words), 0))
            await eventually(lambda: getattr(pilot.app.screen, "SCOPE", "") == scope)  # noqa: B023


@pytest.mark.leaves_records
async def test_flows_are_sorted_within_their_sections_and_as_they_were_after_the_last_column(
    connection: Connection, server_url: str
) -> None:
    async with FlowProducer(connection) as flows:
        for number, name in enumerate(("b", "c", "a")):
            steps = [FlowJob("step", "mail", f"{number} {step}") for step in range(number + 1)]
            await flows.add(FlowJob(name, "mail", number, None, steps))
    async with console(server_url, size=(160, 36)) as pilot:
        await pilot.press("5")
        await eventually(lambda: len(getattr(pilot.app.screen, "listed", ())) == 3)
        screen = pilot.app.screen
        assert isinstance(screen, FlowsScreen)

        def names() -> list[str]:
            return [called(flow) for flow in screen.listed]

        at_first = names()
        await pilot.press("s")
        await eventually(lambda: names() == ["a", "b", "c"])
        await pilot.press("S")
        await eventually(lambda: names() == ["c", "b", "a"])
        screen.sort_next()
        for _ in range(len(sortable(screen.COLUMNS)) - 1):
            screen.sort_next()
        assert (screen._sorting, names()) == (None, at_first)
