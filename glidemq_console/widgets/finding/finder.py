"""Look for a text in the widgets of a page, a little at a time, and go from one place to the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Final

from textual.widget import Widget

from ...text.safe import clean
from ...text.shown_keys import key_of
from ..styled import Parts, Styled, dim
from .places import Found, Place, Searched, pattern_of

#: Places that are found at most.
MOST_FOUND: Final = 10_000
#: How long one looks before others have their turn, s.
_SLICE_S: Final = 0.005
_NOTHING: Final[Mapping[tuple[Searched, int], list[Place]]] = {}


class Finder:
    """What is looked for in some widgets, where it stands, and at which place one is."""

    def __init__(self, widgets: Callable[[], Sequence[Searched]], changed: Callable[[], None]) -> None:
        """Look for nothing yet.

        Args:
            widgets: Returns what is searched, from the top.
            changed: Is called when there is something else to say of the search.
        """
        self._widgets = widgets
        self._changed = changed
        self._found: list[tuple[Searched, Place]] = []
        self._lit: dict[Searched, Found] = {}
        self._at: int | None = None
        self._searched: tuple[tuple[Searched, int], ...] = ()
        self._kept: Mapping[tuple[Searched, int], list[Place]] = _NOTHING
        self._ended = True
        self.text = ""

    @property
    def count(self) -> int:
        """How many places are known."""
        return len(self._found)

    @property
    def words(self) -> Parts:
        """What is looked for, and `3 of 17`; nothing while nothing is."""
        if not self.text:
            return []
        shown = Styled(f"/{clean(self.text, single_line=True, limit=40)}  ", "focus")
        if not self._found:
            return [shown, Styled("not found", "warning") if self._ended else dim("looking …")]
        more = "" if self._ended and self.count < MOST_FOUND else "+"
        at = f"{self._at + 1:,}" if self._at is not None else "–"
        return [shown, Styled(at), dim(" of "), Styled(f"{self.count:,}{more}")]

    @property
    def reader(self) -> Widget | None:
        """What has the focus while one reads at the place where one is."""
        return None if self._at is None else self._found[self._at][0].reader

    def begin(self, text: str) -> None:
        """Look for another text from now on, see `look`; an empty one ends the search."""
        self._begin(text)
        self._changed()

    async def look(self) -> None:
        """Find all places, and go to the first one. To be cancelled when another search begins."""
        async for _ in self._search():
            if self._at is None and self._found:
                self._go(0)

    def needs_look(self) -> bool:
        """Whether what is searched has changed since it was searched."""
        return bool(self.text) and self._ended and self._searched != self._editions()

    async def look_again(self) -> None:
        """Look for the same text in what is there now, and stay at the place where one is."""
        before = self._found[self._at] if self._at is not None else None
        number = self._at or 0
        self._begin(self.text, self._known())
        async for _ in self._search():
            pass
        if before is not None and self._at is None and self._found:
            self._at = self._found.index(before) if before in self._found else min(number, self.count - 1)
            self._light_current()
            self._changed()

    def step(self, step: int) -> str | None:
        """Go to the next place (1) or the one before (-1), round at the ends; return what to show."""
        if not self.text:
            return f"nothing is searched for; {key_of('filter', '/')} starts"
        if not self._found:
            return "not found" if self._ended else "still looking"
        at = (0 if step > 0 else -1) if self._at is None else self._at + step
        wrapped = not 0 <= at < self.count
        self._go(at % self.count)
        if not wrapped:
            return None
        return "on from the top" if step > 0 else "on from the end"

    # --- searching ---

    def _editions(self) -> tuple[tuple[Searched, int], ...]:
        return tuple((one, one.edition) for one in self._widgets() if one.is_shown)

    def _known(self) -> dict[tuple[Searched, int], list[Place]]:
        """What was found in each widget as it was then."""
        return {
            (widget, edition): [place for one, place in self._found if one is widget]
            for widget, edition in self._searched
        }

    def _begin(self, text: str, known: Mapping[tuple[Searched, int], list[Place]] = _NOTHING) -> None:
        for widget in self._lit:
            widget.light(None)
        self.text, self._kept = text, known
        self._found, self._lit, self._at = [], {}, None
        self._searched = self._editions()
        self._ended = not text

    def _places(self) -> Iterator[tuple[Searched, Place] | None]:
        pattern = pattern_of(self.text)
        for widget, edition in self._searched:
            kept = self._kept.get((widget, edition))
            for place in widget.places(pattern) if kept is None else kept:
                yield None if place is None else (widget, place)

    async def _search(self) -> AsyncIterator[None]:
        """Collect all places; yield whenever what was found is lit up."""
        since = monotonic()
        for found in self._places() if self.text else ():
            if found is not None:
                widget, place = found
                self._found.append(found)
                if widget not in self._lit:
                    self._lit[widget] = Found()
                self._lit[widget].add(place)
                if self.count >= MOST_FOUND:
                    break
            if monotonic() - since > _SLICE_S:
                self._light_current()
                self._changed()
                yield
                await asyncio.sleep(0)
                since = monotonic()
        self._ended = True
        self._light_current()
        self._changed()
        yield

    def _go(self, at: int) -> None:
        self._at = at
        self._light_current()
        widget, place = self._found[at]
        widget.go_to(place)
        self._changed()

    def _light_current(self) -> None:
        here = None if self._at is None else self._found[self._at]
        for widget, found in self._lit.items():
            found.current = here[1] if here is not None and here[0] is widget else None
            widget.light(found)
