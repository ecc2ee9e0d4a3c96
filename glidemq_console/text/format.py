"""Words and figures of the console: pure functions from values to short plain text.

Times are those of records or epoch milliseconds, durations milliseconds. A zero is `·`, something unknown (None)
is `–`; neither is ever mistaken for the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

ZERO: Final = "·"
UNKNOWN: Final = "–"

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

Level = Literal["ok", "warn", "high", "over", "unknown"]
#: A point in time: as records hold it, or epoch ms.
Instant = datetime | float
#: Not those of the locale: the rest of the interface is English too.
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# --- time ---


def duration(ms: float | None) -> str:
    """Return a duration in at most two units: `41s`, `3m 12s`, `2h 05m`, `6d`; negative counts as zero."""
    if ms is None:
        return UNKNOWN
    seconds = max(0, int(ms)) // SECOND
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}h" if days < 2 else f"{days}d"


def rough(ms: float | None) -> str:
    """Return a duration in its largest unit alone: `41s`, `3m`, `2h`, `6d`."""
    return duration(ms).partition(" ")[0]


def took(ms: float | None) -> str:
    """Return a measured duration, finer below ten seconds: `0.41s`, `4.1s`, `38s`, `2m 10s`."""
    if ms is None:
        return UNKNOWN
    if ms < 0.995 * SECOND:
        return f"{max(0.0, ms) / SECOND:.2f}s"
    if ms < 9.95 * SECOND:
        return f"{ms / SECOND:.1f}s"
    return duration(ms)


def _ms(at: Instant) -> float:
    return (at - _EPOCH) // timedelta(milliseconds=1) if isinstance(at, datetime) else at


#: Whether ages are told by the minute and clocks without seconds, see `be_calm`.
_calm = False


def be_calm(calm: bool) -> None:
    """Tell ages by the minute and the time without seconds in this process, or as finely as they are known."""
    global _calm
    _calm = calm


def passed(ms: float | None) -> str:
    """Return a time that goes on passing, as `duration` does; by the minute where it is calm."""
    if not _calm or ms is None or ms >= HOUR:
        return duration(ms)
    return f"{int(ms) // MINUTE}m" if ms >= MINUTE else "<1m"


def age(since: Instant | None, now: Instant) -> str:
    """Return how long ago an instant was; by the minute where it is calm."""
    return UNKNOWN if since is None else passed(_ms(now) - _ms(since))


def countdown(deadline: Instant | None, now: Instant) -> str:
    """Return how long until an instant; a deadline that has passed reads `0s`."""
    return UNKNOWN if deadline is None else duration(max(0.0, _ms(deadline) - _ms(now) + SECOND - 1))


def deadline_level(start_ms: float | None, deadline_ms: float | None, now_ms: float) -> Level:
    """Return `warn` in the last quarter before a deadline, `high` in the last tenth, `over` after it."""
    if deadline_ms is None:
        return "unknown"
    left = deadline_ms - now_ms
    if left <= 0:
        return "over"
    if start_ms is None or deadline_ms <= start_ms:
        return "ok"
    share = left / (deadline_ms - start_ms)
    if share <= 0.10:
        return "high"
    return "warn" if share <= 0.25 else "ok"


def window(ms: int) -> str:
    """Return the length of a window as it is typed: `500ms`, `10s`, `1m`, `2h`, `1d`."""
    for size, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if ms % size == 0:
            return f"{ms // size}{letter}"
    return f"{ms}ms"


def _local(at: Instant | None, zone: tzinfo | None) -> datetime | None:
    try:
        return None if at is None else datetime.fromtimestamp(_ms(at) / SECOND, UTC).astimezone(zone)
    except (OverflowError, OSError, ValueError):
        return None


def clock(at: Instant | None, zone: tzinfo | None = None) -> str:
    """Return the time of day `14:02:11` in `zone` (default: local); `14:02` where it is calm."""
    then = _local(at, zone)
    return UNKNOWN if then is None else f"{then:%H:%M}" if _calm else f"{then:%H:%M:%S}"


def moment(at: Instant | None, now: Instant, zone: tzinfo | None = None) -> str:
    """Return the time of day, with the date when it is not today's: `14:02:11`, `2024-05-01 14:02`."""
    then, today = _local(at, zone), _local(now, zone)
    if then is None:
        return UNKNOWN
    if today is not None and then.date() == today.date():
        return f"{then:%H:%M:%S}"
    return f"{then:%Y-%m-%d %H:%M}"


