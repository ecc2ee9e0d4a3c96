"""Keys typed fast into text take effect in the order in which they were typed, those that move and delete too."""

from __future__ import annotations

from conftest import eventually
from textual import events
from textual.widgets import Input

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.approvals.editor import PayloadEditor

from .fixed import config, script


def _post(app: ConsoleApp, *keys: str) -> None:
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_moves_and_deletions_in_the_payload_editor_keep_their_place() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)):
        await eventually(lambda: app.snapshot.has_data)
        await app.push_screen(editor := PayloadEditor("moderation:1", {}))
        await eventually(lambda: editor.area.has_focus)
        editor.area.text = ""

        _post(app, "a", "c", "left", "b", "end", "x", "backspace", "d", "home", "0", "enter", "up", "y")

        await eventually(lambda: "y" in editor.area.text)
        assert editor.area.text == "y0\nabcd"


async def test_what_was_typed_before_going_on_is_in_the_difference() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)):
        await eventually(lambda: app.snapshot.has_data)
        await app.push_screen(editor := PayloadEditor("moderation:1", {"n": 1}))
        await eventually(lambda: editor.area.has_focus)
        editor.area.text = ""

        _post(app, *'{"n":234}', "ctrl+s")

        await eventually(lambda: editor.has_class("-difference"))
        assert editor.area.text == '{"n":234}'


async def test_corrections_in_the_command_line_keep_their_place() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)):
        await eventually(lambda: app.snapshot.has_data and app.screen.focused is not None)

        _post(app, "colon", "x", "backspace", "b", "left", "a", "right", "c")

        await eventually(lambda: len(app.screen.query_one("#command-entry", Input).value) == 3)
        assert app.screen.query_one("#command-entry", Input).value == "abc"
