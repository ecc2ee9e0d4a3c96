"""Flows and limits with keys on a real server: what is released, retried, capped is asked of the server after."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from textual.pilot import Pilot
from textual.widgets import Button

from glidemq_console.app import ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.flows.list import FlowsScreen
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.flows.top_up import TopUpDialog
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_console.screens.limits.screen import LimitsScreen
from glidemq_console.widgets.dialogs.dialog import ConfirmDialog, PromptDialog
from glidemq_console.widgets.dialogs.form import FormDialog
from glidemq_console.widgets.lists.columns import Heading
from glidemq_console.widgets.status_line import PartsView
from glidemq_core import (
    Budget,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    NewJob,
    Queue,
    RateLimit,
    UnrecoverableError,
    Worker,
)
from glidemq_core.server.connection import Connection

from .fixed import config
from .fixed_flows import DONE, FINISHED, GENERATING, WAITING_ROOT, flow, flows_script, limits_script


@asynccontextmanager
async def console(
    url: str, screen: str, size: tuple[int, int] = (150, 40), **options: Any
) -> AsyncIterator[Pilot[int]]:
    config = ConsoleConfig(url=url, user="alice", screen=screen, refresh_ms=200, **options)
    async with ConsoleApp(config).run_test(size=size) as pilot:
        yield pilot


def app_of(pilot: Pilot[int]) -> ConsoleApp:
    assert isinstance(pilot.app, ConsoleApp)
    return pilot.app


async def tells(pilot: Pilot[int], words: str) -> None:
    def told() -> str:
        screen = app_of(pilot).console_screen
        return (screen.message if screen is not None else None) or ""

    try:
        await eventually(lambda: words in told())
    except AssertionError:
        raise AssertionError(f"told {told()!r}, not {words!r}") from None


async def flow_page(pilot: Pilot[int], rows: int) -> FlowScreen:
    """Open the flow under the cursor of the list."""
    await eventually(lambda: isinstance(pilot.app.screen, FlowsScreen) and pilot.app.screen.selected)
    await pilot.press("enter")
    return await on_flow(pilot, rows)


async def on_flow(pilot: Pilot[int], rows: int) -> FlowScreen:
    await eventually(
        lambda: isinstance(pilot.app.screen, FlowScreen) and pilot.app.screen.lines.total == rows
    )
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, FlowScreen)
    return screen


def facts(screen: FlowScreen) -> str:
    return screen.query_one("#flow-facts", PartsView).text


def painted(pilot: Pilot[int]) -> str:
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


# --- budgets -----------------------------------------------------------------------------------------------


async def spend(job: Job[Any, Any]) -> str:
    if job.name == "step":
        await job.report_usage(model="gpt-5.4", tokens={"input": 60, "output": 40}, costs={"total": 0.01})
    return "done"


def flow_of(name: str, steps: int = 4) -> FlowJob:
    return FlowJob(name, "ai", {}, None, [FlowJob("step", "ai", {"n": n}) for n in range(steps)])


async def test_topping_up_releases_exactly_the_parked_jobs_and_they_complete(
    connection: Connection, server_url: str
) -> None:
    budget = Budget(max_total_tokens=150, on_exceeded="pause")
    async with FlowProducer(connection) as producer, Queue("ai", connection) as queue:
        mine = await producer.add(flow_of("rag"), budget=budget)
        other = await producer.add(flow_of("other"), budget=budget)
        async with Worker("ai", spend, connection, concurrency=1):

            async def all_parked() -> bool:
                return [len(await queue.get_parked_jobs(f.job.id)) for f in (mine, other)] == [2, 2]

            await eventually(all_parked)
            async with console(server_url, "flows") as pilot:
                await eventually(
                    lambda: isinstance(pilot.app.screen, FlowsScreen) and len(pilot.app.screen.listed) == 2
                )
                lines = pilot.app.screen.query_one("#flow-list")
                assert lines.move_to_key(mine.job.ref)  # type: ignore[attr-defined]  # a RowList
                screen = await flow_page(pilot, 5)
                await eventually(lambda: "exceeded, parked 2" in facts(screen))

                await pilot.press("T")
                await eventually(lambda: isinstance(pilot.app.screen, TopUpDialog))
                dialog = pilot.app.screen
                preview = dialog.query_one("#preview", PartsView)
                await pilot.press(*"20")
                await eventually(lambda: "tokens is still exceeded" in preview.text)
                await pilot.press("0", "0")
                # On a slow machine the first zero gets a preview of its own: the last one enables the button.
                button = dialog.query_one("#dialog-yes", Button)
                await eventually(lambda: "releases  2 jobs" in preview.text and not button.disabled)
                assert str(button.label) == "^s Top up, release 2"
                await eventually(lambda: button.size.width >= len("^s Top up, release 2"))
                assert await all_parked()

                await pilot.press("enter", "enter")
                await tells(pilot, f"ai:{mine.job.id} topped up: 2 jobs released")
                await eventually(mine.job.is_completed)
                await eventually(lambda: "completed" in painted(pilot) and "5 of 5 done" in painted(pilot))

    async with Queue("ai", connection) as queue:
        [entry] = await queue.get_audit(job_id=mine.job.id)
        assert (entry.action, entry.by, entry.via) == ("top_up_budget", "alice", "console")
        assert len(await queue.get_parked_jobs(other.job.id)) == 2


async def test_escape_tops_nothing_up_and_wrong_amounts_are_told(
    connection: Connection, server_url: str
) -> None:
    async with FlowProducer(connection) as producer, Queue("ai", connection) as queue:
        node = await producer.add(flow_of("rag"), budget=Budget(max_total_tokens=150, max_costs={"total": 1}))
        async with console(server_url, "flows") as pilot:
            await flow_page(pilot, 5)
            await pilot.press("T")
            await eventually(lambda: isinstance(pilot.app.screen, TopUpDialog))
            dialog = pilot.app.screen
            await pilot.press("x", "enter")
            await eventually(lambda: "must be a number" in str(dialog.query_one("#dialog-problem").content))  # type: ignore[attr-defined]  # a Static
            assert dialog.query_one("#dialog-yes", Button).disabled
            await pilot.press("escape")
            await tells(pilot, "nothing was added")
        stored = await queue.get_flow_budget(node.job.id)
        assert stored is not None
        assert (stored.max_total_tokens, dict(stored.max_costs)) == (150, {"total": 1})


# --- parents that cannot go on -----------------------------------------------------------------------------


@asynccontextmanager
async def stuck_flow(connection: Connection) -> AsyncIterator[tuple[Any, dict[str, bool]]]:
    """A parent whose second child failed for good, until `broken` says otherwise; and the worker."""
    switch = {"broken": True}

    async def process(job: Job[Any, Any]) -> str:
        if job.name == "generate" and switch["broken"]:
            raise UnrecoverableError("429 slow down")
        return "done"

    async with FlowProducer(connection) as producer, Worker("ai", process, connection, log_errors=False):
        children = [FlowJob("embed", "ai", {}), FlowJob("generate", "ai", {}, JobOptions(attempts=1))]
        node = await producer.add(FlowJob("rag", "ai", {}, None, children))
        [_, failing] = node.children or ()
        await eventually(failing.job.is_failed)
        yield node, switch


async def test_a_stuck_parent_names_the_child_and_retrying_that_completes_the_flow(
    connection: Connection, server_url: str
) -> None:
    async with stuck_flow(connection) as (node, switch), console(server_url, "flows") as pilot:
        screen = await flow_page(pilot, 3)
        await eventually(lambda: "rag can never go on by itself" in painted(pilot))
        assert "generate failed, 429 slow down" in screen.query_one("#flow-banner", PartsView).text

        switch["broken"] = False
        await pilot.press("R")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")

        await tells(pilot, "generate waits again")
        await eventually(node.job.is_completed)


async def test_a_stuck_parent_is_let_go_on_after_a_question(connection: Connection, server_url: str) -> None:
    async with stuck_flow(connection) as (node, _), console(server_url, "flows") as pilot:
        screen = await flow_page(pilot, 3)
        await eventually(lambda: bool(screen.view and screen.view.blocked))

        await pilot.press("L")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("enter")
        await eventually(lambda: isinstance(pilot.app.screen, FlowScreen))
        assert not await node.job.is_completed()

        await pilot.press("L")
        await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await tells(pilot, "goes on without 1 child")
        await eventually(node.job.is_completed)


async def test_enter_opens_the_job_and_f_its_flow(connection: Connection, server_url: str) -> None:
    async with FlowProducer(connection) as producer, console(server_url, "flows") as pilot:
        node = await producer.add(flow_of("rag", 2))
        await eventually(lambda: app_of(pilot).snapshot.queue("ai") is not None)
        app_of(pilot).feed.refresh_now()
        await flow_page(pilot, 3)
        await pilot.press("down", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, JobScreen) and pilot.app.screen.detail)
        page = pilot.app.screen
        assert isinstance(page, JobScreen)
        assert page.detail is not None
        assert page.detail.parent == node.job.ref

        await pilot.press("f")
        screen = await on_flow(pilot, 3)

        await eventually(lambda: screen.selected is not None and screen.selected.ref == page.ref)
        await pilot.press("escape", "escape")
        await eventually(lambda: isinstance(pilot.app.screen, FlowScreen))


# --- limits ------------------------------------------------------------------------------------------------


async def limits_page(pilot: Pilot[int], name: str) -> LimitsScreen:
    await eventually(lambda: isinstance(pilot.app.screen, LimitsScreen) and pilot.app.screen.selected == name)
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, LimitsScreen)
    return screen


async def test_rpm_and_slots_are_set_and_lifted(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url, "limits") as pilot:
        await queue.add("send", {})
        screen = await limits_page(pilot, "mail")

        await pilot.press("colon", *"set-rpm", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press(*"nonsense", "enter")
        assert isinstance(pilot.app.screen, PromptDialog)
        await pilot.press("ctrl+u", *"30/10s", "enter")
        await tells(pilot, "mail: at most 30 starts in 10s")
        assert await queue.get_global_rate_limit() == RateLimit(30, 10_000)
        await eventually(lambda: "0 / 30 in 10s" in painted(pilot))

        await pilot.press("colon", *"set-concurrency", "enter")
        await eventually(lambda: isinstance(pilot.app.screen, PromptDialog))
        await pilot.press("4", "enter")
        await tells(pilot, "mail: at most 4 jobs at once")
        assert await queue.get_global_concurrency() == 4

        for name, words in (
            ("clear-rpm", "no cap on starts any more"),
            ("clear-concurrency", "no cap on jobs at once any more"),
        ):
            await eventually(lambda name=name: _can(screen, name))
            await pilot.press("colon", *name, "enter")
            await eventually(lambda: isinstance(pilot.app.screen, ConfirmDialog))
            await pilot.press("y")
            await tells(pilot, words)
        assert (await queue.get_global_rate_limit(), await queue.get_global_concurrency()) == (None, None)
        assert [(e.action, e.by, e.via) for e in await queue.get_audit()] == [
            ("set_limits", "alice", "console")
        ] * 4


def _can(screen: LimitsScreen, name: str) -> bool:
    from glidemq_console.screens.registry import commands

    return commands()[name].unavailable(screen.context()) is None


@pytest.mark.parametrize("screen", ["queues", "limits"])
async def test_both_caps_are_edited_in_one_form_and_an_empty_one_is_lifted(
    connection: Connection, server_url: str, screen: str
) -> None:
    async with Queue("mail", connection) as queue, console(server_url, screen) as pilot:
        await queue.add("send", {})
        await eventually(lambda: pilot.app.snapshot.queue("mail") is not None)  # type: ignore[attr-defined]  # the console's app
        await pilot.pause()

        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press(*"nonsense", "ctrl+s")
        assert isinstance(pilot.app.screen, FormDialog)
        assert "starts: write how many" in painted(pilot)
        await pilot.press("ctrl+u", *"30/10s", "tab", "4", "enter")
        await tells(pilot, "mail: at most 30 starts in 10s, at most 4 jobs at once")
        assert await queue.get_global_rate_limit() == RateLimit(30, 10_000)
        assert await queue.get_global_concurrency() == 4

        await eventually(lambda: _shows_caps(pilot))
        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press("ctrl+u", "ctrl+s")
        await tells(pilot, "mail: no cap on starts any more")
        assert await queue.get_global_rate_limit() is None
        assert await queue.get_global_concurrency() == 4

        await pilot.press("e")
        await eventually(lambda: isinstance(pilot.app.screen, FormDialog))
        await pilot.press("escape")
        await tells(pilot, "nothing was changed")
        # Both caps of a form are one act, and it is taken back as a whole.
        assert len(await queue.get_audit()) == 2
        await pilot.press("z")
        await tells(pilot, "with the caps from before")
        assert await queue.get_global_rate_limit() == RateLimit(30, 10_000)


def _shows_caps(pilot: Pilot[int]) -> bool:
    row = pilot.app.snapshot.queue("mail")  # type: ignore[attr-defined]  # it is the console's app
    return row is not None and bool(row.rpm.max) and row.global_concurrency == 4


async def test_a_full_window_says_who_waits(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, console(server_url, "limits") as pilot:
        await queue.set_global_rate_limit(RateLimit(1, 60_000))
        await queue.add_bulk([NewJob("send", {}) for _ in range(3)])
        async with Worker("mail", lambda _job: "sent", connection):
            await limits_page(pilot, "mail")

            await eventually(
                lambda: re.search(r"2 jobs  the oldest for \d+s  held back by RPM, \d+s left", painted(pilot))
            )


async def test_queues_with_a_limit_come_first_and_what_holds_jobs_back_is_told_in_words() -> None:
    app = ConsoleApp(config(ScriptedFeed(limits_script()), screen="limits"))
    async with app.run_test(size=(160, 45)) as pilot:
        await limits_page(pilot, "crawl")
        shown = painted(pilot)
        assert "held back 4, 38s left" in shown
        assert "held back 1.2k by slots" in shown
        assert "▸ nothing is limited 1" in shown
        assert "webhooks" not in shown
        await pilot.press("G", "enter")
        await pilot.pause()
        assert "webhooks" in painted(pilot)


@pytest.mark.parametrize(("width", "histories"), [(160, 2), (119, 1)])
async def test_where_there_is_little_room_only_the_selected_row_has_a_history(
    width: int, histories: int
) -> None:
    app = ConsoleApp(config(ScriptedFeed(limits_script()), screen="limits"))
    async with app.run_test(size=(width, 45)) as pilot:
        screen = await limits_page(pilot, "crawl")
        await pilot.press("j")
        await pilot.pause()
        rows = [screen.lines.row_at(index) for index in range(4)]
        with_bars = [
            row
            for row in rows
            if row is not None and row.key in ("embed", "inference") and row.cells["rpm-spark"]
        ]
        assert len(with_bars) == histories
        assert "embed" in [row.key for row in with_bars]


async def test_read_only_greys_limits_and_top_ups(connection: Connection, server_url: str) -> None:
    async with Queue("mail", connection) as queue, FlowProducer(connection) as producer:
        await queue.add("send", {})
        async with console(server_url, "limits", read_only=True) as pilot:
            await limits_page(pilot, "mail")
            await pilot.press("e")
            await tells(pilot, "read-only")
        await producer.add(flow_of("rag"), budget=Budget(max_total_tokens=1))
        async with console(server_url, "flows", read_only=True) as pilot:
            await flow_page(pilot, 5)
            await pilot.press("T")
            await tells(pilot, "read-only")


# --- foreign text ------------------------------------------------------------------------------------------


@pytest.mark.leaves_records
async def test_hostile_names_are_inert_in_flows_and_limits(connection: Connection, server_url: str) -> None:
    texts = [text[:2_000].encode("utf-8", "replace").decode() or "empty" for text in CORPUS.values()]
    children = [FlowJob(text, "ai", {}) for text in texts]
    async with FlowProducer(connection) as producer, Queue("ai", connection) as queue:
        node = await producer.add(
            FlowJob(texts[0], "ai", {}, None, children),
            budget=Budget(
                max_total_tokens=10, max_tokens={text[:60]: 5 for text in texts[:20]}, cost_unit=texts[1][:40]
            ),
        )
        keys = (await queue.context()).keys
        for text in texts[:20]:
            await connection.command("HSET", keys.ordering, text, 1)
        async with console(server_url, "flows") as pilot:
            screen = await flow_page(pilot, len(texts) + 1)
            assert screen.ref == node.job.ref
            for _ in range(0, len(texts), 20):
                assert dangerous(painted(pilot)) == []
                await pilot.press("pagedown")
            await pilot.press("T")
            await eventually(lambda: isinstance(pilot.app.screen, TopUpDialog))
            await pilot.pause()
            assert dangerous(painted(pilot)) == []
        async with console(server_url, "limits") as pilot:
            await limits_page(pilot, "ai")
            await eventually(lambda: "groups" in painted(pilot))
            assert dangerous(painted(pilot)) == []


async def test_flows_stand_in_sections_and_those_that_are_done_are_folded() -> None:
    app = ConsoleApp(config(ScriptedFeed(flows_script()), screen="flows"))
    async with app.run_test(size=(160, 45)) as pilot:
        await eventually(lambda: isinstance(pilot.app.screen, FlowsScreen) and pilot.app.screen.selected)
        screen = pilot.app.screen
        assert isinstance(screen, FlowsScreen)

        # The cursor begins on a flow, not on the heading above it.
        assert screen.selected is not None
        assert [entry.name for entry in screen.entries if isinstance(entry, Heading)] == [
            "look",
            "running",
            "done",
        ]
        assert "▸ done 1" in painted(pilot)
        assert str(FINISHED.root) not in painted(pilot)
        # What is folded away belongs to the list all the same: it is saved and counted.
        assert screen.listed[-1] is FINISHED

        await pilot.press("G", "enter")
        await pilot.pause()
        assert "▾ done 1" in painted(pilot)
        assert "2 / 2" in painted(pilot)
        assert str(FINISHED.root) in painted(pilot)
        assert screen.selected is None
        await pilot.press("enter", "slash", *"4980", "enter")
        await eventually(lambda: screen.selected is not None and screen.selected.root == FINISHED.root)


async def test_a_list_of_nothing_but_done_flows_is_not_folded() -> None:
    app = ConsoleApp(config(ScriptedFeed(flows_script((FINISHED,))), screen="flows"))
    async with app.run_test(size=(100, 30)) as pilot:
        await eventually(lambda: isinstance(pilot.app.screen, FlowsScreen) and pilot.app.screen.selected)
        assert str(FINISHED.root) in painted(pilot)


async def test_a_removed_child_stands_in_its_place_in_the_tree() -> None:
    gone = replace(DONE[2], name="", removed=True)
    app = ConsoleApp(
        config(ScriptedFeed(flows_script((flow(WAITING_ROOT, GENERATING, gone),))), screen="flows")
    )
    async with app.run_test(size=(160, 45)) as pilot:
        await flow_page(pilot, 3)
        [row] = [line for line in painted(pilot).splitlines() if "done and removed" in line]
        assert "└─ ✓ ai:5005" in row
