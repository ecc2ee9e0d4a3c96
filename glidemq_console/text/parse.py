"""Read what people type into dialogs and on the command line: counts, rates, durations, amounts.

Each function returns the value, or a text that says what is wrong.
"""

from __future__ import annotations

import re
from typing import Final

from glidemq_core.options import durations

_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_RATE: Final = re.compile(r"(.*?)(?:(?:/|per)(.*))?", re.DOTALL)
DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000
LONGEST_MS: Final = 100 * 365 * DAY_MS
#: Amounts and counts beyond this are no longer exact on the wire.
_MOST: Final = 2**53 - 1


def parse_duration(text: str) -> int | str:
    """Read `500ms`, `30s`, `5m`, `2h`, `1d`, `1h 30m` or a plain number of seconds as milliseconds."""
    plain = text.strip()
    wait_ms = durations.parse_duration(f"{plain}s" if _NUMBER.fullmatch(plain) else plain)
    if wait_ms is None:
        return "write a time as 500ms, 30s, 5m, 2h, 1d, 1h 30m, or a number of seconds"
    return wait_ms if wait_ms <= LONGEST_MS else "must be at most 100 years"


def parse_wait(text: str) -> int | str:
    """Read a duration with its unit, or `0`, as milliseconds."""
    wait_ms = parse_duration(text)
    if isinstance(wait_ms, str) or (wait_ms and text.strip()[-1].isdigit()):
        return "write a time, as 30s, 5m, 2h or 1d; 0 is at once"
    return wait_ms


def parse_rate(text: str, longest_ms: int = DAY_MS) -> tuple[int, int] | str:
    """Read `60`, `60/10s`, `1,000 per h` as (starts, window in ms); without a window it is a minute."""
    match = _RATE.fullmatch(text.strip().lower())
    assert match is not None
    starts, window = _whole(match[1]), match[2]
    if starts is None or starts < 1:
        return "write how many starts a minute, as 60, or with a window, as 60/10s"
    if window is None:
        return starts, _MINUTE_MS
    window = window.strip()
    window_ms = parse_duration(f"1{window}" if window[:1].isalpha() else window)
    if isinstance(window_ms, str):
        return f"the window: {window_ms}"
    if not 0 < window_ms <= longest_ms:
        return (
            f"the window must be longer than 0 and at most {'a day' if longest_ms == DAY_MS else '100 years'}"
        )
    return starts, window_ms


def parse_count(text: str) -> int | str:
    """Read a whole number of at least 1."""
    value = _whole(text)
    return "must be a whole number of at least 1" if value is None or value < 1 else value


def parse_priority(text: str) -> int | str:
    """Read a whole number from 0 to 2048."""
    value = _whole(text)
    return "must be a whole number from 0 to 2048" if value is None or value > 2048 else value


def parse_amount(text: str) -> float | str:
    """Read a number of tokens or an amount of money, as `5000`, `5k` or `0.25`; empty is 0."""
    plain = text.strip().lower().lstrip("+").replace(",", "")
    factor = {"k": 1e3, "m": 1e6}.get(plain[-1:], 1)
    try:
        value = float(plain[:-1] if factor > 1 else plain) * factor if plain else 0.0
    except ValueError:
        value = -1
    if not plain.isascii() or "_" in plain or not 0 <= value <= _MOST:
        return "must be a number from 0 upwards, as 5000, 5k or 0.25"
    return value


def _whole(text: str) -> int | None:
    digits = re.sub(r"[,_ ]", "", text.strip())
    value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else None
    return value if value is not None and value <= _MOST else None
