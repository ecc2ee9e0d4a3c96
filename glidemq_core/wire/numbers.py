"""Numbers as the wire spells them: JavaScript's text in, plain decimal text out."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

#: Largest whole number that JavaScript and a double carry exactly, and its neighbours too.
MAX_SAFE_INTEGER: Final = 2**53

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Longer texts are not numbers anybody wrote.
_MAX_DIGITS = 400


def number_text(value: float) -> str:
    """Write a number as decimal text without exponent, whole ones without fraction.

    Raises:
        ValueError: NaN or infinite.
    """
    if isinstance(value, int):
        return str(int(value))
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if value.is_integer():
        return str(int(value))
    return format(Decimal(repr(value)), "f")


def parse_number(stored: bytes | str | None) -> float | None:
    """Read number text, exponents included; whole numbers that a double holds exactly are ints.

    None for anything else: missing, empty, NaN, infinite, words.
    """
    if stored is None or len(stored) > _MAX_DIGITS:
        return None
    text = stored if isinstance(stored, str) else stored.decode("utf-8", "replace")
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number


def to_int(stored: bytes | str | None, default: int = 0) -> int:
    """Read a counter or time, cut to a whole number; anything else is the default."""
    number = parse_number(stored)
    return default if number is None else int(number)


def size_words(size: int) -> str:
    """Write a number of bytes in words: `812 bytes`, `17 kB`, `45 MB`."""
    if size < 1_000:
        return f"{size} bytes"
    return f"{round(size / 1_000)} kB" if size < 999_500 else f"{round(size / 1_000_000)} MB"
