"""The jobs of one queue by state: a list that stays fluid at any length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer

from ...actions.jobs.control import JobListContext
from ...feed.readers.job_pages import MARGIN_ROWS, OF_EACH
from ...model.memory import Kept
from ...model.snapshot import (
    Interests,
    JobList,
    JobsQuery,
    Snapshot,
    Sorting,
    shown_state,
    state_count,
)
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column, Row, columns_for, sort_items
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import Rule, TabBar
from ...widgets.styled import Parts, Styled, dim
from ..lists.list_screen import kept_order, order_of, sort_words
from ..lists.queue_list import REST_S
from ..registry import bindings
from .beside import JobBeside
from .columns import COLUMNS
from .searching import SearchingJobsScreen
from .states import ALL, ALWAYS, EMPTY, FIRST, MIXED, STATES, state_of

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import JobRow

#: Rows that are sorted by a column: they are all read again with every refresh.
SORTED_ROWS = 150


class JobsScreen(SearchingJobsScreen):
    """Jobs of one queue."""

    SCOPE = "jobs"
    BINDINGS = bindings(SCOPE)
    TAB = "jobs"
    LIST, OPEN = "job-list", "jobs.open"
    COLUMNS = COLUMNS
    # The story of the selected job stands beside the list.
    BREAKPOINTS: ClassVar = {"-wide": (160, 0)}
    DEFAULT_CSS: ClassVar[str] = """
    JobsScreen #job-list-panes { height: 1fr; }
    JobsScreen #job-list { width: 1fr; }
    JobsScreen JobBeside { display: none; width: 38%; border-left: vkey $hairline; padding: 0 0 0 1; }
    JobsScreen.-wide JobBeside { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        #: How the loaded rows are sorted; None leaves them as the server has them.
        self._sorting: Sorting | None = None
        #: The columns were chosen for what is listed.
        self._are_chosen = False
        #: The job beside the list: the selected one, once the cursor has rested.
        self._beside: JobRef | None = None
        self._rest: Timer | None = None
        #: What was remembered for the first list: what it finds, and its order.
        self._first: tuple[str | None, bool | None] = None, None

    def body(self) -> ComposeResult:
        yield TabBar(one_by_one=True, id="states")
        yield Rule(id="states-rule")
        with Horizontal(id="job-list-panes"):
            yield RowList(COLUMNS, markable=True, id="job-list")
            yield JobBeside(id="job-beside")

    @property
    def selected(self) -> JobRow | None:
        return self.selected_item

    @property
    def selected_state(self) -> str | None:
        return self._query.state if self._query is not None else None

    # --- what the frame calls ---

    def interests(self) -> Interests:
        first, last = self.lines.visible_range
        window = first, max(last, first + self.app.size.height)
        if self._sorting is not None:
            # What is sorted stands in another order than it is read: all of it is kept fresh.
            window = 0, SORTED_ROWS - MARGIN_ROWS
        return Interests(
            jobs=self._query, further=self._further, window=window, job=self._beside if self.is_wide else None
        )

    @property
    def is_wide(self) -> bool:
        """Whether there is room beside the list."""
        return self.has_class("-wide")

    def resized(self) -> None:
        self._are_chosen = False
        super().resized()

    def context(self) -> JobListContext:
        row = self.selected
        queue = self._query.queue if self._query is not None else None
        shown = JobListContext(console=self.console, page=self, snapshot=self.snapshot, queue=queue)
        shown = replace(shown, marked=self.marked_items)
        return shown if row is None else replace(shown, job=row.ref, job_state=row.state, row=row)

    def status(self, snapshot: Snapshot) -> Parts:
        shown = self._shown
        if shown is None:
            return []
        parts = [dim(self._count_words(shown) + self._order_words(shown))]
        if shown.query.group is not None:
            parts.insert(0, Styled("of one cause; esc lists all  ", "focus"))
        return self.with_filter(parts)

    def _count_words(self, shown: JobList) -> str:
        total, listed = shown.total, len(self.listed)
        if (progress := self.progress) is not None:
            return progress.words
        has_more = shown.has_more or listed < len(shown.rows)
        if has_more and total is not None:
            return f"{listed:,} of {fmt.count(total)}"
        if shown.query.state is None and not shown.query.find and total and total > listed:
            return f"{listed:,} of {fmt.count(total)}, the latest {OF_EACH} of each state"
        return f"{listed:,} loaded" if has_more else fmt.plural(listed, "job")

    def _order_words(self, shown: JobList) -> str:
        order = {None: "", True: " · newest first", False: " · oldest first"}[shown.query.newest]
        if self._sorting is None:
            return order
        among = " among these" if shown.has_more or len(self.listed) < len(shown.rows) else ""
        return f"{order} · {sort_words(self._sorting)}{among}"

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
        newest = {} if self._query.newest is None else {"newest": self._query.newest}
        return {**kept, **newest, **kept_order(self._sorting)}

    def recall(self, kept: Kept) -> None:
        newest, find = kept.get("newest"), str(kept.get("filter", ""))
        if self.filter_problem(find):
            find = ""
        self._first = find or None, newest if isinstance(newest, bool) else None
        if (sorting := order_of(kept, COLUMNS)) is not None:
            self._sorting = sorting
            self.lines.set_sort(sorting.column, descending=sorting.descending)

    def crumb(self) -> str:
        return short(self._query.queue, 40) if self._query is not None else self.TAB

    def leave(self) -> bool:
        if self.stop_scan():
            return True
        if self.clear_marks() or self.clear_filter():
            return True
        if self._query is not None and self._query.group is not None:
            self._ask(replace(self._query, group=None, members=None))
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
            return FIRST
        return next((state for state in STATES if state != ALL and state_count(queue, state)), FIRST)

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
        self.follow_marked(listing)
        self._shown, self.listed = listing, self._in_order(listing.rows)
        if listing.rows and not self._are_chosen:
            self._are_chosen = True
            mixed = listing.query.state in MIXED
            columns = COLUMNS if mixed else tuple(column for column in COLUMNS if column.key != "state")
            self.lines.set_columns(columns_for(columns, listing.rows))
        self.lines.stale = self.has_class("-old")
        self._empty_words(self._query)
        self.draw_rows()
        self._draw_beside(snapshot)

    def _in_order(self, rows: Sequence[JobRow]) -> Sequence[JobRow]:
        sorting = self._sorting
        if sorting is None:
            return rows
        return sort_items(rows[:SORTED_ROWS], _column(sorting.column), descending=sorting.descending)

    def _draw_beside(self, snapshot: Snapshot) -> None:
        if not self.is_wide:
            return
        if self._beside is None:
            self._settle()
        view = snapshot.job if snapshot.job is not None and snapshot.job.ref == self._beside else None
        self.query_one(JobBeside).show(self.selected, view, self.console.now_ms(), self.console.config.zone)

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
        state = shown_state(item)
        if state != self.selected_state and not self.lines.shows("state"):
            # It is not in the state of the list, and there is no room for the word.
            look = fmt.state_look(state)
            row.cells["id"] = [Styled(f"{look.glyph} ", look.style), Styled(short(item.id, 256))]
        return row

    def _draw_states(self, snapshot: Snapshot, query: JobsQuery) -> None:
        queue = snapshot.queue(query.queue)
        tabs: list[tuple[str, Parts, Parts]] = []
        for state in STATES:
            count = state_count(queue, state_of(state)) if queue is not None else None
            lit = state_of(state) == query.state
            if state not in ALWAYS and not count and not lit:
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
            if self._shown is not None and self._shown.is_searching:
                self.lines.set_reading()
                return
            kind = f"{query.state} job" if query.state else "job"
            words, command = f"The filter takes no {kind}; esc clears it.", ""
        else:
            words, command = EMPTY[query.state or ALL]
        command = command.format(queue=short(query.queue, 60))
        self.lines.set_empty([[], [Styled(words)], [], [dim(command)]])

    # --- events ---

    def row_highlighted(self) -> None:
        super().row_highlighted()
        if self.is_wide:
            self._draw_beside(self.snapshot)
            if self._rest is not None:
                self._rest.stop()
            self._rest = self.set_timer(REST_S, self._settle)

    def _settle(self) -> None:
        """Have the job under the cursor read, now that it rests there."""
        row = self.selected
        if row is not None and row.ref != self._beside:
            self._beside = row.ref
            self.console.set_interests()

    def on_row_list_sort_asked(self, event: RowList.SortAsked) -> None:
        if self._sorting is not None and event.column == self._sorting.column:
            self.sort_reverse()
        else:
            column = _column(event.column)
            self._sort(Sorting(column.key, not column.rises))

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "states" and self._query is not None:
            event.stop()
            self._ask(replace(self._query, state=state_of(event.key), newest=None, group=None, members=None))

    # --- actions ---

    def _ask(self, query: JobsQuery) -> None:
        """Show another list; the old rows go at once, so that nothing is taken for what it is not."""
        if query == self._query:
            return
        before = self._query
        self._query, self._beside, self._are_chosen, self._further = query, None, False, 0
        if before is not None and (before.queue, before.state) != (query.queue, query.state):
            self.mark_items({})
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
        shown = [s for s in STATES if s in ALWAYS or s == current or (queue and state_count(queue, s))]
        state = shown[(shown.index(current) + step) % len(shown)]
        self._ask(replace(self._query, state=state_of(state), newest=None, group=None, members=None))

    def next_sibling(self, step: int) -> str | None:
        """Show the jobs of the queue after or before, in the order of their names."""
        names = [queue.name for queue in self.snapshot.queues]
        if self._query is not None and names:
            at = names.index(self._query.queue) if self._query.queue in names else 0
            self._ask(replace(self._query, queue=names[(at + step) % len(names)], group=None, members=None))
        return None

    def sort_next(self) -> str:
        """Sort by the next column that is shown, after the last one as the server has them; return what to show."""
        columns = [column for column in COLUMNS if self.lines.shows(column.key)]
        names = [column.key for column in columns]
        current = self._sorting.column if self._sorting is not None else None
        at = names.index(current) + 1 if current in names else 0
        if at == len(columns):
            return self._sort(None)
        return self._sort(Sorting(names[at], not columns[at].rises))

    def sort_reverse(self) -> str:
        """Turn the order round; return what to show."""
        if self._sorting is not None:
            return self._sort(Sorting(self._sorting.column, not self._sorting.descending))
        if self._query is None:
            return "still reading"
        newest = {None: False, False: True, True: None}[self._query.newest]
        self._ask(replace(self._query, newest=newest))
        return {None: "natural order", True: "newest first", False: "oldest first"}[newest]

    def _sort(self, sorting: Sorting | None) -> str:
        self._sorting = sorting
        self.lines.set_sort(
            sorting.column if sorting is not None else None,
            descending=sorting is not None and sorting.descending,
        )
        self.lines.to_top()
        self.show(self.snapshot)
        self.console.set_interests()
        return sort_words(sorting) if sorting is not None else "as the queue has them"


def _column(key: str) -> Column[JobRow]:
    return next(column for column in COLUMNS if column.key == key)
