"""What is spent, by queue, model, flow and job: the hour and the day side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from glidemq_core.records import UsageGroup, UsageGroups
    from glidemq_core.records.outcomes import UsageKey

#: The ways to add up, in the order of the tabs.
WAYS: Final[tuple[UsageKey, ...]] = ("queue", "model", "flow", "job")
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: Jobs that are listed, the dearest.
TOP_JOBS: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendRow:
    """One queue, model, flow or job."""

    key: str
    hour: UsageGroup | None
    day: UsageGroup | None
    #: Its part of all that was spent within the day, 1.0 is all.
    share: float | None

    @property
    def wasted(self) -> float | None:
        """What failed and lost attempts of the day cost."""
        return self.day.wasted_cost if self.day is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SpendView:
    """Spending added up in one way."""

    by: UsageKey
    rows: tuple[SpendRow, ...]
    hour: float
    day: float
    wasted: float
    #: Unit of most of it; None where none was reported.
    unit: str | None
    jobs_read: int
    complete: bool
    at_ms: int


def spend_view(by: UsageKey, hour: UsageGroups, day: UsageGroups, at_ms: int) -> SpendView:
    """Lay the groups of the hour beside those of the day."""
    lately = {group.key: group for group in hour.groups}
    total = sum(group.total_cost for group in day.groups)
    rows = [
        SpendRow(
            key=group.key,
            hour=lately.get(group.key),
            day=group,
            share=group.total_cost / total if total else None,
        )
        for group in day.groups
    ]
    units = [group.cost_unit for group in day.groups if group.cost_unit]
    return SpendView(
        by=by,
        rows=tuple(rows[:TOP_JOBS] if by == "job" else rows),
        hour=sum(group.total_cost for group in hour.groups),
        day=total,
        wasted=sum(group.wasted_cost or 0.0 for group in day.groups),
        unit=units[0] if units else None,
        jobs_read=day.jobs_read,
        complete=day.complete,
        at_ms=at_ms,
    )
