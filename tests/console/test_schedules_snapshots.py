"""What schedules look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot

from .fixed_schedules import LIVE, SCHEDULES, schedules_script
from .photograph import photograph

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
    assert photograph(snap_compare, ScriptedFeed(known), size, keys, screen="schedules")
