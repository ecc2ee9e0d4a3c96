"""Messages: the history with its bounds, repeats folded, and long ones wrapped instead of being cut."""

from __future__ import annotations

from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.messages import LONGEST, MOST, MessageLog
from glidemq_console.screens.overlays.messages import MessagesScreen
from glidemq_console.widgets.status_line import PartsView

from .fixed import config, script
from .pilot_kit import text_on


def test_the_history_is_bounded_and_folds_repeats() -> None:
    log = MessageLog()

    for number in range(MOST + 10):
        log.note(f"message {number}", "foreground", number)
    log.note("x" * 5_000, "error", 1)
    for at in (2, 3):
        log.note("again", "warning", at)

    newest, long, *others = log.newest_first()
    assert (newest.text, newest.times, newest.at_ms) == ("again", 2, 3)
    assert len(long.text) == LONGEST
    assert len(others) == MOST - 2
    assert others[0].text == f"message {MOST + 9}"


async def _settled(pilot: Pilot[int]) -> None:
    for _ in range(3):
        await pilot.pause()


async def test_m_shows_what_was_said_and_closes_it_again() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(100, 30)) as pilot:
        await _settled(pilot)
        for text in ("first [/red]", "second", "second"):
            app.show_message(text, "warning")

        await pilot.press("m")
        await _settled(pilot)

        assert isinstance(app.screen, MessagesScreen)
        lines = app.screen.query_one(PartsView).text.splitlines()
        assert [line[10:] for line in lines[2:]] == ["second  × 2", "first [/red]"]
        await pilot.press("m")
        await _settled(pilot)
        assert not isinstance(app.screen, MessagesScreen)
        await pilot.press("colon", *"messages", "enter")
        await _settled(pilot)
        assert isinstance(app.screen, MessagesScreen)


async def test_a_long_message_is_wrapped_above_the_line() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(80, 24)) as pilot:
        await _settled(pilot)
        app.show_message("words " * 30 + "and the end", "error")
        await _settled(pilot)
        assert "and the end" in text_on(pilot)

        app.show_message("short")
        await _settled(pilot)
        assert "and the end" not in text_on(pilot)
        assert "short" in text_on(pilot)
