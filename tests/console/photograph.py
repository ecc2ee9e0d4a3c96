"""One picture of the console on fixed data, compared with the one that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.lists.queue_list import REST_S
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_console.screens.streams.screen import StreamsScreen

from .fixed import config

#: The smallest terminal and a comfortable one.
SIZES = ("80x24", pytest.param("160x45", marks=pytest.mark.thorough))


def photograph(
    snap: Callable[..., bool], feed: ScriptedFeed, size: str, keys: Sequence[str] = (), **options: Any
) -> bool:
    """Press the keys and compare what then stands still; the key `refresh` asks the feed for new data."""
    app = ConsoleApp(config(feed, **options))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        await _at_rest(pilot)
        for key in keys:
            if key == "refresh":
                app.feed.refresh_now()
            else:
                await pilot.press(key)
            await settle(pilot)
        await _at_rest(pilot)

    width, height = size.split("x")
    return snap(app, terminal_size=(int(width), int(height)), run_before=before)


async def settle(pilot: Pilot[Any]) -> None:
    """Let the messages run out that a key or a snapshot set going."""
    for _ in range(3):
        await pilot.pause()


async def _at_rest(pilot: Pilot[Any]) -> None:
    """Wait until streams are drawn, what is decided on is read, and the detail has followed the cursor."""
    screen = pilot.app.screen
    if isinstance(screen, QueuesScreen):
        # The detail follows once the cursor has rested.
        await pilot.pause(REST_S * 1.5)
    if isinstance(screen, StreamsScreen):
        await eventually(lambda: _all_cast(screen))
        await eventually(
            lambda: all(s.follower.meter.chunks and not s.follower.has_rest for s in screen._slots)
        )
    if isinstance(screen, ApprovalsScreen):
        await eventually(lambda: not screen.is_reading)
    await settle(pilot)
    if isinstance(screen, StreamsScreen | ApprovalsScreen):
        screen.show(screen.snapshot)
        await settle(pilot)


def _all_cast(screen: StreamsScreen) -> bool:
    """Whether every stream that runs has its pane, laid out."""
    running = screen.snapshot.running if screen._auto else ()
    shown = all(slot.pane.size.width for slot in screen._visible())
    return len(screen._slots) >= min(len(running), screen._wall) and shown