def stamp(at: Instant | None, now: Instant, zone: tzinfo | None = None) -> str:
    """Return the time of day, of another day its date with the time: `14:02:11`, `1 May 14:02`, `2024-05-01`."""
    then, today = _local(at, zone), _local(now, zone)
    if then is None or today is None:
        return UNKNOWN
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    return (
        f"{then.day} {_MONTHS[then.month - 1]} {then:%H:%M}"
        if then.year == today.year
        else f"{then:%Y-%m-%d}"
    )


# --- numbers ---


def count(number: float | None) -> str:
    """Return a count in at most three digits and a letter: `·`, `128`, `1.2k`, `48.1k`, `103k`, `1.2M`."""
    if number is None or not math.isfinite(number):
        return UNKNOWN
    if number == 0:
        return ZERO
    size = abs(number)
    sign = "-" if number < 0 else ""
    if size < 9.95 and size != int(size):
        return sign + (f"{size:.1f}" if size >= 0.05 else "<0.1")
    if size < 999.5:
        return f"{sign}{round(size)}"
    for factor, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        scaled = size / factor
        if scaled < 99.95:
            return f"{sign}{scaled:.1f}{letter}"
        if scaled < 999.5:
            return f"{sign}{scaled:.0f}{letter}"
    return f"{sign}{size:.0e}"


def full(number: float | None) -> str:
    """Return a number with all its digits: `·`, `1,204`."""
    if number is None or not math.isfinite(number):
        return UNKNOWN
    if number == 0:
        return ZERO
    return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"


def rate(number: float | None, unit: str) -> str:
    """Return a rate with its unit: `412/min`, `3.1k tok/s`; without one when it is zero or unknown."""
    text = count(number)
    if text in (ZERO, UNKNOWN):
        return text
    return text + unit if unit.startswith("/") else f"{text} {unit}"


def money(amount: float | None, unit: str | None = None, *, per: str = "") -> str:
    """Return an amount in its unit: `0.018`, `$1.92/h` when the unit is usd, `12.40 eur` otherwise."""
    if amount is None or not math.isfinite(amount):
        return UNKNOWN
    if amount == 0:
        return ZERO
    size = abs(amount)
    if size >= 999.5:
        figure = count(size)
    elif size >= 1:
        figure = f"{size:.2f}"
    elif size >= 0.0005:
        figure = f"{size:.3f}"
    else:
        figure = "<0.001"
    sign = "-" if amount < 0 else ""
    if unit is not None and unit.lower() == "usd":
        less, figure = ("<", figure[1:]) if figure.startswith("<") else ("", figure)
        return f"{less}{sign}${figure}{per}"
    return f"{sign}{figure}{f' {unit}' if unit else ''}{per}"


def byte_size(number: int | None) -> str:
    """Return a size in bytes: `812 B`, `4.2 kB`, `1.2 MB`."""
    if number is None:
        return UNKNOWN
    if number < 1_000:
        return f"{number} B"
    size = float(number)
    for letter in "kMG":
        size /= 1_000
        if size < 999.5 or letter == "G":
            return f"{size:.1f} {letter}B" if size < 99.95 else f"{size:.0f} {letter}B"
    raise AssertionError("unreachable")


