"""What failures and dead letters look like in each state that matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.lists.failures import LettersView
from glidemq_console.model.snapshot import Interests, Snapshot

from .fixed import LIVE, NOW_MS
from .fixed_failures import FAILURES, failures_script
from .photograph import photograph


def calm(wants: Interests) -> Snapshot:
    known = failures_script()(wants)
    none = LettersView(letters=(), total=0, complete=True, at_ms=NOW_MS)
    return replace(known, failures=replace(FAILURES, groups=(), jobs_read=0), letters=none)


#: What is known, and the keys pressed.
STATES: dict[str, tuple[Callable[[Interests], Snapshot], tuple[str, ...]]] = {
    "failures": (failures_script(), ()),
    "failures-second": (failures_script(), ("j", "right_square_bracket")),
    "failures-detail": (failures_script(), ("d", "v")),
    "failures-retry": (failures_script(), ("R",)),
    "failures-calm": (calm, ()),
    "failures-read-only": (failures_script(replace(LIVE, read_only=True)), ("R",)),
    "letters": (failures_script(), ("tab",)),
    "letters-calm": (calm, ("tab",)),
}


@pytest.mark.parametrize("size", ["80x24", "160x45"])
@pytest.mark.parametrize("name", STATES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    known, keys = STATES[name]
    assert photograph(snap_compare, ScriptedFeed(known), size, keys, screen="failures")
