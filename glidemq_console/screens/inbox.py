"""Which jobs that wait for a person are listed and in what order, and what of one was looked at. No widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..store import epoch_ms

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval, Inbox

#: Way to sort -> the column that is lit.
SORT_COLUMNS: Final = {"deadline": "in", "waiting": "waits", "cost": "cost"}
SORTS: Final = tuple(SORT_COLUMNS)
_FAR: Final = 1 << 62


@dataclass
class Listed:
    """What was read last, as far as it waits and matches."""

    inbox: Inbox | None = None
    items: dict[JobRef, Approval] = field(default_factory=dict)
    filter: str = ""
    sort: str = SORTS[0]

    def take(self, inbox: Inbox, is_answered: Callable[[Approval], bool]) -> dict[JobRef, Approval]:
        """Keep what has no answer yet and matches the filter; returns all that has none."""
        waiting = {one.ref: one for one in inbox.items if not is_answered(one)}
        self.inbox = inbox
        words = self.filter.lower().split()
        self.items = {
            ref: one
            for ref, one in waiting.items()
            if all(word in f"{one.queue} {one.name} {one.reason or ''} {one.id}".lower() for word in words)
        }
        return waiting

    def in_order(self) -> list[Approval]:
        """Return the items as they are sorted."""
        items = self.items.values()
        if self.sort == "waiting":
            return sorted(items, key=lambda one: (one.suspended_at, one.queue, one.id))
        if self.sort == "cost":
            cost = {one.ref: (one.usage.total_cost if one.usage else None) or 0.0 for one in items}
            return sorted(items, key=lambda one: (-cost[one.ref], one.queue, one.id))
        return sorted(items, key=lambda one: (epoch_ms(one.deadline_at) or _FAR, one.queue, one.id))

    def sort_next(self) -> None:
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]

    def sort_by_column(self, column: str) -> None:
        self.sort = next((sort for sort, lit in SORT_COLUMNS.items() if lit == column), self.sort)

    def holds(self, marked: Approval) -> bool:
        """Whether a job is still what it was when it was marked."""
        now = self.items.get(marked.ref)
        return now is not None and now.mark == marked.mark


@dataclass
class Opened:
    """What was on the card when the cursor came to its row, or when a change was taken note of."""

    one: Approval | None = None
    #: The same with its whole payload and draft, where the list has only the beginning.
    whole: Approval | None = None

    def look(self, current: Approval | None) -> None:
        """Take what is under the cursor; a job that changed stays as it was opened."""
        if current is None:
            self.one = None
        elif self.one is None or self.one.ref != current.ref:
            self.one, self.whole = current, None
        elif self.one.mark == current.mark:
            self.one = current

    def accept(self, current: Approval) -> None:
        """Take note of a change."""
        self.one, self.whole = current, None

    def shown(self, current: Approval | None) -> Approval | None:
        """Return what a decision is bound to, when `current` is under the cursor."""
        if self.one is None or current is None or self.one.ref != current.ref:
            return current
        return self.whole if self.whole is not None and is_same(self.whole, self.one) else self.one

    def has_changed(self, current: Approval | None) -> bool:
        """Whether what is under the cursor is not what was opened."""
        return (
            self.one is not None
            and current is not None
            and self.one.ref == current.ref
            and self.one.mark != current.mark
        )

    def lacks_whole(self, one: Approval) -> bool:
        """Whether only the beginning of a job is known, and the whole has not been read yet."""
        return one is not self.whole and (one.truncated or bool(one.hidden))


def is_same(one: Approval, other: Approval) -> bool:
    return one.ref == other.ref and one.mark == other.mark
