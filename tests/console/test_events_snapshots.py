"""What events look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.events import EventsView
from glidemq_console.model.snapshot import Interests, Snapshot

from .fixed import LIVE, config
from .fixed_events import events_script
from .test_snapshots import SIZES, settle

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
    app = ConsoleApp(config(ScriptedFeed(known), screen="events"))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)
