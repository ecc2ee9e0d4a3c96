"""The config file is read again while the console runs; what cannot be used leaves everything as it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.feed.scripted import ScriptedFeed

from .fixed import config, script
from .pilot_kit import app_of, told


@pytest.fixture
def path(config_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("glidemq_console.app.LOOK_S", 0.05)
    return config_path


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Pilot[int]]:
    """A console on fixed data that reads the config file."""
    source = FileSource(given=Given(), options=options)
    live = dict(source.live())
    app = ConsoleApp(config(ScriptedFeed(script()), source=source, **live))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.pause()
        yield pilot


def write(path: Path, text: str) -> None:
    """Replace the file as editors do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


async def test_what_changes_in_the_file_is_taken(path: Path) -> None:
    write(path, 'undo = "9s"\n')
    async with opened() as pilot:
        app = app_of(pilot)
        assert app.outbox.undo_ms == 9_000
        write(path, 'undo = "20s"\nrefresh = "3s"\ntheme = "glidemq-light"\n[keys]\ntheme = "K"\n')
        await eventually(told(pilot, "the config file has changed and was read again"))
        assert (app.outbox.undo_ms, app.config.refresh_ms, app.theme) == (20_000, 3_000, "glidemq-light")
        await pilot.press("K")
        await eventually(lambda: app.theme != "glidemq-light")
        path.unlink()
        await eventually(lambda: app.outbox.undo_ms == 5_000)
        theme = app.theme
        await pilot.press("K")
        await pilot.pause()
        assert app.theme == theme


async def test_what_was_set_in_the_session_stays_when_something_else_changes(path: Path) -> None:
    write(path, 'refresh = "2s"\n')
    async with opened() as pilot:
        app = app_of(pilot)
        await pilot.press("colon", *"set", "space", *"undo", "space", *"30s", "enter")
        await eventually(lambda: app.outbox.undo_ms == 30_000)
        write(path, 'refresh = "4s"\n')
        await eventually(lambda: app.config.refresh_ms == 4_000)
        assert app.outbox.undo_ms == 30_000


async def test_an_option_beats_the_changed_file(path: Path) -> None:
    async with opened(refresh_ms=700) as pilot:
        app = app_of(pilot)
        write(path, 'refresh = "4s"\nundo = "1s"\n')
        await eventually(lambda: app.outbox.undo_ms == 1_000)
        assert app.config.refresh_ms == 700


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('undo = "1s"\ncalm = \n', "(at line 2, column"),
        ('undo = "1s"\n\ncalmness = true\n', "unknown key 'calmness', did you mean 'calm'? (at line 3)"),
        ('undo = "1s"\nrefresh = "soon"\n', "(at line 2)"),
        ('undo = "2h"\n', "key 'undo': must be from 0s to 10m (at line 1)"),
        ('[profiles.prod]\n\nnotify = "loud"\n', "(at line 3)"),
        ('undo = "1s"\n[keys]\nquit = 1\n', "keys of 'quit' in [keys] must be text in quotes"),
        ('undo = "1s"\nprofile = "nowhere"\n', "no profile 'nowhere'"),
    ],
)
async def test_what_cannot_be_used_is_told_with_its_line_and_nothing_changes(
    path: Path, text: str, words: str
) -> None:
    write(path, 'undo = "9s"\n')
    async with opened() as pilot:
        app = app_of(pilot)
        before = app.config
        write(path, text)
        await eventually(told(pilot, words))
        assert "what was read before stays" in (app.console_screen.message or "")  # type: ignore[union-attr]
        assert app.config == before
        # Told once; mended, it is taken.
        await pilot.pause(0.2)
        assert sum(one.times for one in app.messages.newest_first() if words in one.text) == 1
        write(path, 'undo = "8s"\n')
        await eventually(lambda: app.outbox.undo_ms == 8_000)


async def test_a_theme_that_is_none_leaves_the_theme(path: Path) -> None:
    async with opened() as pilot:
        app = app_of(pilot)
        theme = app.theme
        write(path, 'theme = "nothing"\nundo = "1s"\n')
        await eventually(lambda: app.outbox.undo_ms == 1_000)
        assert app.theme == theme
        assert any("no theme 'nothing'" in one.text for one in app.messages.newest_first())


async def test_keys_that_cannot_be_mapped_are_told_with_their_line(path: Path) -> None:
    async with opened() as pilot:
        write(path, '[keys]\ntheme = "y"\n')
        await eventually(told(pilot, "config line 2: y cannot be given to theme"))
