"""The jobs of one queue by state: a list that stays fluid at any length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from ...actions.jobs.control import JobListContext
from ...feed.readers.job_pages import OF_EACH
from ...model.snapshot import (
    Interests,
    JobList,
    JobsQuery,
    Snapshot,
    age_ms,
    epoch_ms,
    shown_state,
    state_count,
)
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column, Row
from ...widgets.lists.row_list import MARGIN, RowList
from ...widgets.status_line import Rule, TabBar
from ...widgets.styled import Cell, Parts, Styled, dim
from ..list_screen import ListScreen
from ..registry import bindings

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

COLUMNS = (
    Column(key="id", title="ID", width=10, sortable=False),
    Column(key="state", title="STATE", width=18, leaves=3, sortable=False),
    Column(key="name", title="NAME", width=14, flexible=True, sortable=False),
    Column(key="age", title="AGE", width=7, right=True, sortable=False),
    Column(key="ran", title="RAN", width=7, right=True, leaves=2, sortable=False),
    Column(key="tries", title="TRIES", width=5, right=True, leaves=1, sortable=False),
    Column(key="model", title="MODEL", width=18, leaves=4, sortable=False),
    Column(key="tokens", title="TOKENS", width=7, right=True, leaves=5, sortable=False),
    Column(key="cost", title="COST", width=8, right=True, leaves=6, sortable=False),
    Column(key="why", title="WHY", width=18, flexible=3, sortable=False),
)

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


def job_cells(row: JobRow, now: int) -> dict[str, Cell]:
    look = fmt.state_look(shown_state(row))
    created, ran = age_ms(row.created_at, now), ran_ms(row, now)
    made, most = row.attempts_made, row.max_attempts
    tries = f"{made}/{most}" if most > 1 else fmt.count(made)
    return {
        "id": Styled(short(row.id, 256)),
        "state": [Styled(f"{look.glyph} ", look.style), Styled(_state_word(row, look.word), look.style)],
        "name": Styled(short(row.name, 256)),
        "age": dim(fmt.duration(created)),
        "ran": dim(fmt.took(ran)),
        "tries": Styled(tries, "foreground" if row.attempts_made else "dim"),
        "model": dim(short(row.model, 80) if row.model else fmt.UNKNOWN),
        "tokens": Styled(fmt.full(row.total_tokens), "foreground" if row.total_tokens else "dim"),
        "cost": Styled(fmt.money(row.total_cost), "foreground" if row.total_cost else "dim"),
        "why": why_parts(row, now),
    }


def _state_word(row: JobRow, word: str) -> str:
    if row.parked:
        return "parked"
    return word if word != "unknown" else short(row.state, 18) or word


def ran_ms(row: JobRow, now: int) -> int | None:
    """How long the latest run took or has taken. A failed attempt overwrites its start, so failed jobs say None."""
    started = epoch_ms(row.processed_at)
    if started is None:
        return None
    if row.state == "active":
        return max(0, now - started)
    finished = epoch_ms(row.finished_at)
    return finished - started if finished is not None and finished > started else None


def why_parts(row: JobRow, now: int) -> Parts:
    if row.state == "suspended" and row.suspend is not None:
        deadline = epoch_ms(row.suspend.deadline_at)
        left = "" if deadline is None else f" · {fmt.countdown(deadline, now)} left"
        reason = short(row.suspend.reason or "waits for a signal", 200)
        return [Styled(reason, "person"), dim(left)]
    if row.parked:
        return [Styled("budget ran out; f shows its flow", "state-paused")]
    if row.stalled:
        return [Styled("its worker is silent; another takes it over", "state-stalled")]
    if row.state in ("delayed", "prioritized") and row.due_at is not None:
        due = epoch_ms(row.due_at)
        return [dim(f"in {fmt.countdown(due, now)}"), *_reason(row, "dim")]
    if row.failed_reason:
        return _reason(row, "error" if row.state == "failed" else "dim", lead="")
    return [dim(fmt.UNKNOWN)]


def _reason(row: JobRow, token: str, lead: str = "  ") -> list[Styled]:
    if not row.failed_reason:
        return []
    return [Styled(lead + short(row.failed_reason, 200), token)]


def state_of(tab: str) -> str | None:
    """The state that a tab lists, None for all of them."""
    return None if tab == ALL else tab


class JobsScreen(ListScreen):
    """Jobs of one queue."""

    SCOPE = "jobs"
    BINDINGS = bindings(SCOPE)
    TAB = "jobs"
    LIST, OPEN = "job-list", "jobs.open"

    def __init__(self) -> None:
        super().__init__()
        self._query: JobsQuery | None = None
        self._shown: JobList | None = None

    def body(self) -> ComposeResult:
        yield TabBar(one_by_one=True, id="states")
        yield Rule(id="states-rule")
        yield RowList(COLUMNS, id="job-list")

    @property
    def selected(self) -> JobRow | None:
        if self._shown is None or not self.is_up:
            return None
        key = self.lines.cursor_key
        return next((row for row in self._shown.rows if row.id == key), None)

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

    def leave(self) -> bool:
        return self.clear_filter()

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
            self._query = JobsQuery(queue=chosen, state=self._first_state(chosen))
            self.console.set_interests()
        self._draw_states(snapshot, self._query)
        listing = snapshot.jobs
        if listing is None or listing.query != self._query:
            self._wait(self._query)
            return
        self._shown = listing
        self.lines.stale = self.has_class("-old")
        self._empty_words(self._query)
        self._draw_rows()

    def _wait(self, query: JobsQuery) -> None:
        if self._shown is not None and self._shown.query != query:
            self._shown = None
            self.lines.clear()
        if self._shown is None:
            self.lines.set_reading()

    def _draw_rows(self, start: int | None = None, end: int | None = None) -> None:
        """Hand the list the rows on screen and a margin; the others are built when they are looked at."""
        listing = self._shown
        if listing is None:
            return
        first, last = self.lines.visible_range
        start = max(0, first - MARGIN) if start is None else start
        end = max(last + MARGIN, first + self.app.size.height + MARGIN) if end is None else end
        now = self.console.now_ms()
        rows = [Row(row.id, self._cells(row, now)) for row in listing.rows[start:end]]
        self.lines.set_page(len(listing.rows), start, rows)

    def _cells(self, row: JobRow, now: int) -> dict[str, Cell]:
        cells = job_cells(row, now)
        if self.selected_state is None and not self.lines.shows("state"):
            # States are mixed and there is no room for the word.
            look = fmt.state_look(shown_state(row))
            cells["id"] = [Styled(f"{look.glyph} ", look.style), Styled(short(row.id, 256))]
        return cells

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

    def on_row_list_needed(self, event: RowList.Needed) -> None:
        self._draw_rows(event.start, event.end)
        self.console.set_interests()

    def on_row_list_highlighted(self) -> None:
        self.show_keys()
        self.console.set_interests()

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "states" and self._query is not None:
            event.stop()
            self._ask(replace(self._query, state=state_of(event.key), newest=None))

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
        self._ask(replace(self._query, state=state_of(state), newest=None))

    def next_queue(self, step: int) -> None:
        names = [queue.name for queue in self.snapshot.queues]
        if self._query is None or not names:
            return
        at = names.index(self._query.queue) if self._query.queue in names else 0
        self._ask(replace(self._query, queue=names[(at + step) % len(names)]))

    def turn_order(self) -> str | None:
        if self._query is None:
            return None
        newest = {None: False, False: True, True: None}[self._query.newest]
        self._ask(replace(self._query, newest=newest))
        return {None: "natural order", True: "newest first", False: "oldest first"}[newest]

    def copy(self) -> str | None:
        row = self.selected
        return self.console.copy_text(str(row.ref), "its name") if row is not None else None
