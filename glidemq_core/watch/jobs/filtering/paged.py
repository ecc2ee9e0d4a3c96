"""What scans share that look through all there is page by page, and are then kept up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from glidemq_core.reading.reader import Reader

from .newest import MergedSources

K = TypeVar("K")


class PagedScan:
    """How far a scan has looked, and whose turn it is to be checked again."""

    def __init__(self, reader: Reader, queues: Sequence[str]) -> None:
        self._reader, self._queues = reader, tuple(queues)
        self._sources: MergedSources | None = None
        #: Whether all queues could be read.
        self._is_whole = True
        #: Where the next refresh goes on to check.
        self._turn = 0
        #: How many were looked at, and how many there are: None before they are counted.
        self.looked = 0
        self.total: int | None = None

    @property
    def has_more(self) -> bool:
        """Whether there are older ones that were not looked at."""
        return self._sources is None or self._sources.has_more

    def _next_turn(self, known: Sequence[K], most: int) -> Sequence[K]:
        """Return those of what was found that are to be checked now: in turn, at most so many."""
        turn = self._turn if self._turn < len(known) else 0
        self._turn = turn + most
        return known[turn : turn + most]
