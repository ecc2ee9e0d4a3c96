"""What happened lately, folded so that nothing goes by faster than a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ..snapshot import epoch_ms

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import QueueEvent

#: Lines that are kept.
KEPT: Final = 500
#: Events of one kind in one queue that are told one by one; more in one go are one line.
SINGLE: Final = 3
#: Lines that one go may add before kinds are told together, and then the kinds that people look for last.
A_GO: Final = 4
_LOOKED_FOR: Final = frozenset(
    ("failed", "stalled", "suspended", "expired", "revoked", "paused", "resumed", "drained", "cleaned")
)
#: A folded line goes on counting for this long after its first event, ms.
OPEN_MS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EventLine:
    """One line: an event, or a burst of the same kind."""

    #: What identifies it while it counts on: the id of its first event.
    key: str
    at_ms: int
    event: str
    queue: str
    #: The latest job.
    job_id: str | None
    data: dict[str, Any] = field(default_factory=dict)
    count: int = 1
    #: Not all events of the burst were read: there were at least so many.
    at_least: bool = False
    #: The queues that it tells of, where they are several.
    spans: frozenset[str] = frozenset()

    @property
    def queues(self) -> int:
        """How many queues it tells of."""
        return len(self.spans) or 1

    @property
    def ref(self) -> JobRef | None:
        """The job that it tells of; a burst tells of its latest."""
        from glidemq_core.options.job import JobRef

        return JobRef(self.queue, self.job_id) if self.job_id and self.queues == 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsView:
    """What happened lately, newest first."""

    lines: tuple[EventLine, ...] = ()
    #: Events by kind since the screen was opened.
    counts: tuple[tuple[str, int], ...] = ()
    at_ms: int = 0


def fold(lines: Sequence[EventLine], events: Sequence[QueueEvent], cut: frozenset[str]) -> list[EventLine]:
    """Put what happened since into the lines, newest first.

    Args:
        events: what was read, oldest first.
        cut: queues of which older events were left out.
    """
    groups: dict[tuple[str, str], list[QueueEvent]] = {}
    for event in events:
        groups.setdefault((event.queue, event.event), []).append(event)
    kept = list(lines)
    fresh: list[EventLine] = []
    for (queue, kind), members in groups.items():
        newest = members[-1]
        at = next((i for i, line in enumerate(kept) if _goes_on(line, queue, kind, newest)), None)
        if at is not None:
            kept[at] = _counted(kept[at], members, at_least=queue in cut)
        elif len(members) > SINGLE:
            fresh.append(_counted(_line(members[0]), members[1:], at_least=queue in cut))
        else:
            fresh += map(_line, members)
    fresh.sort(key=lambda line: (line.at_ms, line.key), reverse=True)
    if len(fresh) > A_GO:
        fresh = _together(fresh, kept, lambda line: line.event not in _LOOKED_FOR)
    if len(fresh) > A_GO:
        fresh = _together(fresh, kept, lambda line: line.event in _LOOKED_FOR)
    return [*fresh, *kept][:KEPT]


def _together(
    fresh: Sequence[EventLine], kept: list[EventLine], chosen: Callable[[EventLine], bool]
) -> list[EventLine]:
    """Tell the chosen lines of one go by kind, over all queues; one that is shown and not old counts them."""
    kinds: dict[str, list[EventLine]] = {}
    for line in fresh:
        if chosen(line):
            kinds.setdefault(line.event, []).append(line)
    told: dict[str, EventLine] = {}
    for kind, members in kinds.items():
        at = next((i for i, line in enumerate(kept) if _spans_on(line, kind, members[0].at_ms)), None)
        if at is None:
            told[kind] = _joined(members)
        else:
            kept[at] = _joined([kept[at], *members])
    others = [line for line in fresh if line.event not in kinds]
    return sorted([*others, *told.values()], key=lambda line: (line.at_ms, line.key), reverse=True)


def _spans_on(line: EventLine, kind: str, at_ms: int) -> bool:
    return bool(line.spans) and line.event == kind and at_ms - line.at_ms <= OPEN_MS


def _joined(lines: Sequence[EventLine]) -> EventLine:
    """Return one line for several of a kind, in the place of the first."""
    names = frozenset(name for line in lines for name in line.spans or {line.queue})
    count = sum(line.count for line in lines)
    if len(lines) == 1:
        return lines[0]
    return replace(
        lines[0],
        count=count,
        spans=names if len(names) > 1 else frozenset(),
        at_least=any(line.at_least for line in lines),
    )


def _line(event: QueueEvent) -> EventLine:
    return EventLine(
        key=f"{event.queue}:{event.id}",
        at_ms=epoch_ms(event.at) or 0,
        event=event.event,
        queue=event.queue,
        job_id=event.job_id,
        data=dict(event.data),
    )


def _goes_on(line: EventLine, queue: str, kind: str, newest: QueueEvent) -> bool:
    """Whether a burst that is shown already counts an event too."""
    is_burst = line.count > 1 and not line.spans and (line.queue, line.event) == (queue, kind)
    return is_burst and (epoch_ms(newest.at) or 0) - line.at_ms <= OPEN_MS


def _counted(line: EventLine, members: Sequence[QueueEvent], *, at_least: bool) -> EventLine:
    newest = members[-1]
    return replace(
        line,
        job_id=newest.job_id,
        data=dict(newest.data),
        count=line.count + len(members),
        at_least=line.at_least or at_least,
    )


def counted(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Kinds with their numbers, the rarest last."""
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
