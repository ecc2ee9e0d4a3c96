"""The short form of `console.soak`: simulated minutes, and memory that does not follow them."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from textual._styles_cache import StylesCache

from console.soak import simulate
from glidemq_console.app import ConsoleApp
from glidemq_console.feed import token_stream
from glidemq_console.widgets import token_pane

from .fixed import config
from .fixed_ai import feed

pytestmark = pytest.mark.thorough


async def test_memory_stays_flat_while_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is bounded fills up at once.
    monkeypatch.setattr(token_pane, "MAX_LINES", 200)
    monkeypatch.setattr(token_pane, "MAX_CHARACTERS", 4_000)
    monkeypatch.setattr(token_stream, "MAX_READY", 100)
    sizes: list[tuple[int, int]] = []
    tracemalloc.start()
    try:
        memory = await simulate(40, 10, 1, lambda second, size: sizes.append((second, size)), walk_every=10)
    finally:
        tracemalloc.stop()

    # Caches of a bounded size still fill; what kept the screens and dialogs that were opened would be more.
    assert memory[-1] - memory[1] < 2_500_000, sizes


async def test_what_was_closed_is_not_kept() -> None:
    def kept() -> int:
        gc.collect()
        return sum(isinstance(known, StylesCache) for known in gc.get_objects())

    async with ConsoleApp(config(feed())).run_test(size=(100, 30)) as pilot:
        for _ in range(3):
            await pilot.press("question_mark", "escape")
            await pilot.pause()
        before = kept()
        for _ in range(5):
            await pilot.press("question_mark", "escape")
            await pilot.pause()

        assert kept() == before
