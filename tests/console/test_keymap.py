"""Keys of one's own: what they do, where they are shown, and what cannot be mapped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import eventually

import glidemq_console
from glidemq_console.actions.keymap import Keymap, read_key
from glidemq_console.actions.keys import key_text
from glidemq_console.app import ConsoleApp
from glidemq_console.cli.commands.console import console_config
from glidemq_console.cli.session import Session
from glidemq_console.config.file import ConfigError, line_of, load
from glidemq_console.config.settings import Given
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.overlays.help import HelpScreen
from glidemq_console.screens.registry import ACTIONS
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .fixed import FAILED, LIVE, config, script
from .pilot_kit import app_of, console, shows_queue, text_on, told


def keymap(**mapped: str) -> Keymap:
    return Keymap(
        ACTIONS.values(), {name.replace("__", ".").replace("_", "-"): keys for name, keys in mapped.items()}
    )


async def test_a_mapped_key_acts_and_the_usual_one_does_not(connection: Connection, server_url: str) -> None:
    mapped = {"queue.pause-or-resume": "K f6"}
    async with Queue("inference", connection) as queue, console(server_url, keys=mapped) as pilot:
        await queue.add("answer", {})
        await shows_queue(pilot, "inference")
        await pilot.press("p")
        await pilot.pause(0.3)
        assert not await queue.is_paused()
        await pilot.press("K")
        await eventually(queue.is_paused)
        await eventually(lambda: app_of(pilot).snapshot.queue("inference").paused)  # type: ignore[union-attr]
        await pilot.press("f6")
        await eventually(told(pilot, "inference resumed"))


async def test_lines_open_with_mapped_keys_and_take_what_follows(
    connection: Connection, server_url: str
) -> None:
    async with console(server_url, keys={"filter": "f7", "command": ";"}) as pilot:
        screen = app_of(pilot).console_screen
        await eventually(lambda: app_of(pilot).snapshot.has_data)
        assert screen is not None
        await pilot.press("slash")
        assert not screen.is_typing
        await pilot.press("f7", "x", "q", "enter")
        await pilot.pause()
        assert screen.filter_text == "xq"
        await pilot.press("semicolon", *"calm", "enter")
        await eventually(told(pilot, "no command 'calm'"))


async def test_footer_help_and_palette_show_mapped_keys() -> None:
    app = ConsoleApp(config(ScriptedFeed(script()), keys={"queue.pause-or-resume": "K", "help": "f9"}))
    async with app.run_test(size=(160, 50)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.pause()
        shown = text_on(pilot).splitlines()
        assert any("K pause" in line and "f9 help" in line and "p pause" not in line for line in shown)
        assert any("f9 every key" in line for line in shown)
        await pilot.press("f9")
        await eventually(lambda: isinstance(app.screen, HelpScreen))
        await pilot.pause()
        assert any("K  " in line and "Pause" in line for line in text_on(pilot).splitlines())


def test_conflicts_keep_both_their_own_keys() -> None:
    found = keymap(theme="K", redraw="K")
    assert found.bindings() == {}
    assert found.problems == [
        ("theme", "K is given to theme and to redraw; both keep their own keys"),
        ("redraw", "K is given to redraw and to theme; both keep their own keys"),
    ]
    # One of a screen and one of all screens; what was mapped elsewhere stays.
    found = keymap(theme="p", refresh="f6")
    assert found.bindings() == {"refresh": "f6"}
    assert [name for name, _ in found.problems] == ["theme"]


def test_a_conflict_that_giving_back_makes_is_found_too() -> None:
    # quit moves to ^t, theme away from it to ^l, which redraw has: theme goes back, and so does quit.
    found = keymap(messages="^t", theme="^l")
    assert found.bindings() == {}
    assert [name for name, _ in found.problems] == ["theme", "messages"]


def test_two_actions_may_change_places_and_screens_do_not_meet() -> None:
    assert keymap(theme="^l", redraw="^t").problems == []
    assert keymap(queue__drain="K", jobs__remove="K").problems == []


async def test_two_actions_that_changed_places_do_each_others(
    connection: Connection, server_url: str
) -> None:
    async with console(server_url, keys={"theme": "m", "messages": "^t"}) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.has_data)
        before = app_of(pilot).theme
        await pilot.press("m")
        await eventually(lambda: app_of(pilot).theme != before)
        await pilot.press("ctrl+t")
        await eventually(lambda: type(pilot.app.screen).__name__ == "MessagesScreen")


@pytest.mark.parametrize("key", ["a", "r", "y", "n", "esc"])
def test_keys_of_answers_are_given_to_no_other_action(key: str) -> None:
    found = keymap(theme=key)
    assert found.problems == [("theme", f"{key} cannot be given to theme: it answers questions")]


@pytest.mark.parametrize(
    ("mapped", "words"),
    [
        ({"theme": "j"}, "j cannot be given to theme: it moves, opens or leaves everywhere"),
        ({"theme": "hello"}, "no key 'hello'"),
        ({"theme": " "}, "theme would have no key"),
        ({"set": "K"}, "set has no key, it is typed as :set"),
        ({"queue.puase": "K"}, "no action 'queue.puase', did you mean queue.pause?"),
        ({"\x1b[2J": "K"}, "no action"),
    ],
)
def test_what_cannot_be_mapped_is_said(mapped: dict[str, str], words: str) -> None:
    found = Keymap(ACTIONS.values(), mapped)
    assert found.bindings() == {}
    [(_, told)] = found.problems
    assert told.startswith(words)
    assert "\x1b" not in told


def test_keys_that_always_work_stay_beside_mapped_ones() -> None:
    found = keymap(quit="Q", approvals__open="O")
    assert found.keys(ACTIONS["quit"]) == ("Q", "ctrl+q")
    assert found.keys(ACTIONS["approvals.open"]) == ("O", "enter")


def test_every_key_that_is_shown_can_be_written() -> None:
    for action in ACTIONS.values():
        for key in action.keys:
            assert read_key(key_text(key)) == key


def test_lines_of_a_table_are_found() -> None:
    text = 'theme = "x"\n[profiles.prod]\ntheme = "y"\n\n[keys]\n# mine\n"queue.drain" = "K"\ntheme=\'L\'\n'
    assert [line_of(text, "keys", name) for name in ("queue.drain", "theme", "quit")] == [7, 8, None]
    assert (line_of(text, "", "theme"), line_of(text, "profiles.prod", "theme")) == (1, 3)


async def test_the_config_files_keys_are_taken_and_problems_told_with_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(path))
    path.write_text('[keys]\n"queue.drain" = "K"\nquit = "y"\n')
    made = console_config(Session(Given()), (), None, None, None)
    assert made.keys == {"queue.drain": "K", "quit": "y"}
    app = ConsoleApp(config(ScriptedFeed(script()), keys=made.keys, key_lines=made.key_lines))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(told(pilot, "config line 3: y cannot be given to quit"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("theme = 'x'\nkeys = 1", r"\[keys\] holds ids of actions .* \(at line 2\)"),
        ("[[keys]]", r"\[keys\] holds ids of actions"),
        ("[keys]\ntheme = 'K'\nquit = 1", r"the keys of 'quit' in \[keys\] must be text .* \(at line 3\)"),
        ('[keys]\nquit = ["a"]', r"the keys of 'quit' .* \(at line 2\)"),
        ('[keys]\n\n"queue.drain" = 5', r"the keys of 'queue.drain' .* \(at line 3\)"),
        ("[keys]\nqueue.drain = 'K'", r"the keys of 'queue' .* \"queue.pause-or-resume\" = .* \(at line 2\)"),
    ],
)
def test_keys_of_a_wrong_type_are_refused_with_their_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load(path)


async def test_keys_of_a_wrong_type_are_told_while_the_console_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("GLIDEMQ_CONFIG", str(path))
    path.write_text('[keys]\ntheme = "K"\n')
    made = console_config(Session(Given()), (), None, None, None)
    app = ConsoleApp(config(ScriptedFeed(script()), keys=made.keys, source=made.source))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        path.write_text('[keys]\ntheme = "K"\nquit = 12\n')
        await app.read_config()
        await eventually(told(pilot, "(at line 3); what was read before stays"))
        assert app.keymap.texts(ACTIONS["theme"]) == ["K"]


# --- keys that hints and messages name ---------------------------------------------------------------------


def test_hints_name_keys_of_actions_that_there_are() -> None:
    root = Path(glidemq_console.__file__).parent
    calls = re.compile(r"key_of\(\s*f?[\"']([^\"']+)[\"'],\s*(?:[\"']([^\"']+)[\"']|verb|pending)")
    pairs = re.compile(r"\(\"([a-z]+(?:[.-][a-z-]+)+)\", \"([^\"]+)\"\)")
    named: list[tuple[str, str]] = []
    for path in root.rglob("*.py"):
        text = path.read_text()
        named += calls.findall(text)
        named += pairs.findall(text) if path.name == "why.py" and path.parent.name == "overlays" else []
    assert len(named) > 35
    for action, usual in named:
        before, braces, after = action.partition("{")
        known = [
            name
            for name in ACTIONS
            if (
                name == action
                if not braces
                else name.startswith(before) and name.endswith(after.partition("}")[2])
            )
        ]
        assert known, f"no action {action}"
        if usual and not braces:
            assert key_text(ACTIONS[action].keys[0]) == usual, action


async def test_hints_and_messages_name_keys_as_they_are_mapped() -> None:
    keys = {"job.reveal": "K", "filter": "f7", "job.find-next": "f8", "job.flow": "f9"}
    app = ConsoleApp(config(ScriptedFeed(script(LIVE, job=FAILED)), keys=keys))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.press("enter", *["tab"] * 4, "enter")
        await eventually(lambda: isinstance(app.screen, JobScreen) and app.screen.payload.has_value)
        await pilot.pause()
        assert "K reveal" in text_on(pilot)
        assert "v reveal" not in text_on(pilot)
        await pilot.press("f8")
        await eventually(told(pilot, "nothing is searched for; f7 starts"))
        await pilot.press("K")
        await eventually(told(pilot, "secrets revealed; K masks them"))
        await pilot.press("f7", *"prompt", "enter")
        await eventually(lambda: "f8 N" in text_on(pilot))
