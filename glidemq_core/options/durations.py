"""Durations as people write them: `30s`, `1h 30m`. One grammar for parameters, commands and dialogs."""

from __future__ import annotations

import math
import re
from typing import Final

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "min": 60_000, "s": 1_000, "ms": 1}
_PART: Final = re.compile(r"\s*(\d+)(?:\.(\d+))?\s*(ms|s|min|m|h|d)", re.ASCII)
#: Characters of a duration at most, and with how many decimal places it is added up.
_LONGEST: Final = 64
_ONE: Final = 10**_LONGEST


class Milliseconds(int):
    """A number of milliseconds whose writer knew the unit: it stood in a record, or was converted."""


def parse_duration(text: str) -> Milliseconds | None:
    """Read `500ms`, `30s`, `5m` (or `5min`), `2h`, `1d`, `1.5h` or `1h 30m` as milliseconds; parts of one count as one.

    Returns None for what is none: a number without unit, a unit twice, a smaller unit before a larger one.
    """

    left = text.strip().lower()
    if not left or len(left) > _LONGEST:
        return None
    total, smallest, place = 0, math.inf, 0
    while place < len(left):
        part = _PART.match(left, place)
        if part is None or (unit_ms := _UNITS_MS[part[3]]) >= smallest:
            return None
        fraction = part[2] or ""
        total += int(part[1] + fraction) * unit_ms * _ONE // 10 ** len(fraction)
        smallest, place = unit_ms, part.end()
    return Milliseconds(-(-total // _ONE))
