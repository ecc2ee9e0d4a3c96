"""What a stranger wrote into one queue ends no screen, and hides no other queue."""

from __future__ import annotations

import pytest
from conftest import eventually
from kits.poison import POISONS, poison, poison_types

from glidemq_console.app import ConsoleApp
from glidemq_console.model.snapshot import JobsQuery, LinkState
from glidemq_console.screens.flows.page import FlowScreen
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.jobs.page import JobScreen
from glidemq_core import Queue
from glidemq_core.options.job import JobRef
from glidemq_core.server.connection import Connection

from .pilot_kit import app_of, console

pytestmark = [pytest.mark.thorough, pytest.mark.leaves_records]

#: Long: a page that is opened is read at once, and the queues beside it not again each time.
REFRESH_MS = 60_000


async def _spoil(connection: Connection) -> None:
    await Queue("chat", connection).add("answer", {"prompt": "hi"}, job_id="good")
    for name, value in POISONS.items():
        await poison(connection, name, value)
    await poison_types(connection, "types")


async def test_foreign_records_end_no_list_and_hide_no_queue(connection: Connection, server_url: str) -> None:
    await _spoil(connection)

    async with console(server_url, refresh_ms=REFRESH_MS) as pilot:
        app = app_of(pilot)
        await eventually(lambda: len(app.snapshot.queues) == len(POISONS) + 2)
        for key in "1234567":
            await pilot.press(key)
            await _read_again(app)
        for name in (*POISONS, "types"):
            app.go("jobs", name)
            await eventually(lambda: isinstance(app.console_screen, JobsScreen))
            screen = app.console_screen
            assert isinstance(screen, JobsScreen)
            every = JobsQuery(queue=name, state=None)
            screen._ask(every)
            await eventually(lambda every=every: _has_list(app, every))

        await _read_again(app)
        assert app.snapshot.link.state is LinkState.LIVE
        chat = app.snapshot.queue("chat")
        assert chat is not None
        assert chat.waiting == 1


@pytest.mark.parametrize("page", [JobScreen, FlowScreen])
async def test_foreign_records_end_no_page(
    connection: Connection, server_url: str, page: type[JobScreen] | type[FlowScreen]
) -> None:
    await _spoil(connection)
    jobs = [JobRef(name, job) for name in POISONS for job in ("failed", "suspended")]
    # A state that nobody knows.
    jobs += [JobRef("string", "job"), JobRef("garbage", "job")]

    async with console(server_url, size=(140, 40), refresh_ms=REFRESH_MS) as pilot:
        app = app_of(pilot)
        await eventually(lambda: app.snapshot.has_data)
        for ref in jobs:
            await app.push_screen(page(ref))
            await eventually(lambda ref=ref: _has_page(app, ref))
            await pilot.pause()
            assert app.is_running, ref
            await app.pop_screen()
        await app.push_screen(page(JobRef("types", "job")))
        await _read_again(app)

        assert app.is_running
        assert app.snapshot.link.state is LinkState.LIVE


def _has_list(app: ConsoleApp, query: JobsQuery) -> bool:
    listing = app.snapshot.jobs
    return listing is not None and listing.query == query


def _has_page(app: ConsoleApp, ref: JobRef) -> bool:
    return ref in [view.ref for view in (app.snapshot.job, app.snapshot.flow) if view is not None]


async def _read_again(app: ConsoleApp) -> None:
    """Wait for two snapshots that were asked for by the screen as it is now."""
    app.set_interests()
    for _ in range(2):
        before = app.snapshot
        app.feed.refresh_now()
        await eventually(lambda before=before: app.snapshot is not before)
