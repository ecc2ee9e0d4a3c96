"""What every screen looks like in each important state, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Link, LinkState, Snapshot
from glidemq_console.screens.lists.queue_list import REST_S
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_core.records import JobDetail

from .fixed import FAILED, LIVE, NOW_MS, SUSPENDED, config, script

SIZES = {"80x24": (80, 24), "160x45": (160, 45)}

ADDRESS = "valkey://queues.internal:6379"
CONNECTING = Snapshot(at_ms=NOW_MS, link=Link(since_ms=NOW_MS, address=ADDRESS))
ABSENT = Snapshot(
    at_ms=NOW_MS,
    link=Link(
        state=LinkState.LOST,
        since_ms=NOW_MS,
        retry_at_ms=NOW_MS + 4_000,
        reason="nothing listens at queues.internal:6379",
        address=ADDRESS,
    ),
)
LOST = replace(
    LIVE,
    link=replace(
        LIVE.link,
        state=LinkState.LOST,
        since_ms=NOW_MS - 12_000,
        retry_at_ms=NOW_MS + 2_000,
        reason="the server went away",
    ),
)
EMPTY = replace(LIVE, queues=(), history={})
READ_ONLY = replace(LIVE, read_only=True)

#: Name -> what is known, the keys pressed, the job that exists.
CASES: dict[str, tuple[Snapshot, tuple[str, ...], JobDetail | None]] = {
    "queues": (LIVE, (), None),
    "queues-paused-row": (LIVE, ("j",), None),
    "queues-filter": (LIVE, ("slash", "r", "a", "g"), None),
    "queues-sorted": (LIVE, ("s", "s"), None),
    "queues-empty": (EMPTY, (), None),
    "queues-read-only": (READ_ONLY, ("p",), None),
    "queues-detail": (LIVE, ("d",), None),
    "connecting": (CONNECTING, (), None),
    "server-absent": (ABSENT, (), None),
    "connection-lost": (LOST, (), None),
    "help": (LIVE, ("question_mark",), None),
    "command-line": (LIVE, ("colon", "p", "a"), None),
    "drain-asks": (LIVE, ("D",), None),
    "jobs-all": (LIVE, ("enter", "shift+tab"), None),
    "jobs-active": (LIVE, ("enter", "tab"), None),
    "jobs-suspended": (LIVE, ("enter", "tab", "tab", "tab"), None),
    "jobs-failed": (LIVE, ("enter", *["tab"] * 4), None),
    "jobs-empty": (LIVE, ("enter",), None),
    "job-failed": (LIVE, ("enter", *["tab"] * 4, "enter"), FAILED),
    "job-revealed-raw": (LIVE, ("enter", *["tab"] * 4, "enter", "v", "b"), FAILED),
    "job-suspended": (LIVE, ("enter", *["tab"] * 3, "enter"), SUSPENDED),
    "job-gone": (LIVE, ("enter", *["tab"] * 4, "enter"), None),
}


async def settle(pilot: Pilot[Any]) -> None:
    """Let the messages run out that a key or a snapshot set going."""
    for _ in range(3):
        await pilot.pause()


async def come_to_rest(pilot: Pilot[Any]) -> None:
    """Wait until the detail has followed the cursor, which it does once that has rested."""
    await settle(pilot)
    if isinstance(pilot.app.screen, QueuesScreen):
        await pilot.pause(REST_S * 1.5)
        await settle(pilot)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    base, keys, job = CASES[name]
    app = ConsoleApp(config(ScriptedFeed(script(base, job=job))))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        await come_to_rest(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)


@pytest.mark.parametrize("theme", ["glidemq-light", "glidemq-colorblind", "glidemq-ansi"])
def test_themes_look_as_they_did(theme: str, snap_compare: Callable[..., bool]) -> None:
    app = ConsoleApp(config(ScriptedFeed(script()), theme=theme))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await come_to_rest(pilot)

    assert snap_compare(app, terminal_size=(120, 36), run_before=before)


def test_says_when_the_terminal_is_too_small(snap_compare: Callable[..., bool]) -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))

    assert snap_compare(app, terminal_size=(50, 12), run_before=settle)
