"""Lists, jobs and flows saved to files from the console."""

from __future__ import annotations

import asyncio
import csv
import json
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from textual.widgets import Input

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import JobsQuery
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.lists.list_screen import ListScreen
from glidemq_console.screens.table import SCREENS
from glidemq_console.widgets.dialogs.dialog import PromptDialog
from glidemq_core import FlowJob, FlowProducer, NewJob, Queue
from glidemq_core.records import JobRow
from glidemq_core.server.connection import Connection

from .fixed import LIVE, ROWS, config, script
from .pilot_kit import app_of, console, on_jobs, shows_queue, text_on, told
from .test_every_key import _feed

SECRET = "sk-live-4f1c9e2b7d6a4c3e8b5f"


async def command(pilot: Any, line: str) -> None:
    await pilot.press("colon")
    pilot.app.screen.query_one("#command-entry", Input).value = line
    await pilot.press("enter")
    await pilot.pause()


async def test_all_matches_are_exported_not_only_what_is_loaded(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add_bulk([NewJob("send", {"api_key": SECRET, "n": n}) for n in range(620)])
        await shows_queue(pilot, "mail")
        await pilot.press("enter")
        await eventually(lambda: getattr(pilot.app.screen, "listed", ()))
        path = tmp_path / "waiting.csv"

        await command(pilot, f"export csv {path}")
        await eventually(told(pilot, f"620 rows in {path}"))

        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["id"] for row in rows}) == 620
        assert {(row["queue"], row["name"], row["state"]) for row in rows} == {("mail", "send", "waiting")}
        assert "data" not in rows[0]
        assert SECRET not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        before = path.read_bytes()
        await command(pilot, f"export csv {path}")
        await eventually(told(pilot, "that file exists; name another one"))
        assert path.read_bytes() == before


