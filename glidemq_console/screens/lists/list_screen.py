"""What the screens around one list share: rows drawn where they are visible, a filter, an order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.widget import Widget

from ...model.memory import Kept
from ...model.snapshot import Snapshot, Sorting, index_of_key
from ...saving.exports import SavedList
from ...saving.formats import About
from ...widgets.lists.columns import Column, Heading, Row, row_of, sort_items, sortable
from ...widgets.lists.row_list import MARGIN, RowList
from ...widgets.styled import Parts
from .marking import MarkingScreen, T
from .saving import saved_row, with_payloads

if TYPE_CHECKING:
    from glidemq_core import JobRef


V = TypeVar("V")


class ListScreen(MarkingScreen[T]):
    """A screen whose work is done on a list: rows are built where they are looked at."""

    #: Id of the list, its columns, and the action that enter stands for.
    LIST: ClassVar[str]
    COLUMNS: ClassVar[Sequence[Column[Any]]]
    OPEN: ClassVar[str]

    # --- for subclasses ------------------------------------------------------------------------------------

    def row_for(self, item: T, now_ms: int) -> Row:
        """Build the row of an item."""
        return row_of(self.COLUMNS, self.key_of(item), item, now_ms)

    @property
    def entries(self) -> Sequence[T | Heading]:
        """What has a row: what is listed, and headings where there are any."""
        return self.listed

    def heading_row(self, heading: Heading) -> Row:
        """Build the row of a heading."""
        raise NotImplementedError

    def entry_key(self, entry: T | Heading) -> Hashable:
        """The key of a row."""
        return entry if isinstance(entry, Heading) else self.key_of(entry)

    @property
    def entry_keys(self) -> list[Hashable]:
        """The keys of all rows, in order."""
        return [self.entry_key(entry) for entry in self.entries]

    # --- the list ------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        # A screen that is left while it comes up has no list yet.
        for lines in self.query(f"#{self.LIST}").results(RowList):
            lines.name_rows(lambda: self.entry_keys)

    @property
    def lines(self) -> RowList:
        return self.query_one(f"#{self.LIST}", RowList)

    def main_widget(self) -> Widget | None:
        return self.lines

    @property
    def selected_item(self) -> T | None:
        """The item under the cursor."""
        key = self.lines.cursor_key if self.is_up else None
        return None if key is None else next((one for one in self.listed if self.key_of(one) == key), None)

    def visible_items(self) -> list[T]:
        """The items on screen."""
        seen = frozenset(self.lines.visible_keys())
        return [item for item in self.listed if self.key_of(item) in seen]

    def draw_rows(self, start: int | None = None, end: int | None = None) -> None:
        """Hand the list the rows on screen, a margin, and the row under the cursor."""
        first, last = self.lines.visible_range
        start = max(0, first - MARGIN) if start is None else start
        end = max(last, first + self.app.size.height) + MARGIN if end is None else end
        at, cursor = self.lines.cursor_index, self.lines.cursor_key
        entries = self.entries
        if at >= len(entries) or self.entry_key(entries[at]) != cursor:
            at = index_of_key(self.entry_keys, cursor, at)
        start, end = min(start, at), max(end, at + 1)
        now = self.console.now_ms()
        rows = [
            self.heading_row(entry) if isinstance(entry, Heading) else self.row_for(entry, now)
            for entry in entries[start:end]
        ]
        below, total = self.last_row(), len(entries)
        if below is not None:
            total += 1
            rows += [below] if end >= total else []
        self.lines.set_page(total, start, rows)

    def last_row(self) -> Row | None:
        """What stands below the items, None for nothing."""
        return None

    def on_row_list_needed(self, event: RowList.Needed) -> None:
        self.draw_rows(event.start, event.end)
        self.console.set_interests()

    def on_row_list_highlighted(self) -> None:
        self.row_highlighted()

    def row_highlighted(self) -> None:
        """Follow the cursor to another row. As with `open_row`, this is what to override."""
        self.show_keys()
        self.console.set_interests()

    # --- what actions call ---------------------------------------------------------------------------------

    def record(self) -> object | None:
        item = self.selected_item
        return None if item is None else self.record_of(item)

    def record_of(self, item: T) -> object | None:
        """The item itself where it is a record of the engine; lists of something else say what theirs is."""
        return item if type(item).__module__.startswith("glidemq_core.") else None

    # --- the filter ----------------------------------------------------------------------------------------

    @property
    def saved_as(self) -> str | None:
        return None if self.IS_PAGE else self.SCOPE

    @property
    def filtered_as(self) -> str | None:
        """What `/` reads here, by its name in the table of filters; None where it does nothing."""
        return self.saved_as

    def filter_problem(self, text: str) -> str | None:
        from ...model.lists.filters import problem_of

        return problem_of(self.filtered_as, text) if self.filtered_as is not None else None

    def taken_by(self, text: str, items: Sequence[V]) -> list[V]:
        """Keep what a filter takes."""
        if not text or self.filtered_as is None:
            return list(items)
        # The language of filters is loaded with the first one.
        from ...model.lists.filters import read_filter

        taken = read_filter(self.filtered_as, text)
        now = datetime.fromtimestamp(self.console.now_ms() / 1_000, UTC)
        return [item for item in items if taken.fits(item, now)]

    # --- what a file takes ---------------------------------------------------------------------------------

    def ref_of(self, item: T) -> JobRef | None:
        """The job that an item is, whose payload a file may take."""
        return None

    @property
    def saved_queue(self) -> str | None:
        """The queue whose list it is, where it is of one."""
        return None

    async def all_items(self) -> AsyncIterator[Sequence[T]]:
        """Everything that matches, page by page."""
        yield self.listed

    def narrowed(self) -> Mapping[str, str]:
        """What says which of all items are listed."""
        return {"filter": self.filter_text} if self.filter_text else {}

    @property
    def reveals_secrets(self) -> bool:
        """Whether secrets are shown here, and so may be written."""
        return False

    def lacks(self) -> str | None:
        """Why the list does not hold everything there is, None where it does."""
        return None

    def saves(self, *, payload: bool) -> SavedList | None:
        if not self.listed:
            return None
        now = self.console.now_ms()
        row_of = saved_row(self.COLUMNS, self.record_of, now, payload=payload, reveal=self.reveals_secrets)
        return SavedList(
            about=About(
                screen=self.SCOPE,
                queue=self.saved_queue,
                narrowed=self.narrowed(),
                at_ms=now,
                titles=[column.title for column in self.COLUMNS],
            ),
            pages=lambda: with_payloads(self.all_items(), self.ref_of, self.console.feed, payload=payload),
            row_of=row_of,
            total=len(self.listed),
            lacks=self.lacks(),
        )

    def step_row(self, step: int) -> JobRef | None:
        lines = self.lines
        index = lines.cursor_index + step
        while isinstance(lines.key_at(index), Heading):
            index += step
        if not 0 <= index < lines.total or lines.row_at(index) is None:
            return None
        lines.move_to(index)
        return self.context().job

    def on_row_list_chosen(self) -> None:
        self.open_row()

    def open_row(self) -> None:
        """Open the row under the cursor. Handlers of messages run once for each class: this is what to override."""
        self.console.action_act(self.OPEN)


class ItemListScreen(ListScreen[T]):
    """A list of items that are all known: filtered and sorted here."""

    #: What stands in the place of the rows when there are none, and when the filter leaves none.
    EMPTY: ClassVar[tuple[Parts, ...]] = ()
    NO_MATCH: ClassVar[tuple[Parts, ...]] = ()
    #: How it is sorted at first; None leaves the items in their own order.
    FIRST: ClassVar[Sorting | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._sorting = self.FIRST
        #: Where the list is as high as its rows need: it has that height, until it is filtered, resized or sorted.
        self._is_fit = False

    # --- for subclasses ------------------------------------------------------------------------------------

    def items(self, snapshot: Snapshot) -> Sequence[T] | None:
        """Everything that may be listed, in the order of what sorts alike; None while it is being read."""
        raise NotImplementedError

    def filtered(self, items: Sequence[T]) -> list[T]:
        """Keep what the filter takes."""
        return self.taken_by(self._filter, items)

    def in_order(self, items: list[T]) -> list[T]:
        """Sort by the chosen column."""
        if self._sorting is None:
            return items
        return sort_items(items, self._column(self._sorting.column), descending=self._sorting.descending)

    def arranged(self, items: Sequence[T]) -> Sequence[T]:
        """Lay out the items in their order; return those that have a row."""
        return items

    # --- drawing -------------------------------------------------------------------------------------------

    def draw(self, snapshot: Snapshot) -> None:
        items, lines = self.items(snapshot), self.lines
        if items is not None and self.marked_items:
            self.see_listed(items)
        self.listed = self.arranged(self.in_order(self.filtered(items or ())))
        lines.stale = self.has_class("-old")
        sorting = self._sorting
        if sorting is None:
            lines.set_sort(None)
        else:
            lines.set_sort(sorting.column, descending=sorting.descending)
        if items is None:
            lines.set_reading()
        else:
            lines.set_empty(self.NO_MATCH if self.leaves_out(items) else self.EMPTY)
        self.set_class(not self.listed, "-none")
        self.draw_rows()

    def leaves_out(self, items: Sequence[T]) -> bool:
        """Whether the filter may be why nothing is listed."""
        return bool(self._filter and items)

    def fit(self, shared: str, *, is_last: bool = True, may_wait: bool = True) -> None:
        """Give the list the height that its rows need of what it shares with a detail; a refresh never changes it.

        Before the first layout nothing has a height: then it is done after it.
        """
        if self._is_fit or not self.listed:
            return
        room = self.query_one(shared).size.height
        if room:
            self.lines.styles.height = self.height_in(room)
            self._is_fit = is_last
        elif may_wait:
            self.call_after_refresh(self.fit, shared, is_last=is_last, may_wait=False)

    def height_in(self, room: int) -> int | str:
        """How high the list shall be where so many lines are to be shared."""
        raise NotImplementedError

    def see_listed(self, items: Sequence[T]) -> None:
        """Take note of what is marked among the items that there are, and of what is gone."""
        known = {self.key_of(item): item for item in items}
        self.see_marked(known, [key for key in self.lines.marks if key not in known])

    def resized(self) -> None:
        self._is_fit = False
        super().resized()

    def _redraw(self) -> None:
        """Draw after a change of what is listed, from the top, and say what is needed for it."""
        self._is_fit = False
        self.lines.to_top()
        self.show(self.snapshot)
        self.console.set_interests()

    # --- what is remembered --------------------------------------------------------------------------------

    def kept(self) -> Kept:
        kept: dict[str, str | bool] = {"filter": self.filter_text}
        if self._sorting != self.FIRST:
            kept |= kept_order(self._sorting)
        if self.has_class("-zoomed"):
            kept["detail"] = True
        return kept

    def recall(self, kept: Kept) -> None:
        self._sorting = order_of(kept, self.COLUMNS) or self._sorting
        self.set_class(kept.get("detail") is True, "-zoomed")
        text = str(kept.get("filter", ""))
        if text and not self.filter_problem(text):
            self.set_filter(text)

    # --- filter and order ----------------------------------------------------------------------------------

    def leave(self) -> bool:
        return self.clear_marks() or self.clear_filter()

    @property
    def filter_text(self) -> str:
        return self._filter

    def set_filter(self, text: str) -> None:
        self._filter = text
        self._redraw()

    def on_row_list_sort_asked(self, event: RowList.SortAsked) -> None:
        if self._sorting is not None and event.column == self._sorting.column:
            self.sort_reverse()
        else:
            self._sort_by(self._column(event.column))

    def sort_next(self) -> str:
        """Sort by the next column that sorts, after the last one as it was at first; return what to show."""
        names = sortable(self.COLUMNS)
        at = names.index(self._sorting.column) + 1 if self._sorting is not None else 0
        if at == len(names) and self.FIRST is None:
            return self._sort(None)
        return self._sort_by(self._column(names[at % len(names)]))

    def sort_reverse(self) -> str:
        """Turn the order round; return what to show."""
        if self._sorting is None:
            return self.sort_next()
        return self._sort(Sorting(self._sorting.column, not self._sorting.descending))

    def _column(self, key: str) -> Column[T]:
        return next(column for column in self.COLUMNS if column.key == key)

    def _sort_by(self, column: Column[T]) -> str:
        return self._sort(Sorting(column.key, not column.rises))

    def _sort(self, sorting: Sorting | None) -> str:
        self._sorting = sorting
        self._redraw()
        if sorting is None:
            return "in the order of the list"
        return sort_words(sorting)


def sort_words(sorting: Sorting) -> str:
    """Say how a list is sorted."""
    return f"sorted by {sorting.column}, {'highest' if sorting.descending else 'lowest'} first"


def kept_order(sorting: Sorting | None) -> Kept:
    """Return what is remembered of an order."""
    return {} if sorting is None else {"sort": sorting.column, "descending": sorting.descending}


def order_of(kept: Kept, columns: Sequence[Column[Any]]) -> Sorting | None:
    """Return the order that is remembered; None where there is none by one of these columns."""
    column = kept.get("sort")
    return Sorting(str(column), kept.get("descending") is True) if column in sortable(columns) else None
