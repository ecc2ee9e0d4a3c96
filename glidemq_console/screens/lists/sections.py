"""A list in sections: each stands under a heading that opens and folds it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, NamedTuple

from ...model.memory import Kept
from ...text import format as fmt
from ...widgets.lists.columns import Heading, Row
from ...widgets.styled import Styled, dim, label
from .list_screen import ItemListScreen
from .marking import T

#: Before the name of a section where its fold is remembered.
_FOLD = "fold."


class Section(NamedTuple):
    """A part of a list."""

    name: str
    #: What its heading says; a section without a title has no heading and is never folded.
    title: str
    #: Theme variable of the colour of the title.
    style: str = "label"
    #: It begins folded, unless there is nothing else.
    folded: bool = False


class SectionedScreen(ItemListScreen[T]):
    """A list whose items stand in sections, in their order; what is folded away is listed all the same."""

    SECTIONS: ClassVar[Sequence[Section]]

    def __init__(self) -> None:
        super().__init__()
        self._folded = {section.name for section in self.SECTIONS if section.folded}
        #: Sections that a person folded or unfolded, and which of both.
        self._chosen: dict[str, bool] = {}
        self._is_unfolded = False
        self._entries: list[T | Heading] = []
        #: How many items each section has.
        self.section_counts: dict[str, int] = {}

    def section_of(self, item: T) -> str:
        """Name of the section that an item belongs to."""
        raise NotImplementedError

    @property
    def entries(self) -> Sequence[T | Heading]:
        return self._entries

    @property
    def matched(self) -> int:
        """How many items there are, folded away or not."""
        return sum(self.section_counts.values())

    def arranged(self, items: Sequence[T]) -> Sequence[T]:
        parts: dict[str, list[T]] = {section.name: [] for section in self.SECTIONS}
        for item in items:
            parts[self.section_of(item)].append(item)
        self.section_counts = {name: len(part) for name, part in parts.items()}
        if items and not self._is_unfolded:
            self._is_unfolded = True
            if all(self.is_folded(name) for name, part in parts.items() if part):
                self._folded = {name for name in self._folded if name in self._chosen}
        self._entries = []
        for section in self.SECTIONS:
            part = parts[section.name]
            if part and section.title:
                self._entries.append(Heading(section.name))
            if not self.is_folded(section.name):
                self._entries += part
        return [item for part in parts.values() for item in part]

    def is_folded(self, name: str) -> bool:
        """Whether the items of a section are folded away; what a filter finds never is."""
        return name in self._folded and not self.filter_text

    # --- what is remembered ---

    def kept(self) -> Kept:
        usual = {section.name: section.folded for section in self.SECTIONS}
        chosen = {name: folded for name, folded in self._chosen.items() if folded != usual[name]}
        return {**super().kept(), **{f"{_FOLD}{name}": folded for name, folded in chosen.items()}}

    def recall(self, kept: Kept) -> None:
        for section in self.SECTIONS:
            folded = kept.get(f"{_FOLD}{section.name}")
            if section.title and isinstance(folded, bool):
                self._fold(section.name, folded)
        super().recall(kept)

    def _fold(self, name: str, folded: bool) -> None:
        self._chosen[name] = folded
        (self._folded.add if folded else self._folded.discard)(name)

    # --- drawing and opening ---

    def heading_row(self, heading: Heading) -> Row:
        section = next(section for section in self.SECTIONS if section.name == heading.name)
        folded = self.is_folded(section.name)
        count = f" {fmt.count(self.section_counts[section.name])}"
        words = [dim("▸ " if folded else "▾ "), Styled(section.title, section.style, "bold"), label(count)]
        return Row(heading, {}, words=words)

    def unfold_for(self, key: Hashable) -> None:
        """Open the section of an item that is to be selected."""
        known = self.items(self.snapshot) or ()
        item = next((item for item in known if self.key_of(item) == key), None)
        if item is not None and self.is_folded(self.section_of(item)):
            self._folded.discard(self.section_of(item))
            self.show(self.snapshot)

    def open_row(self) -> None:
        key = self.lines.cursor_key
        if isinstance(key, Heading):
            self._fold(key.name, key.name not in self._folded)
            self._is_fit = False
            self.lines.move_to(self.lines.cursor_index)
            self.show(self.snapshot)
            self.console.set_interests()
        else:
            super().open_row()
