"""What is wrong, over all known queues: the words of the line of trouble, in the order of the harm they do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ..text.format import plural
from .snapshot import LinkState, Snapshot, epoch_ms
from .workers import jobs_to_do

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from glidemq_core.records import QueueSnapshot

Kind = Literal["failed", "stalled", "unserved", "asked", "parked", "missed", "letters"]
#: How long a word stays, dim, after its number reached zero, ms: nothing shifts while it is read.
LINGER_MS: Final = 60_000


def is_unserved(row: QueueSnapshot) -> bool:
    """Whether nobody serves a queue that has jobs."""
    return row.workers == 0 and jobs_to_do(row) > 0


#: What is counted in each row; dead letters are counted in the queues that hold them.
_COUNTED: Final[dict[Kind, Callable[[QueueSnapshot], int | None]]] = {
    "failed": lambda row: row.failed_1h,
    "stalled": lambda row: row.stalled,
    "unserved": lambda row: int(is_unserved(row)),
    "asked": lambda row: row.suspended,
    "parked": lambda row: row.parked,
    "missed": lambda row: row.missed,
    "letters": lambda row: row.waiting,
}
KINDS: Final[tuple[Kind, ...]] = tuple(_COUNTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """One word of the line. A count of zero was more a moment ago."""

    kind: Kind
    count: int
    #: The queue that has most of it.
    worst: str | None = None
    #: When the first of the jobs that wait for a person times out, epoch ms.
    next_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What all known queues do together."""

    waiting: int = 0
    active: int = 0
    cost_per_hour: float = 0
    cost_unit: str | None = None
    tokens_per_s: float = 0


def troubles(rows: Iterable[QueueSnapshot]) -> list[Trouble]:
    """Count what is wrong in some rows; what is not is left out."""
    rows = list(rows)
    holders = {row.dead_letter_queue for row in rows if row.dead_letter_queue}
    found: list[Trouble] = []
    for kind, count in _COUNTED.items():
        # Letters wait for a person, not for a worker.
        kept = {"letters": holders, "unserved": {row.name for row in rows} - holders}.get(kind)
        counted = [row for row in rows if kept is None or row.name in kept]
        counts = [(count(row) or 0, row.name) for row in counted]
        total = sum(number for number, _ in counts)
        if total:
            soonest = min(
                (at for row in rows if (at := epoch_ms(row.next_timeout_at)) is not None), default=None
            )
            found.append(
                Trouble(
                    kind=kind,
                    count=total,
                    worst=max(counts)[1],
                    next_ms=soonest if kind == "asked" else None,
                )
            )
    return found


def totals(rows: Iterable[QueueSnapshot]) -> Totals:
    """Add up what all queues do."""
    rows = list(rows)
    units = Counter(row.cost_unit for row in rows if row.cost_per_hour and row.cost_unit)
    unit = units.most_common(1)[0][0] if units else None
    return Totals(
        waiting=sum((row.waiting or 0) + (row.prioritized or 0) for row in rows),
        active=sum(row.active or 0 for row in rows),
        cost_per_hour=sum(row.cost_per_hour for row in rows if row.cost_unit in (unit, None)),
        cost_unit=unit,
        tokens_per_s=sum(row.tokens_per_s for row in rows),
    )


def is_all_read(snapshot: Snapshot) -> bool:
    """Whether every queue there is was found and read: only then nothing wrong means calm."""
    return (
        snapshot.complete and not snapshot.leaves_out_queues and len(snapshot.queues) >= snapshot.queues_known
    )


class TroubleWords:
    """The words of the line from one snapshot to the next: one that reached zero stays for a while."""

    def __init__(self) -> None:
        self._seen_ms: dict[Kind, int] = {}
        self._taken: tuple[Snapshot | None, list[Trouble]] = (None, [])

    def take(self, snapshot: Snapshot, now_ms: int) -> list[Trouble]:
        """Return the words for a snapshot, most harmful first."""
        if self._taken[0] is None or self._taken[0].queues is not snapshot.queues:
            self._taken = snapshot, troubles(snapshot.queues)
        here = {one.kind: one for one in self._taken[1]}
        self._seen_ms.update(dict.fromkeys(here, now_ms))
        return [
            here.get(kind) or Trouble(kind=kind, count=0)
            for kind in KINDS
            if kind in here or now_ms - self._seen_ms.get(kind, -LINGER_MS) < LINGER_MS
        ]


def news(before: Snapshot, after: Snapshot) -> str:
    """Return what has become worse from one snapshot to the next, in a few words; empty when nothing has."""
    if not (before.has_data and after.has_data):
        return ""
    words = []
    asked_before, asked = before.approvals, after.approvals
    if asked is not None and asked_before is not None and asked > asked_before:
        words.append(f"{plural(asked, 'job')} {'waits' if asked == 1 else 'wait'} for a person")
    # Only rows that were known before: one that is read for the first time is no news.
    known = {row.name for row in before.queues}
    stalled_before = sum(row.stalled or 0 for row in before.queues)
    stalled = sum(row.stalled or 0 for row in after.queues if row.name in known)
    if stalled > stalled_before:
        words.append(f"{plural(stalled, 'job')} stalled")
    if after.link.state is LinkState.LOST and before.link.state is not LinkState.LOST:
        words.append("the connection to the server is lost")
    return ", ".join(words)
