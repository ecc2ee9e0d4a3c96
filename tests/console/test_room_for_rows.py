"""Lines and cells go to what is read: no list keeps more than it needs, no decisive word is cut."""

from __future__ import annotations

import pytest
from conftest import eventually

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.limits.screen import LimitsScreen

from .fixed import FAILED, LIVE, config, script
from .fixed_ai import feed as asking
from .fixed_flows import CASES
from .fixed_workers import workers_script
from .photograph import settle
from .pilot_kit import text_on


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_what_becomes_of_a_dead_workers_jobs_is_whole_on_a_small_terminal(
    size: tuple[int, int],
) -> None:
    app = ConsoleApp(config(ScriptedFeed(workers_script(LIVE)), screen="workers"))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        lines = text_on(pilot).splitlines()

        assert any("▼ silent" in line and "taken over in 12s" in line for line in lines)
        assert any("∅ no worker" in line and "12 jobs wait" in line for line in lines)


async def test_limits_have_the_height_that_their_rows_need() -> None:
    app = ConsoleApp(config(ScriptedFeed(CASES["limits"]), screen="limits"))
    async with app.run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, LimitsScreen)
        await eventually(lambda: screen.lines.size.height == len(screen.entries) + 2)
        before = screen.lines.size.height

        # What a person unfolds is made room for.
        await pilot.press("end", "enter")
        await settle(pilot)

        await eventually(lambda: screen.lines.size.height == before + 1)


async def test_the_meters_of_limits_keep_their_lines_beside_many_queues() -> None:
    app = ConsoleApp(config(ScriptedFeed(CASES["limits"]), screen="limits"))
    async with app.run_test(size=(80, 20)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, LimitsScreen)

        await eventually(lambda: screen.lines.size.height == 5)
        assert "held back by TPM" not in text_on(pilot).splitlines()[-1]
        assert screen.query_one("#limit-detail").size.height >= 10


async def test_a_low_flow_page_keeps_no_empty_lines_for_a_banner() -> None:
    app = ConsoleApp(config(ScriptedFeed(CASES["flows-healthy"]), screen="flows"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await eventually(lambda: isinstance(app.screen, FlowScreen) and len(app.screen.listed) > 1)
        await settle(pilot)
        lines = text_on(pilot).splitlines()
        head = next(at for at, line in enumerate(lines) if "3 of 6 done" in line)

        assert set(lines[head + 1].strip()) == {"─"}


@pytest.mark.parametrize("page", ["job", "flow"])
async def test_the_state_is_whole_in_the_head_of_a_page(page: str) -> None:
    feed = ScriptedFeed(script(job=FAILED) if page == "job" else CASES["flows-blocked"])
    app = ConsoleApp(config(feed, screen="flows" if page == "flow" else "queues"))
    keys = ("enter", *["tab"] * 4, "enter") if page == "job" else ("enter",)
    async with app.run_test(size=(60, 15)) as pilot:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        head = text_on(pilot).splitlines()[2]

        assert ("✗ failed 2m 00s ago" if page == "job" else "✗ blocked 41s   3 of 6 done") in head
        assert "…" not in head


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_the_detail_of_a_queue_is_not_cut_beside_its_charts(size: tuple[int, int]) -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("d")
        await settle(pilot)

        assert "their worker is silent" in text_on(pilot)
        assert "5 timeout after 30s" in text_on(pilot)


async def test_hints_leave_whole_where_there_is_no_room() -> None:
    app = ConsoleApp(config(asking(), screen="approvals"))
    async with app.run_test(size=(60, 15)) as pilot:
        await settle(pilot)
        hints = text_on(pilot).splitlines()[-2]

        assert hints.startswith(" a approve, z takes it back   ? every key ")
        assert "…" not in hints


async def test_the_palette_has_no_sign_that_terminals_draw_differently() -> None:
    app = ConsoleApp(config(asking()))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p")
        await eventually(lambda: "Search for commands" in text_on(pilot))

        assert not [letter for letter in text_on(pilot) if ord(letter) > 0xFFFF]
