"""Filters with names: `:filter` saves, uses, lists and removes them in the config file; `z` takes each back."""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.config.file import ConfigError, load, set_filter, set_key
from glidemq_console.config.filters import SCREENS
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.screens import table
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.typed.commands import completions
from glidemq_core import Queue
from glidemq_core.options.job import NewJob
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console, enter, shows_queue, text_on, told


@asynccontextmanager
async def on_mail(connection: Connection, url: str) -> AsyncIterator[tuple[Pilot[int], JobsScreen]]:
    """The list of 1 `odd` and 3 other jobs, with the config file."""
    async with Queue("mail", connection) as queue:
        await queue.add_bulk([NewJob("odd" if n == 1 else "send", n) for n in range(4)])
    source = FileSource(given=Given())
    async with console(url, source=source, **source.live()) as pilot:
        await shows_queue(pilot, "mail")
        await pilot.press("enter")
        await eventually(lambda: isinstance(s := pilot.app.screen, JobsScreen) and s.lines.total == 4)
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        yield pilot, screen


async def filter_by(pilot: Pilot[int], text: str) -> None:
    await pilot.press("slash", *text, "enter")
    await pilot.pause()


async def test_a_filter_is_saved_used_listed_and_removed(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    config_path.write_text(
        '# mine\ntheme = "glidemq-light"  # bright\n\n[profiles.prod]\nurl = "valkey://prod"\n'
    )
    async with on_mail(connection, server_url) as (pilot, screen):
        await filter_by(pilot, "name:odd !sp*m")
        await enter(pilot, "filter save strange")
        await eventually(told(pilot, "filter strange saved; z undoes it"))
        assert config_path.read_text() == (
            '# mine\ntheme = "glidemq-light"  # bright\n\n[profiles.prod]\nurl = "valkey://prod"\n\n'
            '[filters.jobs]\nstrange = "name:odd !sp*m"\n'
        )
        assert stat.S_IMODE(config_path.stat().st_mode) == 0o600

        await pilot.press("escape")
        await eventually(lambda: screen.lines.total == 4)
        await enter(pilot, "filter strange")
        await eventually(told(pilot, "filtered by strange: name:odd !sp*m"))
        await eventually(lambda: screen.lines.total == 1)
        await enter(pilot, "filter save other")
        await enter(pilot, "filter list")
        await eventually(told(pilot, "other  name:odd !sp*m   strange  name:odd !sp*m"))
        assert completions("filter s", screen.context()) == [
            "filter strange",
            "filter save",
            "filter save other",
            "filter save strange",
        ]
        assert "filter remove other" in completions("filter re", screen.context())

        await enter(pilot, "filter remove strange")
        await eventually(told(pilot, "filter strange removed; z undoes it"))
        assert load(config_path)["filters"] == {"jobs": {"other": "name:odd !sp*m"}}
        await enter(pilot, "filter strange")
        await eventually(told(pilot, "no filter of jobs is called 'strange'; there are other"))
        await pilot.press("z")
        await eventually(told(pilot, "filter strange is as before"))
        await enter(pilot, "filter strange")
        await eventually(told(pilot, "filtered by strange"))
        assert "# bright" in config_path.read_text()


async def test_undo_takes_back_what_was_saved_and_what_was_applied(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    async with on_mail(connection, server_url) as (pilot, screen):
        await filter_by(pilot, "odd")
        await enter(pilot, "filter save a")
        await filter_by(pilot, " name:send")
        await eventually(lambda: screen.filter_text == "odd name:send")
        await enter(pilot, "filter save a")
        await eventually(told(pilot, "filter a changed, it was odd; z undoes it"))
        await pilot.press("z")
        await eventually(told(pilot, "filter a is as before"))
        assert load(config_path)["filters"]["jobs"] == {"a": "odd"}
        await pilot.press("z")
        await eventually(lambda: screen.filter_text == "odd")
        assert told(pilot, "the filter is back")()
        await pilot.press("z")
        await eventually(told(pilot, "filter a is gone again"))
        assert load(config_path)["filters"]["jobs"] == {}
        await pilot.press("z")
        await eventually(told(pilot, "no filter any more"))
        assert screen.filter_text == ""


async def test_a_filter_comes_back_after_escape_in_its_line_and_on_the_list(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    async with on_mail(connection, server_url) as (pilot, screen):
        await filter_by(pilot, "odd")
        await eventually(lambda: screen.lines.total == 1)
        await pilot.press("escape")
        await eventually(lambda: screen.lines.total == 4)
        await pilot.press("z")
        await eventually(told(pilot, "the filter is back"))
        await eventually(lambda: screen.lines.total == 1)
        await pilot.press("slash", "x", "escape")
        await eventually(lambda: screen.lines.total == 4)
        await pilot.press("z")
        await eventually(lambda: screen.filter_text == "odd")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("filter", "no filter is saved for jobs; / filters, then :filter save NAME saves it"),
        ("filter list", "no filter is saved for jobs"),
        ("filter list more", ":filter list stands alone"),
        ("filter none", "no filter is saved for jobs"),
        ("filter two words", "the name of a filter has no spaces"),
        ("filter save", "save which? :filter save NAME"),
        ("filter save two words", "save which? :filter save NAME"),
        ("filter save ok", "the list is not filtered; / filters it, then :filter save NAME"),
        ("filter save list", "no filter can be called list: that is what :filter list does"),
        ("filter save a.b", "the name of a filter has letters, digits, - and _ alone"),
        ("filter save -x", "a letter or a digit first, 40 at most"),
        ("filter remove none", "no filter is saved for jobs"),
    ],
)
async def test_what_makes_no_sense_is_told_and_writes_nothing(
    connection: Connection, server_url: str, config_path: Path, line: str, words: str
) -> None:
    async with on_mail(connection, server_url) as (pilot, _):
        await enter(pilot, line)
        await eventually(told(pilot, words))
    assert not config_path.exists()


async def test_hostile_text_is_kept_as_it_is_and_drawn_inert(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    hostile = '"[red]\\"x\\\\" !a\x1b]0;t\x07 "\u202egnp" [/b]'
    set_filter(config_path, "jobs", "bad", hostile)
    assert load(config_path)["filters"]["jobs"]["bad"] == hostile
    async with on_mail(connection, server_url) as (pilot, screen):
        await enter(pilot, "filter bad")
        await eventually(lambda: screen.filter_text == hostile)
        await enter(pilot, "filter list")
        await eventually(told(pilot, "bad  "))
        shown = text_on(pilot)
        assert '"[red]' in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


async def test_a_filter_that_is_none_any_more_is_told_at_its_place(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    config_path.write_text('[filters.jobs]\nold = "odd colour:red"\n')
    async with on_mail(connection, server_url) as (pilot, screen):
        await enter(pilot, "filter old")
        await eventually(told(pilot, "filter old: at character 5: 'colour' is no key"))
        assert screen.filter_text == ""


async def test_filters_of_a_file_that_changes_count_at_once(
    connection: Connection, server_url: str, config_path: Path
) -> None:
    async with on_mail(connection, server_url) as (pilot, screen):
        config_path.write_text('[filters.jobs]\nodd = "name:odd"\n[filters.queues]\nmine = "mail"\n')
        await eventually(told(pilot, "the config file has changed"), timeout=20)
        await enter(pilot, "filter odd")
        await eventually(lambda: screen.lines.total == 1)
        await enter(pilot, "filter mine")
        await eventually(told(pilot, "no filter of jobs is called 'mine'"))


async def test_without_a_config_file_nothing_is_saved(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue:
        await queue.add("a", 1)
    async with console(server_url) as pilot:
        await shows_queue(pilot, "mail")
        await filter_by(pilot, "mail")
        await enter(pilot, "filter save a")
        await eventually(told(pilot, "this console was started without a config file"))
        await pilot.press("3")
        await eventually(lambda: app_of(pilot).current_mode == "streams")
        await enter(pilot, "filter list")
        await eventually(told(pilot, "this screen has no list to filter"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("filters = 3\n", "key 'filters': must be tables like"),
        ("[filters]\njbos = {}\n", "'filters.jbos': no screen with filters has that name; did you mean"),
        ("[filters]\njobs = 3\n", "'filters.jobs': must be a table"),
        ('[filters.jobs]\n"a b" = "x"\n', "'filters.jobs.a b': the name of a filter"),
        ('[filters.jobs]\nlist = "x"\n', "no filter can be called list"),
        ("[filters.jobs]\na = 3\n", "'filters.jobs.a': must be a filter in quotes"),
        (f'[filters.jobs]\na = "{"x" * 1_001}"\n', "of 1,000 characters at most"),
    ],
)
def test_filters_that_nobody_could_use_are_refused(config_path: Path, text: str, words: str) -> None:
    config_path.write_text(text)
    with pytest.raises(ConfigError, match="config file") as refused:
        load(config_path)
    assert words in str(refused.value)
    with pytest.raises(ConfigError):
        set_filter(config_path, "jobs", "b", "x")
    assert config_path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        'theme = "glidemq-light"\n',
        'filters = { jobs = { a = "x" } }\n',
        '[filters]\njobs = { a = "x" }  # inline\n',
        '[filters.jobs]\na = "x"  # why\n\n[profiles.p]\nurl = "valkey://p"\n\n[filters.flows]\nf = "y"\n',
    ],
)
def test_filters_are_written_into_any_file_and_taken_out_again(config_path: Path, text: str) -> None:
    config_path.write_text(text)
    before = load(config_path)
    for screen in SCREENS:
        set_filter(config_path, screen, "b", 'error:"a \\"b\\""')
    found = load(config_path)
    assert all(found["filters"][screen]["b"] == 'error:"a \\"b\\""' for screen in SCREENS)
    for screen in SCREENS:
        set_filter(config_path, screen, "b", None)
        set_filter(config_path, screen, "never", None)
    after = {name: saved for name, saved in load(config_path).get("filters", {}).items() if saved}
    assert after == before.get("filters", {})
    assert {**load(config_path), "filters": after} == {**before, "filters": after}
    assert [part for part in re.findall("#.*", text) if part not in config_path.read_text()] == []


def test_a_form_that_cannot_be_changed_is_told_and_left_alone(config_path: Path) -> None:
    config_path.write_text('filters.jobs.a = "x"\n')
    set_filter(config_path, "queues", "b", "y")
    set_filter(config_path, "jobs", "b", "y")
    before = config_path.read_text()
    assert load(config_path)["filters"] == {"jobs": {"a": "x", "b": "y"}, "queues": {"b": "y"}}
    with pytest.raises(ConfigError, match="writes its filters in a form that cannot be changed here"):
        set_filter(config_path, "flows", "b", "y")
    assert config_path.read_text() == before


def test_every_screen_with_a_list_has_a_table() -> None:
    named = {spec.name for spec in table.SCREENS}
    assert set(SCREENS) == named - {"streams", "inboxes"}
    for spec in table.SCREENS:
        # The inbox of all servers is filtered as that of one.
        wanted = {"streams": None, "inboxes": "approvals"}.get(spec.name, spec.name)
        assert table.make(spec.module, spec.class_name).saved_as == wanted  # type: ignore[attr-defined]


def test_a_filter_is_set_by_the_command_too(config_path: Path) -> None:
    set_key(config_path, "filters.jobs.stuck", "state:failed age>1h")
    assert load(config_path)["filters"] == {"jobs": {"stuck": "state:failed age>1h"}}
    for key, text, words in (
        ("filters.jobs.stuck", "colour:red", "'filters.jobs.stuck': at character 1: 'colour' is no key"),
        ("filters.jobs.a b", "x", "the name of a filter has letters"),
        ("filters.jbos.a", "x", "did you mean 'filters.jobs'?"),
        ("filters.jobs.a", " ", "must be a filter in quotes"),
        ("filters.jobs", "x", "unknown key 'filters.jobs'; known: "),
    ):
        with pytest.raises(ConfigError) as refused:
            set_key(config_path, key, text)
        assert words in str(refused.value)
    assert load(config_path)["filters"] == {"jobs": {"stuck": "state:failed age>1h"}}
