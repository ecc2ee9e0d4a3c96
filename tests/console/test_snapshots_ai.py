"""What streams and approvals look like in each important state, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glidemq_console.feed.scripted import ScriptedFeed

from .fixed import LIVE
from .fixed_ai import ASKING, CHANGED, LONG, PARTLY, RUNNING, UNREADABLE, WAITING, WHOLE, feed
from .photograph import SIZES, photograph

#: Where the card stands beside a narrow list.
MORE_SIZES = (pytest.param("100x30", marks=pytest.mark.thorough),)


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

    assert photograph(snap_compare, make(), size, keys, screen="approvals")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STREAMS)
def test_streams_look_as_they_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    make, keys = STREAMS[name]

    assert photograph(snap_compare, make(), size, keys, screen="streams")
