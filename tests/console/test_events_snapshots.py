"""What events look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.events import EventsView
from glidemq_console.model.snapshot import Interests, Snapshot

from .fixed import LIVE
from .fixed_events import events_script
from .photograph import photograph

#: What is known, and the keys pressed.
STATES: dict[str, tuple[Callable[[Interests], Snapshot], tuple[str, ...]]] = {
    "events": (events_script(), ("j",)),
    "events-held": (events_script(), ("full_stop",)),
    "events-filter": (events_script(), ("slash", *"failed", "enter")),
    "events-none": (events_script(LIVE, EventsView()), ()),
}


@pytest.mark.parametrize("size", ["80x24", "160x45"])
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    known, keys = STATES[name]
    assert photograph(snap_compare, ScriptedFeed(known), size, keys, screen="events")
