"""Lines of parts that are too long for their place."""

from __future__ import annotations

from typing import Any, cast

from kits.hostile import CORPUS
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from glidemq_console.text.safe import clean
from glidemq_console.widgets.drawn import segments
from glidemq_console.widgets.styled import Styled, width_of, wrap


def text_of(lines: list[list[Styled]]) -> list[str]:
    return ["".join(part.text for part in line) for line in lines]


def test_a_line_that_fits_stays_as_it_is() -> None:
    assert text_of(wrap([Styled("  one "), Styled("two")], 9)) == ["  one two"]


def test_words_move_down_whole_and_keep_their_colour() -> None:
    lines = wrap([Styled("  x ", "dim"), Styled("the model is at capacity, try again", "error")], 20)

    assert text_of(lines) == ["  x the model is at ", "    capacity, try ", "    again"]
    assert [line[-1].style for line in lines] == ["error"] * 3


def test_a_short_part_is_never_broken() -> None:
    lines = wrap(
        [Styled("  429 slow down: rate limit reached for tokens", "error"), Styled(" → fallback 1")], 48
    )

    assert text_of(lines) == ["  429 slow down: rate limit reached for tokens", "    → fallback 1"]


def test_a_word_longer_than_a_line_and_wide_characters_are_cut_by_cells() -> None:
    for text in ("x" * 50, "漢" * 30, "漢字 " + "y" * 30):
        lines = wrap([Styled(text)], 13)

        assert all(width_of(line) <= 13 for line in lines)
        assert sum(cell_len(line.replace(" ", "")) for line in text_of(lines)) == cell_len(
            text.replace(" ", "")
        )


def drawn(text: str) -> list[Segment]:
    """The segments of foreign text in bold, which asks no theme."""
    return segments(cast(Any, None), [Styled(clean(text), "", "bold")], Style())


def test_markup_is_drawn_as_the_text_it_is() -> None:
    assert drawn(CORPUS["markup"]) == [Segment(CORPUS["markup"], Style(bold=True))]


def test_stand_ins_are_dim_and_links_are_not_made() -> None:
    parts = drawn(CORPUS["link (osc 8)"])

    assert {bool(part.style and part.style.dim) for part in parts} == {True, False}
    assert "https://evil.example" in "".join(part.text for part in parts)
    assert not any(part.style and part.style.link for part in parts)
