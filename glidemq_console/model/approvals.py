"""Which jobs that wait for a person are listed and in what order, and what of one was looked at. No widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ..text import format as fmt
from .decisions import server_of

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval, Inbox

#: Jobs that were shown whole which are remembered.
REMEMBERED: Final = 5_000
#: Characters of one text that a card draws. What is longer was not shown whole.
DRAWN_LIMIT: Final = 2_000_000
#: Characters of payload and draft that are read for a card before the whole is opened.
CARD_LIMIT: Final = 65_536


class WaitingJob(NamedTuple):
    """A job that waits for a person, and what its server is called where jobs of several are listed."""

    one: Approval
    server: str = ""


@dataclass
class Listed:
    """What was read last, as far as it waits and matches."""

    inbox: Inbox | None = None
    items: dict[JobRef, Approval] = field(default_factory=dict)
    #: What waits, whether it matches the filter or not.
    waiting: dict[JobRef, Approval] = field(default_factory=dict)
    filter: str = ""
    #: What the server that is shown is called, where jobs of several are listed.
    here: str = ""

    def take(
        self,
        inbox: Inbox,
        is_answered: Callable[[Approval], bool],
        taken_by: Callable[[str, Sequence[WaitingJob]], Sequence[WaitingJob]],
    ) -> dict[JobRef, Approval]:
        """Take what was read; return what waits.

        Args:
            inbox: What was read.
            is_answered: Whether a decision on a job has its answer.
            taken_by: Keeps what a filter takes.
        """
        waiting = {one.ref: one for one in inbox.items if not is_answered(one)}
        self.inbox, self.waiting = inbox, waiting
        listed = [WaitingJob(one, server_of(one.ref) or self.here) for one in waiting.values()]
        self.items = {line.one.ref: line.one for line in taken_by(self.filter, listed)}
        return waiting

    def holds(self, marked: Approval) -> bool:
        """Whether a job is still what it was when it was marked."""
        now = self.waiting.get(marked.ref)
        return now is not None and now.mark == marked.mark


def undrawable(one: Approval) -> str | None:
    """Say what of a job is too long to be drawn on a card, or None."""
    texts: tuple[tuple[str, str | None], ...] = (
        ("reason", one.reason),
        ("draft", one.draft),
        ("payload", one.raw),
        *(("tool call", call.args) for call in one.tool_calls),
    )
    for what, text in texts:
        if text is not None and len(text) > DRAWN_LIMIT:
            return f"{what} after {fmt.byte_size(DRAWN_LIMIT)}"
    return None


class Seen:
    """Jobs that were shown whole on a card, as they were then: only these may be approved."""

    def __init__(self) -> None:
        self._hashes: dict[JobRef, tuple[str, str]] = {}

    def note(self, card: Approval, *, is_all: bool) -> None:
        """Take note of what a card shows; one that leaves something out does not count.

        Args:
            card: What it shows.
            is_all: Whether it was read without limits, when somebody asked for the whole.
        """
        whole = card.unshown is None or is_all
        if whole and card.review_hash is not None and undrawable(card) is None:
            self._hashes.pop(card.ref, None)
            self._hashes[card.ref] = card.mark, card.review_hash
            while len(self._hashes) > REMEMBERED:
                del self._hashes[next(iter(self._hashes))]

    def bound(self, one: Approval) -> Approval | None:
        """Return a job with the hash of what was shown, however little of it is in `one`; None if it was not shown."""
        mark, shown = self._hashes.get(one.ref, ("", ""))
        return replace(one, review_hash=shown) if shown and mark == one.mark else None


@dataclass
class Opened:
    """What was on the card when the cursor came to its row, or when a change was taken note of."""

    one: Approval | None = None
    #: The same read for the card, where the list has only the beginning.
    whole: Approval | None = None
    #: Whether `whole` was read without any limit.
    is_all: bool = False

    def look(self, current: Approval | None) -> None:
        """Take what is under the cursor; a job that changed stays as it was opened."""
        if current is None:
            self.one = None
        elif self.one is None or self.one.ref != current.ref:
            self.one, self.whole, self.is_all = current, None, False
        elif self.one.mark == current.mark:
            self.one = current

    def accept(self, current: Approval) -> None:
        self.one, self.whole, self.is_all = current, None, False

    def take(self, whole: Approval, *, is_all: bool) -> None:
        self.whole, self.is_all = whole, is_all

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

    def has_all(self, one: Approval) -> bool:
        """Whether a job is as it was read without any limit."""
        return one is self.whole and self.is_all

    def lacks_card(self, one: Approval) -> bool:
        """Whether only what the list has is known of a job, and that is not all of it."""
        return one is not self.whole and one.unshown is not None

    def lacks_whole(self, one: Approval) -> bool:
        """Whether something of a job was left out that reading without limits may bring."""
        return one.unshown is not None and not self.has_all(one)


def is_same(one: Approval, other: Approval) -> bool:
    return one.ref == other.ref and one.mark == other.mark
