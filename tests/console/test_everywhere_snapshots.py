"""What the approvals of all servers look like, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.elsewhere import Elsewhere

from .fixed import LOST
from .fixed_everywhere import ELSEWHERE, feed
from .photograph import SIZES, photograph

#: Name -> the feed, the keys pressed.
CASES: dict[str, tuple[Callable[[], ScriptedFeed], tuple[str, ...]]] = {
    "list": (feed, ()),
    "far-card": (feed, ("down", "down", "enter")),
    "lost-server": (feed, ("home",)),
    "held-back": (feed, ("down", "down", "a")),
    "own-lost": (lambda: feed(base=LOST), ()),
    "all-well": (lambda: feed(Elsewhere(servers=ELSEWHERE.servers[:2])), ()),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    make, keys = CASES[name]

    assert photograph(snap_compare, make(), size, keys, screen="inboxes")
