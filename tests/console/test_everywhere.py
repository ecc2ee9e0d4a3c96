"""`:inbox all` lists what waits on the server of every profile; a decision goes to the server of its job alone."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, serving
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot
from textual.widgets import Button

from glidemq_console.app import ConsoleApp
from glidemq_console.config.settings import Given
from glidemq_console.config.source import FileSource
from glidemq_console.feed import elsewhere
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.decisions import server_of
from glidemq_console.model.lists.elsewhere import FarRef
from glidemq_console.screens.approvals.everywhere import EverywhereScreen
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog, PromptDialog
from glidemq_console.widgets.lists.columns import Heading
from glidemq_core import JobRef
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection

from .fixed import config, script
from .pilot_kit import app_of, enter, names_of_clients, text_on, told
from .test_approvals import asking

pytestmark = [pytest.mark.thorough, pytest.mark.leaves_records, pytest.mark.usefixtures("connection")]


@pytest.fixture
def path(
    config_path: Path, server_url: str, second_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Writes the config file with the profiles here and staging, and what else is given."""
    # Servers are read every five seconds, which tests need not wait for.
    monkeypatch.setattr(elsewhere, "EVERY_MS", 300)

    def write(more: str = "", here: str = "", staging: str = "") -> Path:
        config_path.write_text(
            f'refresh = "200ms"\nundo = "60s"\nprofile = "here"\n'
            f'[profiles.here]\nurl = "{server_url}"\nuser = "alice"\n{here}\n'
            f'[profiles.staging]\nurl = "{second_url}"\nuser = "carol"\n{staging}\n{more}\n'
        )
        return config_path

    return write


@asynccontextmanager
async def everywhere(
    rows: int, size: tuple[int, int] = (160, 45), **options: Any
) -> AsyncIterator[Pilot[int]]:
    """A console on the inbox of all servers, once that many rows are listed."""
    app = ConsoleApp(FileSource(given=Given()).config(screen="approvals", **options))
    async with app.run_test(size=size) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await enter(pilot, "inbox all")
        await eventually(lambda: isinstance(app.console_screen, EverywhereScreen))
        await eventually(lambda: screen_of(pilot).is_up and screen_of(pilot).lines.total == rows)
        yield pilot


def screen_of(pilot: Pilot[int]) -> EverywhereScreen:
    screen = app_of(pilot).console_screen
    assert isinstance(screen, EverywhereScreen), screen
    return screen


async def stand_on(pilot: Pilot[int], job_id: str, server: str | None) -> None:
    """Put the cursor on a job, and wait until a key decides on it."""
    screen = screen_of(pilot)
    ref = JobRef("moderation", job_id) if server is None else FarRef("moderation", job_id, server)
    assert screen.lines.move_to_key(ref), ref
    await eventually(lambda: screen.shown is not None and screen.shown.ref == ref)
    await eventually(lambda: screen.why_not_decide() is None)
    await pilot.pause()


