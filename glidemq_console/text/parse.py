"""What people type into dialogs: a number, a rate with its window; each answer is a value or what is wrong with it."""

from __future__ import annotations

import math
import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_RATE = re.compile(r"([\d,_ ]+?)\s*(?:(?:/|per)\s*(\d*)\s*(ms|s|min|m|h|d))?")
_WAIT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|min|m|h|d)?", re.ASCII)
_MOST = 10**12
_LONGEST_WAIT_MS = 3_650 * 86_400_000


def parse_rate(text: str) -> tuple[int, int] | str:
    """Read `60`, `60/10s`, `1,000 per h` as (starts, window in ms); without a window it is a minute."""
    match = _RATE.fullmatch(text.strip().lower())
    if match is None:
        return "write how many starts a minute, as 60, or with a window, as 60/10s"
    starts = _whole(match[1])
    window = int(match[2] or 1) * _UNITS_MS[match[3]] if match[3] else 60_000
    if starts is None or starts < 1:
        return "must be a whole number of at least 1"
    if not 0 < window <= 86_400_000:
        return "the window must be longer than 0 and at most a day"
    return starts, window


def parse_count(text: str) -> int | str:
    """Read a whole number of at least 1."""
    value = _whole(text)
    return "must be a whole number of at least 1" if value is None or value < 1 else value


def parse_wait(text: str) -> int | str:
    """Read `30s`, `5m`, `2h`, `1d` or `0` as milliseconds."""
    match = _WAIT.fullmatch(text.strip().lower())
    if match is None or (match[2] is None and float(match[1])):
        return "write a time, as 30s, 5m, 2h or 1d; 0 is at once"
    wait_ms = round(float(match[1]) * _UNITS_MS[match[2] or "ms"])
    return wait_ms if wait_ms <= _LONGEST_WAIT_MS else "must be at most ten years"


def parse_priority(text: str) -> int | str:
    """Read a whole number from 0 to 2048."""
    value = _whole(text)
    return "must be a whole number from 0 to 2048" if value is None or value > 2048 else value


def parse_amount(text: str) -> float | str:
    """Read a number of tokens or an amount of money to add; empty is 0."""
    plain = text.strip().lstrip("+").replace(",", "").replace("_", "")
    if not plain:
        return 0.0
    factor = {"k": 1e3, "m": 1e6}.get(plain[-1].lower(), 1)
    try:
        value = float(plain[:-1] if factor != 1 else plain) * factor
    except ValueError:
        return "must be a number, as 5000, 5k or 0.25"
    if not math.isfinite(value) or value < 0 or value > _MOST:
        return "must be a number from 0 upwards"
    return value


def _whole(text: str) -> int | None:
    digits = re.sub(r"[,_ ]", "", text.strip())
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 13 else None
    return value if value is not None and value <= _MOST else None
