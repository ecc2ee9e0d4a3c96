"""What several screens share and not all have: each takes those that it has keys for."""

from __future__ import annotations

from typing import Protocol

from . import keys
from .base import Actions, Context, PageContext
from .protocols import Page

_ON_LISTS: Actions[Context] = Actions()
#: To the thing before and after the one that is shown.
SIBLINGS: Actions[Context] = Actions()


@_ON_LISTS("hold", keys.HOLD, title="hold still")
def hold(context: Context) -> str:
    """Hold the list still while it is read, or let it go on."""
    return context.page.hold_still()


class MarkingPage(Page, Protocol):
    """A list whose rows can be marked, as its actions know it; what a method returns is shown."""

    def mark(self) -> None: ...

    def mark_range(self) -> None: ...

    async def mark_all(self) -> str | None: ...

    def has_rows(self) -> bool: ...


#: What marks rows; acts work on the marked ones, else on the selected one.
MARKS: Actions[PageContext[MarkingPage]] = Actions()


def _needs_rows(context: PageContext[MarkingPage]) -> str | None:
    return None if context.page.has_rows() else "nothing is listed"


@MARKS("mark", keys.MARK, why_not=_needs_rows)
def mark(context: PageContext[MarkingPage]) -> None:
    """Mark the row, or take its mark away; acts work on all that are marked."""
    context.page.mark()


@MARKS("mark-range", keys.MARK_RANGE, why_not=_needs_rows)
def _mark_range(context: PageContext[MarkingPage]) -> None:
    """Mark every row from the one that was marked last to this one."""
    context.page.mark_range()


@MARKS("mark-all", keys.MARK_ALL, why_not=_needs_rows)
async def _mark_all(context: PageContext[MarkingPage]) -> str | None:
    """Mark all that match the filter, those too that are not loaded yet; at most 10,000."""
    return await context.page.mark_all()


class FindingPage(Page, Protocol):
    """A page with texts to read, as its actions know it; what a method returns is shown."""

    def next_match(self, step: int) -> str | None: ...


#: What leads from one place to the next where a text was found.
FINDS: Actions[PageContext[FindingPage]] = Actions()


@FINDS("find-next", keys.FIND_NEXT, title="next match")
def _find_next(context: PageContext[FindingPage]) -> str | None:
    """Go to the next place where the text that is looked for stands."""
    return context.page.next_match(1)


@FINDS("find-previous", keys.FIND_PREVIOUS, title="previous match")
def _find_previous(context: PageContext[FindingPage]) -> str | None:
    """Go to the place before where the text stands."""
    return context.page.next_match(-1)


class SortedPage(Page, Protocol):
    """A list that can be sorted, as its actions know it; what a method returns is shown."""

    def sort_next(self) -> str: ...

    def sort_reverse(self) -> str: ...


#: What sorts a list by its columns.
SORTING: Actions[PageContext[SortedPage]] = Actions()


@SORTING("sort", keys.SORT, footer=50)
def _sort(context: PageContext[SortedPage]) -> str:
    """Sort by the next column."""
    return context.page.sort_next()


@SORTING("sort-reverse", keys.REVERSE, title="reverse")
def reverse(context: PageContext[SortedPage]) -> str:
    """Turn the order round."""
    return context.page.sort_reverse()


@SIBLINGS("previous", keys.PREVIOUS_SIBLING)
def _previous(context: Context) -> str | None:
    """Go to the one before: queue, job, card or flow, whichever is shown."""
    return context.page.next_sibling(-1)


@SIBLINGS("next", keys.NEXT_SIBLING)
def _next(context: Context) -> str | None:
    """Go to the next one: queue, job, card or flow, whichever is shown."""
    return context.page.next_sibling(1)


def _cannot_say_why(context: Context) -> str | None:
    if context.job is None and context.queue is None:
        return context.page.why_not_here() or "nothing is selected"
    return "it is gone" if context.job_state == "gone" else None


@Actions[Context]()("why", keys.WHY, why_not=_cannot_say_why, footer=55)
async def why(context: Context) -> None:
    """Show why the selected job is not running, or what holds the queue back, and the key that mends it."""
    if context.job is not None:
        await context.console.show_why(context.job.queue, context.job.id)
    else:
        await context.console.show_why(context.needed_queue)