async def test_rows_of_all_servers_and_a_decision_is_made_where_its_job_is(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()
    async with (
        asking(server_url, data={"at": "home"}) as (here, [mine], _),
        asking(second_url, data={"at": "abroad"}) as (there, [theirs], got),
        everywhere(2) as pilot,
    ):
        # The same queue and the same id on both: only the server tells them apart.
        assert mine.id == theirs.id
        shown = text_on(pilot)
        assert "SERVER" in shown
        assert "2 wait for a person" in shown
        await stand_on(pilot, theirs.id, "staging")
        await eventually(lambda: "abroad" in text_on(pilot))
        assert "on staging" in text_on(pilot)
        assert "acting as carol on staging" in text_on(pilot)

        await pilot.press("a")
        await eventually(lambda: app_of(pilot).outbox.pending)
        await eventually(lambda: f"approving moderation:{theirs.id} on staging" in text_on(pilot)
                         or "approving in" in text_on(pilot))  # fmt: skip
        [held] = app_of(pilot).outbox.pending
        assert server_of(held.ref) == "staging"
        assert app_of(pilot).outbox.of(JobRef("moderation", mine.id)) is None
        await pilot.press("a")

        await eventually(theirs.is_completed)
        await eventually(told(pilot, f"moderation:{theirs.id} on staging approved, resumed"))
        await eventually(lambda: screen_of(pilot).lines.total == 1)
        [entry] = await there.get_audit(job_id=theirs.id)
        assert (entry.action, entry.by, entry.via) == ("approve", "carol", "console")
        assert got[0]["by"] == "carol"
        assert await here.get_audit(job_id=mine.id) == []
        assert await mine.get_state() == "suspended"

        # What waits here is decided by who one is here.
        await stand_on(pilot, mine.id, None)
        assert "acting as alice" in text_on(pilot)
        await pilot.press("a", "a")
        await eventually(mine.is_completed)
        [entry] = await here.get_audit(job_id=mine.id)
        assert entry.by == "alice"

        await enter(pilot, "inbox")
        await eventually(lambda: app_of(pilot).current_mode == "approvals")
        assert not isinstance(app_of(pilot).console_screen, EverywhereScreen)


async def test_each_server_has_its_own_countdown(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path(staging='undo = "10m"')
    async with (
        asking(server_url) as (_, [mine], _),
        asking(second_url) as (_, [theirs], _),
        everywhere(2) as pilot,
    ):
        for job, server in ((mine, None), (theirs, "staging")):
            await stand_on(pilot, job.id, server)
            await pilot.press("a")
            await eventually(
                lambda server=server: any(
                    server_of(one.ref) == server for one in app_of(pilot).outbox.pending
                )
            )
        due = {server_of(one.ref): one.due_ms for one in app_of(pilot).outbox.pending}
        assert 500_000 < due["staging"] - due[None] < 560_000
        # The act under the cursor is taken back, not the same job of the other server.
        await pilot.press("z")
        await eventually(told(pilot, f"moderation:{theirs.id} on staging: taken back"))
        assert [server_of(one.ref) for one in app_of(pilot).outbox.pending] == [None]
        app_of(pilot).outbox.take_back()


async def test_a_server_that_dies_has_a_row_of_its_own_and_the_others_go_on(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path], tmp_path: Path
) -> None:
    dying = ExitStack()
    url = f"valkey://127.0.0.1:{dying.enter_context(serving(tmp_path))}"
    path(f'[profiles.third]\nurl = "{url}"\n')
    async with AsyncExitStack() as stack:
        _, [mine], _ = await stack.enter_async_context(asking(server_url))
        _, [theirs], _ = await stack.enter_async_context(asking(second_url))
        ours = await connect(url)
        async with asking(url):
            pilot = await stack.enter_async_context(everywhere(3))
        assert "3 servers" in text_on(pilot)
        await ours.close()

        dying.close()

        await eventually(lambda: "third lost, retr" in text_on(pilot))
        screen = screen_of(pilot)
        assert "2 of 3 servers" in text_on(pilot)
        # Its job stays, as it was read last, and nothing is decided on it.
        assert screen.lines.total == 4
        assert isinstance(screen.lines.key_at(0), Heading)
        assert screen.lines.move_to_key(FarRef("moderation", "1", "third"))
        await eventually(lambda: screen.shown is not None and server_of(screen.shown.ref) == "third")
        await pilot.press("a")
        await eventually(told(pilot, "third: no connection to the server"))
        assert not app_of(pilot).outbox.unsent
        # On its own row there is nothing to decide.
        screen.lines.move_to(0)
        await pilot.pause()
        assert "Approve" not in text_on(pilot)
        await pilot.pause(0.4)
        await pilot.press("a")
        await eventually(told(pilot, "third cannot be read now; ^r tries again"))
        for job, server in ((mine, None), (theirs, "staging")):
            await stand_on(pilot, job.id, server)
            await pilot.press("a", "a")
            await eventually(job.is_completed)


async def test_profiles_that_cannot_be_read_are_told_without_a_question(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path], tmp_path: Path
) -> None:
    with serving(tmp_path, "--requirepass", "secret") as port:
        path(
            '[profiles.broken]\nurl = "http://x"\n[profiles.away]\nurl = "valkey://127.0.0.1:1"\n'
            f'[profiles.locked]\nurl = "valkey://127.0.0.1:{port}"\n'
            # The same server under another name is not read twice.
            f'[profiles.again]\nurl = "{second_url}"\n'
        )
        async with asking(server_url) as (_, [mine], _), everywhere(4) as pilot:
            await eventually(lambda: "away lost, retr" in text_on(pilot))
            await eventually(lambda: "locked lost, retr" in text_on(pilot))
            assert "broken cannot be used" in text_on(pilot)
            assert "again" not in text_on(pilot)
            assert not isinstance(pilot.app.screen, PromptDialog)
            assert "2 of 5 servers" in text_on(pilot)
            # The cursor is on a job, not on what is wrong.
            await eventually(lambda: screen_of(pilot).shown is not None)
            await eventually(lambda: screen_of(pilot).why_not_decide() is None)
            await pilot.press("a", "a")
            await eventually(mine.is_completed)


