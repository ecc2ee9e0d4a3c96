"""Decisions made with keys and buttons on a real server: what was shown is what is decided, and every end is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot
from textual.widgets import Button, TextArea

from glidemq_console.app import ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.screens.approvals.editor import PayloadEditor
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.overlays.audit import AuditScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog, PromptDialog
from glidemq_console.widgets.status_line import PartsView, StatusLine
from glidemq_console.widgets.wrapped_text import Prose
from glidemq_core import Actor, Job, NewJob, Queue, Worker
from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.server.connection import Connection

from .pilot_kit import text_on

pytestmark = pytest.mark.usefixtures("connection")

Q = Queue[Any, Any]


@asynccontextmanager
async def approvals(
    url: str, size: tuple[int, int] = (120, 36), *, user: str = "alice", undo_ms: int = 60_000, **options: Any
) -> AsyncIterator[Pilot[int]]:
    """A console on its approvals."""
    config = ConsoleConfig(url=url, user=user, undo_ms=undo_ms, screen="approvals", refresh_ms=200, **options)
    async with ConsoleApp(config).run_test(size=size) as pilot:
        yield pilot


def screen_of(pilot: Pilot[int]) -> ApprovalsScreen:
    assert isinstance(pilot.app, ConsoleApp)
    screen = pilot.app.console_screen
    assert isinstance(screen, ApprovalsScreen)
    return screen


async def shows(pilot: Pilot[int], count: int) -> None:
    """Wait until that many jobs are listed and the list takes keys."""
    await eventually(lambda: screen_of(pilot).lines.total == count)
    await eventually(lambda: _may_decide(screen_of(pilot)) or count == 0)
    await pilot.pause()


def _may_decide(screen: ApprovalsScreen) -> bool:
    """Whether a key decides; on a screen that has room for the list only, whether it opens the card."""
    return (screen.why_not_decide() if screen.has_class("-wide") else screen.why_not_change()) is None


async def tells(pilot: Pilot[int], words: str) -> None:
    try:
        await eventually(lambda: words in (screen_of(pilot).message or ""))
    except AssertionError:
        raise AssertionError(f"told {screen_of(pilot).message!r}, not {words!r}") from None


@asynccontextmanager
async def asking(
    url: str,
    count: int = 1,
    *,
    data: Any = None,
    draft: str = "Dear customer",
    reason: str = "review",
    **more: Any,
) -> AsyncIterator[tuple[Q, list[Job[Any, Any]], list[Any]]]:
    """Jobs that wait for a person, a worker that goes on with them, and the signals it got."""
    got: list[Any] = []

    async def process(job: Any) -> str:
        if not job.new_signals:
            await job.stream_chunk("content", draft)
            await job.report_usage(model="nano", total_tokens=310, total_cost=0.001, cost_unit="usd")
            await job.suspend(reason=reason, **more)
        got.append(job.signals[-1].data)
        return "done"

    async with Queue("moderation", url) as queue:
        jobs = await queue.add_bulk(
            [NewJob("moderate", {"n": n} if data is None else data) for n in range(count)]
        )
        async with Worker("moderation", process, url, concurrency=5):

            async def suspended() -> bool:
                return (await queue.get_job_counts()).suspended == count

            await eventually(suspended)
            yield queue, jobs, got


async def test_a_approves_what_is_shown_and_the_job_completes(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], got), approvals(server_url, undo_ms=300) as pilot:
        await shows(pilot, 1)
        shown = screen_of(pilot).shown

        await pilot.press("a")
        await eventually(job.is_completed)

        await tells(pilot, f"moderation:{job.id} approved, resumed")
        await shows(pilot, 0)
        [entry] = await queue.get_audit(job_id=job.id)
    assert shown is not None
    assert (got[0]["approved"], got[0]["by"]) == (True, "alice")
    assert (entry.action, entry.by, entry.via, entry.shown_hash) == (
        "approve",
        "alice",
        "console",
        shown.review_hash,
    )


async def test_a_second_press_sends_at_once_and_the_cursor_goes_on(server_url: str) -> None:
    async with asking(server_url, 2) as (_, jobs, _), approvals(server_url) as pilot:
        await shows(pilot, 2)
        screen = screen_of(pilot)
        first = screen.shown

        await pilot.press("a")
        await eventually(lambda: screen.console.outbox.pending)
        assert screen.shown == first
        await pilot.press("enter")
        await pilot.pause()
        assert screen.console.outbox.pending
        await pilot.press("a")

        await eventually(jobs[0].is_completed)
        await shows(pilot, 1)
        assert screen.shown is not None
        assert screen.shown.id == jobs[1].id
        assert not await jobs[1].is_completed()


async def test_a_small_screen_tells_how_to_take_a_decision_back(server_url: str) -> None:
    async with asking(server_url) as (_, [job], _), approvals(server_url, (80, 24)) as pilot:
        await shows(pilot, 1)
        await pilot.press("a")
        await tells(pilot, "it was not shown yet; enter opens the whole")
        await pilot.press("enter")
        await eventually(lambda: screen_of(pilot).why_not_decide() is None)
        await pilot.press("a", "escape")

        await eventually(
            lambda: (
                f"approving moderation:{job.id} in" in screen_of(pilot).query_one("#status", StatusLine).text
            )
        )
        assert "z undo" in screen_of(pilot).query_one("#status", StatusLine).text
        await pilot.press("z")
        await eventually(lambda: not screen_of(pilot).console.outbox.pending)


async def test_list_and_badge_count_the_same(server_url: str) -> None:
    async with asking(server_url, 3) as (_, jobs, _), approvals(server_url, undo_ms=0) as pilot:
        await shows(pilot, 3)

        await pilot.press("a")
        await eventually(jobs[0].is_completed)

        await shows(pilot, 2)
        await eventually(lambda: screen_of(pilot).snapshot.approvals == 2, timeout=1.5)


async def test_z_takes_a_decision_back(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)

        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)
        await pilot.press("z")

        await tells(pilot, "taken back, it still waits")
        assert not screen_of(pilot).console.outbox.unsent
        assert await job.get_state() == "suspended"
        assert await queue.get_audit() == []


async def test_r_rejects_with_a_reason_and_not_without(server_url: str) -> None:
    async with asking(server_url) as (_, [job], got), approvals(server_url, undo_ms=100) as pilot:
        await shows(pilot, 1)

        await pilot.press("r")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PromptDialog)
        await pilot.press(*"too rude", "enter")

        await eventually(job.is_completed)
        await tells(pilot, "rejected, resumed")
    assert (got[0]["approved"], got[0]["reason"], got[0]["reviewer"]) == (False, "too rude", "alice")


async def test_the_buttons_do_what_their_keys_do(server_url: str) -> None:
    async with asking(server_url, 2) as (_, jobs, got), approvals(server_url, undo_ms=100) as pilot:
        await shows(pilot, 2)

        await pilot.click("#approve")
        await eventually(jobs[0].is_completed)
        await shows(pilot, 1)
        screen_of(pilot).query_one("#reject", Button).focus()
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"no", "enter")

        await eventually(jobs[1].is_completed)
    assert [signal["approved"] for signal in got] == [True, False]


async def test_marked_jobs_are_decided_together(server_url: str) -> None:
    async with asking(server_url, 3) as (_, jobs, got), approvals(server_url, undo_ms=100) as pilot:
        await shows(pilot, 3)

        await pilot.press("space", "space", "a")

        await tells(pilot, "2 of 2 decisions sent")
        await eventually(lambda: len(got) == 2)
        assert await jobs[2].get_state() == "suspended"


async def test_a_comment_goes_with_the_approval(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], got), approvals(server_url, undo_ms=100) as pilot:
        await shows(pilot, 1)

        await pilot.press("c")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"fine", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, ApprovalsScreen))
        await pilot.press("a")

        await eventually(job.is_completed)
        [entry] = await queue.get_audit()
    assert got[0]["comment"] == entry.comment == "fine"


async def test_the_edited_payload_goes_with_the_approval_once_its_difference_was_seen(
    server_url: str,
) -> None:
    async with (
        asking(server_url, data={"amount": 129, "to": "C-1"}) as (_, [job], got),
        approvals(server_url, undo_ms=100) as pilot,
    ):
        await shows(pilot, 1)

        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, PayloadEditor))
        area = pilot.app.screen.query_one(TextArea)
        area.text = "{nonsense"
        await pilot.press("ctrl+s")
        assert not pilot.app.screen.has_class("-difference")
        area.text = '{"amount": 12, "to": "C-1"}'
        await pilot.press("ctrl+s")
        assert pilot.app.screen.has_class("-difference")
        await pilot.press("ctrl+s")

        await eventually(job.is_completed)
        await job.refresh()
        assert job.data == {"amount": 129, "to": "C-1"}
    assert got[0]["data"] == {"amount": 12, "to": "C-1"}


async def test_secrets_are_not_laid_open_by_editing(server_url: str) -> None:
    async with (
        asking(server_url, data={"api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f"}),
        approvals(server_url) as pilot,
    ):
        await shows(pilot, 1)

        await pilot.press("e")
        await tells(pilot, "v reveals them")
        await pilot.press("v")
        await tells(pilot, "secrets revealed")
        await pilot.press("e")

        await eventually(lambda: isinstance(pilot.app.screen, PayloadEditor))


async def test_of_two_people_the_slower_is_told_who_was_faster(server_url: str) -> None:
    async def reject_as_bob() -> None:
        async with approvals(server_url, user="bob", undo_ms=1) as bob:
            await shows(bob, 1)
            await bob.press("r")
            await eventually(lambda: isinstance(bob.app.screen, PromptDialog))
            await bob.press(*"no", "enter")
            await tells(bob, "rejected, resumed")

    async with asking(server_url) as (queue, [job], got), approvals(server_url, user="alice") as alice:
        await shows(alice, 1)
        await alice.press("a")
        await eventually(lambda: screen_of(alice).console.outbox.pending)

        # A task of its own, because Textual keeps the running app in the context.
        await asyncio.create_task(reject_as_bob())

        await eventually(job.is_completed)
        await tells(alice, "bob rejected it")
        await shows(alice, 0)
        assert [entry.by for entry in await queue.get_audit()] == ["bob"]
    assert [signal["by"] for signal in got] == ["bob"]


async def test_a_reader_is_told_who_decided_meanwhile(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)

        await queue.approve(job.id, actor=Actor("carol"))

        await tells(pilot, f"carol approved moderation:{job.id}")


async def test_a_change_under_the_reader_stops_the_decision_until_it_was_looked_at(server_url: str) -> None:
    async with asking(server_url, data={"amount": 1}) as (_, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)
        screen = screen_of(pilot)

        await job.update_data({"amount": 900})
        await eventually(lambda: screen.has_changed)
        await pilot.pause()
        assert screen.query_one("#approve", Button).disabled
        assert "changed since you opened it: payload" in screen.query_one("#review-head", PartsView).text
        assert '  "amount": 900' in screen.query_one("#review-changed", Prose).text
        await pilot.press("a")
        await tells(pilot, "it changed since you opened it")
        assert not screen.console.outbox.unsent

        await pilot.press("enter")
        await eventually(lambda: not screen.has_changed)
        await pilot.press("a")
        await eventually(lambda: screen.console.outbox.pending)
        await pilot.press("a")
        await eventually(job.is_completed)


async def test_a_change_in_the_undo_time_is_refused_by_the_server(server_url: str) -> None:
    async with asking(server_url, data={"amount": 1}) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)

        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)
        await job.update_data({"amount": 900})
        await pilot.press("a")

        await tells(pilot, "changed since you opened it: nothing was sent")
        assert await job.get_state() == "suspended"
        assert await queue.get_audit() == []


async def test_a_job_that_timed_out_is_told(connection: Connection, server_url: str) -> None:
    async with asking(server_url, timeout=3_600_000) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)
        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)

        keys = (await queue.context()).keys
        await connection.command("ZADD", keys.suspended, 1, job.id)
        await sweep_suspended(await queue.context())

        await tells(pilot, "too late: timed out")


async def test_a_removed_job_is_told(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)
        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)

        await queue.remove_job(job.id)

        await tells(pilot, "is gone: it was removed")


async def test_leaving_asks_about_decisions_that_are_held_back(server_url: str) -> None:
    async with asking(server_url) as (_, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)
        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)

        await pilot.press("q")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("escape")
        await eventually(lambda: isinstance(pilot.app.screen, ApprovalsScreen))
        assert screen_of(pilot).console.outbox.pending
        await pilot.press("q")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")

        await eventually(job.is_completed)
        await eventually(lambda: pilot.app.return_code == 0)


async def test_the_buttons_stay_on_a_small_screen_whatever_the_payload(server_url: str) -> None:
    data = {f"field-{n}": "x" * 300 for n in range(60)}
    async with (
        asking(server_url, data=data, draft="word " * 4_000) as (_, [job], _),
        approvals(server_url, (80, 24), undo_ms=100) as pilot,
    ):
        await shows(pilot, 1)
        screen = screen_of(pilot)

        await pilot.press("enter")
        await eventually(lambda: screen.has_class("-card") and screen.focused in screen.review.query(Prose))
        await eventually(lambda: screen.is_seen)
        await pilot.pause()
        for name in ("#approve", "#reject"):
            button = screen.query_one(name, Button)
            for x, y in (
                (button.region.x, button.region.y),
                (button.region.right - 1, button.region.bottom - 1),
            ):
                assert screen.get_widget_at(x, y)[0] is button
        whole = screen.shown
        assert whole is not None
        assert whole.data == data
        assert len(whole.draft or "") == 20_000
        await pilot.press("a")

        await eventually(job.is_completed)


async def test_a_viewer_sees_everything_and_may_decide_nothing(server_url: str) -> None:
    async with asking(server_url) as (_, [job], _), approvals(server_url, read_only=True) as pilot:
        await eventually(lambda: screen_of(pilot).lines.total == 1)
        await pilot.pause()
        screen = screen_of(pilot)

        assert screen.query_one("#approve", Button).disabled
        assert screen.query_one("#reject", Button).disabled
        assert "read-only" in screen.query_one("#review-note", StatusLine).text
        await pilot.press("a")
        await tells(pilot, "read-only")
        assert await job.get_state() == "suspended"


async def test_u_shows_who_decided_before(server_url: str) -> None:
    async with asking(server_url) as (queue, [job], _), approvals(server_url) as pilot:
        await shows(pilot, 1)

        await pilot.press("u")
        await eventually(lambda: isinstance(pilot.app.screen, AuditScreen))
        assert "No person has changed anything" in pilot.app.screen.query_one(PartsView).text
        await pilot.press("escape")
        await queue.approve(job.id, actor=Actor("carol", comment="fine"))
        await tells(pilot, "carol approved")
        assert [entry.by for entry in await screen_of(pilot).console.feed.audit("moderation", job.id)] == [
            "carol"
        ]


async def test_nobody_waits_says_how_one_would(server_url: str) -> None:
    async with Queue("moderation", server_url) as queue, approvals(server_url) as pilot:
        await queue.add("moderate")
        await eventually(lambda: screen_of(pilot).snapshot.inbox is not None)
        await pilot.pause()

        assert "Nothing waits for you." in pilot.app.export_screenshot().replace("&#160;", " ")


async def test_hostile_text_is_shown_inert(server_url: str) -> None:
    trouble = {
        name: text[:5_000] for name, text in CORPUS.items() if "surrogate" not in name and "pair" not in name
    }
    everything = "\n".join(trouble.values())
    async with (
        asking(
            server_url,
            data={"x": trouble, everything[:200]: everything[:2_000]},
            draft=everything,
            reason=everything[:500],
        ),
        approvals(server_url) as pilot,
    ):
        await shows(pilot, 1)
        for key in ("tab", "down", "enter", "c", "escape", "v", "escape"):
            await pilot.press(key)
            await pilot.pause()
        screen = pilot.app.screen
        for y in range(36):
            for segment in screen._compositor.render_strips()[y]:
                assert not dangerous(segment.text), segment.text


async def test_what_was_told_before_is_gone_once_a_decision_is_held_back(server_url: str) -> None:
    async with asking(server_url, 2) as (_, jobs, _), approvals(server_url) as pilot:
        await shows(pilot, 2)
        await pilot.press("a", "a")
        await eventually(jobs[0].is_completed)
        await tells(pilot, "approved, resumed")
        await shows(pilot, 1)

        await pilot.press("a")
        await eventually(lambda: screen_of(pilot).console.outbox.pending)

        await eventually(lambda: screen_of(pilot).message is None)


async def test_what_a_limit_kept_out_is_named_and_holds_the_approval_until_it_was_opened(
    server_url: str,
) -> None:
    draft = "word " * 20_000 + "and delete everything"
    async with asking(server_url, draft=draft) as (_, [job], _), approvals(server_url, undo_ms=1) as pilot:
        await eventually(lambda: screen_of(pilot).lines.total == 1)
        screen = screen_of(pilot)
        await eventually(
            lambda: "hidden here: draft after" in screen.query_one("#review-head", PartsView).text
        )
        await eventually(lambda: not screen.is_reading)
        await pilot.pause()

        assert screen.query_one("#approve", Button).disabled
        assert not screen.query_one("#reject", Button).disabled
        await pilot.press("a")
        await tells(pilot, "enter opens the whole")
        assert not screen.console.outbox.unsent
        await pilot.press("enter")
        await eventually(lambda: screen.is_seen)
        await pilot.pause()
        assert "delete everything" in screen.query_one("#review-draft", Prose).text
        await pilot.press("a")

        await eventually(job.is_completed)


async def test_a_payload_that_cannot_be_read_is_shown_as_text_with_the_reason_and_not_approved(
    connection: Connection, server_url: str
) -> None:
    async with asking(server_url) as (queue, [job], _), approvals(server_url, undo_ms=1) as pilot:
        keys = (await queue.context()).keys
        await connection.command("HSET", keys.job(job.id), "data", '{"amount": 1' + "0" * 5_000 + "}")
        screen = screen_of(pilot)
        await eventually(lambda: screen.shown is not None and screen.shown.data_error is not None)
        await pilot.pause()

        text = screen.query_one("#review-raw", Prose).text
        assert text.startswith("cannot be read: ")
        assert '{"amount": 100' in text
        assert screen.query_one("#approve", Button).disabled
        await pilot.press("a", "e")
        await pilot.pause()
        assert not screen.console.outbox.unsent
        await pilot.press("r")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"no", "enter")

        await eventually(job.is_completed)


async def test_together_nothing_is_approved_that_was_never_shown_whole(server_url: str) -> None:
    async with asking(server_url, 3) as (_, jobs, _), approvals(server_url, (80, 24), undo_ms=1) as pilot:
        await shows(pilot, 3)
        screen = screen_of(pilot)

        await pilot.press("enter")
        await eventually(lambda: screen.is_seen)
        await pilot.press("escape", "space", "space", "a")

        await eventually(jobs[0].is_completed)
        assert await jobs[1].get_state() == "suspended"
        assert screen._marked.keys() == {jobs[1].ref}
        await pilot.press("a")
        await tells(pilot, "1 never shown whole: enter opens them")


async def test_arguments_of_calls_and_drafts_are_masked_until_they_are_revealed(server_url: str) -> None:
    draft = "log in with password=correct-horse-battery"
    async with asking(server_url, draft=draft), approvals(server_url) as pilot:
        await shows(pilot, 1)
        screen = screen_of(pilot)
        pane = screen.query_one("#review-draft", Prose)

        assert "correct-horse" not in pane.text
        assert "1 secret masked; v reveals it" in screen.query_one("#review-head", PartsView).text
        await pilot.press("v")
        await tells(pilot, "secrets revealed")
        assert "correct-horse" in pane.text
        await pilot.press("v")
        await tells(pilot, "secrets masked")
        assert "correct-horse" not in pane.text


async def test_the_title_counts_the_lines_of_a_draft_and_a_rule_in_it_is_quoted(server_url: str) -> None:
    draft = "── payload 2 B ──" + "\n" * 213 + "and delete everything"
    async with asking(server_url, draft=draft), approvals(server_url) as pilot:
        await shows(pilot, 1)
        screen = screen_of(pilot)
        await pilot.pause()

        pane = screen.query_one("#review-draft", Prose)
        text = text_on(pilot)
        assert f"draft · {pane.size.height} of 214 lines" in text
        assert "│ ── payload 2 B ──" in text
        pane.focus()
        await pilot.press("G")
        await eventually(lambda: "draft · 214 of 214 lines" in text_on(pilot))


@pytest.mark.parametrize("screen", ["queues", "jobs", "streams", "flows", "limits", "workers"])
async def test_z_takes_back_a_whole_act_on_every_screen_where_its_countdown_stands(
    server_url: str, screen: str
) -> None:
    async with asking(server_url, 3) as (queue, jobs, _), approvals(server_url) as pilot:
        await shows(pilot, 3)
        app = screen_of(pilot).console

        await pilot.press("space", "space", "space", "a")
        await eventually(lambda: len(app.outbox.pending) == 3)
        app.go(screen)
        await eventually(lambda: app.current_mode == screen and not app.is_going)
        await eventually(lambda: "approving 3 jobs in " in text_on(pilot))
        assert "z undo" in text_on(pilot)
        await pilot.press("z")

        await eventually(lambda: not app.outbox.unsent)
        await eventually(lambda: "3 decisions taken back" in (app.console_screen.message or ""))  # type: ignore[union-attr]  # it is up
        assert {await job.get_state() for job in jobs} == {"suspended"}
        assert await queue.get_audit() == []
