"""`:set` changes this session, `:set!` the config file too; what cannot be is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import eventually

from glidemq_console.config.live import SETTINGS
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.screens.typed.commands import completions
from glidemq_console.terminal.notices import notice
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, enter, told


async def test_settings_change_while_the_console_runs(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection), console(server_url) as pilot:
        app = app_of(pilot)
        for line, words in (
            ("set undo 30s", "undo 30s"),
            ("set refresh 500ms", "refresh 500ms"),
            ("set bell on", "bell on"),
            ("set calm on", "calm on"),
            ("set notify off", "notices: off"),
            ("set theme glidemq-light", "theme glidemq-light"),
        ):
            await enter(pilot, line)
            await eventually(told(pilot, words))
        assert (app.outbox.undo_ms, app.config.refresh_ms, app.feed._reading.config.refresh_ms) == (  # type: ignore[attr-defined]
            30_000,
            500,
            500,
        )
        assert (app._bell, app._gate.interval_s, app.theme) == (True, 0.25, "glidemq-light")
        await enter(pilot, "set")
        await eventually(
            told(pilot, "undo 30s   refresh 500ms   notify off   bell on   calm on   theme glidemq-light")
        )
        await enter(pilot, "set calm off")
        await eventually(told(pilot, "calm off"))


async def test_a_new_refresh_is_read_by(connection: Connection, server_url: str) -> None:
    async with (
        Queue("inference", connection) as queue,
        console(server_url, refresh_ms=60_000) as pilot,
    ):
        await queue.add("answer", {})
        app = app_of(pilot)
        await eventually(lambda: app.snapshot.has_data)
        await enter(pilot, "set refresh 100ms")
        seen = set()

        def reads() -> bool:
            seen.add(app.snapshot.at_ms)
            return len(seen) > 5

        await eventually(reads, timeout=20)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("set colour red", "no setting 'colour'; there are undo, refresh, notify, bell, calm, theme"),
        ("set refrsh 2s", "no setting 'refrsh'; did you mean refresh?"),
        ("set undo", "undo is 5s; :set undo VALUE changes it"),
        ("set undo soon", "undo write a time as 500ms"),
        ("set undo 2h", "undo must be from 0s to 10m"),
        ("set refresh 1ms", "refresh must be from 100ms to 1h"),
        ("set calm maybe", "calm is one of on, off"),
        ("set theme nothing", "theme is one of glidemq-"),
        ("set!", "set what? there are undo"),
        ("set! calm on", "this console was started without a config file"),
    ],
)
async def test_what_cannot_be_set_is_said_and_changes_nothing(
    connection: Connection, server_url: str, line: str, words: str
) -> None:
    async with console(server_url) as pilot:
        before = app_of(pilot).config
        await enter(pilot, line)
        await eventually(told(pilot, words))
        assert app_of(pilot).config == before


async def test_set_with_a_mark_writes_the_config_and_keeps_the_rest(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    config_path.write_text('# mine\ntheme = "glidemq-light"\n\n[profiles.prod]\nundo = "9s"\n')
    source = FileSource(given=Given(profile="prod"))
    async with console(server_url, source=source) as pilot:
        await enter(pilot, "set! calm on")
        await eventually(told(pilot, f"calm on, written to {config_path}"))
        await enter(pilot, "set! undo 20s")
        await eventually(told(pilot, f"undo 20s, written to {config_path} (profile prod)"))
        assert app_of(pilot).outbox.undo_ms == 20_000
    assert (
        config_path.read_text()
        == '# mine\ntheme = "glidemq-light"\ncalm = true\n\n[profiles.prod]\nundo = "20s"\n'
    )


async def test_a_config_that_cannot_be_written_changes_nothing(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    config_path.write_text("calm = ")
    async with console(server_url, source=FileSource(given=Given())) as pilot:
        await enter(pilot, "set! undo 20s")
        await eventually(told(pilot, "is broken"))
        assert app_of(pilot).outbox.undo_ms == 5_000
    assert config_path.read_text() == "calm = "


async def test_names_and_values_are_completed(connection: Connection, server_url: str) -> None:
    async with console(server_url) as pilot:
        await eventually(lambda: app_of(pilot).console_screen)
        screen = app_of(pilot).console_screen
        assert screen is not None
        context = screen.context()
        assert completions("set ca", context) == ["set calm on", "set calm off"]
        assert completions("set! bell o", context) == ["set! bell on", "set! bell off"]
        assert "set theme glidemq-colorblind" in completions("set theme ", context)
        assert completions("set! ", context)[0] == "set! undo 0s"
        assert {"set", "set!"} <= set(completions("set", context))


def test_every_setting_reads_as_it_is_written() -> None:
    from glidemq_console.config.console import ConsoleConfig

    for name, setting in SETTINGS.items():
        for word in setting.words(("glidemq-dark", "glidemq-light")):
            found = setting.take(ConsoleConfig(), word)
            assert isinstance(found, ConsoleConfig), (name, word)
            assert setting.shown(found) == word


@pytest.mark.parametrize(("kind", "bells"), [("off", 0), ("bell", 1), ("osc9", 2), ("osc777", 2)])
def test_the_bell_rings_with_a_notice_once(kind: str, bells: int) -> None:
    # The sequence of a notice ends with one itself.
    assert notice("7 wait", kind, bell=True).count("\a") == bells  # type: ignore[arg-type]
    assert notice("7 wait", kind).count("\a") == min(bells, 1)  # type: ignore[arg-type]