def percent(share: float | None) -> str:
    """Return a share (1.0 is all) as `68 %`."""
    return UNKNOWN if share is None or not math.isfinite(share) else f"{share * 100:.0f} %"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Return `1 job` or `3 jobs`; the number keeps all its digits, zero is `no jobs`."""
    many = nouns or noun + "s"
    if number == 0:
        return f"no {many}"
    return f"{number:,} {noun if number == 1 else many}"


# --- meters ---

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_BARS: Final = "▁▂▃▄▅▆▇█"
HATCH: Final = "░"


def gauge_level(share: float | None) -> Level:
    """Return `ok` below 70 %, `warn` to 90 %, `high` above, `over` past 100 %, `unknown` without a cap."""
    if share is None or not math.isfinite(share):
        return "unknown"
    if share > 1.0:
        return "over"
    if share > 0.9:
        return "high"
    return "warn" if share >= 0.7 else "ok"


def gauge_cells(share: float | None, width: int) -> str:
    """Return the inside of a gauge, `width` cells of eighth blocks; hatched when the cap is unknown."""
    if share is None or not math.isfinite(share):
        return HATCH * width
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    if share > 0 and eighths == 0 and width > 0:
        eighths = 1
    full_cells, rest = divmod(eighths, 8)
    cells = "█" * full_cells + (_EIGHTHS[rest] if rest else "")
    return cells.ljust(width)


def gauge_label(share: float | None) -> str:
    """Return the words beside a gauge: `68 %`, `104 % exceeded`, `cap unknown`."""
    if share is None or not math.isfinite(share):
        return "cap unknown"
    return percent(share) + (" exceeded" if share > 1.0 else "")


def sparkline(values: Sequence[float | None], width: int, *, top: float | None = None) -> str:
    """Return the latest `width` values as bars, newest right; a gap for None, the lowest bar for zero.

    Missing history is blank on the left; `top` is the value of a full bar (default: the highest shown).
    """
    shown = list(values[-width:]) if width > 0 else []
    highest = top if top is not None else max((value for value in shown if value is not None), default=0.0)
    bars = "".join(
        " " if value is None else _BARS[0] if highest <= 0 else _BARS[_bar_index(value / highest)]
        for value in shown
    )
    return bars.rjust(max(0, width))


def _bar_index(share: float) -> int:
    return 0 if share <= 0 else min(7, max(1, math.ceil(share * 8) - 1))


# --- states ---


@dataclass(frozen=True, kw_only=True)
class StateLook:
    """How a state is shown: by word, glyph and colour, in this order of importance."""

    word: str
    glyph: str
    """One cell in every common terminal."""
    ascii: str
    """ASCII fallback of the glyph."""
    style: str
    """Theme variable of the colour, without the dollar sign."""

    def label(self) -> str:
        """Return glyph and word."""
        return f"{self.glyph} {self.word}"


def _look(word: str, glyph: str, ascii_glyph: str) -> StateLook:
    return StateLook(word=word, glyph=glyph, ascii=ascii_glyph, style=f"state-{word}")


STATES: Final[dict[str, StateLook]] = {
    look.word: look
    for look in (
        _look("waiting", "○", "o"),
        _look("active", "●", "*"),
        _look("delayed", "◷", "@"),
        _look("prioritized", "▲", "^"),
        _look("group-waiting", "≡", "="),
        _look("waiting-children", "┬", "Y"),
        _look("suspended", "◆", "!"),
        _look("completed", "✓", "+"),
        _look("failed", "✗", "x"),
        _look("stalled", "▼", "v"),
        _look("paused", "‖", "P"),
        StateLook(word="parked", glyph="⊟", ascii="b", style="state-paused"),
    )
}
_UNKNOWN_STATE: Final = StateLook(word="unknown", glyph="?", ascii="?", style="dim")


def state_look(state: str | None) -> StateLook:
    """Return the look of a state; one this version does not know is `? unknown`."""
    return STATES.get(state or "", _UNKNOWN_STATE)
