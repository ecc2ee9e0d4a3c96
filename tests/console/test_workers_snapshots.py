"""What the workers look like in each state that matters, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Snapshot

from .fixed import LIVE
from .fixed_workers import CALM, NONE, workers_script
from .photograph import SIZES, photograph

#: What is known, and the keys pressed.
STATES: dict[str, tuple[Snapshot, tuple[str, ...]]] = {
    "workers": (LIVE, ()),
    "workers-sorted": (LIVE, ("s", "s", "j")),
    "workers-filter": (LIVE, ("slash", *"embed", "enter")),
    "workers-calm": (CALM, ()),
    "workers-none": (NONE, ()),
    "workers-read-only": (replace(LIVE, read_only=True), ()),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    base, keys = STATES[name]
    assert _shows(snap_compare, base, keys, size)


@pytest.mark.parametrize("size", ["60x15", "220x60"])
def test_looks_as_it_did_on_the_smallest_and_a_large_terminal(
    size: str, snap_compare: Callable[..., bool]
) -> None:
    assert _shows(snap_compare, LIVE, (), size)


def test_looks_as_it_did_in_ascii(snap_compare: Callable[..., bool]) -> None:
    assert _shows(snap_compare, LIVE, (), "80x24", ascii_glyphs=True)


def _shows(
    snap_compare: Callable[..., bool], base: Snapshot, keys: tuple[str, ...], size: str, **options: Any
) -> bool:
    feed = ScriptedFeed(workers_script(base))
    return photograph(snap_compare, feed, size, keys, screen="workers", **options)
