"""The line at the bottom: matches, history, the selected thing as default; and what the palette finds."""

from __future__ import annotations

from conftest import eventually
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Input

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.typed import MOST, TypedLines
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen

from .fixed import config, script
from .pilot_kit import text_on


async def settled(pilot: Pilot[int]) -> None:
    for _ in range(4):
        await pilot.pause()


async def find(pilot: Pilot[int], text: str, words: str) -> None:
    """Type into the palette, until it shows some words."""
    await pilot.press("ctrl+p")
    await eventually(lambda: isinstance(pilot.app.screen, CommandPalette))
    await pilot.press(*text)
    await eventually(lambda: words in text_on(pilot))


def line(app: ConsoleApp) -> str:
    return app.screen.query_one("#command-entry", Input).value


def test_lines_are_found_again_each_once_and_changed_ones_are_new() -> None:
    lines = TypedLines()
    for text in ("pause a", "retry b", "pause a"):
        lines.keep(text)
    lines.begin(":")

    assert [lines.recall(-1, "dra"), lines.recall(-1, "")] == ["pause a", "retry b"]
    assert lines.recall(-1, "") is None
    assert [lines.recall(1, ""), lines.recall(1, ""), lines.recall(1, "")] == ["pause a", "dra", None]
    lines.begin("/")
    assert lines.recall(-1, "") is None
    for number in range(MOST + 5):
        lines.keep(str(number))
    assert len(lines._lines["/"]) == MOST


async def test_matches_are_listed_and_taken_with_tab_arrows_and_enter() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"li")
        await settled(pilot)
        assert "Go to limits." in text_on(pilot)
        await pilot.press("tab")
        assert line(app) == "limits"
        await pilot.press("escape", "colon", *"s", "down", "down")
        await settled(pilot)
        chosen = next(row for row in text_on(pilot).splitlines() if row.startswith("▌ "))
        await pilot.press("tab")
        assert line(app) == chosen.split()[1]
        await pilot.press("ctrl+u", *"queue", "space", *"inf", "down", "enter")
        await settled(pilot)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.context().queue == "inference"


async def test_arrows_find_what_was_typed_before_on_every_screen() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"limits", "enter")
        await settled(pilot)
        await pilot.press("colon", *"queues", "enter")
        await settled(pilot)
        await pilot.press("colon", "up")
        assert line(app) == "queues"
        await pilot.press("up", "up")
        assert line(app) == "limits"
        await pilot.press("enter")
        await settled(pilot)
        assert app.current_mode == "limits"


async def test_what_is_selected_is_named_as_the_default() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("colon", *"pause")
        await settled(pilot)
        assert "Pause a queue: no new job starts there.  inference" in text_on(pilot)


async def test_the_palette_finds_queues_jobs_and_what_other_screens_do() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await find(pilot, "rag-index", "queue: opens its jobs")
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.context().queue == "rag-index"

        await pilot.press("-")
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("shift+tab")
        await eventually(lambda: app.snapshot.jobs is not None and len(app.snapshot.jobs.rows) > 3)
        await find(pilot, "48205", "job: opens its page")
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, JobScreen)

        await find(pilot, "streams: wall", "(goes to streams)")
        await pilot.press("enter")
        await settled(pilot)
        assert app.current_mode == "streams"
