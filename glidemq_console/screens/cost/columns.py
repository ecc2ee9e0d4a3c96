"""The columns of what is spent: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.lists.cost import SpendRow
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.records import UsageGroup

Of = Column[SpendRow]
#: Cells of the bar of a share.
BAR = 12


def key(row: SpendRow, _now: int) -> Cell:
    return Styled(short(row.key, 256))


def money(group: UsageGroup | None) -> Cell:
    spent = group.total_cost if group is not None else 0
    return Styled(fmt.money(spent) if spent else fmt.ZERO, "" if spent else "dim")


def share(row: SpendRow, _now: int) -> Cell:
    """A bar of its part of the day."""
    if row.share is None:
        return dim(fmt.UNKNOWN)
    return [Styled(fmt.gauge_cells(row.share, BAR), "spark"), dim(f" {fmt.percent(row.share)}")]


def wasted(row: SpendRow, _now: int) -> Cell:
    return Styled(fmt.money(row.wasted) if row.wasted else fmt.ZERO, "error" if row.wasted else "dim")


def tokens(row: SpendRow, _now: int) -> Cell:
    return dim(fmt.count(row.day.total_tokens if row.day is not None else 0))


def jobs(row: SpendRow, _now: int) -> Cell:
    return dim(fmt.count(row.day.job_count if row.day is not None else 0))


def models(row: SpendRow, _now: int) -> Cell:
    """The models that most jobs used."""
    used = row.day.models if row.day is not None else {}
    most = sorted(used.items(), key=lambda item: (-item[1], item[0]))
    return dim("  ".join(f"{short(name, 40)} {number:,.0f}" for name, number in most[:3]))


COLUMNS = (
    Of("key", "", 16, key, lambda row: row.key, rises=True, flexible=3),
    Of("hour", "LAST HOUR", 9, lambda row, _: money(row.hour), lambda row: row.hour.total_cost if row.hour else 0.0,
       right=True),
    Of("day", "LAST DAY", 9, lambda row, _: money(row.day), lambda row: row.day.total_cost if row.day else 0.0,
       right=True),
    Of("share", "SHARE", BAR + 5, share, leaves=2),
    Of("wasted", "WASTED", 8, wasted, lambda row: row.wasted, right=True),
    Of("tokens", "TOKENS", 7, tokens, lambda row: row.day.total_tokens if row.day else 0, right=True, leaves=1),
    Of("jobs", "JOBS", 6, jobs, lambda row: row.day.job_count if row.day else 0, right=True, leaves=3),
    Of("models", "MODELS", 24, models, leaves=4, flexible=2),
)  # fmt: skip
