"""At the smallest size: what keys work on is on screen, and so are the buttons of every question."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.flows.top_up import TopUpDialog
from glidemq_console.screens.frame import LEAST_WIDTH
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.lists.queue_list import QueueListScreen
from glidemq_console.screens.table import SCREENS, ScreenSpec, make
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog
from glidemq_console.widgets.lists.columns import GAP, GUTTER, arrange
from glidemq_core.options.job import JobRef
from glidemq_core.records import FlowBudget

from .fixed import LIVE, config, script
from .pilot_kit import text_on
from .test_every_key import _feed

SMALLEST = (60, 15)


@pytest.mark.parametrize("screen", ["queues", "limits"])
async def test_the_row_that_keys_work_on_is_on_screen(screen: str) -> None:
    app = ConsoleApp(config(ScriptedFeed(script()), screen=screen))
    async with app.run_test(size=SMALLEST) as pilot:
        await eventually(lambda: app.snapshot.has_data and isinstance(app.screen, QueueListScreen))
        await pilot.pause()
        lists = app.screen
        assert isinstance(lists, QueueListScreen)
        first, last = lists.lines.visible_range
        # Queues without a limit are one row, folded.
        assert last - first >= (3 if screen == "queues" else 2)
        assert first <= lists.lines.cursor_index < last

        await pilot.press("d")
        await pilot.pause()
        assert lists.query_one("#queue-detail" if screen == "queues" else "#limit-detail").size.height >= 5


async def _nothing(_request: object) -> Any:
    raise AssertionError("not asked for")


@pytest.mark.parametrize("question", ["topup", "confirm"])
async def test_every_button_of_a_question_is_on_screen(question: str) -> None:
    budget = FlowBudget(
        flow=JobRef("ai", "1"),
        max_total_tokens=100,
        max_total_cost=1,
        max_tokens=dict.fromkeys(("input", "output", "reasoning", "cached"), 10),
        used_tokens=90,
        on_exceeded="fail",
    )
    dialog = (
        TopUpDialog("ai:1", budget, None, _nothing)
        if question == "topup"
        else ConfirmDialog("Drain inference?", "line\n" * 30, yes="Drain", type_this="inference")
    )
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=SMALLEST) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        app.push_screen(dialog)
        await eventually(lambda: app.screen is dialog and dialog.is_seen)
        await pilot.pause()
        for button in ("#dialog-no", "#dialog-yes"):
            region = dialog.query_one(button).region
            assert region.height == 1
            assert dialog.region.contains_region(region)
            assert dialog.query_one("#dialog").region.contains_region(region)


async def test_a_screen_that_is_opened_again_on_a_smaller_terminal_says_that_it_is_too_small() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=SMALLEST) as pilot:
        await eventually(lambda: app.snapshot.has_data and isinstance(app.screen, QueueListScreen))
        await pilot.press("2")
        await eventually(lambda: isinstance(app.screen, JobsScreen))
        await pilot.resize_terminal(50, 14)
        await eventually(lambda: _first_line(app).startswith("too small: 50x14"))

        await pilot.press("1")
        await eventually(lambda: isinstance(app.screen, QueueListScreen))

        await eventually(lambda: _first_line(app).startswith("too small: 50x14"))


def _first_line(app: ConsoleApp) -> str:
    return "".join(segment.text for segment in app.screen._compositor.render_strips()[0])


@pytest.mark.parametrize("spec", SCREENS, ids=lambda spec: spec.name)
def test_no_row_of_a_list_is_cut_on_the_smallest_terminal(spec: ScreenSpec) -> None:
    screen = make(spec.module, spec.class_name)
    columns = getattr(screen, "COLUMNS", ())
    shown = arrange(columns, LEAST_WIDTH)

    assert GUTTER + sum(width + GAP for _, width in shown) <= LEAST_WIDTH or not columns


@pytest.mark.parametrize("spec", [spec for spec in SCREENS if spec.key.isdigit()], ids=lambda spec: spec.name)
@pytest.mark.parametrize("width", [60, 80])
async def test_tabs_and_words_of_trouble_stand_apart_on_a_low_terminal(spec: ScreenSpec, width: int) -> None:
    app = ConsoleApp(config(_feed(LIVE, None), screen=spec.name))
    async with app.run_test(size=(width, 15)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.pause()
        line = text_on(pilot).splitlines()[1]

        tabs = [
            one.key if one is not spec else f"{one.key} {one.name}" for one in SCREENS if one.key.isdigit()
        ]
        words = line.removeprefix(" " + " ".join(tabs))
        assert words != line, line
        assert words.startswith(" ")
        assert words.split()[:5] == ["✗14", "▼3", "∅1", "◆7·3m", "⊟2"]


async def test_nothing_in_the_head_of_a_list_is_cut_on_the_smallest_terminal() -> None:
    for name, words in (
        ("events", "completed 212"),
        ("failures", "last 1h · wasted"),
        ("approvals", "next in 1m 12s"),
        ("cost", "wasted $0.410+"),
    ):
        app = ConsoleApp(config(_feed(LIVE, None), screen=name))
        async with app.run_test(size=SMALLEST) as pilot:
            await eventually(lambda: app.snapshot.has_data)  # noqa: B023
            for _ in range(3):
                await pilot.pause()
            head = "\n".join(text_on(pilot).splitlines()[:6])
            assert words in head, head
            assert "more" not in head, head
