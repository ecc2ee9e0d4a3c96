"""What is not drawn changes nothing: too small a terminal, a screen or a widget that could not be drawn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot
from textual.strip import Strip

from glidemq_console.actions.base import EVERYWHERE
from glidemq_console.app import SCREENS, ConsoleApp
from glidemq_console.runtime.defects import DefectLog
from glidemq_console.runtime.process import report_unsent
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.registry import ACTIONS, in_scope
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog, PromptDialog
from glidemq_core.errors import AuditError, ClosedError, GlideMQError, ServerUnavailableError
from glidemq_core.options.job import Actor

from .fixed import config
from .fixed_ai import feed
from .pilot_kit import text_on

SMALL = (50, 14)
LEAVES = {"q", "ctrl+q"}


def changes(monkeypatch: pytest.MonkeyPatch, script: Any) -> list[str]:
    """Every change that is asked of the server."""
    asked: list[str] = []

    async def change(queue: str, call: Any) -> Any:
        asked.append(queue)
        raise AssertionError("changed unseen")

    monkeypatch.setattr(script, "change", change)
    return asked


async def ready(pilot: Pilot[int], app: ConsoleApp) -> ApprovalsScreen:
    await eventually(lambda: app.snapshot.has_data and isinstance(app.screen, ApprovalsScreen))
    screen = app.screen
    assert isinstance(screen, ApprovalsScreen)
    await eventually(lambda: screen.why_not_decide() is None)
    await pilot.pause()
    return screen


@pytest.mark.thorough
@pytest.mark.parametrize("name", [spec.name for spec in SCREENS])
async def test_no_key_changes_anything_on_a_terminal_that_is_too_small(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = feed()
    asked = changes(monkeypatch, script)
    app = ConsoleApp(config(script, screen=name, undo_ms=0))
    async with app.run_test(size=SMALL) as pilot:
        await eventually(lambda: app.snapshot.has_data)
        await pilot.pause()
        assert "too small: 50x14, needs 60x15" in text_on(pilot)

        keys = {key for action in (*in_scope(name), *in_scope(EVERYWHERE)) for key in action.keys} - LEAVES
        for key in sorted(keys):
            await pilot.press(key)
            # Whatever came up is answered as somebody would who sees nothing of it.
            await pilot.press("y", "enter", "escape", "escape")
            app.go(name)
            await eventually(lambda: not app.is_going)
        await pilot.pause()

        assert asked == []
        assert not app.outbox.unsent


async def test_every_action_that_changes_says_why_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ConsoleApp(config(feed(), screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await ready(pilot, app)
        await pilot.resize_terminal(*SMALL)
        await eventually(lambda: screen.is_too_small)

        context = screen.context()
        for action in ACTIONS.values():
            if action.danger:
                assert "too small" in (action.unavailable(context) or ""), action.id


async def test_a_dialog_of_which_nothing_is_drawn_cannot_be_answered_but_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = feed()
    asked = changes(monkeypatch, script)
    app = ConsoleApp(config(script, screen="approvals", undo_ms=0))
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app)
        await pilot.press("r")
        await eventually(lambda: isinstance(app.screen, PromptDialog))
        await pilot.press(*"too rude")
        await pilot.resize_terminal(*SMALL)
        await eventually(lambda: [child.styles.opacity for child in app.screen.children] == [0])

        await pilot.press(*"!", "enter")
        await pilot.click(offset=(25, 7))
        await pilot.pause()
        assert isinstance(app.screen, PromptDialog)
        await pilot.resize_terminal(120, 36)
        await pilot.pause()
        assert "too rude" in text_on(pilot)
        assert "too rude!" not in text_on(pilot)
        await pilot.resize_terminal(*SMALL)
        await pilot.press("escape")
        await eventually(lambda: isinstance(app.screen, ApprovalsScreen))

        assert asked == []


async def test_a_decision_that_is_held_can_be_taken_back_on_a_terminal_that_became_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = ConsoleApp(config(feed(), screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app)
        await pilot.press("a")
        await eventually(lambda: app.outbox.pending)
        await pilot.resize_terminal(*SMALL)
        await eventually(lambda: "approving moderation:48207 in" in text_on(pilot))

        await pilot.press("a")
        assert app.outbox.pending
        await pilot.press("z")

        await eventually(lambda: not app.outbox.unsent)


async def test_a_defect_in_a_screen_is_told_and_logged_and_nothing_is_decided_unseen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    log = tmp_path / "console.log"
    app = ConsoleApp(config(feed(), screen="approvals", log_path=log))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await ready(pilot, app)
        draw = screen.draw

        def fail(snapshot: Any) -> None:
            payload = "the-secret-in-a-variable"
            raise KeyError("text-dim" + payload[:0])

        monkeypatch.setattr(screen, "draw", fail)
        app.feed.refresh_now()
        await eventually(
            lambda: "KeyError: 'text-dim', a defect while drawing approvals" in (screen.message or "")
        )
        await pilot.press("a")
        await pilot.pause()
        assert not app.outbox.unsent

        monkeypatch.setattr(screen, "draw", draw)
        app.feed.refresh_now()
        await eventually(lambda: screen.why_not_drawn() is None)
        await pilot.press("a")
        await eventually(lambda: app.outbox.pending)
    text = log.read_text()
    assert "KeyError: 'text-dim'" in text
    assert "in fail" in text or " fail: raise" in text
    assert "the-secret-in-a-variable" not in text.replace('payload = "the-secret-in-a-variable"', "")
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_defect_in_a_widget_costs_its_lines_and_holds_decisions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    app = ConsoleApp(config(feed(), screen="approvals", log_path=tmp_path / "console.log"))
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await ready(pilot, app)
        broken = screen.review.payload

        def fail(y: int) -> Strip:
            raise ValueError("no such cell")

        monkeypatch.setattr(broken, "render_line", fail)
        broken.refresh()
        await eventually(lambda: "ValueError: no such cell" in (screen.message or ""))
        assert "moderation : 48207" in text_on(pilot)
        await pilot.press("a")
        await pilot.pause()
        assert not app.outbox.unsent

        monkeypatch.undo()
        broken.refresh()
        await eventually(lambda: screen.why_not_drawn() is None)


async def test_a_defect_that_ends_the_console_sends_nothing_and_prints_no_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    script = feed()
    asked = changes(monkeypatch, script)
    app = ConsoleApp(config(script, screen="approvals", log_path=tmp_path / "console.log"))

    def fail() -> None:
        payload = "the-" + "secret"
        raise ZeroDivisionError(len(payload))

    async def crash() -> None:
        async with app.run_test(size=(120, 36)) as pilot:
            await ready(pilot, app)
            await pilot.press("a")
            await eventually(lambda: app.outbox.pending)
            app.call_later(fail)
            await eventually(lambda: app.return_code is not None)

    with pytest.raises(ZeroDivisionError):
        await crash()

    assert app.return_code == 70
    assert asked == []
    assert [pending.ref.id for pending in app.outbox.unsent] == ["48207"]
    printed = "".join(capsys.readouterr())
    assert "glidemq console ended: ZeroDivisionError" in printed
    assert "the-secret" not in printed
    assert "the-secret" not in (tmp_path / "console.log").read_text()


def test_a_log_that_cannot_be_written_is_said_and_a_long_one_begins_anew(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    assert "not logged: " in DefectLog(tmp_path / "file" / "console.log").record(ValueError("x"), "testing")

    path = tmp_path / "console.log"
    path.write_text("x" * 2_000_000)
    assert "written to" in DefectLog(path).record(ValueError("token=abcdefghijkl"), "testing")
    assert path.stat().st_size < 1_000
    assert "abcdefghijkl" not in path.read_text()
    assert (tmp_path / "console.log.1").exists()


@pytest.mark.parametrize(
    ("error", "begun", "words"),
    [
        (ServerUnavailableError("the connection was lost", address="h"), True, "it may have been sent"),
        (ClosedError("the connection is closed", what="connection"), True, "it may have been sent"),
        (ServerUnavailableError("no connection", address="h"), False, "was not sent, it still waits"),
        (
            AuditError("the audit is damaged", command="FCALL", code="AUDIT"),
            True,
            "was not sent, it still waits",
        ),
    ],
)
async def test_nothing_is_said_of_a_decision_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch, error: GlideMQError, begun: bool, words: str
) -> None:
    script = feed()

    class Away:
        async def approve(self, *_: Any, **__: Any) -> Any:
            raise error

    async def change(queue: str, call: Any) -> Any:
        if begun:
            await call(Away(), Actor("me"))
        raise error

    monkeypatch.setattr(script, "change", change)
    app = ConsoleApp(config(script, screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app)
        await pilot.press("a")
        await eventually(lambda: app.outbox.pending)
        # Leaving sends it; what is not known to count keeps the console, where it is told.
        await pilot.press("q")
        await eventually(lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await eventually(lambda: not app.outbox.unsent and isinstance(app.screen, ApprovalsScreen))
        await pilot.pause()

        assert app.return_code is None
        assert words in (app.console_screen.message or "")  # type: ignore[union-attr]


async def test_a_decision_on_its_way_when_the_console_ends_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script, asked = feed(), asyncio.Event()

    async def change(queue: str, call: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(script, "change", change)
    app = ConsoleApp(config(script, screen="approvals"))
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, app)
        await pilot.press("a")
        await eventually(lambda: app.outbox.pending)
        await pilot.press("a")
        await asked.wait()
        app.exit()

    report_unsent(app)

    assert "no answer, it may have been sent: approve " in capsys.readouterr().err
