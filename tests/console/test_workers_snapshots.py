"""What the workers look like in each state that matters, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Snapshot

from .fixed import LIVE, config
from .fixed_workers import CALM, NONE, workers_script
from .test_snapshots import SIZES, settle

#: What is known, and the keys pressed.
STATES: dict[str, tuple[Snapshot, tuple[str, ...]]] = {
    "workers": (LIVE, ()),
    "workers-sorted": (LIVE, ("s", "s", "j")),
    "workers-filter": (LIVE, ("slash", *"embed", "enter")),
    "workers-calm": (CALM, ()),
    "workers-none": (NONE, ()),
    "workers-read-only": (replace(LIVE, read_only=True), ()),
}
EVERY_SIZE = {**SIZES, "60x15": (60, 15), "220x60": (220, 60)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    base, keys = STATES[name]
    assert _shows(snap_compare, base, keys, EVERY_SIZE[size])


@pytest.mark.parametrize("size", ["60x15", "220x60"])
def test_looks_as_it_did_on_the_smallest_and_a_large_terminal(
    size: str, snap_compare: Callable[..., bool]
) -> None:
    assert _shows(snap_compare, LIVE, (), EVERY_SIZE[size])


def test_looks_as_it_did_in_ascii(snap_compare: Callable[..., bool]) -> None:
    assert _shows(snap_compare, LIVE, (), SIZES["80x24"], ascii_glyphs=True)


def _shows(
    snap_compare: Callable[..., bool],
    base: Snapshot,
    keys: tuple[str, ...],
    size: tuple[int, int],
    **options: Any,
) -> bool:
    app = ConsoleApp(config(ScriptedFeed(workers_script(base)), screen="workers", **options))

    async def before(pilot: Pilot[Any]) -> None:
        app.animation_level = "none"
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return snap_compare(app, terminal_size=size, run_before=before)
