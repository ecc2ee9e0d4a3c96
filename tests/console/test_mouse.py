"""The mouse does what keys do: rows, titles, tabs, keys, marks, and the wheel."""

from __future__ import annotations

from dataclasses import replace

from textual import events
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.widgets.key_bar import KeyBar
from glidemq_console.widgets.lists.row_list import RowList

from .fixed import LIVE, QUEUES, config, script
from .fixed_ai import WAITING, feed


async def settled(pilot: Pilot[int]) -> None:
    for _ in range(4):
        await pilot.pause()


async def test_a_double_click_opens_and_a_click_on_a_title_sorts() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        lines = app.screen.query_one(RowList)

        await pilot.click(lines, offset=(5, 4))
        await settled(pilot)
        assert lines.cursor_index == 2
        first = lines.row_at(0)
        assert first is not None
        titles = "".join(segment.text for segment in lines.render_line(0))
        await pilot.click(lines, offset=(titles.index("WAIT") + 1, 0))
        await settled(pilot)
        assert lines.row_at(0) is not None
        assert lines.row_at(0).key == "rag-index"  # type: ignore[union-attr]  # it is there

        await pilot.click(lines, offset=(5, 2), times=2)
        await settled(pilot)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.context().queue == "rag-index"


async def test_a_click_on_a_key_does_what_the_key_does() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        bar = app.screen.query_one(KeyBar)
        await pilot.click(bar, offset=(bar.text.index("enter jobs") + 2, 0))
        await settled(pilot)
        assert isinstance(app.screen, JobsScreen)


async def test_clicks_with_ctrl_and_shift_mark_a_row_and_a_range() -> None:
    app = ConsoleApp(config(feed(), screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        lines = app.screen.query_one(RowList)
        order = [one.ref for one in WAITING]

        await pilot.click(lines, offset=(5, 1), control=True)
        await settled(pilot)
        assert set(lines.marks) == {order[0]}
        await pilot.click(lines, offset=(5, 3), shift=True)
        await settled(pilot)
        assert set(lines.marks) == set(order[:3])
        await pilot.click(lines, offset=(5, 2), control=True)
        await settled(pilot)
        assert set(lines.marks) == {order[0], order[2]}


async def test_the_wheel_scrolls_a_list_and_leaves_the_cursor() -> None:
    many = replace(LIVE, queues=tuple(replace(QUEUES[0], name=f"queue {number:03}") for number in range(200)))
    app = ConsoleApp(config(ScriptedFeed(script(many))))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        lines = app.screen.query_one(RowList)
        for _ in range(3):
            await pilot._post_mouse_events([events.MouseScrollDown], lines, (5, 2))
        await settled(pilot)
        assert lines.scroll_y > 0
        assert lines.cursor_index == 0
