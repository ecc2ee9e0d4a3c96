"""What happens in all known queues, while that is shown: a bounded read a second, whatever the rate of events."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.lists.events import EventLine, EventsView, counted, fold
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core.watch import Watch

#: A person reads no faster.
EVERY_MS = 1_000
#: Queues read in a round: those with events lately, and some of the others in turn.
A_ROUND = 200
#: Events of one queue read in a round, and when the screen is opened.
OF_A_QUEUE, AT_FIRST = 50, 20


class EventsReader:
    """Keeps the lines while the screen is shown; where it was left, they begin anew."""

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._lines: list[EventLine] = []
        self._counts: Counter[str] = Counter()
        #: The newest event known of each queue.
        self._seen: dict[str, str] = {}
        #: When each queue had events or was asked last (number of the round).
        self._turn: dict[str, int] = {}
        self._round = 0

    async def read_wanted(self, reading: Reading) -> None:
        """Read what is new, if the events are shown."""
        if not reading.wants.events:
            self._watch = None
            return
        if self._watch is not reading.watch:
            self.__init__()  # type: ignore[misc]
            self._watch = reading.watch
            reading.make_due("events")
        if not reading.is_due("events", EVERY_MS):
            return
        names = self._choose(reading)
        known = {name: self._seen[name] for name in names if name in self._seen}
        limit = OF_A_QUEUE if self._round else AT_FIRST
        found = await reading.attempt(reading.watch.recent_events(names, seen=known, limit=limit))
        if found is None:
            return
        self._round += 1
        for name in names:
            # What was silent when it was asked first is looked at from there on.
            self._seen.setdefault(name, "0-0")
            self._turn[name] = self._round
        for event in found.events:
            self._seen[event.queue] = event.id
            self._turn[event.queue] = self._round + 1
            self._counts[event.event] += 1
        self._lines = fold(self._lines, found.events, frozenset(found.cut))
        view = EventsView(lines=tuple(self._lines), counts=counted(self._counts), at_ms=reading.clock())
        reading.known = replace(reading.known, events=view)

    def _choose(self, reading: Reading) -> list[str]:
        names = sorted(reading.rows.names)
        if len(names) <= A_ROUND:
            return names
        lively = sorted(names, key=lambda name: -self._turn.get(name, 0))[: A_ROUND // 2]
        waiting = sorted(set(names).difference(lively), key=lambda name: self._turn.get(name, 0))
        return [*lively, *waiting[: A_ROUND - len(lively)]]
