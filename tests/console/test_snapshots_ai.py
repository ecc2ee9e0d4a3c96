"""What streams and approvals look like in each important state, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import eventually
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.screens.approvals.screen import ApprovalsScreen
from glidemq_console.screens.streams.screen import StreamsScreen

from .fixed import LIVE, config
from .fixed_ai import ASKING, CHANGED, LONG, PARTLY, RUNNING, UNREADABLE, WAITING, WHOLE, feed

SIZES = {"80x24": (80, 24), "160x45": (160, 45)}
#: Where the card stands beside a narrow list.
MORE_SIZES = {"100x30": (100, 30)}


async def settle(pilot: Pilot[Any]) -> None:
    """Let the messages run out that a key or a snapshot set going."""
    for _ in range(3):
        await pilot.pause()


def photograph(
    make: Callable[[], ScriptedFeed], screen: str, size: str, keys: tuple[str, ...], snap: Callable[..., bool]
) -> bool:
    app = ConsoleApp(config(make(), screen=screen))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        await drawn(pilot)
        for key in keys:
            if key == "refresh":
                app.feed.refresh_now()
            else:
                await pilot.press(key)
            await settle(pilot)
        await drawn(pilot)

    return snap(app, terminal_size=(SIZES | MORE_SIZES)[size], run_before=before)


async def drawn(pilot: Pilot[Any]) -> None:
    """Wait until every stream that is shown is drawn, and what is decided on is read."""
    screen = pilot.app.screen
    if isinstance(screen, StreamsScreen):
        await eventually(lambda: all_cast(screen))
        await eventually(
            lambda: all(s.follower.meter.chunks and not s.follower.has_rest for s in screen._slots)
        )
    if isinstance(screen, ApprovalsScreen):
        await eventually(lambda: not screen.is_reading)
    await settle(pilot)
    if isinstance(screen, StreamsScreen | ApprovalsScreen):
        screen.show(screen.snapshot)
    await settle(pilot)


def all_cast(screen: StreamsScreen) -> bool:
    """Whether every stream that runs has its pane, laid out."""
    running = screen.snapshot.running if screen._auto else ()
    shown = all(slot.pane.size.width for slot in screen._visible())
    return len(screen._slots) >= min(len(running), screen._wall) and shown


def changing() -> ScriptedFeed:
    """What waits is another thing once the console has been asked to read again."""
    made: list[ScriptedFeed] = []
    made.append(feed(later=lambda: [CHANGED, *WAITING[1:]] if made and made[0].refreshed else None))
    return made[0]


#: Name -> the feed, the keys pressed.
APPROVALS: dict[str, tuple[Callable[[], ScriptedFeed], tuple[str, ...]]] = {
    "list": (feed, ()),
    "card": (feed, ("enter",)),
    "long-payload": (lambda: feed([LONG, *WAITING[1:]]), ("enter",)),
    "held-back": (feed, ("enter", "a", "escape")),
    "held-back-elsewhere": (feed, ("enter", "a", "1")),
    "held-back-together": (feed, ("space", "space", "space", "a")),
    "asks-for-tools": (lambda: feed([ASKING, *WAITING[1:]]), ("enter",)),
    "revealed": (lambda: feed([ASKING, *WAITING[1:]]), ("enter", "v")),
    "not-whole": (lambda: feed([PARTLY, *WAITING[1:]]), ("down", "up")),
    "opened-whole": (lambda: feed([PARTLY, *WAITING[1:]], wholes=[WHOLE]), ("enter", "enter")),
    "unreadable": (lambda: feed([UNREADABLE, *WAITING[1:]]), ("enter",)),
    "held-back-card": (feed, ("enter", "a")),
    "reason": (feed, ("r",)),
    "selected": (feed, ("space", "space")),
    "no-draft": (feed, ("G", "enter")),
    "changed": (changing, ("enter", *["refresh"] * 4)),
    "editor": (feed, ("e",)),
    "audit": (feed, ("u",)),
    "leaving": (feed, ("enter", "a", "q")),
    "empty": (lambda: feed([]), ()),
    "read-only": (lambda: feed(base=replace(LIVE, read_only=True)), ("enter",)),
    "filter": (feed, ("slash", *"agent", "enter")),
}
STREAMS: dict[str, tuple[Callable[[], ScriptedFeed], tuple[str, ...]]] = {
    "wall": (feed, ()),
    "one": (lambda: feed(running=RUNNING[:1]), ()),
    "two": (lambda: feed(running=RUNNING[:2]), ()),
    "quiet": (lambda: feed(running=RUNNING[2:3]), ()),
    "finished": (lambda: feed(running=RUNNING[3:]), ()),
    "scrolled-back": (lambda: feed(running=RUNNING[3:]), ("k", "k")),
    "paused": (lambda: feed(running=RUNNING[:2]), ("full_stop",)),
    "search": (lambda: feed(running=RUNNING[:1]), ("slash", *"work", "enter", "n")),
    "empty": (lambda: feed(running=()), ()),
}


@pytest.mark.parametrize("size", [*SIZES, *MORE_SIZES])
@pytest.mark.parametrize("name", APPROVALS)
def test_approvals_look_as_they_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    make, keys = APPROVALS[name]

    assert photograph(make, "approvals", size, keys, snap_compare)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STREAMS)
def test_streams_look_as_they_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    make, keys = STREAMS[name]

    assert photograph(make, "streams", size, keys, snap_compare)
