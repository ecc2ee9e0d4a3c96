"""What a stranger wrote into one queue ends no screen, and hides no other queue."""

from __future__ import annotations

import pytest
from conftest import eventually
from poison import POISONS, poison, poison_types

from glidemq_console.screens.flow import FlowScreen
from glidemq_console.screens.job import JobScreen
from glidemq_console.screens.jobs import JobsScreen
from glidemq_console.store import JobsQuery, LinkState
from glidemq_core import Queue
from glidemq_core.connection import Connection
from glidemq_core.options import JobRef

from .pilot_kit import app_of, console

pytestmark = pytest.mark.leaves_records

pytestmark = pytest.mark.leaves_records


async def _spoil(connection: Connection) -> None:
    await Queue("chat", connection).add("answer", {"prompt": "hi"}, job_id="good")
    for name, value in POISONS.items():
        await poison(connection, name, value)
    await poison_types(connection, "types")


async def test_foreign_records_end_no_list_and_hide_no_queue(connection: Connection, server_url: str) -> None:
    await _spoil(connection)

    async with console(server_url) as pilot:
        app = app_of(pilot)
        await eventually(lambda: len(app.snapshot.queues) == len(POISONS) + 2)
        for key in "123456":
            await pilot.press(key)
            await _read_again(app)
        for name in (*POISONS, "types"):
            app.go("jobs", name)
            await _read_again(app)
            screen = app.console_screen
            assert isinstance(screen, JobsScreen)
            screen._ask(JobsQuery(queue=name, state=None))
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

    async with console(server_url, size=(140, 40)) as pilot:
        app = app_of(pilot)
        await eventually(lambda: app.snapshot.has_data)
        for ref in (*jobs, JobRef("types", "job")):
            await app.push_screen(page(ref))
            await _read_again(app)
            assert app.is_running, ref
            await app.pop_screen()

        assert app.snapshot.link.state is LinkState.LIVE


async def _read_again(app) -> None:  # type: ignore[no-untyped-def]
    """Wait for two snapshots that were asked for by the screen as it is now."""
    app.want()
    for _ in range(2):
        before = app.snapshot
        app.feed.refresh_now()
        await eventually(lambda before=before: app.snapshot is not before)
