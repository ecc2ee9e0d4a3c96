"""Find jobs in the tree of a flow and walk the events that a filter leaves: `/`, `n`, `N` and esc on a real server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_console.screens.events.screen import EventsScreen
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_core import FlowJob, FlowProducer, Queue
from glidemq_core.server.connection import Connection

from .fixed import NOW_MS, config
from .fixed_flows import CASES
from .pilot_kit import app_of, console, text_on, told


async def test_jobs_of_a_flow_are_found_also_below_folded_rows(
    connection: Connection, server_url: str, producer: FlowProducer
) -> None:
    chapters = [
        FlowJob(
            "chapter", "papers", children=[FlowJob("search", "papers"), FlowJob(f"write-{number}", "papers")]
        )
        for number in range(3)
    ]
    tree = await producer.add(FlowJob("report", "papers", children=chapters))
    async with console(server_url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.queue("papers") is not None)
        app_of(pilot).open_page("flow", tree.job.ref)
        await eventually(
            lambda: isinstance(pilot.app.screen, FlowScreen) and len(pilot.app.screen.listed) == 10
        )
        page = pilot.app.screen
        assert isinstance(page, FlowScreen)
        await pilot.press("home", "left")
        await eventually(lambda: len(page.listed) == 1)

        await pilot.press("slash", *"write", "enter")
        await eventually(lambda: "1 of 3" in text_on(pilot))
        assert page.selected is not None
        assert page.selected.name == "write-0"
        for key, name, place in (
            ("n", "write-1", "2 of 3"),
            ("n", "write-2", "3 of 3"),
            ("n", "write-0", "1 of 3"),
        ):
            await pilot.press(key)
            await eventually(lambda name=name: page.selected is not None and page.selected.name == name)
            assert place in text_on(pilot)
        assert told(pilot, "on from the top")()
        await pilot.press("N")
        await eventually(lambda: page.selected is not None and page.selected.name == "write-2")

        await pilot.press("escape")
        await eventually(lambda: "3 of 3" not in text_on(pilot))
        assert pilot.app.screen is page
        await pilot.press("n")
        await eventually(told(pilot, "nothing is looked for"))

        await pilot.press("slash", *"state:waiting-children !chapter", "enter")
        await eventually(lambda: "1 of 1" in text_on(pilot))
        assert page.selected is not None
        assert page.selected.name == "report"
        await pilot.press("escape", "slash", *"[red]nothing", "enter")
        await eventually(lambda: "/[red]nothing" in text_on(pilot))
        await pilot.press("n")
        await eventually(told(pilot, "nothing is found"))


async def test_a_filter_of_flow_jobs_is_refused_at_its_place(
    connection: Connection, server_url: str, producer: FlowProducer
) -> None:
    tree = await producer.add(FlowJob("report", "papers", children=[FlowJob("search", "papers")]))
    async with console(server_url) as pilot:
        await eventually(lambda: app_of(pilot).snapshot.queue("papers") is not None)
        app_of(pilot).open_page("flow", tree.job.ref)
        await eventually(
            lambda: isinstance(pilot.app.screen, FlowScreen) and len(pilot.app.screen.listed) == 2
        )

        await pilot.press("slash", *"state:strange")

        await eventually(lambda: "strange" in text_on(pilot) and "waiting-children" in text_on(pilot))


async def test_n_walks_the_events_that_a_filter_leaves(connection: Connection, server_url: str) -> None:
    async with Queue("papers", connection) as queue, console(server_url, screen="events") as pilot:
        await eventually(lambda: isinstance(pilot.app.screen, EventsScreen) and pilot.app.screen.is_up)
        screen = pilot.app.screen
        assert isinstance(screen, EventsScreen)
        await eventually(lambda: app_of(pilot).snapshot.events is not None)
        await pilot.press("n")
        await eventually(told(pilot, "nothing is looked for"))
        await queue.add("first", {})
        await eventually(lambda: len(screen.listed) == 1)
        await queue.pause()
        await queue.resume()
        await eventually(lambda: len(screen.listed) == 3)

        await pilot.press("slash", *"state:paused,resumed", "enter")
        await eventually(lambda: len(screen.listed) == 2)
        await pilot.press("home", "n")
        await eventually(lambda: screen.lines.cursor_key == screen.listed[1].key)
        await pilot.press("n")
        await eventually(lambda: screen.lines.cursor_key == screen.listed[0].key)
        await pilot.press("N")
        await eventually(lambda: screen.lines.cursor_key == screen.listed[1].key)


async def test_what_is_looked_for_is_read_again_only_where_something_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = [NOW_MS]
    failed: list[bool] = []

    def script(wants: Interests) -> Snapshot:
        known = CASES["flows-healthy"](wants)
        if known.flow is None or known.flow.flow is None:
            return known
        nodes = [replace(node, state="failed" if failed else "active") for node in known.flow.flow.nodes]
        return replace(known, flow=replace(known.flow, flow=replace(known.flow.flow, nodes=tuple(nodes))))

    read: list[str] = []
    taken_by = FlowScreen.taken_by

    def counted(screen: FlowScreen, text: str, items: Sequence[Any]) -> list[Any]:
        read.append(text)
        return taken_by(screen, text, items)

    feed = ScriptedFeed(script)
    app = ConsoleApp(replace(config(feed, screen="flows"), clock=lambda: moment[0]))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("enter")
        await eventually(lambda: isinstance(app.screen, FlowScreen) and len(app.screen.listed) > 1)
        monkeypatch.setattr(FlowScreen, "taken_by", counted)
        await pilot.press("slash", *"state:active", "enter")
        await eventually(lambda: "of 6" in text_on(pilot))
        read.clear()

        for _ in range(5):
            moment[0] += 1_000
            feed.refresh_now()
            app._second()
            await pilot.press("n")
        assert not read

        failed.append(True)
        feed.refresh_now()
        await eventually(lambda: "state:active" in read)

        await pilot.press("slash", *["backspace"] * 12, *"age>0s", "enter")
        await eventually(lambda: "found" in text_on(pilot) or "of" in text_on(pilot))
        read.clear()
        moment[0] += 1_000
        app._second()
        await pilot.pause()
        assert read
