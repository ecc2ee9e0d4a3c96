"""What happens in all queues, newest first: bursts are folded, `.` holds it still, `/` keeps some kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from ...actions.lists.events import EventsContext
from ...model.lists.events import EventLine
from ...model.snapshot import Interests, Snapshot
from ...text import format as fmt
from ...text.safe import cell_fit, short
from ...widgets.lists.columns import Row, row_of
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import TabBar
from ...widgets.styled import Parts, Styled, dim
from ..lists.list_screen import ItemListScreen
from ..registry import bindings
from .columns import columns

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("Nothing has happened yet.")],
    [],
    [dim("Every job that is added, starts, ends or fails shows up here within a second.")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No event matches the filter; esc clears it.")])
#: What the bar calls every kind, and how many kinds it names.
_EVERY, _KINDS = "all", 9


class EventsScreen(ItemListScreen[EventLine]):
    """The events of all known queues."""

    SCOPE = "events"
    BINDINGS = bindings(SCOPE)
    TAB = "events"
    LIST, OPEN = "event-list", "events.open"
    COLUMNS, EMPTY, NO_MATCH = columns(fmt.clock), _EMPTY, _NO_MATCH
    DEFAULT_CSS = """
    EventsScreen #kinds { height: 1; }
    """

    def body(self) -> ComposeResult:
        yield TabBar(one_by_one=True, id="kinds")
        yield RowList(self.COLUMNS, id="event-list", empty=_EMPTY)

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(events=True)

    def context(self) -> EventsContext:
        line = self.selected_item
        shown = EventsContext(console=self.console, page=self, snapshot=self.snapshot, line=line)
        if line is None or line.queues > 1:
            return shown
        return replace(shown, queue=line.queue, job=line.ref)

    def status(self, snapshot: Snapshot) -> Parts:
        view = snapshot.events
        if view is None:
            return []
        total = sum(number for _, number in view.counts)
        return self.with_filter([dim(f"{fmt.plural(total, 'event')} since this was opened")])

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> Sequence[EventLine] | None:
        return snapshot.events.lines if snapshot.events is not None else None

    def key_of(self, item: EventLine) -> str:
        return item.key

    def record_of(self, item: EventLine) -> dict[str, Any]:
        """The event, or what is known of the burst that the line stands for."""
        return {
            "at_ms": item.at_ms,
            "event": item.event,
            "queue": item.queue if item.queues == 1 else None,
            "job_id": item.job_id,
            "count": item.count,
            "at_least": item.at_least,
            "fields": item.data,
        }

    def ref_of(self, item: EventLine) -> JobRef | None:
        return item.ref

    def row_for(self, item: EventLine, now_ms: int) -> Row:
        clock = partial(fmt.clock, zone=self.console.config.zone)
        return row_of(columns(clock), item.key, item, now_ms)

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        view = snapshot.events
        counts = dict(view.counts[:_KINDS]) if view is not None else {}
        tabs: list[tuple[str, Parts, Parts]] = []
        for name, number in {_EVERY: sum(counts.values()), **counts}.items():
            lit = name == (self.filter_text or _EVERY)
            token = "focus" if lit else "dim"
            figure = [] if name == _EVERY else [Styled(f" {fmt.count(number)}", "focus" if lit else "")]
            kind = short(name, 40)
            tabs.append((name, [Styled(kind, token), *figure], [Styled(cell_fit(kind, 6), token)]))
        self.query_one("#kinds", TabBar).show(tabs, self.filter_text or _EVERY)

    # --- events and actions ---

    def next_match(self, step: int) -> str | None:
        """Go to the next event that the filter leaves, or the one before, round the end; return what to show."""
        keys = self.entry_keys
        if not self.filter_text:
            return "nothing is looked for: / filters"
        if keys:
            here = keys.index(self.lines.cursor_key) if self.lines.cursor_key in keys else -step
            self.lines.move_to((here + step) % len(keys))
        return None

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "kinds":
            event.stop()
            self.change_filter("" if event.key == _EVERY else event.key)

    def open_selected(self) -> None:
        line = self.selected_item
        if line is None:
            return
        if line.ref is not None and line.count == 1:
            self.console.open_page("job", line.ref)
        elif line.queues == 1:
            self.console.go("jobs", line.queue)
