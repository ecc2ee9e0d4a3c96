"""Where one came from: the way back through tabs and pages, and the breadcrumb of the way here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glidemq_core import JobRef

#: Steps remembered; the oldest are forgotten first.
MOST = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A tab with the pages that lie over it."""

    tab: str
    #: Pages by name and the job they are about, the one on top last.
    pages: tuple[tuple[str, JobRef], ...] = ()
    #: What the tab was opened for, to open it again.
    spot: object = None
    #: A word each for the tab and its pages.
    crumbs: tuple[str, ...] = ()


class Trail:
    """The places that one came through, the newest last."""

    def __init__(self) -> None:
        #: Each with whether a link led on from it, and not a tab key.
        self._places: list[tuple[Place, bool]] = []

    def leave(self, place: Place, *, linked: bool) -> None:
        """Remember a place that is left, by a link to something it shows or to another tab."""
        self._places = [*self._places, (place, linked)][-MOST:]

    def back(self) -> Place | None:
        """Take back the latest move; None when nothing is remembered."""
        return self._places.pop()[0] if self._places else None

    def crumbs(self, here: Place) -> list[str]:
        """Return the words of the way here from the tab that a key led to last."""
        chain = [here]
        for place, linked in reversed(self._places):
            if not linked:
                break
            chain.append(place)
        path: list[str] = []
        for place in reversed(chain):
            if not path and place.crumbs[:1] != (place.tab,):
                path.append(place.tab)
            known = _overlap(path, place.crumbs)
            path += place.crumbs[known:]
        return path


def _overlap(path: Sequence[str], crumbs: Sequence[str]) -> int:
    """Return how many of the first crumbs stand at the end of the path already."""
    sizes = range(min(len(path), len(crumbs)), 0, -1)
    return next((size for size in sizes if list(path[-size:]) == list(crumbs[:size])), 0)
