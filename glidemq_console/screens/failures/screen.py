"""Failures by cause: how many, where, since when, what they wasted; the newest one whole."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...actions.lists.failures import FailuresContext
from ...feed.readers.job_pages import OF_A_GROUP
from ...model.lists.failures import AN_HOUR, WINDOWS, FailuresView, next_window, window_words
from ...model.lists.looked import Looked
from ...model.memory import Kept
from ...model.snapshot import Interests, JobsQuery, JobView, Snapshot, Sorting
from ...widgets.styled import Parts, Styled, dim
from ..registry import bindings
from . import text as say
from .columns import COLUMNS
from .halves import HalfScreen

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import FailureGroup

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("Nothing has failed in this time. Good.")],
    [],
    [dim("→ looks further back.")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No failure matches the filter; esc clears it.")])


class FailuresScreen(HalfScreen["FailureGroup"]):
    """Failures of all queues by cause."""

    SCOPE = "failures"
    BINDINGS = bindings(SCOPE)
    HALF, OPEN = "failures", "failures.open"
    ALL_OF_THEM = "glidemq failures"
    COLUMNS, EMPTY, NO_MATCH = COLUMNS, _EMPTY, _NO_MATCH
    FIRST = Sorting("count", descending=True)

    def __init__(self) -> None:
        super().__init__()
        self._since_ms = AN_HOUR
        #: Which member of the selected group is shown, 0 for the newest.
        self._member = 0

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(
            failures=self._since_ms,
            failures_where=self.filter_text,
            further=self._further,
            letters=True,
            job=self.member,
        )

    def context(self) -> FailuresContext:
        group = self.selected_item
        shown = FailuresContext(console=self.console, page=self, snapshot=self.snapshot, group=group)
        view = self._view(self.snapshot)
        shown = replace(shown, marked=self.marked_items, members=view.members if view is not None else {})
        if group is None:
            return shown
        return replace(shown, queue=group.queue, job=self.member, job_state="failed")

    def status(self, snapshot: Snapshot) -> Parts:
        view = self._view(snapshot)
        return say.read_words(view, self.console.config.zone) if view is not None else []

    # --- what is listed ---

    def _view(self, snapshot: Snapshot) -> FailuresView | None:
        """What is known of the window that is shown."""
        view = snapshot.failures
        wanted = self._since_ms, self.filter_text
        return view if view is not None and (view.since_ms, view.where) == wanted else None

    @property
    def which_list(self) -> Hashable:
        return self._since_ms, self.filter_text

    @property
    def progress(self) -> Looked | None:
        view = self._view(self.snapshot)
        return view.progress if view is not None else None

    def items(self, snapshot: Snapshot) -> Sequence[FailureGroup] | None:
        view = self._view(snapshot)
        is_read = view is not None and (view.groups or view.complete or snapshot.complete)
        if view is None or not is_read or (view.progress is not None and view.progress.finds):
            return None
        return view.groups

    def key_of(self, item: FailureGroup) -> str:
        return item.key

    def jobs_of(self, item: FailureGroup) -> int:
        return item.count

    @property
    def member(self) -> JobRef | None:
        """The job of the selected group that is shown."""
        group = self.selected_item
        return group.sample[min(self._member, len(group.sample) - 1)] if group is not None else None

    # --- what is remembered ---

    def kept(self) -> Kept:
        kept = super().kept()
        return kept if self._since_ms == AN_HOUR else {**kept, "since": str(self._since_ms)}

    def recall(self, kept: Kept) -> None:
        self._since_ms = next((one for one in WINDOWS if str(one) == kept.get("since")), AN_HOUR)
        super().recall(kept)

    # --- drawing ---

    def summary(self, snapshot: Snapshot) -> Parts:
        view = self._view(snapshot)
        if view is None:
            return [Styled(window_words(self._since_ms), "focus")]
        return say.summary(view, self.app.size.width)

    def detail(self, item: FailureGroup, snapshot: Snapshot, now: int) -> tuple[str, list[Parts]]:
        ref = item.sample[min(self._member, len(item.sample) - 1)]
        view: JobView | None = snapshot.job if snapshot.job is not None and snapshot.job.ref == ref else None
        lines = say.member_lines(
            item, view, now, tall=self.is_tall, reveal=self.is_revealed, bare=self.is_bare
        )
        return say.member_title(item, ref, item.sample.index(ref), now), lines

    # --- events and actions ---

    def row_highlighted(self) -> None:
        self._member = 0
        super().row_highlighted()

    def open_selected(self) -> None:
        group = self.selected_item
        if group is not None:
            view = self._view(self.snapshot)
            refs = view.members.get(group.key) if view is not None else None
            ids = tuple(ref.id for ref in refs[:OF_A_GROUP]) if refs is not None else None
            query = JobsQuery(queue=group.queue, state="failed", group=group.key, members=ids)
            self.console.go("jobs", query)

    def next_window(self, step: int) -> str:
        self._since_ms = next_window(self._since_ms, step)
        self._redraw()
        return f"failures of the {window_words(self._since_ms)}"

    def next_sibling(self, step: int) -> str | None:
        group = self.selected_item
        if group is None:
            return None
        at = self._member + step
        if not 0 <= at < len(group.sample):
            return (
                "no newer one"
                if at < 0
                else f"only the newest {len(group.sample)} are shown; enter lists all"
            )
        self._member = at
        self._redraw_member()
        return None

    def _redraw_member(self) -> None:
        self.draw_detail()
        self.show_keys()
        self.console.set_interests()

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        group = self.selected_item
        if group is None:
            return None
        return (group.key, "the key of the group") if other else (group.message, "the error")
