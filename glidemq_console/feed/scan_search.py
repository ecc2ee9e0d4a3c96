"""Failures and dead letters that a filter takes: looked for a page at a time, as far as was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from ..model.lists.looked import Looked
from .job_search import Pace


class Scan(Protocol):
    """Something that looks through all there is, page by page."""

    looked: int
    total: int | None

    @property
    def has_more(self) -> bool:
        """Whether there is more to look at."""

    @property
    def matches(self) -> int:
        """How many were found."""

    @property
    def rows(self) -> int:
        """How many rows a list of them has."""

    async def look(self, most: int) -> None:
        """Look at so many more at most."""


S = TypeVar("S", bound=Scan)


class ScanSearch(Generic[S]):
    """A scan that goes on by itself for a while, and then waits to be asked."""

    def __init__(self, key: Hashable, scan: S) -> None:
        """Begin.

        Args:
            key: What it looks for, and where.
            scan: Looks through it.
        """
        self.key, self.scan = key, scan
        self._pace = Pace()

    @property
    def is_searching(self) -> bool:
        """Whether it goes on by itself."""
        return self.scan.has_more and self._pace.goes_on(self.scan.rows, self.scan.looked)

    async def go_on(self, further: int, refresh: Callable[[S], Awaitable[None]] | None) -> bool:
        """Look at one page more if that is due, else bring up to date what was found; False where nothing is due.

        Args:
            further: How often it was asked to look further.
            refresh: Brings up to date what was found; None where that is not due.
        """
        scan = self.scan
        self._pace.look_further(further, scan.rows, scan.looked)
        if self.is_searching:
            if not self._pace.is_due:
                return False
            await scan.look(self._pace.room(scan.looked))
            self._pace.page_read()
            return True
        if refresh is None:
            return False
        await refresh(scan)
        return True

    @property
    def progress(self) -> Looked:
        """How far it looked."""
        scan = self.scan
        return Looked(
            matches=scan.matches,
            looked=scan.looked,
            total=scan.total,
            has_more=scan.has_more,
            is_searching=self.is_searching,
        )
