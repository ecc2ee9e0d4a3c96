"""Acts on everything that is marked: what the question says of it, the act in parts, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from glidemq_core.errors import CallTimeoutError, ClosedError, GlideMQError, ServerUnavailableError

from ..text.format import plural
from ..text.safe import short
from .base import Context, Doubtful, Unchanged

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor

T = TypeVar("T")
#: Changes some things of one queue; returns an outcome each, in order.
Change = Callable[["Queue[Any, Any]", "Actor", Sequence[T]], Awaitable[Sequence[str]]]

#: Things a call.
PART = 500
#: Names that a question tells.
NAMED = 5
#: Errors that leave open whether a call was carried out.
UNANSWERED = (CallTimeoutError, ServerUnavailableError, ClosedError)


@dataclass
class Tally(Generic[T]):
    """What became of each thing that an act was to change."""

    done: list[T] = field(default_factory=list)
    #: Changed or gone since they were shown: left alone.
    skipped: list[T] = field(default_factory=list)
    #: Sent, and never answered.
    lost: list[T] = field(default_factory=list)
    #: Not sent, as something before was lost or refused.
    unsent: list[T] = field(default_factory=list)
    #: What the server refused.
    problem: str = ""

    def message(self, what: str, done: str, where: str = "", after: str = "") -> str:
        """Say what became of the act, as in `12 of 15 jobs retried, 2 skipped: changed meanwhile`.

        Args:
            what: one of the things, as `job`.
            done: what was done with them.
            where: put before it, safe to draw.
            after: put behind it when anything was done.
        """
        total = len(self.done) + len(self.skipped) + len(self.lost) + len(self.unsent)
        count = (
            plural(total, what) if len(self.done) == total else f"{len(self.done):,} of {plural(total, what)}"
        )
        words = [f"{where}: {count} {done}" if where else f"{count} {done}"]
        if self.skipped:
            words.append(f"{len(self.skipped):,} skipped: changed meanwhile")
        if self.lost:
            words.append(f"{len(self.lost):,} lost: no answer, they may have been {done}")
        if self.unsent:
            words.append(f"{len(self.unsent):,} not sent")
        if self.problem:
            words.append(short(self.problem, 300))
        text = ", ".join(words) + (after if self.done else "")
        if self.lost or self.unsent:
            return Doubtful(text)
        return text if self.done else Unchanged(text)


async def in_parts(
    context: Context,
    items: Sequence[T],
    change: Change[T],
    done: Collection[str],
    *,
    queue_of: Callable[[T], str],
    doing: str = "",
) -> Tally[T]:
    """Change things in parts of one queue each; what is lost or not sent stays marked.

    Args:
        done: outcomes of what was done; the others are skipped.
        doing: what is said while more than a part is on its way.
    """
    tally, page = Tally[T](), context.page
    if context.marked:
        page.take_marks()
    for name, part in _parts(items, queue_of):
        if tally.lost or tally.unsent:
            tally.unsent += part
            continue
        await _change(context, name, part, change, done, tally)
        if len(part) < len(items) and doing:
            so_far = len(tally.done) + len(tally.skipped)
            context.console.show_message(f"{doing}: {so_far:,} of {len(items):,}")
    if context.marked:
        page.mark_again([*tally.lost, *tally.unsent])
    return tally


async def _change(
    context: Context, name: str, part: Sequence[T], change: Change[T], done: Collection[str], tally: Tally[T]
) -> None:
    begun = False

    async def call(queue: Queue[Any, Any], actor: Actor) -> Sequence[str]:
        nonlocal begun
        begun = True
        return await change(queue, actor, part)

    try:
        outcomes = await context.change(call, name)
    except GlideMQError as error:
        (tally.lost if begun and isinstance(error, UNANSWERED) else tally.unsent).extend(part)
        tally.problem = error.message
        return
    for item, outcome in zip(part, outcomes, strict=True):
        (tally.done if outcome in done else tally.skipped).append(item)


def _parts(items: Sequence[T], queue_of: Callable[[T], str]) -> Iterable[tuple[str, list[T]]]:
    for name, group in groupby(sorted(items, key=queue_of), key=queue_of):
        members = list(group)
        for start in range(0, len(members), PART):
            yield name, members[start : start + PART]


def one_at_a_time(context: Context, what: str) -> str | None:
    """Say that an act takes one thing of a kind, where some are marked; None when none is."""
    if not context.marked:
        return None
    count = len(context.marked)
    return f"it takes one {what} at a time, {count:,} {'is' if count == 1 else 'are'} marked; esc clears the marks"


def touched(names: Sequence[str], kinds: Iterable[str] = (), left_out: str = "") -> str:
    """Say what an act will touch: the first few names, how many of each kind, what of the marked is left out."""
    shown = ", ".join(short(name, 60) for name in names[:NAMED])
    if len(names) > NAMED:
        shown += f" and {len(names) - NAMED:,} more"
    lines = [shown]
    counted = Counter(kinds).most_common()
    if counted:
        lines.append(", ".join(f"{count:,} {short(kind, 60)}" for kind, count in counted))
    if left_out:
        lines.append(left_out)
    return "\n".join(lines)
