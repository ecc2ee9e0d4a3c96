"""Pages with texts to read, in which `/` finds."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import cached_property
from typing import Any

from ..text.shown_keys import key_of
from ..widgets.finding.finder import Finder
from ..widgets.finding.places import Searched
from ..widgets.styled import Parts, Styled, hotkey
from .frame import ConsoleScreen


class FindingScreen(ConsoleScreen):
    """A screen that looks for a text in what there is to read; what it draws calls `look_again`."""

    def searched(self) -> Sequence[Searched]:
        """What is searched, from the top."""
        raise NotImplementedError

    @cached_property
    def finder(self) -> Finder:
        """What is looked for, and where it stands."""
        return Finder(self.searched, self._found)

    def find(self, text: str) -> None:
        """Look for another text; an empty one ends the search."""
        self.finder.begin(text)
        self._search(self.finder.look())

    def look_again(self) -> None:
        """Look again where something else is shown now."""
        if self.finder.needs_look():
            self._search(self.finder.look_again())

    def _search(self, search: Coroutine[Any, Any, None]) -> None:
        self.run_worker(search, group="find", exclusive=True, exit_on_error=False)

    def _found(self) -> None:
        if self.is_up:
            self._show_status(self.snapshot, self.console.now_ms())

    def found_parts(self) -> Parts:
        """What is looked for, at which place one is, and the keys that go on."""
        parts = self.finder.words
        if not self.finder.count:
            return parts
        following, before = key_of(f"{self.SCOPE}.find-next", "n"), key_of(f"{self.SCOPE}.find-previous", "N")
        return [*parts, hotkey(f"  {following} {before}"), Styled("  ")]

    def end_search(self) -> bool:
        """Stop looking; False when nothing is looked for."""
        if not self.finder.text:
            return False
        self.find("")
        return True

    def next_match(self, step: int) -> str | None:
        told = self.finder.step(step)
        if (reader := self.finder.reader) is not None:
            self.set_focus(reader, scroll_visible=False)
        return told
