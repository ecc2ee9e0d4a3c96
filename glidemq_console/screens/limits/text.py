"""What the limits screen says, as parts: pure functions of records, history and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...model.limits import CELL_MS, CELLS, MeterHistory, held_by, is_known, share_of
from ...model.snapshot import age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import cell_fit, cell_pad, short
from ...widgets.meters import gauge_parts, sparkline_parts
from ...widgets.styled import Cell, Parts, Styled, dim, label

if TYPE_CHECKING:
    from glidemq_core.records import Group, Limits, QueueSnapshot, Rate

#: Cells inside the marks of a gauge in a row, and when its cap is unknown and words need the room.
ROW_GAUGE, ROW_UNKNOWN_GAUGE = 7, 4
MINI_GAUGE = 4
#: Cells of a row's history: a quarter of an hour in the list.
ROW_SPARK = 15
_HELD_WORDS = {"starts": "RPM", "tokens": "TPM", "slots": "slots"}
#: Amounts from here on are shown in thousands.
_LONG = 10_000
#: A count of one queue's groups shown; the pane says how many more there are.
GROUPS_SHOWN = 40


def used_text(rate: Rate) -> str:
    """`49 / 60`; both in thousands once one of them is long."""
    long = max(rate.used or 0, rate.max or 0) >= _LONG
    return f"{_amount(rate.used, long=long)} / {_amount(rate.max, long=long)}"


def _amount(value: float | None, *, long: bool = False) -> str:
    if value is None:
        return fmt.UNKNOWN
    return "0" if value == 0 else fmt.count(value) if long or value >= _LONG else f"{value:,.0f}"


def meter_cell(rate: Rate) -> list[Styled]:
    """A meter in a row: gauge and figures; hatched with words when the cap is unknown."""
    if not is_known(rate):
        return [dim(fmt.UNKNOWN)]
    if not rate.max:
        gauge = gauge_parts(None, ROW_UNKNOWN_GAUGE)[:3]
        return [*gauge, Styled(f" {_amount(rate.used)}"), dim(" cap unknown")]
    share = share_of(rate)
    parts = gauge_parts(share, ROW_GAUGE)[:3]
    if share is None:
        parts[1] = Styled(" " * ROW_GAUGE)
    window = _window_parts(rate)
    figures = used_text(rate).replace(" ", "") if window else used_text(rate)
    return [*parts, Styled(f" {figures}"), *window]


def mini_meter(rate: Rate) -> list[Styled]:
    """A meter where there is little room: a small gauge and its percentage, or what was counted."""
    if not is_known(rate):
        return [dim(fmt.UNKNOWN)]
    share = share_of(rate)
    gauge = gauge_parts(share, MINI_GAUGE)
    words = fmt.percent(share) if share is not None else _amount(rate.used)
    return [*gauge[:3], Styled(f" {words}", gauge[1].style if share is not None else "dim")]


def _window_parts(rate: Rate) -> list[Styled]:
    """Windows of a minute go without saying."""
    if not rate.window_ms or rate.window_ms == 60_000:
        return []
    return [dim(f" in {fmt.window(rate.window_ms)}")]


def resets_cell(rate: Rate, now: int) -> Styled:
    ends = epoch_ms(rate.resets_at)
    if ends is None or not rate.used:
        return dim("")
    return dim(fmt.countdown(ends, now))


def by_minute(history: MeterHistory) -> list[float | None]:
    """The cells of a history, highest of each minute."""
    size = 60_000 // CELL_MS
    cells = history.cells or (None,) * CELLS
    groups = [cells[at : at + size] for at in range(0, len(cells), size)]
    return [max((v for v in group if v is not None), default=None) for group in groups]


def slots_cell(row: QueueSnapshot, now: int) -> Cell:
    """Jobs that run, of so many at once."""
    cap = row.global_concurrency
    if cap is None:
        return dim(fmt.count(row.active))
    held = "slots" in held_by(row, now)
    return [Styled(_amount(row.active), "warning" if held else ""), dim(f" / {cap:,}")]


def waits_cell(row: QueueSnapshot, now: int) -> Cell:
    held = held_by(row, now)
    return Styled(fmt.count(row.waiting), "warning" if held else "dim", "bold" if held else "")


def held_cell(row: QueueSnapshot, now: int) -> Cell:
    """`held back 4, 38s left`, or why it is held where no time ends that."""
    held = held_by(row, now)
    if not held:
        return ""
    ends = held_until(row, held)
    left = f", {fmt.countdown(ends, now)} left" if ends is not None else f" by {_HELD_WORDS[held[-1]]}"
    return Styled(f"held back {fmt.count(row.waiting)}{left}", "warning")


def held_until(row: QueueSnapshot, held: Sequence[str]) -> int | None:
    """When the last window that holds jobs back ends, epoch ms; None where slots do, or nobody knows."""
    if "slots" in held:
        return None
    full = [rate for name, rate in (("starts", row.rpm), ("tokens", row.tpm)) if name in held]
    return max((at for rate in full if (at := epoch_ms(rate.resets_at)) is not None), default=None)


def history_cell(history: MeterHistory, rate: Rate) -> Cell:
    return sparkline_parts(by_minute(history), ROW_SPARK, top=rate.max)


# --- the pane of one queue ---------------------------------------------------------------------------------


def meter_lines(title: str, rate: Rate, history: MeterHistory, now: int, width: int) -> list[Parts]:
    """A meter in full: gauge, figures, where the cap comes from; its history below."""
    lead = label(cell_pad(title, 8))
    if not is_known(rate):
        return [[lead, dim(fmt.UNKNOWN), dim("  nothing is counted here")]]
    line: list[Styled] = [lead, *gauge_parts(share_of(rate) if rate.max else None, 10 if width < 70 else 20)]
    figures = used_text(rate) if rate.max else f"{_amount(rate.used)} used"
    window = f" in {fmt.window(rate.window_ms)}" if rate.window_ms else ""
    line.append(Styled(f"  {figures}{window}"))
    ends = epoch_ms(rate.resets_at)
    if ends is not None and rate.used:
        line.append(dim(f"  resets {fmt.countdown(ends, now)}"))
    lines: list[Parts] = [line]
    if not any(value is not None for value in history.cells):
        return [line, *_source_lines(rate)]
    spark = sparkline_parts(history.cells, CELLS if width >= 88 else 30, top=rate.max)
    minutes = 15 if width >= 88 else 7
    note = f"  {minutes} min"
    if history.blocked_ms:
        note += f"  full {fmt.duration(history.blocked_ms)} of {fmt.duration(history.watched_ms)} seen"
    lines.append([Styled(" " * 8), *spark, dim(note)])
    return [*lines, *_source_lines(rate)]


def _source_lines(rate: Rate) -> list[Parts]:
    """Where a cap comes from."""
    if not rate.max:
        words = "no worker has published a cap, as Node workers never do"
    else:
        words = "set for the whole queue" if rate.source == "queue" else "published by its workers"
    return [[Styled(" " * 8), dim(words)]]


def who_waits(row: QueueSnapshot, now: int) -> Parts:
    """Who is held back by what."""
    held = held_by(row, now)
    lead = label(cell_pad("waiting", 8))
    if not row.waiting:
        return [lead, dim("nobody")]
    words = fmt.plural(row.waiting, "job")
    waited = age_ms(row.oldest_waiting_at, now)
    oldest = dim("" if waited is None else f"  the oldest for {fmt.passed(waited)}")
    if not held:
        return [lead, Styled(words), oldest, dim("  no limit holds them")]
    full = " and ".join(_HELD_WORDS[name] for name in held)
    ends = held_until(row, held)
    until = f", {fmt.countdown(ends, now)} left" if ends is not None else ""
    return [
        lead,
        Styled(words, "warning", "bold"),
        oldest,
        Styled(f"  held back by {full}{until}", "warning"),
    ]


def slots_line(row: QueueSnapshot) -> Parts:
    lead = label(cell_pad("running", 8))
    cap = row.global_concurrency
    if cap is None:
        return [lead, Styled(f"{row.active or 0:,}"), dim("  no cap for the queue; each worker has its own")]
    share = (row.active or 0) / cap
    return [lead, *gauge_parts(share, 10), Styled(f"  {row.active or 0:,} / {cap:,} at once")]


def group_lines(limits: Limits | None, width: int, now: int) -> list[Parts]:
    """The ordering groups of a queue: slots, waiting, rate, bucket, and until when one is held."""
    if limits is None:
        return [[dim("reading …")]]
    if not limits.groups:
        return [[dim("no ordering groups")]]
    total = limits.groups_total if limits.groups_total is not None else len(limits.groups)
    names = 12 if width < 66 else 16
    lines: list[Parts] = [
        [
            label(cell_pad(fmt.plural(total, "group"), names)),
            dim(f"{'slots':>9}{'wait':>6}  {'rate':<16}bucket"),
        ]
    ]
    shown = limits.groups[:GROUPS_SHOWN]
    lines += [_group_line(group, names, now) for group in shown]
    if total > len(shown):
        lines.append([dim(f"{len(shown)} of {total:,} groups, those with waiting jobs first")])
    return lines


def _group_line(group: Group, names: int, now: int) -> Parts:
    name = cell_pad(cell_fit(short(group.key, 100) or '""', names - 1), names)
    cap = "" if group.max_concurrency is None else f" / {group.max_concurrency:,}"
    full = group.max_concurrency is not None and group.active >= group.max_concurrency
    busy = full and group.waiting
    parts = [
        Styled(name),
        Styled(f"{group.active:,}{cap}".rjust(9), "warning" if busy else "" if group.active else "dim"),
        Styled(fmt.count(group.waiting).rjust(6), "" if group.waiting else "dim"),
    ]
    rate = group.rate
    if rate is None:
        parts.append(dim("  " + fmt.UNKNOWN.ljust(16)))
    else:
        window = f" in {fmt.window(rate.window_ms)}" if rate.window_ms else ""
        parts.append(Styled(f"  {(used_text(rate) + window).ljust(16)}"))
    if group.capacity is None:
        parts.append(dim(fmt.UNKNOWN))
    else:
        refill = f" +{fmt.count(group.refill_per_s)}/s" if group.refill_per_s else ""
        level = group.tokens if group.tokens is not None else group.capacity
        parts += [Styled(f"{_amount(level)} / {_amount(group.capacity)}"), dim(refill)]
    resumes = epoch_ms(group.resume_at)
    if resumes is not None:
        parts.append(Styled(f"  held {fmt.countdown(resumes, now)}", "warning"))
    return parts


def summary(rows: Sequence[QueueSnapshot], now: int) -> Parts:
    """For the status line: how many queues are held back."""
    held = sum(1 for row in rows if held_by(row, now))
    limited = sum(1 for row in rows if row.rpm.max or row.tpm.max or row.global_concurrency)
    words = fmt.plural(limited, "queue") + " with a known cap"
    if held:
        return [Styled(f"{held} held back", "warning", "bold"), dim(f" · {words}")]
    return [dim(words)]
