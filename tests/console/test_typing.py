"""What is typed or pasted in one go: every key is done in its order, and nothing answers what was not seen yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import dangerous
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from glidemq_console.actions.base import Context
from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.approvals.editor import PayloadEditor
from glidemq_console.screens.frame import ConsoleScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.registry import ACTIONS
from glidemq_console.screens.table import SCREENS
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog

from .fixed import config, script

_NAMES = {":": "colon", "/": "slash", "\r": "enter", "\x1b": "escape", " ": "space", "-": "minus"}
_CLIPBOARD = "be\x1b]52;c;eA==\x07fore"


@asynccontextmanager
async def console(
    feed: ScriptedFeed | None = None, **more: Any
) -> AsyncIterator[tuple[ConsoleApp, Pilot[int]]]:
    """The console on fixed data, its queues on screen."""
    app = ConsoleApp(config(feed or ScriptedFeed(script()), **more))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: app.snapshot.has_data and app.screen.focused is not None)
        yield app, pilot


def type_in_one_go(app: ConsoleApp, keys: str) -> None:
    for key in keys:
        app.post_message(events.Key(_NAMES.get(key, key), key))


def on(app: ConsoleApp, name: str) -> Callable[[], bool]:
    return lambda: app.current_mode == name and isinstance(app.screen, ConsoleScreen) and app.screen.is_up


@pytest.mark.parametrize("key", "234567")
async def test_a_command_after_a_tabs_key_is_typed_on_that_tab(key: str) -> None:
    feed = ScriptedFeed(script())
    async with console(feed) as (app, _):
        type_in_one_go(app, f"{key}:pause rag-index\r")

        await eventually(lambda: feed.changes == [("rag-index", "pause", ())])
        assert app.current_mode == SCREENS[int(key) - 1].name


async def test_keys_after_a_command_work_on_what_it_opened() -> None:
    async with console() as (app, _):
        type_in_one_go(app, ":queue rag-index\r:job 7\r")

        await eventually(lambda: isinstance(app.screen, JobScreen))
        assert isinstance(app.screen, JobScreen)
        assert str(app.screen.ref) == "rag-index:7"


async def test_keys_before_a_filter_reach_the_list() -> None:
    async with console() as (app, _):
        type_in_one_go(app, "jj/in")

        await eventually(lambda: app.screen.query_one("#command-entry", Input).value == "in")
        assert app.queue_looked_at == "rag-index"
        type_in_one_go(app, "\x1bk")
        await eventually(lambda: not app.screen.has_class("-typing"))
        await eventually(lambda: app.screen.focused is not None and app.screen.focused.id == "queue-list")


async def test_keys_typed_while_the_console_closes_are_nothing() -> None:
    async with console() as (app, _):
        pass
    assert app.screen_stack == []
    for key in ("slash", "j", "q"):
        await app.on_event(events.Key(key, key))


@pytest.mark.parametrize("yes", ["y", "\t\r"])
async def test_a_yes_typed_before_the_question_was_seen_is_no_answer(yes: str) -> None:
    feed = ScriptedFeed(script())
    async with console(feed) as (app, pilot):
        type_in_one_go(app, f"R{yes}")

        await eventually(lambda: isinstance(app.screen, ConfirmDialog) and app.screen.is_seen)
        await pilot.pause(0.1)
        assert isinstance(app.screen, ConfirmDialog)
        assert feed.changes == []

        await pilot.press("y")
        await eventually(lambda: feed.changes == [("inference", "retry_jobs", ())])


@pytest.mark.parametrize("no", ["n", "\x1b"])
async def test_a_no_typed_before_the_question_was_seen_is_taken(no: str) -> None:
    feed = ScriptedFeed(script())
    async with console(feed) as (app, pilot):
        type_in_one_go(app, f"R{no}")
        await pilot.pause(0.1)

        await eventually(on(app, "queues"))
        assert feed.changes == []


async def test_a_name_typed_in_one_go_with_its_key_confirms() -> None:
    feed = ScriptedFeed(script())
    async with console(feed) as (app, _):
        type_in_one_go(app, "Dinference\r")

        await eventually(lambda: [change[:2] for change in feed.changes] == [("inference", "drain")])


async def test_a_click_on_a_tab_goes_there_once() -> None:
    gone: list[tuple[Any, ...]] = []
    async with console() as (app, pilot):
        await pilot.press("2")
        await eventually(on(app, "jobs"))
        really = app.go
        app.go = lambda *where: gone.append(where) or really(*where)  # type: ignore[method-assign,func-returns-value]  # seen, and done

        await pilot.click("#tabs", offset=(2, 0))

        await eventually(on(app, "queues"))
    assert gone == [("queues",)]


@pytest.mark.parametrize("steps", range(0, 30, 3))
@pytest.mark.parametrize("name", ["jobs", "streams", "approvals", "flows", "limits", "workers"])
async def test_the_console_can_be_left_while_a_screen_comes_up(name: str, steps: int) -> None:
    async with console() as (app, _):
        app.go(name)
        for _ in range(steps):
            await asyncio.sleep(0)
        app.show_message("told to a screen that is not there yet")
        app.exit(0)


async def test_a_paste_into_the_editor_goes_in_once_and_safe() -> None:
    async with console() as (app, _):
        await app.push_screen(editor := PayloadEditor("moderation:1", {}))
        await eventually(lambda: editor.area.has_focus)
        editor.area.text = ""

        app.post_message(events.Paste(_CLIPBOARD))

        await eventually(lambda: editor.area.text)
        assert editor.area.text.startswith("be")
        assert editor.area.text.count("fore") == 1
        assert not dangerous(editor.area.text)


@pytest.mark.parametrize("key", ["/", "D"])
async def test_a_paste_into_a_line_is_safe(key: str) -> None:
    async with console() as (app, pilot):
        type_in_one_go(app, key)
        await eventually(lambda: isinstance(app.screen.focused, Input))

        app.post_message(events.Paste(_CLIPBOARD))

        entry = app.screen.focused
        assert isinstance(entry, Input)
        await eventually(lambda: entry.value)
        await pilot.pause()
        assert entry.value.count("fore") == 1
        assert not dangerous(entry.value)
        for strip in app.screen._compositor.render_strips():
            assert not dangerous("".join(segment.text for segment in strip))


async def test_a_defect_in_an_action_is_told(tmp_path: Path) -> None:
    async def broken(_: Context) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    async with console(log_path=tmp_path / "console.log") as (app, _):
        screen = app.console_screen
        assert screen is not None
        app.act(replace(ACTIONS["theme"], run=broken), screen.context())

        await eventually(
            lambda: (screen.message or "").startswith(
                "ZeroDivisionError: nobody foresaw this, a defect while doing theme; written to "
            )
        )
