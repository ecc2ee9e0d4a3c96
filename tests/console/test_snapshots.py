"""What every screen looks like in each important state, at the smallest and at a comfortable size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Link, LinkState, Snapshot
from glidemq_core.records import JobDetail

from .fixed import FAILED, LIVE, LOST, NOW_MS, SUSPENDED, script
from .photograph import SIZES, photograph

ADDRESS = "valkey://queues.internal:6379"
CONNECTING = Snapshot(at_ms=NOW_MS, link=Link(since_ms=NOW_MS, address=ADDRESS))
ABSENT = Snapshot(
    at_ms=NOW_MS,
    link=Link(
        state=LinkState.LOST,
        since_ms=NOW_MS,
        retry_at_ms=NOW_MS + 4_000,
        reason="nothing listens at queues.internal:6379",
        address=ADDRESS,
    ),
)
EMPTY = replace(LIVE, queues=(), history={})
READ_ONLY = replace(LIVE, read_only=True)

#: Name -> what is known, the keys pressed, the job that exists.
CASES: dict[str, tuple[Snapshot, tuple[str, ...], JobDetail | None]] = {
    "queues": (LIVE, (), None),
    "queues-paused-row": (LIVE, ("j",), None),
    "queues-filter": (LIVE, ("slash", "r", "a", "g"), None),
    "queues-sorted": (LIVE, ("s", "s"), None),
    "queues-empty": (EMPTY, (), None),
    "queues-read-only": (READ_ONLY, ("p",), None),
    "queues-detail": (LIVE, ("d",), None),
    "connecting": (CONNECTING, (), None),
    "server-absent": (ABSENT, (), None),
    "connection-lost": (LOST, (), None),
    "help": (LIVE, ("question_mark",), None),
    "command-line": (LIVE, ("colon", "p", "a"), None),
    "drain-asks": (LIVE, ("D",), None),
    "jobs-all": (LIVE, ("enter", "shift+tab"), None),
    "jobs-active": (LIVE, ("enter", "tab"), None),
    "jobs-suspended": (LIVE, ("enter", "tab", "tab", "tab"), None),
    "jobs-failed": (LIVE, ("enter", *["tab"] * 4), None),
    "jobs-empty": (LIVE, ("enter",), None),
    "job-failed": (LIVE, ("enter", *["tab"] * 4, "enter"), FAILED),
    "job-revealed-raw": (LIVE, ("enter", *["tab"] * 4, "enter", "v", "b"), FAILED),
    "job-suspended": (LIVE, ("enter", *["tab"] * 3, "enter"), SUSPENDED),
    "job-gone": (LIVE, ("enter", *["tab"] * 4, "enter"), None),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_looks_as_it_did(name: str, size: str, snap_compare: Callable[..., bool]) -> None:
    base, keys, job = CASES[name]
    assert photograph(snap_compare, ScriptedFeed(script(base, job=job)), size, keys)


@pytest.mark.parametrize("theme", ["glidemq-light", "glidemq-colorblind", "glidemq-ansi"])
def test_themes_look_as_they_did(theme: str, snap_compare: Callable[..., bool]) -> None:
    assert photograph(snap_compare, ScriptedFeed(script()), "120x36", theme=theme)


def test_says_when_the_terminal_is_too_small(snap_compare: Callable[..., bool]) -> None:
    assert photograph(snap_compare, ScriptedFeed(script()), "50x12")
