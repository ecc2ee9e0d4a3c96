"""The words of the line of trouble, as wide as there is room, and what all queues do together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..model.snapshot import Snapshot
from ..model.trouble import Kind, Trouble, is_all_read, totals
from ..text import format as fmt
from ..widgets.styled import Parts, Styled, dim

#: From these widths on the words stand in full, and without their units; below, they share the line of the tabs.
FULL_WIDTH, MIDDLE_WIDTH = 140, 100
#: Below this width the tabs and the words leave no room for figures.
_FIGURES_WIDTH = 70


class _Word(NamedTuple):
    glyph: str
    style: str
    #: What follows the number: in full, and where there is less room.
    full: str
    middle: str


_WORDS: Final[dict[Kind, _Word]] = {
    "failed": _Word(fmt.state_look("failed").glyph, "error", "failed in 1h", "failed"),
    "stalled": _Word(fmt.state_look("stalled").glyph, "state-stalled", "stalled", "stalled"),
    "unserved": _Word("∅", "warning", "without worker", ""),
    "asked": _Word(fmt.state_look("suspended").glyph, "person", "wait", ""),
    "parked": _Word(fmt.state_look("parked").glyph, "state-paused", "parked", ""),
    "missed": _Word("◔", "warning", "missed", ""),
    "letters": _Word("▣", "error", "dead letters", ""),
}
#: Every glyph of the line.
GLYPHS: Final = tuple(word.glyph for word in _WORDS.values())


def words(
    found: Sequence[Trouble], snapshot: Snapshot, now_ms: int, width: int, *, is_low: bool
) -> list[tuple[str, Parts]]:
    """Lay out the words as (kind, parts); on a low terminal as short as they get."""
    if not snapshot.has_data:
        return []
    level = "short" if is_low or width < MIDDLE_WIDTH else "middle" if width < FULL_WIDTH else "full"
    is_partial = not is_all_read(snapshot)
    entries: list[tuple[str, Parts]] = [
        (one.kind, _parts(one, now_ms, level, is_partial=is_partial)) for one in found
    ]
    return entries or [("", _calm(snapshot, is_short=is_low))]


def _parts(one: Trouble, now_ms: int, level: str, *, is_partial: bool) -> list[Styled]:
    word = _WORDS[one.kind]
    gap = "" if level == "short" else " "
    if not one.count:
        return [dim(f"{word.glyph}{gap}{fmt.ZERO}")]
    number = fmt.count(one.count) + ("+" if is_partial else "")
    parts = [Styled(f"{word.glyph}{gap}{number}", word.style, "bold")]
    text = {"full": word.full, "middle": word.middle, "short": ""}[level]
    if one.count == 1 and text.endswith("letters"):
        text = text.removesuffix("s")
    if text:
        parts.append(Styled(f" {text}", word.style))
    if one.next_ms is not None:
        left = fmt.countdown(one.next_ms, now_ms).partition(" ")[0]
        lead = {"full": ", next ", "middle": " next ", "short": "·"}[level]
        parts.append(Styled(f"{lead}{left}", word.style))
    return parts


def _calm(snapshot: Snapshot, *, is_short: bool) -> list[Styled]:
    read, known = len(snapshot.queues), max(snapshot.queues_known, len(snapshot.queues))
    if is_all_read(snapshot):
        return [
            Styled("all calm", "success"),
            *([] if is_short else [dim(f", {read:,} of {known:,} queues read")]),
        ]
    more = "" if snapshot.complete and not snapshot.leaves_out_queues else "+"
    return [dim(f"nothing wrong in {read:,} of {known:,}{more}" + ("" if is_short else " queues read"))]


def totals_parts(snapshot: Snapshot, width: int, *, is_low: bool) -> list[Styled]:
    """What all queues do together, at the right end."""
    if not snapshot.has_data:
        return []
    sums = totals(snapshot.queues)
    figures: list[tuple[str, str]] = []
    if not is_low:
        figures += [(fmt.count(sums.waiting), " wait"), (fmt.count(sums.active), " run")]
    if sums.cost_per_hour and width >= _FIGURES_WIDTH:
        figures.append((fmt.money(sums.cost_per_hour, sums.cost_unit, per="/h"), ""))
    if sums.tokens_per_s and width >= FULL_WIDTH and not is_low:
        figures.append((fmt.count(sums.tokens_per_s), " tok/s"))
    parts: list[Styled] = []
    for number, unit in figures:
        parts += [Styled("  "), Styled(number, "dim" if number == fmt.ZERO else "foreground"), dim(unit)]
    return [*parts, Styled(" ")]
