"""Find a text in the card of a job that waits; where nothing is read, `/` filters the list as everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widget import Widget

from ...widgets.finding.places import Searched
from ..finding import FindingScreen
from ..typed.command_line import CommandLine
from .deciding import DecidingScreen


class CardFindingScreen(DecidingScreen, FindingScreen):
    """A screen with a list and a card, in which one can find."""

    #: Whether the line at the bottom was opened to find in the card.
    _finds = False

    def searched(self) -> Sequence[Searched]:
        return self.review.searched

    @property
    def is_card(self) -> bool:
        """Whether the card stands in the place of the list."""
        return self.has_class("-card") and not self.has_class("-wide")

    @property
    def _is_reading(self) -> bool:
        return self.is_card or self.review.has_focus_within

    def open_filter(self) -> None:
        self._finds = self._is_reading
        if self._finds:
            self.query_one(CommandLine).open("/", self.finder.text)
        else:
            super().open_filter()

    def filter_typed(self, text: str) -> None:
        if self._finds:
            self.find(text)
        else:
            self.set_filter(text)

    def title_of(self, action_id: str) -> str | None:
        if action_id == "filter" and self.is_up and self._is_reading:
            return "find"
        return super().title_of(action_id)

    def main_widget(self) -> Widget | None:
        if self._finds and (reader := self.finder.reader) is not None and reader.display:
            return reader
        return self.payload if self.is_card else super().main_widget()
