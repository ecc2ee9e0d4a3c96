"""The line of trouble: what is counted, how it reads at each width, that nothing shifts, and where each word leads."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.queue_rows import HIDDEN_EVERY_MS, QueueRows
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Snapshot
from glidemq_console.model.trouble import KINDS, LINGER_MS, TroubleWords, troubles
from glidemq_console.screens.trouble_text import GLYPHS, totals_parts, words
from glidemq_console.text.encoding import to_ascii
from glidemq_console.widgets.key_bar import LinkBar
from glidemq_core.records import Fleet, QueueSnapshot

from .fixed import LIVE, NOW, NOW_MS, config, script

EVERY_KIND = replace(
    LIVE,
    complete=True,
    queues=(
        QueueSnapshot(
            name="a",
            failed_1h=14,
            stalled=3,
            suspended=7,
            parked=2,
            missed=1,
            waiting=128,
            active=10,
            workers=4,
            cost_per_hour=3.1,
            cost_unit="usd",
            tokens_per_s=4_200,
            next_timeout_at=NOW.replace(minute=NOW.minute + 3),
            dead_letter_queue="letters",
        ),
        QueueSnapshot(name="b", waiting=0, delayed=1, workers=0),
        QueueSnapshot(name="letters", waiting=3, workers=1),
    ),
)
CALM = replace(LIVE, complete=True, queues_known=2, queues=(QueueSnapshot(name="a"), QueueSnapshot(name="b")))


def line(snapshot: Snapshot, width: int, *, is_low: bool = False) -> str:
    found = TroubleWords().take(snapshot, NOW_MS)
    entries = words(found, snapshot, NOW_MS, width, is_low=is_low)
    left = ("   " if not is_low else " ").join("".join(part.text for part in parts) for _, parts in entries)
    return left + "|" + "".join(part.text for part in totals_parts(snapshot, width, is_low=is_low)).strip()


def test_trouble_stands_in_the_order_of_its_harm_and_in_full_where_there_is_room() -> None:
    assert line(EVERY_KIND, 160) == (
        "✗ 14 failed in 1h   ▼ 3 stalled   ∅ 1 without worker   ◆ 7 wait, next 3m   ⊟ 2 parked   ◔ 1 missed   "
        "▣ 3 dead letters|131 wait  10 run  $3.10/h  4.2k tok/s"
    )
    assert line(EVERY_KIND, 100) == (
        "✗ 14 failed   ▼ 3 stalled   ∅ 1   ◆ 7 next 3m   ⊟ 2   ◔ 1   ▣ 3|131 wait  10 run  $3.10/h"
    )
    assert line(EVERY_KIND, 80, is_low=True) == "✗14 ▼3 ∅1 ◆7·3m ⊟2 ◔1 ▣3|$3.10/h"


def test_calm_is_said_only_when_every_queue_was_read() -> None:
    assert line(CALM, 160).startswith("all calm, 2 of 2 queues read")
    assert line(replace(CALM, complete=False), 160).startswith("nothing wrong in 2 of 2+ queues read")
    assert line(replace(CALM, queues_known=5), 160).startswith("nothing wrong in 2 of 5 queues read")
    assert line(replace(CALM, leaves_out_queues=True), 160).startswith("nothing wrong in 2 of 2+")
    assert line(Snapshot(), 160) == "|"


def test_a_number_says_that_queues_are_still_to_be_read() -> None:
    assert line(replace(EVERY_KIND, queues_known=9), 160).startswith("✗ 14+ failed in 1h   ▼ 3+ stalled")


def test_a_word_that_reached_zero_stays_for_a_minute_so_that_nothing_shifts() -> None:
    kept, calm = TroubleWords(), replace(EVERY_KIND, queues=(QueueSnapshot(name="a", stalled=3),))

    kept.take(EVERY_KIND, NOW_MS)
    soon = kept.take(calm, NOW_MS + LINGER_MS - 1)
    late = kept.take(calm, NOW_MS + LINGER_MS)

    assert [(one.kind, one.count) for one in soon] == [
        (kind, 3 if kind == "stalled" else 0) for kind in KINDS
    ]
    assert [one.kind for one in late] == ["stalled"]
    shown = words(soon, calm, NOW_MS, 160, is_low=False)
    assert "".join(part.text for part in shown[0][1]) == "✗ ·"
    assert {part.style for part in shown[0][1]} == {"dim"}


def test_glyphs_are_one_cell_wide_and_have_letters_of_their_own() -> None:
    letters = [to_ascii(glyph) for glyph in GLYPHS]

    assert [cell_len(glyph) for glyph in GLYPHS] == [1] * len(KINDS)
    assert letters == ["x", "v", "0", "!", "b", "m", "D"]


def test_the_queue_that_has_most_is_known() -> None:
    rows = [QueueSnapshot(name="few", failed_1h=1), QueueSnapshot(name="many", failed_1h=9)]

    assert [(one.count, one.worst) for one in troubles(rows)] == [(10, "many")]


@pytest.mark.parametrize("count", [40, 1_000])
async def test_hidden_queues_are_all_read_within_half_a_minute(count: int) -> None:
    now = 1_000
    read: dict[str, int] = {}

    async def snapshot(names: tuple[str, ...]) -> Fleet:
        read.update(dict.fromkeys(names, now))
        rows = tuple(QueueSnapshot(name=n, active=int(n.endswith("7"))) for n in names)
        return Fleet(queues=rows, complete=True, at=NOW)

    reader = QueueRows([f"q{n}" for n in range(count)], lambda: now)
    watch: Any = SimpleNamespace(snapshot=snapshot)
    for _ in range(100):
        now += 1_000
        await reader.read(watch, ["q0"])
    assert len(read) == count
    assert max(now - at for at in read.values()) <= HIDDEN_EVERY_MS


async def _settled(pilot: Pilot[int]) -> None:
    for _ in range(3):
        await pilot.pause()


@pytest.mark.parametrize("size", [(160, 45), (80, 24)])
async def test_the_key_walks_through_the_words_and_a_click_goes_there(size: tuple[int, int]) -> None:
    app = ConsoleApp(config(ScriptedFeed(script(EVERY_KIND))))
    async with app.run_test(size=size) as pilot:
        await _settled(pilot)
        visited = []
        for _ in range(4):
            await pilot.press("!")
            await _settled(pilot)
            visited.append(app.current_mode)
        assert visited[1:] == ["workers", "workers", "approvals"]

        await pilot.press("-")
        await _settled(pilot)
        assert app.current_mode == "workers"

        bar = app.screen.query_one("#trouble", LinkBar)
        if size[1] >= 30:
            at = bar.text.index("◆")
            assert await pilot.click("#trouble", offset=(at + 1, 0))
        else:
            shown = "".join(s.text for s in app.screen._compositor.render_strips()[1])
            assert await pilot.click("#tabs", offset=(shown.index("◆"), 0))
        await _settled(pilot)
        assert app.current_mode == "approvals"


async def test_the_key_says_that_nothing_is_wrong() -> None:
    app = ConsoleApp(config(ScriptedFeed(script(CALM))))
    async with app.run_test(size=(120, 36)) as pilot:
        await _settled(pilot)
        await pilot.press("!")
        await _settled(pilot)
        assert app.console_screen is not None
        assert app.console_screen.message == "nothing is wrong"
