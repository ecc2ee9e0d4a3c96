"""Help: two columns, find, and three keys on the first visit of a screen."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from glidemq_console.actions.keymap import Keymap
from glidemq_console.actions.keys import SCREEN_LETTERS
from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.first_keys import first_keys
from glidemq_console.screens.overlays.help import HelpScreen
from glidemq_console.screens.registry import ACTIONS, in_scope
from glidemq_console.widgets.status_line import StatusLine

from .fixed import config, script
from .pilot_kit import text_on


async def settled(pilot: Pilot[int]) -> None:
    for _ in range(4):
        await pilot.pause()


@pytest.mark.parametrize(("size", "columns"), [((160, 45), 2), ((80, 24), 1)])
async def test_help_has_two_columns_where_there_is_room(size: tuple[int, int], columns: int) -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.press("?")
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)
        rows = [row for row in text_on(pilot).splitlines() if "│  this screen" in row]
        assert len(rows) == 1
        assert ("everywhere" in rows[0]) == (columns == 2)
        await pilot.press("?")
        await settled(pilot)
        assert not isinstance(app.screen, HelpScreen)


async def test_help_finds_keys_by_what_they_do() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(160, 45)) as pilot:
        await settled(pilot)
        await pilot.press("f1", "/", *"failed retry")
        await settled(pilot)
        shown = text_on(pilot)
        assert "Retry every failed job" in shown
        assert "Sort by the next column." not in shown

        await pilot.press(*" zzz")
        await settled(pilot)
        assert "No key does that." in text_on(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, HelpScreen)


async def test_the_first_visit_of_a_screen_shows_three_keys_and_the_next_does_not() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)

        def status() -> str:
            return app.screen.query_one("#status", StatusLine).text

        assert status().startswith("enter its jobs   ! what is wrong   ? every key")
        await pilot.press("slash", *"rag", "enter")
        await settled(pilot)
        assert status().startswith("/rag")
        await pilot.press("escape")
        await settled(pilot)
        assert status().startswith("enter its jobs")
        app.screen._new_until_ms = 0  # type: ignore[attr-defined]  # its time is over
        await pilot.press("7")
        await settled(pilot)
        assert "? every key" in status()
        await pilot.press("1")
        await settled(pilot)
        assert "? every key" not in status()


def test_the_keys_of_a_first_visit_work_there() -> None:
    arrows = {
        "←": "left",
        "→": "right",
        "]": "right_square_bracket",
        "<": "less_than_sign",
        "!": "",
        ".": "full_stop",
    }
    for scope in SCREEN_LETTERS.values():
        there = {key for action in in_scope(scope) for key in action.keys}
        if not there:
            continue
        for part in first_keys(scope, Keymap(ACTIONS.values()), 200)[::2]:
            key = arrows.get(part.text, part.text)
            assert key in {*there, "", "?", "tab"}, (scope, key)
