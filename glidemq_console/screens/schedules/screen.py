"""What is made by the clock: when it runs next, what it has missed, and changing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...actions.lists.schedules import SchedulesContext
from ...model.lists.schedules import Timing, read_timing, timing_text
from ...model.snapshot import Interests, Snapshot, Sorting
from ...text.safe import short
from ...widgets.dialogs.form import Field
from ...widgets.styled import Parts, Styled, dim
from ..lists.detail_list import DetailListScreen
from ..registry import bindings
from . import text as say
from .columns import COLUMNS
from .dialog import ScheduleDialog

if TYPE_CHECKING:
    from glidemq_core.schedules.entry import Scheduler

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No schedules here yet.")],
    [],
    [dim("One makes jobs by the clock:")],
    [Styled('  glidemq scheduler set reports nightly-digest --cron "0 3 * * *" --tz Europe/Berlin')],
    [dim("or see some at work:  "), Styled("glidemq demo")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No schedule matches the filter; esc clears it.")])


class SchedulesScreen(DetailListScreen["Scheduler"]):
    """The schedulers of all queues."""

    SCOPE = "schedules"
    BINDINGS = bindings(SCOPE)
    TAB = "schedules"
    OPEN = "schedules.open"
    COLUMNS, EMPTY, NO_MATCH = COLUMNS, _EMPTY, _NO_MATCH
    FIRST = Sorting("next")

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(schedules=True)

    def context(self) -> SchedulesContext:
        one = self.selected_item
        shown = SchedulesContext(console=self.console, page=self, snapshot=self.snapshot, scheduler=one)
        shown = replace(shown, marked=self.marked_items)
        return shown if one is None else replace(shown, queue=one.queue)

    def status(self, snapshot: Snapshot) -> Parts:
        view = snapshot.schedules
        return self.with_filter(say.summary(view, len(self.listed)) if view is not None else [])

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> Sequence[Scheduler] | None:
        view = snapshot.schedules
        return view.schedulers if view is not None and (view.schedulers or snapshot.complete) else None

    def key_of(self, item: Scheduler) -> tuple[str, str]:
        return item.queue, item.name

    def detail(self, item: Scheduler, snapshot: Snapshot, now: int) -> tuple[str, list[Parts]]:
        lines = say.detail(item, now, self.console.config.zone, reveal=self.is_revealed, bare=self.is_bare)
        return f"{short(item.name, 80)} of {short(item.queue, 60)}", lines

    # --- actions ---

    async def ask_timing(self, scheduler: Scheduler) -> Timing | None:
        zone, kept = self.console.config.zone, say.entry_of(scheduler)

        def preview(typed: Sequence[str]) -> list[Parts]:
            return say.preview(read_timing(*typed), kept, self.console.now_ms(), zone)

        limit = "" if scheduler.limit is None else str(scheduler.limit)
        fields = (
            _field("when", timing_text(scheduler), "every 5m, or 0 3 * * *"),
            _field("time zone", scheduler.tz or "", "UTC"),
            _field("jobs in all", limit, "no end"),
        )
        dialog = ScheduleDialog(f"When {short(scheduler.name, 60)} runs", fields, _wrong, preview)
        typed = await self.console.push_screen_wait(dialog)
        timing = read_timing(*typed) if typed is not None else None
        return timing if isinstance(timing, Timing) else None


def _field(label: str, value: str, placeholder: str) -> Field:
    return Field(label=label, value=value, placeholder=placeholder, problem=lambda _: None)


def _wrong(typed: Sequence[str]) -> str | None:
    """What is wrong with the fields together."""
    timing = read_timing(*typed)
    return timing if isinstance(timing, str) else None