async def test_what_is_held_for_any_server_is_asked_about(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()
    async with (
        asking(server_url) as (_, [mine], _),
        asking(second_url) as (_, [theirs], _),
        everywhere(2) as pilot,
    ):
        app = app_of(pilot)
        for job, server in ((mine, None), (theirs, "staging")):
            await stand_on(pilot, job.id, server)
            await pilot.press("a")
        await eventually(lambda: len(app.outbox.pending) == 2)

        await enter(pilot, "profile staging")
        await eventually(lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.pause()
        shown = text_on(pilot)
        assert "2 decisions not sent yet" in shown
        assert f"approve moderation:{theirs.id} on staging" in shown
        await pilot.press("escape")
        await eventually(told(pilot, "still on here"))

        await pilot.press("q")
        await eventually(lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(mine.is_completed)
        await eventually(theirs.is_completed)
        await eventually(lambda: not app.is_running)


async def test_connections_are_closed_on_leaving_once_nothing_is_to_be_sent(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()

    async def is_read() -> bool:
        return "glidemq-console" in await names_of_clients(second)

    async def is_closed() -> bool:
        return not await is_read()

    async with asking(second_url) as (_, [theirs], _), everywhere(1) as pilot:
        assert await is_read()
        await stand_on(pilot, theirs.id, "staging")
        await pilot.press("a")
        await eventually(lambda: app_of(pilot).outbox.pending)
        await pilot.press("1")
        await eventually(lambda: app_of(pilot).current_mode == "queues")
        await eventually(told(pilot, "1 decision still held back"))
        await pilot.pause(1.5)
        assert await is_read()

        [held] = app_of(pilot).outbox.pending
        app_of(pilot).outbox.send_now(held.ref)

        await eventually(theirs.is_completed)
        await eventually(is_closed)
        await pilot.press("4")
        await enter(pilot, "inbox all")
        await eventually(is_read)
        await enter(pilot, "inbox")
        await eventually(is_closed)


async def test_nothing_leads_to_a_job_of_another_server(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()
    async with (
        asking(server_url) as (_, [mine], _),
        asking(second_url) as (_, [theirs], _),
        everywhere(2) as pilot,
    ):
        await stand_on(pilot, theirs.id, "staging")
        for key in ("o", "t", "f", "u", "w"):
            await pilot.press(key)
            await eventually(told(pilot, "it is on staging; :profile staging shows it"))
            app_of(pilot).clear_message()
            assert app_of(pilot).current_mode == "inboxes"
        # The page of a job of this server goes on to the next one of this server.
        await stand_on(pilot, mine.id, None)
        await pilot.press("o")
        await eventually(lambda: app_of(pilot).console_screen is not None
                         and app_of(pilot).console_screen.SCOPE == "job")  # fmt: skip
        await pilot.press("right_square_bracket")
        await eventually(told(pilot, "that is the last one"))
        await pilot.press("escape")
        await eventually(lambda: isinstance(app_of(pilot).console_screen, EverywhereScreen))
        assert screen_of(pilot).lines.cursor_key == JobRef("moderation", mine.id)


async def test_marks_of_several_servers_are_decided_each_by_its_own_rights(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path], tmp_path: Path
) -> None:
    with serving(tmp_path) as port:
        url = f"valkey://127.0.0.1:{port}"
        path(f'[profiles.guarded]\nurl = "{url}"\nread_only = true\n')
        async with (
            asking(server_url) as (_, [mine], _),
            asking(second_url) as (_, [theirs], _),
            asking(url) as (guarded, [kept], _),
            everywhere(3) as pilot,
        ):
            await eventually(lambda: screen_of(pilot).shown is not None)
            await pilot.press("asterisk")
            await eventually(lambda: len(screen_of(pilot)._marked) == 3)
            await pilot.press("r")
            await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
            await pilot.pause()
            assert "Reject 2 jobs?" in text_on(pilot)
            await pilot.press(*"no", "enter")
            await eventually(told(pilot, "1 left out: guarded: this console is read-only"))
            assert {server_of(ref) for ref in screen_of(pilot)._marked} == {"guarded"}
            await pilot.press("escape")
            for held in app_of(pilot).outbox.pending:
                app_of(pilot).outbox.send_now(held.ref)
            for job in (mine, theirs):
                await eventually(job.is_completed)
            assert await kept.get_state() == "suspended"

            await stand_on(pilot, kept.id, "guarded")
            await pilot.press("a")
            await eventually(told(pilot, "guarded: this console is read-only"))
            assert screen_of(pilot).query_one("#approve", Button).disabled
            assert await guarded.get_audit(job_id=kept.id) == []


async def test_a_read_only_console_decides_nothing_anywhere(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path(here="read_only = true")
    async with (
        asking(server_url) as (_, [mine], _),
        asking(second_url) as (_, [theirs], _),
        everywhere(2) as pilot,
    ):
        # The other profile may be written to: that it is another one does not matter.
        await stand_on(pilot, theirs.id, "staging")
        await pilot.press("a", "a")
        await eventually(theirs.is_completed)
        await stand_on(pilot, mine.id, None)
        await pilot.press("a")
        await eventually(told(pilot, "read-only"))
        assert await mine.get_state() == "suspended"


async def test_hostile_text_of_another_server_is_inert(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()
    trouble = {
        name: text[:5_000] for name, text in CORPUS.items() if "surrogate" not in name and "pair" not in name
    }
    everything = "\n".join(trouble.values())
    async with (
        asking(
            second_url,
            data={"x": trouble, everything[:200]: everything[:2_000]},
            draft=everything,
            reason=everything[:500],
        ),
        everywhere(1) as pilot,
    ):
        await eventually(lambda: screen_of(pilot).shown is not None)
        for key in ("tab", "down", "enter", "c", "escape", "v", "escape", "o"):
            await pilot.press(key)
            await pilot.pause()
        for line in pilot.app.screen._compositor.render_strips():
            for segment in line:
                assert not dangerous(segment.text), segment.text


async def test_no_more_than_eight_profiles_are_read(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path("".join(f'[profiles.p{n}]\nurl = "valkey://127.0.0.1:{n}"\n' for n in range(1, 11)))
    async with everywhere(7) as pilot:
        elsewhere_known = app_of(pilot).snapshot.elsewhere
        assert elsewhere_known is not None
        assert len(elsewhere_known.servers) == 8
        assert elsewhere_known.left_out == ("p8", "p9", "p10")
        await eventually(lambda: "3 profiles too many" in text_on(pilot))


async def test_without_a_config_file_there_are_no_others_and_other_words_are_told() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(120, 36)) as pilot:
        await enter(pilot, "inbox all")
        await eventually(told(pilot, "without a config file"))
        await enter(pilot, "inbox most")
        await eventually(told(pilot, "no inbox 'most'"))
        await enter(pilot, "inbox")
        await eventually(lambda: isinstance(app.console_screen, ApprovalsScreen))


async def test_the_others_are_decided_on_while_this_server_cannot_be_reached(
    second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    file = path()
    text = file.read_text()
    file.write_text(text.replace(text.split('url = "')[1].split('"')[0], "valkey://127.0.0.1:1"))
    async with asking(second_url) as (_, [theirs], _):
        app = ConsoleApp(FileSource(given=Given()).config(screen="inboxes"))
        async with app.run_test(size=(160, 45)) as pilot:
            await eventually(lambda: "here lost, retr" in text_on(pilot))
            await eventually(lambda: screen_of(pilot).lines.total == 2)
            await stand_on(pilot, theirs.id, "staging")
            assert "1 of 2 servers" in text_on(pilot)
            assert "approve" in text_on(pilot).splitlines()[-1]
            await pilot.press("a", "a")
            await eventually(theirs.is_completed)
            await enter(pilot, "inbox")
            await eventually(lambda: "cannot reach the server" in text_on(pilot))


async def test_what_is_filtered_for_is_a_server_too(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path]
) -> None:
    path()
    async with asking(server_url), asking(second_url), everywhere(2) as pilot:
        for word, server in (("staging", "staging"), ("here", None)):
            await pilot.press("slash", *word, "enter")
            await eventually(lambda: screen_of(pilot).lines.total == 1)
            assert [server_of(line.one.ref) for line in screen_of(pilot).listed] == [server]
            await pilot.press("escape")
            await eventually(lambda: screen_of(pilot).lines.total == 2)


async def test_a_list_of_several_servers_is_saved_with_them(
    server_url: str, second_url: str, second: Connection, path: Callable[..., Path], tmp_path: Path
) -> None:
    path()
    async with (
        asking(server_url, data={"at": "home"}),
        asking(second_url, data={"at": "abroad"}),
        everywhere(2) as pilot,
    ):
        for form in ("csv", "json payload"):
            file = tmp_path / f"all.{form[:3]}"
            await enter(pilot, f"export {form} {file}")
            await eventually(lambda file=file: file.exists() and app_of(pilot).exports.current is None)
        with (tmp_path / "all.csv").open() as lines:
            assert sorted(row["server"] for row in csv.DictReader(lines)) == ["here", "staging"]
        rows = json.loads((tmp_path / "all.jso").read_text())["rows"]
        # Each payload is that of its own server, though queue and id are the same.
        assert {row["server"]: row["data"] for row in rows} == {
            "here": {"at": "home"},
            "staging": {"at": "abroad"},
        }
