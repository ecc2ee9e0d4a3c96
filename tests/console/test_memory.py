"""What the console remembers from one run to the next, and where: never payloads, ids of jobs or secrets."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.state import StateFile, state_path
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.memory import Memory, names_job
from glidemq_console.runtime import remembering
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.cost.screen import CostScreen
from glidemq_console.screens.failures.screen import FailuresScreen
from glidemq_console.screens.frame import ConsoleScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.limits.screen import LimitsScreen
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_console.widgets.lists.columns import Heading
from glidemq_core import Queue
from glidemq_core.server.connection import Connection

from .fixed import config, script
from .pilot_kit import app_of, console, shows_queue, text_on


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "console.json"


@asynccontextmanager
async def opened(path: Path, **more: Any) -> AsyncIterator[Pilot[int]]:
    """A console on fixed data that remembers."""
    app = ConsoleApp(config(ScriptedFeed(script()), state_path=path, **more))
    async with app.run_test(size=(120, 36)) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.pause()
        yield pilot


def entry(path: Path, profile: str = "prod-eu") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))["profiles"][profile]
    return found


async def typed(pilot: Pilot[int], line: str) -> None:
    """Type and enter a whole line."""
    await pilot.press(line[0])
    for character in line[1:]:
        await pilot.press("space" if character == " " else character)
    await pilot.press("enter")
    await pilot.pause()


# --- what is remembered ------------------------------------------------------------------------------------


async def test_screen_filter_order_and_commands_are_there_again(path: Path) -> None:
    async with opened(path) as pilot:
        await pilot.press("s", "S")
        await typed(pilot, "/in")
        await typed(pilot, ":theme glidemq-light")
        sorting = pilot.app.screen._sorting  # type: ignore[attr-defined]
        await pilot.press("7")
        await eventually(lambda: pilot.app.current_mode == "workers")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert entry(path)["screen"] == "workers"
    assert entry(path)["lines"] == ["theme glidemq-light"]

    async with opened(path) as pilot:
        assert pilot.app.current_mode == "workers"
        await pilot.press("1")
        await eventually(lambda: isinstance(pilot.app.screen, QueuesScreen))
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        assert (screen.filter_text, screen._sorting) == ("in", sorting) != ("in", QueuesScreen.FIRST)
        assert [line.name for line in screen.listed] == ["inference", "rag-index"]
        assert "/in" in text_on(pilot)
        await pilot.press(":", "up")
        assert app_of(pilot).typed_lines.is_recalled


async def test_the_order_of_approvals_and_of_jobs_is_remembered(path: Path) -> None:
    async with opened(path, screen="approvals") as pilot:
        await pilot.press("s")
        await typed(pilot, "/moder")
        await typed(pilot, ":jobs")
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen))
        await pilot.press("S")
        await typed(pilot, "/answer")
        await eventually(lambda: entry_of(pilot, "jobs").get("filter") == "answer")
    assert entry(path)["screens"]["approvals"] == {"filter": "moder", "sort": "waits"}

    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        await eventually(lambda: screen._query is not None)
        assert screen._query is not None
        assert (screen._query.find, screen._query.newest) == ("answer", False)
        await pilot.press("4")
        await eventually(lambda: isinstance(pilot.app.screen, ApprovalsScreen))
        assert pilot.app.screen._sorted_by.key == "waits"  # type: ignore[attr-defined]


def entry_of(pilot: Pilot[int], scope: str) -> Any:
    return app_of(pilot).memory.screens.get(scope, {})


async def test_a_detail_that_was_opened_alone_is_open_again_and_can_be_left(path: Path) -> None:
    async with opened(path) as pilot:
        await pilot.press("d")
        await pilot.pause()
    async with opened(path) as pilot:
        assert pilot.app.screen.has_class("-zoomed")
        await pilot.press("escape")
        await pilot.pause()
        assert not pilot.app.screen.has_class("-zoomed")
        assert isinstance(pilot.app.screen, QueuesScreen)
        assert pilot.app.screen.selected == "inference"


async def test_folds_of_sections_are_remembered(path: Path) -> None:
    async with opened(path, screen="limits") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, LimitsScreen)
        await eventually(lambda: screen.lines.total == 2)
        assert "▸ nothing is limited 3" in text_on(pilot)
        await pilot.press("G", "enter")
        await eventually(lambda: screen.lines.total == 5)
    assert entry(path)["screens"]["limits"] == {"fold.rest": False}

    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, LimitsScreen)
        await eventually(lambda: screen.lines.total == 5)
        assert "▾ nothing is limited 3" in text_on(pilot)
        keys = screen.entry_keys
        screen.lines.move_to(next(at for at, key in enumerate(keys) if isinstance(key, Heading)))
        await pilot.press("enter")
        await eventually(lambda: screen.lines.total == 2)
    assert "limits" not in entry(path)["screens"], "what is usual is not written"


async def test_the_column_that_sorts_jobs_is_remembered(path: Path) -> None:
    async with opened(path, screen="jobs") as pilot:
        await eventually(lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.selected_state)
        await pilot.press("s", "s", "S")
        await pilot.pause()
        sorting = pilot.app.screen._sorting  # type: ignore[attr-defined]
        assert sorting is not None
    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, JobsScreen)
        assert screen._sorting == sorting
        assert screen.lines._sort == (sorting.column, sorting.descending)


async def test_the_window_of_failures_and_the_way_of_costs_are_remembered(path: Path) -> None:
    async with opened(path, screen="failures") as pilot:
        await pilot.press("right", "right")
        await pilot.press("dollar_sign")
        await eventually(lambda: isinstance(pilot.app.screen, CostScreen))
        await pilot.press("tab")
        await pilot.pause()
    kept = entry(path)["screens"]
    assert (kept["failures"], kept["cost"]) == ({"since": "86400000"}, {"by": "model"})

    async with opened(path) as pilot:
        cost = pilot.app.screen
        assert isinstance(cost, CostScreen)
        assert cost.interests().cost == "model"
        await pilot.press("8")
        await eventually(lambda: isinstance(pilot.app.screen, FailuresScreen))
        assert pilot.app.screen.interests().failures == 86_400_000  # type: ignore[attr-defined]


async def test_the_size_of_the_wall_is_remembered(path: Path) -> None:
    async with opened(path, screen="streams") as pilot:
        await pilot.press("number_sign")
        await eventually(lambda: entry_of(pilot, "streams") == {"wall": "9"})
    async with opened(path) as pilot:
        assert pilot.app.screen.interests().pick == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kept", [{"since": "5"}, {"since": True}, {"by": "x", "fold.rest": "no", "fold.limited": True}]
)
async def test_odd_ways_to_look_are_left_out(path: Path, kept: dict[str, Any]) -> None:
    StateFile(path, "prod-eu").write(
        Memory(screens={"failures": kept, "cost": kept, "limits": kept}, screen="limits").to_json()
    )
    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, LimitsScreen)
        await eventually(lambda: screen.lines.total == 2)
        await pilot.press("dollar_sign")
        await eventually(lambda: isinstance(pilot.app.screen, CostScreen))
        assert pilot.app.screen.interests().cost == "queue"  # type: ignore[attr-defined]
        await pilot.press("8")
        await eventually(lambda: isinstance(pilot.app.screen, FailuresScreen))
        assert pilot.app.screen.interests().failures == 3_600_000  # type: ignore[attr-defined]


async def test_a_screen_is_new_once(path: Path) -> None:
    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, ConsoleScreen)
        assert screen._new_until_ms
    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, ConsoleScreen)
        assert not screen._new_until_ms
    assert entry(path)["seen"] == ["queues"]


async def test_an_option_beats_what_is_remembered(path: Path) -> None:
    async with opened(path) as pilot:
        await pilot.press("7")
        await eventually(lambda: pilot.app.current_mode == "workers")
    async with opened(path, screen="events") as pilot:
        assert pilot.app.current_mode == "events"


async def test_profiles_are_remembered_apart(path: Path) -> None:
    async with opened(path) as pilot:
        await typed(pilot, "/in")
    StateFile(path, "staging").write(Memory(screen="flows").to_json())
    async with opened(path) as pilot:
        assert pilot.app.current_mode == "queues"
    assert entry(path)["screens"]["queues"] == {"filter": "in"}
    assert entry(path, "staging")["screen"] == "flows"


async def test_without_a_state_file_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_path() == tmp_path / "glidemq" / "console.json"
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test() as pilot:
        await typed(pilot, "/in")
    assert list(tmp_path.iterdir()) == []


async def test_it_is_written_while_the_console_runs(
    connection: Connection, server_url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_console.app.EVERY_S", 0.1)
    assert remembering.EVERY_S == 5.0
    async with (
        Queue("inference", connection) as queue,
        console(server_url, label="here", state_path=path) as pilot,
    ):
        await queue.add("answer", {"prompt": "the payload"})
        await shows_queue(pilot, "inference")
        await typed(pilot, "/infer")
        await eventually(lambda: path.exists() and entry(path, "here")["screens"].get("queues"))
        assert entry(path, "here")["screens"]["queues"] == {"filter": "infer"}
        assert "payload" not in path.read_text("utf-8")


# --- what is not ---------------------------------------------------------------------------------------------


async def test_neither_ids_of_jobs_nor_secrets_are_written(path: Path) -> None:
    async with opened(path) as pilot:
        app = app_of(pilot)
        for line in (
            "job inference:48213",
            "tail other:customer",
            "queue inference",
            "nonsense anything",
            "theme valkey://me:hunter2@host",
        ):
            app.typed_lines.begin(":")
            app.typed_lines.keep(line)
        await typed(pilot, "/48213")
    text = path.read_text("utf-8")
    assert entry(path)["lines"] == ["queue inference", "theme valkey://me:•••@host"]
    assert "48213" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("48213", True),
        ("inference:7", True),
        ("0191d6c2-5f7e-7c3a-9b1e-2f4d5a6b7c8d", True),
        ("01J8ZQ4M7N2P5R8S0T3V6W9XYZ", True),
        ("inference", False),
        ("gpt-5.4-nano", False),
        ("rag-index", False),
        ("", False),
    ],
)
def test_what_could_be_the_id_of_a_job_is_known(text: str, names: bool) -> None:
    assert names_job(text) is names


def test_200_commands_are_kept_the_latest() -> None:
    memory = Memory(lines=[f"queue {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)])
    assert memory.to_json()["lines"] == list(memory.lines[-200:])


# --- a file that cannot be used --------------------------------------------------------------------------------


_BROKEN = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "no profiles": '{"version": 1}',
    "of another version": '{"version": 2, "profiles": {}}',
    "nested": "[" * 100_000,
    "no text": "\x00\xff",
    "null": "null",
}


@pytest.mark.parametrize("content", _BROKEN.values(), ids=_BROKEN)
async def test_a_broken_file_is_set_aside_and_told_of(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content, "latin-1")
    async with opened(path) as pilot:
        await eventually(lambda: "was broken" in (app_of(pilot).console_screen.message or ""))  # type: ignore[union-attr]
    assert path.with_name("console.json.broken").read_text("latin-1") == content
    assert entry(path)["screen"] == "queues"


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"screen": 5, "screens": [], "seen": {}, "lines": "text"},
        {"screen": "nowhere", "screens": {"queues": {"sort": "nothing", "filter": {}, "descending": 3}}},
        {
            "screens": {"queues": 7, "jobs": {"newest": "x"}},
            "seen": [1, None],
            "lines": [{}, "a\x1b[2J", "x" * 9_000],
        },
    ],
)
async def test_odd_entries_are_left_out(path: Path, entry: Any) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 1, "profiles": {"prod-eu": entry}}), "utf-8")
    async with opened(path) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        assert (screen.filter_text, screen._sorting) == ("", QueuesScreen.FIRST)
        assert not app_of(pilot).typed_lines.entered(":")


async def test_a_place_that_takes_no_file_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_console.app.EVERY_S", 0.05)
    (tmp_path / "file").write_text("")
    async with opened(tmp_path / "file" / "console.json") as pilot:
        said = app_of(pilot).messages
        await eventually(lambda: any("cannot read" in one.text for one in said.newest_first()))
        await typed(pilot, "/in")
        await eventually(lambda: any("not remembered" in one.text for one in said.newest_first()))
        await typed(pilot, "/rag")
        await pilot.pause(0.2)
        assert sum(one.times for one in said.newest_first() if "not remembered" in one.text) == 1


def test_a_failed_write_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(path, "prod")
    assert file.write(Memory(screen="jobs").to_json()) is None
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", broken)
    told = file.write(Memory(screen="flows").to_json())
    assert told is not None
    assert "No space left" in told
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["console.json"]


def test_the_oldest_profiles_are_forgotten(path: Path) -> None:
    for number in range(60):
        StateFile(path, f"p{number}").write(Memory(screen="jobs").to_json())
    names = list(json.loads(path.read_text())["profiles"])
    assert names == [f"p{number}" for number in range(10, 60)]
