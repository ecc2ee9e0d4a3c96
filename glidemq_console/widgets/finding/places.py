"""Where a text was found in a widget, and how its lines light it up."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from textual.widget import Widget

from ..styled import Styled

#: Characters of a text that is looked for.
_LONGEST: Final = 200


class Place(NamedTuple):
    """Where a text was found: in which text of a widget, from which character to which."""

    text: Hashable
    start: int
    end: int


class Searched(Protocol):
    """A widget whose texts can be searched."""

    @property
    def edition(self) -> int:
        """Another number whenever there is something else to search."""

    @property
    def is_shown(self) -> bool:
        """Whether there is something to see of it."""

    def places(self, pattern: re.Pattern[str]) -> Iterator[Place | None]:
        """Yield where a pattern stands, from the top; None after a text without it."""

    def light(self, found: Found | None) -> None:
        """Light up what was found from now on; None for nothing."""

    def go_to(self, place: Place) -> None:
        """Bring a place into view, unfolding what hides it."""

    @property
    def reader(self) -> Widget | None:
        """What has the focus while one reads."""


def pattern_of(text: str) -> re.Pattern[str]:
    """Return the pattern of a text as it is typed, in any case."""
    return re.compile(re.escape(text[:_LONGEST]), re.IGNORECASE)


def places_in(text: str, name: Hashable, pattern: re.Pattern[str]) -> Iterator[Place | None]:
    """Yield where a pattern stands in one text, and None at its end."""
    for match in pattern.finditer(text):
        yield Place(name, match.start(), match.end())
    yield None


class Found:
    """What was found in one widget, by text."""

    def __init__(self) -> None:
        self._by_text: defaultdict[Hashable, list[Place]] = defaultdict(list)
        #: The place that one is at.
        self.current: Place | None = None

    def add(self, place: Place) -> None:
        """Take a place; those of one text come in their order."""
        self._by_text[place.text].append(place)

    def lit(self, part: Styled, name: Hashable, offset: int) -> list[Styled]:
        """Return a part with what was found in it lit up.

        Args:
            part: Shows a piece of a text.
            name: Which text.
            offset: Character of the text at which the part begins; negative for what stands before it.
        """
        places: Sequence[Place] = self._by_text.get(name, ())
        end = offset + len(part.text)
        parts: list[Styled] = []
        at = offset
        for place in places[bisect_right(places, offset, key=lambda place: place.end) :]:
            if place.start >= end:
                break
            start, stop = max(place.start, at), min(place.end, end)
            here = "bold underline" if place == self.current else ""
            parts.append(part._replace(text=part.text[at - offset : start - offset]))
            shown = part.text[start - offset : stop - offset]
            parts.append(Styled(shown, "match-foreground", here, "match-background"))
            at = stop
        parts.append(part._replace(text=part.text[at - offset :]))
        return parts
