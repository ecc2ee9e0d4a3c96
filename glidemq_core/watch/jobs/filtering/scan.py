"""Scan the jobs of a queue for those that a filter takes: page by page, saying how far it looked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from glidemq_core.filters.jobs import STALLED
from glidemq_core.filters.jobs import STATES as KNOWN_STATES
from glidemq_core.options.fields import one_of, refuse, whole
from glidemq_core.reading.reader import Reader
from glidemq_core.records import JobPage, JobRow

from ..listing import cursor_parts, fill, natural_order, read_cursor, walk_parents, write_cursor
from ..sources import Position
from ..states import Found, Scanned, find_sources
from .filter import JobFilter

#: Jobs that are read at a time.
PAGE: Final = 500
#: The states in the order in which they are looked at: work first, then what is done. What waits for children is in no
#: index and found by a walk over all keys, so it comes last.
_ORDER: Final = (
    *("waiting", "prioritized", "active", "delayed", "suspended", "failed", "group-waiting", "completed"),
    "waiting-children",
)
_PARENTS: Final = _ORDER[-1]


class JobScan:
    """Goes through the jobs of a state, or of all states that can match, one state after the other."""

    def __init__(
        self,
        reader: Reader,
        scanned: Scanned,
        queue: str,
        state: str | None,
        wanted: JobFilter,
        *,
        newest: bool | None = None,
        cursor: str | None = None,
    ) -> None:
        """Begin, or go on at a cursor.

        Raises:
            InvalidOptionError: `state` is none, or `cursor` is not the `next` of a page of the same scan.
        """
        if state is not None:
            one_of(*KNOWN_STATES)(state, "state")
        self._reader, self._scanned, self._queue, self._wanted = reader, scanned, queue, wanted
        self._newest = newest
        self._states = _states(state, wanted)
        self._positions: dict[str, Position] = {}
        self._found: Mapping[str, Found] = {}
        #: The states that are still to be looked at.
        self._left = list(self._states)
        if cursor is not None:
            current, _, _ = cursor_parts(cursor)
            if current not in self._states:
                refuse("cursor", cursor, "the `next` of a page of the same scan")
            self._left = self._states[self._states.index(current) :]
            self._positions = read_cursor(cursor, current, self._order(current))

    @property
    def cursor(self) -> str | None:
        """Where it goes on; None at the end."""
        if not self._left:
            return None
        return write_cursor(self._left[0], self._order(self._left[0]), self._positions)

    def _order(self, state: str) -> bool:
        return natural_order(state) if self._newest is None or state == _PARENTS else self._newest

    async def page(self, limit: int | None, room: int) -> JobPage:
        """Look further, at `room` jobs at most and until `limit` match."""
        if not self._found:
            await self._find()
        rows: list[JobRow] = []
        looked = spent = 0
        while self._left and spent < room and (limit is None or len(rows) < limit):
            wanted = room if limit is None else limit - len(rows)
            got, examined, cost, more = await self._step(self._left[0], wanted, room - spent)
            rows += got
            looked, spent = looked + examined, spent + cost
            if not more:
                self._left, self._positions = self._left[1:], {}
        return JobPage(
            rows=tuple(rows), next=self.cursor, total=self._total, at=self._reader.now(), looked=looked
        )

    async def _find(self) -> None:
        """Find what holds the jobs of every state, once for the scan."""
        since_ms = self._wanted.since_ms(self._reader.now_ms())
        states = [state for state in self._states if state != _PARENTS]
        found = await asyncio.gather(
            *(
                find_sources(self._reader, self._scanned, self._queue, state, self._order(state), since_ms)
                for state in states
            )
        )
        self._found = dict(zip(states, found, strict=True))

    @property
    def _total(self) -> int | None:
        totals = [found.total for found in self._found.values()]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(self._states) or len(self._states) > 1 else None

    async def _step(self, state: str, limit: int, room: int) -> tuple[list[JobRow], int, int, bool]:
        """Look at some jobs of a state.

        Returns those that match, how many were looked at, what that counts as, and whether there are more.
        """
        if state == _PARENTS:
            rows, looked, following = await walk_parents(
                self._reader, self._queue, limit, self._positions, self._wanted
            )
            self._positions = following or {}
            # A walk costs the same whatever it finds.
            return rows, looked, max(looked, PAGE), following is not None
        sources = self._found[state].sources
        rows, looked, more = await fill(
            self._reader,
            self._queue,
            state,
            sources,
            self._positions,
            limit,
            self._wanted,
            most=room,
            at_a_time=PAGE,
        )
        return rows, looked, looked, more


def _states(state: str | None, wanted: JobFilter) -> list[str]:
    """Return the states to be looked at."""
    if state is not None:
        return [state] if wanted.may_be_in(state) else []
    states = wanted.where.states if wanted.where is not None else None
    chosen = [one for one in _ORDER if states is None or one in states]
    if states is not None and STALLED in states and "active" not in states:
        chosen.append(STALLED)
    return chosen


async def scan_jobs(
    scan: JobScan, *, limit: int | None, most: int | None, pages_per_s: float | None
) -> AsyncIterator[JobPage]:
    """Give pages until so many jobs match, so many were looked at, or there are no more; see `Watch.scan_jobs`."""
    if limit is not None:
        whole(1)(limit, "limit")
    if most is not None:
        whole(1)(most, "most")
    matched = looked = 0
    while True:
        begun = time.monotonic()
        room = PAGE if most is None else min(PAGE, most - looked)
        page = await scan.page(None if limit is None else limit - matched, room)
        yield page
        matched, looked = matched + len(page.rows), looked + max(page.looked, 1)
        if (
            page.next is None
            or (limit is not None and matched >= limit)
            or (most is not None and looked >= most)
        ):
            return
        if pages_per_s is not None:
            await asyncio.sleep(max(0.0, begun + 1 / pages_per_s - time.monotonic()))
