"""The jobs of one queue by state: a list that stays fluid at any length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from ...actions.jobs.control import JobListContext
from ...feed.readers.job_pages import OF_EACH
from ...model.memory import Kept
from ...model.snapshot import (
    Interests,
    JobList,
    JobsQuery,
    Snapshot,
    shown_state,
    state_count,
)
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Row
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import Rule, TabBar
from ...widgets.styled import Parts, Styled, dim
from ..lists.list_screen import ListScreen
from ..registry import bindings
from .columns import COLUMNS

if TYPE_CHECKING:
    from glidemq_core.records import JobRow

#: What the tab of every state but completed is called.
ALL = "all"
#: Tabs in the order in which people look for work that needs them; those without a count show when not empty.
STATES: tuple[str, ...] = (
    ALL,
    "waiting",
    "active",
    "delayed",
    "suspended",
    "failed",
    "completed",
    "stalled",
    "prioritized",
    "waiting-children",
    "group-waiting",
)
_ALWAYS = STATES[:7]
#: Where a queue without jobs opens.
_FIRST = "waiting"

#: What an empty list of a state says, and the command that fills it.
_EMPTY = {
    ALL: ("Nothing is to be done here.", "glidemq add {queue} NAME --data JSON"),
    "waiting": (
        "Nothing waits: workers keep up, or nothing is added.",
        "glidemq add {queue} NAME --data JSON",
    ),
    "active": ("Nothing runs right now.", "glidemq worker MODULE:NAME"),
    "delayed": ("Nothing is delayed.", "glidemq add {queue} NAME --delay 5m"),
    "suspended": ("Nothing waits for a person. A processor asks with job.suspend(reason=…).", ""),
    "failed": ("Nothing has failed. Good.", ""),
    "stalled": ("Every running job is heard of.", ""),
    "completed": ("Nothing completed is kept here; jobs may be set to leave when done.", ""),
    "prioritized": ("Nothing has a priority.", "glidemq add {queue} NAME --priority 1"),
    "waiting-children": ("No job waits for its children.", ""),
    "group-waiting": ("No job waits for its ordering group.", ""),
}


def state_of(tab: str) -> str | None:
    """The state that a tab lists, None for all of them."""
    return None if tab == ALL else tab


class JobsScreen(ListScreen["JobRow"]):
    """Jobs of one queue."""

    SCOPE = "jobs"
    BINDINGS = bindings(SCOPE)
    TAB = "jobs"
    LIST, OPEN = "job-list", "jobs.open"
    COLUMNS = COLUMNS

    def __init__(self) -> None:
        super().__init__()
        self._query: JobsQuery | None = None
        self._shown: JobList | None = None
        #: What was remembered for the first list: what it finds, and its order.
        self._first: tuple[str | None, bool | None] = None, None

    def body(self) -> ComposeResult:
        yield TabBar(one_by_one=True, id="states")
        yield Rule(id="states-rule")
        yield RowList(COLUMNS, id="job-list")

    @property
    def selected(self) -> JobRow | None:
        return self.selected_item

    @property
    def selected_state(self) -> str | None:
        return self._query.state if self._query is not None else None

    # --- what the frame calls ---

    def interests(self) -> Interests:
        first, last = self.lines.visible_range
        return Interests(jobs=self._query, window=(first, max(last, first + self.app.size.height)))

    def context(self) -> JobListContext:
        row = self.selected
        queue = self._query.queue if self._query is not None else None
        shown = JobListContext(console=self.console, page=self, snapshot=self.snapshot, queue=queue)
        return shown if row is None else replace(shown, job=row.ref, job_state=row.state, row=row)

    def status(self, snapshot: Snapshot) -> Parts:
        shown = self._shown
        if shown is None:
            return []
        total = shown.total
        words = f"{len(shown.rows):,} loaded" if shown.has_more else fmt.plural(len(shown.rows), "job")
        if shown.has_more and total is not None:
            words = f"{len(shown.rows):,} of {fmt.count(total)}"
        elif shown.query.state is None and not shown.query.find and total and total > len(shown.rows):
            words = f"{len(shown.rows):,} of {fmt.count(total)}, the latest {OF_EACH} of each state"
        order = {None: "", True: " · newest first", False: " · oldest first"}[shown.query.newest]
        parts = [dim(words + order)]
        if shown.query.group is not None:
            parts.insert(0, Styled("of one cause; esc lists all  ", "focus"))
        return self.with_filter(parts)

    def open(self, target: object) -> None:
        from glidemq_core.options.job import JobRef

        if isinstance(target, JobRef):
            self.open(target.queue)
            self.console.open_page("job", target)
        elif isinstance(target, JobsQuery):
            self._ask(target)
        elif isinstance(target, str) and (self._query is None or self._query.queue != target):
            self._ask(JobsQuery(queue=target, state=self._first_state(target)))

    def spot(self) -> object:
        return self._query

    def kept(self) -> Kept:
        if self._query is None:
            return self.console.memory.screens.get(self.SCOPE, {})
        kept: dict[str, str | bool] = {"filter": self.filter_text}
        return kept if self._query.newest is None else {**kept, "newest": self._query.newest}

    def recall(self, kept: Kept) -> None:
        newest, find = kept.get("newest"), str(kept.get("filter", ""))
        self._first = find or None, newest if isinstance(newest, bool) else None

    def crumb(self) -> str:
        return short(self._query.queue, 40) if self._query is not None else self.TAB

    def leave(self) -> bool:
        if self.clear_filter():
            return True
        if self._query is not None and self._query.group is not None:
            self._ask(replace(self._query, group=None))
            return True
        return False

    def _first_queue(self, snapshot: Snapshot) -> str:
        """The queue to begin with: the one named at the start, else the one looked at on the queues screen."""
        looked_at = self.console.queue_looked_at
        known = looked_at is not None and snapshot.queue(looked_at) is not None
        return next(iter(self.console.config.queues), looked_at if known else snapshot.queues[0].name) or ""

    def _first_state(self, name: str) -> str:
        """The state to begin with: the first state that has jobs, in the order of the tabs."""
        queue = self.snapshot.queue(name)
        if queue is None:
            return _FIRST
        return next((state for state in STATES if state != ALL and state_count(queue, state)), _FIRST)

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        if self._query is None:
            if not snapshot.queues:
                self.lines.set_empty([[], [Styled("No queue is known yet, so there are no jobs.")]])
                return
            chosen = self._first_queue(snapshot)
            find, newest = self._first
            self._query = JobsQuery(queue=chosen, state=self._first_state(chosen), find=find, newest=newest)
            self.console.set_interests()
        self._draw_states(snapshot, self._query)
        listing = snapshot.jobs
        if listing is None or listing.query != self._query:
            self._wait(self._query)
            return
        self._shown, self.listed = listing, listing.rows
        self.lines.stale = self.has_class("-old")
        self._empty_words(self._query)
        self.draw_rows()

    def _wait(self, query: JobsQuery) -> None:
        if self._shown is not None and self._shown.query != query:
            self._shown, self.listed = None, ()
            self.lines.clear()
        if self._shown is None:
            self.lines.set_reading()

    def key_of(self, item: JobRow) -> str:
        return item.id

    def row_for(self, item: JobRow, now_ms: int) -> Row:
        row = super().row_for(item, now_ms)
        if self.selected_state is None and not self.lines.shows("state"):
            # States are mixed and there is no room for the word.
            look = fmt.state_look(shown_state(item))
            row.cells["id"] = [Styled(f"{look.glyph} ", look.style), Styled(short(item.id, 256))]
        return row

    def _draw_states(self, snapshot: Snapshot, query: JobsQuery) -> None:
        queue = snapshot.queue(query.queue)
        tabs: list[tuple[str, Parts, Parts]] = []
        for state in STATES:
            count = state_count(queue, state_of(state)) if queue is not None else None
            lit = state_of(state) == query.state
            if state not in _ALWAYS and not count and not lit:
                continue
            look = fmt.state_look(state)
            token = "focus" if lit else "dim" if not count or state == ALL else look.style
            figure = Styled(f" {fmt.count(count)}", token)
            name = Styled(state, "focus" if lit else "foreground" if count else "dim")
            narrow = name if state == ALL else Styled(look.glyph, look.style)
            tabs.append((state, [name, figure], [narrow, figure]))
        self.query_one("#states", TabBar).show(tabs, query.state or ALL)
        self.query_one("#states-rule", Rule).show(short(query.queue, 80), lit=True)

    def _empty_words(self, query: JobsQuery) -> None:
        if query.find:
            kind = f"{query.state} job" if query.state else "job"
            words, command = f"No {kind} has that in its id, name, model or error; esc clears the filter.", ""
        else:
            words, command = _EMPTY[query.state or ALL]
        command = command.format(queue=short(query.queue, 60))
        self.lines.set_empty([[], [Styled(words)], [], [dim(command)]])

    # --- events ---

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "states" and self._query is not None:
            event.stop()
            self._ask(replace(self._query, state=state_of(event.key), newest=None, group=None))

    # --- actions ---

    def _ask(self, query: JobsQuery) -> None:
        """Show another list; the old rows go at once, so that nothing is taken for what it is not."""
        if query == self._query:
            return
        self._query = query
        self.show(self.snapshot)
        self.console.set_interests()

    def open_selected(self) -> None:
        row = self.selected
        if row is not None:
            self.console.open_page("job", row.ref)

    @property
    def filter_text(self) -> str:
        return (self._query.find if self._query is not None else None) or ""

    def set_filter(self, text: str) -> None:
        if self._query is not None:
            self._ask(replace(self._query, find=text.strip() or None))

    def next_state(self, step: int) -> None:
        if self._query is None:
            return
        queue = self.snapshot.queue(self._query.queue)
        current = self._query.state or ALL
        shown = [s for s in STATES if s in _ALWAYS or s == current or (queue and state_count(queue, s))]
        state = shown[(shown.index(current) + step) % len(shown)]
        self._ask(replace(self._query, state=state_of(state), newest=None, group=None))

    def next_sibling(self, step: int) -> str | None:
        """Show the jobs of the queue after or before, in the order of their names."""
        names = [queue.name for queue in self.snapshot.queues]
        if self._query is not None and names:
            at = names.index(self._query.queue) if self._query.queue in names else 0
            self._ask(replace(self._query, queue=names[(at + step) % len(names)], group=None))
        return None

    def turn_order(self) -> str | None:
        if self._query is None:
            return None
        newest = {None: False, False: True, True: None}[self._query.newest]
        self._ask(replace(self._query, newest=newest))
        return {None: "natural order", True: "newest first", False: "oldest first"}[newest]
