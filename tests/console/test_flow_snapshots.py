"""What flows and limits look like in each state that matters, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from glidemq_console.feed.scripted import ScriptedFeed

from .fixed_flows import CASES, TOP_UP
from .photograph import SIZES, photograph

#: What is known, and the keys pressed.
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "limits": ("limits", ("j", "j")),
    "limits-cap-unknown": ("limits", ("j",)),
    "limits-none": ("limits-none", ()),
    "limits-unlimited": ("limits-unlimited", ()),
    "limits-detail": ("limits", ("j", "j", "d")),
    "limits-caps": ("limits", ("j", "j", "e")),
    "limits-read-only": ("limits-read-only", ("j", "j", "e")),
    "flows": ("flows", ()),
    "flows-none": ("flows-none", ()),
    "flow-healthy": ("flows-healthy", ("enter",)),
    "flow-low": ("flows-low", ("enter",)),
    "flow-exceeded": ("flows-exceeded", ("enter",)),
    "flow-blocked": ("flows-blocked", ("enter",)),
    "flow-graph": ("flows-graph", ("enter",)),
    "flow-top-up": ("flows-exceeded", ("enter", "T", "1", "k", "enter")),
    "flow-read-only": ("flows-read-only", ("enter", "T")),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    case, keys = STATES[name]
    feed = ScriptedFeed(CASES[case], answers={"top_up_budget": TOP_UP})
    assert photograph(snap_compare, feed, size, keys, screen=case.partition("-")[0])
