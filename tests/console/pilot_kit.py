"""What console tests on a real server share: the app with its first data, and what it says and shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from conftest import eventually
from textual import events
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.config.console import ConsoleConfig
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_core import Queue
from glidemq_core.server.connection import Connection


@asynccontextmanager
async def console(
    url: str, size: tuple[int, int] = (120, 36), *, refresh_ms: int = 200, **options: Any
) -> AsyncIterator[Pilot[int]]:
    """The app on a server, with its first data on screen."""
    app = ConsoleApp(ConsoleConfig(url=url, user="tester", refresh_ms=refresh_ms, **options))
    async with app.run_test(size=size) as pilot:
        yield pilot


def app_of(pilot: Pilot[int]) -> ConsoleApp:
    assert isinstance(pilot.app, ConsoleApp)
    return pilot.app


def told(pilot: Pilot[int], words: str) -> Callable[[], bool]:
    """True once the status line says this."""

    def check() -> bool:
        screen = app_of(pilot).console_screen
        return screen is not None and words in (screen.message or "")

    return check


async def enter(pilot: Pilot[int], line: str) -> None:
    """Paste a line behind `:` and enter it: typed, each of its keys would be drawn."""
    await pilot.press("colon")
    pilot.app.post_message(events.Paste(line))
    await pilot.press("enter")
    await pilot.pause()


async def names_of_clients(connection: Connection) -> str:
    found = await connection.command("CLIENT", "LIST")
    return found.decode() if isinstance(found, bytes) else str(found)


async def fail_one(queue: Queue[Any, Any]) -> str:
    """Leave a failed job behind: one that was revoked before it started."""
    job = await queue.add("answer", {"prompt": "x", "api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f"})
    assert job is not None
    assert await queue.revoke(job.id) == "revoked"
    return job.id


async def shows_queue(pilot: Pilot[int], name: str) -> None:
    await eventually(lambda: app_of(pilot).snapshot.queue(name) is not None)
    await pilot.pause()


async def on_jobs(pilot: Pilot[int], state: str | None, rows: int) -> JobsScreen:
    """Open the jobs of the selected queue and walk to a state."""
    await pilot.press("enter")
    await eventually(lambda: isinstance(pilot.app.screen, JobsScreen) and pilot.app.screen.selected_state)
    screen = pilot.app.screen
    assert isinstance(screen, JobsScreen)
    while screen.selected_state != state:
        await pilot.press("tab")
        await pilot.pause()
    await eventually(lambda: screen.lines.total == rows)
    await eventually(lambda: rows == 0 or screen.selected is not None)
    return screen


def text_on(pilot: Pilot[int]) -> str:
    """All text on the screen."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)