async def test_payloads_are_exported_where_asked_for_and_masked(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        await queue.add("send", {"api_key": SECRET, "text": "\x1b[2Jhello"})
        await shows_queue(pilot, "mail")
        await on_jobs(pilot, "waiting", 1)
        path = tmp_path / "with payloads.json"

        await command(pilot, f"export json payload {path}")
        await eventually(told(pilot, "1 row in"))

        found = json.loads(path.read_text())
        assert (found["list"], found["queue"], found["state"], found["partial"]) == (
            "jobs",
            "mail",
            "waiting",
            None,
        )
        assert found["rows"][0]["data"] == {"api_key": "•••", "text": "\x1b[2Jhello"}
        assert "\x1b" not in path.read_text()


async def test_a_job_is_one_file_with_its_payload_as_revealed(
    connection: Connection, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Queue("mail", connection) as queue, console(server_url) as pilot:
        job = await queue.add("send", {"api_key": SECRET})
        assert job is not None
        await shows_queue(pilot, "mail")
        await command(pilot, f"job mail:{job.id}")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail)

        await pilot.press("ctrl+s")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        entry = pilot.app.screen.query_one("#dialog-input", Input)
        assert entry.value == str(tmp_path / f"mail-{job.id}.json")
        await pilot.press("ctrl+s")
        await eventually(told(pilot, "saved to"))
        plain = json.loads((tmp_path / f"mail-{job.id}.json").read_text())
        assert (plain["id"], plain["queue"], plain["state"]) == (job.id, "mail", "waiting")
        assert "data" not in plain

        await command(pilot, "export json payload masked.json")
        await eventually(lambda: (tmp_path / "masked.json").exists())
        assert json.loads((tmp_path / "masked.json").read_text())["data"] == {"api_key": "•••"}
        await pilot.press("v")
        await eventually(told(pilot, "secrets revealed"))
        await command(pilot, "export json payload revealed.json")
        await eventually(lambda: (tmp_path / "revealed.json").exists())
        assert json.loads((tmp_path / "revealed.json").read_text())["data"] == {"api_key": SECRET}
        await command(pilot, "export csv x.csv")
        await eventually(told(pilot, "is saved as JSON"))


async def test_a_flow_is_one_file(connection: Connection, server_url: str, tmp_path: Path) -> None:
    async with FlowProducer(connection) as producer, console(server_url) as pilot:
        tree = FlowJob("report", "parent", {}, children=[FlowJob("part", "child", {"n": 1})])
        flow = await producer.add(tree)
        await shows_queue(pilot, "parent")
        await command(pilot, f"flow parent:{flow.job.id}")
        await eventually(lambda: app_of(pilot).snapshot.flow is not None and pilot.app.screen.SCOPE == "flow")
        await eventually(lambda: getattr(pilot.app.screen, "listed", ()))
        path = tmp_path / "flow.json"

        await command(pilot, f"export json payload {path}")
        await eventually(told(pilot, "saved to"))

        found = json.loads(path.read_text())
        assert {node["name"] for node in found["nodes"]} == {"report", "part"}
        [child] = [f"{node['queue']}:{node['id']}" for node in found["nodes"] if node["name"] == "part"]
        assert found["payloads"][child]["data"] == {"n": 1}


@dataclass(eq=False)
class _Slow(ScriptedFeed):
    """Reads all jobs a row at a time, and never comes to an end."""

    async def matching_jobs(self, query: JobsQuery) -> AsyncIterator[Sequence[JobRow]]:
        for number in count():
            yield [replace(ROWS[0], id=str(number))]
            await asyncio.sleep(0.05)


async def test_esc_stops_an_export_and_the_keys_go_on_meanwhile(tmp_path: Path) -> None:
    app = ConsoleApp(config(_Slow(script(LIVE, rows=ROWS)), screen="jobs"))
    path = tmp_path / "jobs.md"
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        await pilot.press("shift+tab")
        await eventually(lambda: getattr(app.screen, "listed", ()))
        await command(pilot, f"export md {path}")
        await eventually(lambda: app.exports.current is not None and app.exports.current.rows > 2)
        await pilot.press("j")
        await eventually(lambda: "exporting: " in text_on(pilot))
        assert "esc stops" in text_on(pilot)
        await command(pilot, f"export md {tmp_path / 'other.md'}")
        await eventually(told(pilot, "another file is being written"))

        await pilot.press("escape")
        await eventually(lambda: app.exports.current is None)

        assert told(pilot, "partial: the first")()
        assert path.read_text().endswith("partial: stopped by hand\n")
        assert not (tmp_path / "other.md").exists()


def _rows_in(path: Path) -> int:
    """Count the rows of an exported list."""
    text = path.read_text()
    if path.suffix == ".json":
        rows = json.loads(text)["rows"]
        assert all(rows)
        return len(rows)
    if path.suffix == ".csv":
        return len(list(csv.reader(text.splitlines()))) - 1
    return len([line for line in text.splitlines() if line.startswith("|")]) - 2


async def test_every_list_is_exported_in_every_form(tmp_path: Path) -> None:
    app = ConsoleApp(config(_feed(LIVE, None)))
    saved = []
    async with app.run_test(size=(160, 45)) as pilot:
        for spec in SCREENS:
            app.go(spec.name)
            await pilot.pause()
            await pilot.pause()
            screen = app.console_screen
            if not isinstance(screen, ListScreen):
                assert spec.name == "streams"
                continue
            if spec.name == "jobs":
                # From the waiting ones to those of all states.
                await pilot.press("shift+tab")
            await eventually(lambda screen=screen: screen.listed)
            for form in ("csv", "json", "md"):
                path = tmp_path / f"{spec.name}.{form}"
                await command(pilot, f"export {form} {path}")
                await eventually(lambda path=path: path.exists() and app.exports.current is None)
                assert _rows_in(path) == len(screen.listed), path.name
            saved.append(spec.name)
    assert len(saved) == len(SCREENS) - 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("export xml", "as what? export csv|json|md [payload] [PATH]"),
        ("export csv /nowhere/x.csv", "there is no such folder"),
    ],
)
async def test_what_cannot_be_exported_is_told(line: str, words: str) -> None:
    app = ConsoleApp(config(_feed(LIVE, None)))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.pause()
        await command(pilot, line)
        await eventually(told(pilot, words))
