"""What schedules look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot

from .fixed import config
from .fixed_schedules import LIVE, SCHEDULES, schedules_script
from .test_snapshots import SIZES, settle

#: What is known, and the keys pressed.
STATES: dict[str, tuple[Callable[[Interests], Snapshot], tuple[str, ...]]] = {
    "schedules": (schedules_script(), ()),
    "schedules-cron": (schedules_script(), ("j", "j")),
    "schedules-edit": (schedules_script(), ("j", "j", "e")),
    "schedules-wrong": (schedules_script(), ("j", "j", "e", "ctrl+u", *"every so often")),
    "schedules-none": (schedules_script(LIVE, replace(SCHEDULES, schedulers=())), ()),
}


@pytest.mark.parametrize("size", ["80x24", "160x45"])
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    known, keys = STATES[name]
    app = ConsoleApp(config(ScriptedFeed(known), screen="schedules"))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=before)
