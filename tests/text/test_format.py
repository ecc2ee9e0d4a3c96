"""Figures and words: two units, three digits, zeros that are not unknowns."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from glidemq_console.text import format as words


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"),
        (-5, "0s"),
        (41_999, "41s"),
        (192_000, "3m 12s"),
        (60_000, "1m 00s"),
        (7_500_000, "2h 05m"),
        (26 * words.HOUR, "1d 02h"),
        (6 * words.DAY + 5, "6d"),
    ],
)
def test_durations_have_two_units_at_most(ms: int | None, text: str) -> None:
    assert words.duration(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, "–"), (410, "0.41s"), (4_100, "4.1s"), (9_960, "9s"), (38_000, "38s"), (130_000, "2m 10s")],
)
def test_measured_durations_are_finer_when_short(ms: int | None, text: str) -> None:
    assert words.took(ms) == text


def test_ages_and_countdowns_take_the_clock() -> None:
    assert words.age(1_000, 42_000) == "41s"
    assert words.age(None, 42_000) == "–"
    assert words.countdown(42_000, 1_000) == "41s"
    assert words.countdown(1_500, 1_000) == "1s"
    assert words.countdown(1_000, 42_000) == "0s"
    assert words.countdown(None, 0) == "–"


@pytest.mark.parametrize(
    ("now", "level"),
    [(0, "ok"), (740, "ok"), (750, "warn"), (899, "warn"), (900, "high"), (1_000, "over"), (9_999, "over")],
)
def test_deadlines_warn_in_the_last_quarter_and_the_last_tenth(now: int, level: str) -> None:
    assert words.deadline_level(0, 1_000, now) == level


def test_a_deadline_that_is_not_known_has_no_level() -> None:
    assert words.deadline_level(0, None, 5) == "unknown"


def test_times_of_day_stand_in_the_zone_asked_for() -> None:
    assert words.clock(1_700_000_000_000, UTC) == "22:13:20"
    assert words.clock(None) == "–"
    assert words.clock(10**18) == "–"
    assert words.moment(1_700_000_000_000, 1_700_000_100_000, UTC) == "22:13:20"
    assert words.moment(1_700_000_000_000, 1_800_000_000_000, UTC) == "2023-11-14 22:13"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "·"),
        (7, "7"),
        (0.42, "0.4"),
        (0.001, "<0.1"),
        (999, "999"),
        (999.6, "1.0k"),
        (1_234, "1.2k"),
        (48_123, "48.1k"),
        (103_400, "103k"),
        (999_600, "1.0M"),
        (1_250_000, "1.2M"),
        (-1_500, "-1.5k"),
        (float("nan"), "–"),
    ],
)
def test_counts_keep_three_digits(number: float | None, text: str) -> None:
    assert words.count(number) == text


@given(st.floats(min_value=0, max_value=1e15))
def test_counts_never_outgrow_their_column(number: float) -> None:
    assert cell_len(words.count(number)) <= 5


def test_rates_and_money_carry_their_unit() -> None:
    assert words.rate(412, "/min") == "412/min"
    assert words.rate(3_100, "tok/s") == "3.1k tok/s"
    assert words.rate(0, "tok/s") == "·"
    assert words.rate(None, "/min") == "–"
    assert words.money(0.018) == "0.018"
    assert words.money(1.92, "usd", per="/h") == "$1.92/h"
    assert words.money(12.4, "eur") == "12.40 eur"
    assert words.money(0.00001) == "<0.001"
    assert words.money(0.00001, "usd") == "<$0.001"
    assert words.money(0, "usd") == "·"
    assert words.money(None, "usd") == "–"
    assert words.full(1_204) == "1,204"
    assert words.byte_size(4_200) == "4.2 kB"
    assert words.byte_size(812) == "812 B"
    assert words.percent(0.684) == "68 %"
    assert words.plural(0, "job") == "no jobs"
    assert words.plural(1, "reply", "replies") == "1 reply"


@pytest.mark.parametrize(
    ("share", "level", "label"),
    [
        (0.1, "ok", "10 %"),
        (0.7, "warn", "70 %"),
        (0.9, "warn", "90 %"),
        (0.95, "high", "95 %"),
        (1.04, "over", "104 % exceeded"),
        (None, "unknown", "cap unknown"),
    ],
)
def test_gauges_say_how_full_they_are(share: float | None, level: str, label: str) -> None:
    assert words.gauge_level(share) == level
    assert words.gauge_label(share) == label


@given(st.one_of(st.none(), st.floats()), st.integers(0, 40))
def test_a_gauge_is_as_wide_as_asked(share: float | None, width: int) -> None:
    assert cell_len(words.gauge_cells(share, width)) == width


def test_gauge_cells_are_eighths() -> None:
    assert words.gauge_cells(0.6875, 10) == "██████▉   "
    assert words.gauge_cells(0.0001, 4) == "▏   "
    assert words.gauge_cells(3.0, 4) == "████"
    assert words.gauge_cells(None, 4) == "░░░░"


def test_sparklines_show_gaps_and_zeros_apart() -> None:
    assert words.sparkline([0, None, 4, 8], 6) == "  ▁ ▄█"
    assert words.sparkline([0, 0], 2) == "▁▁"
    assert words.sparkline([1, 2, 3], 2) == "▆█"
    assert words.sparkline([], 3) == "   "


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e12))), st.integers(0, 40))
def test_a_sparkline_is_as_wide_as_asked(values: list[float | None], width: int) -> None:
    assert cell_len(words.sparkline(values, width)) == width


def test_every_state_has_a_word_and_two_glyphs_of_one_cell() -> None:
    assert set(words.STATES) == {
        *("waiting", "active", "delayed", "prioritized", "group-waiting", "waiting-children"),
        *("suspended", "completed", "failed", "paused", "stalled", "parked"),
    }
    for look in words.STATES.values():
        assert cell_len(look.glyph) == 1
        assert look.ascii.isascii()
        assert len(look.ascii) == 1
    assert len({look.glyph for look in words.STATES.values()}) == len(words.STATES)
    assert len({look.ascii for look in words.STATES.values()}) == len(words.STATES)
    assert words.state_look("suspended").label() == "◆ suspended"
    assert words.state_look("no such").word == "unknown"
