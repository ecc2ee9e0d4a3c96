"""A payload to read: folded JSON whose secrets stay masked until they are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from ...text.safe import clean, mask
from ...text.shown_keys import key_of
from ...text.wrap import line_starts, wrapped
from ...theme.style import theme_style
from ..drawn import on_cursor, strip
from ..finding.places import Found, Place, places_in
from ..scrolling import CURSOR_KEYS, CursorScrolled, Pane
from ..styled import Parts, Styled
from .json_tree import Shown, TextName, Tree, TreeLine

#: Characters of the raw text that are drawn.
RAW_LIMIT: Final = 256 * 1024
#: The name of that text, which is one.
_RAW: Final = TextName(())


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are drawn alike; 1, 1.0 and true are equal and are not."""
    return one is other or (one == other and repr(one) == repr(other))


class PayloadCard(CursorScrolled, Pane, can_focus=True):
    """A JSON value as a tree, which `enter` and the arrows fold; its owner reveals what is masked, or shows it bare."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *CURSOR_KEYS,
        Binding("enter", "toggle_fold", "fold", show=False),
        Binding("right,l", "fold(False)", "unfold", show=False),
        Binding("left,h", "fold(True)", "fold", show=False),
    ]

    #: Action of the owner that reveals what is masked.
    reveal_action = "job.reveal"
    #: Whether enter is for the owner, who shows the whole, instead of folding.
    opens_whole = False

    revealed: reactive[bool] = reactive(False, init=False)
    """Show what is masked."""
    raw: reactive[bool] = reactive(False, init=False)
    """Show indented JSON instead of the tree."""

    @dataclass
    class Revealed(Message):
        """Secrets are shown, or hidden again."""

        card: PayloadCard
        revealed: bool

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty card."""
        super().__init__(id=id, classes=classes)
        self._value: Any = None
        self._masked: Any = None
        #: How many secrets the value holds.
        self.masked_count = 0
        self._tree: Tree | None = None
        self._note: list[Styled] = []
        self._drawn: list[TreeLine] = []
        self._edition = 0
        self._found: Found | None = None

    @property
    def has_value(self) -> bool:
        """Whether a value is shown, and not a note in its place."""
        return self._tree is not None

    @property
    def text(self) -> str:
        """The value as it is shown, as safe indented JSON for copying."""
        return clean(self._json(), limit=16_000_000, line_limit=16_000_000, max_lines=1_000_000)

    @property
    def path(self) -> str:
        """Where the line under the cursor stands in the value, as `messages[0].role`; empty at the top."""
        if self._tree is None or self.raw or not self._drawn:
            return ""
        words = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" if step.isidentifier() else f"[{step!r}]"
            for step in self._drawn[self._cursor].path
        )
        return clean(words.removeprefix("."), single_line=True)

    def show(self, value: Any) -> None:
        """Show a JSON value, masked; what was folded stays folded when it is the same value."""
        if self._tree is not None and _is_same(value, self._value):
            return
        self._value = value
        self._masked, self.masked_count = mask(value)
        self._tree = Tree(self._masked, key_of(self.reveal_action, "v"))
        self._edition += 1
        self._note = []
        self._cursor = 0
        self.set_reactive(PayloadCard.revealed, False)
        self._redraw()
        self.scroll_to(y=0, animate=False, force=True)

    def show_note(self, text: str, style: str = "dim") -> None:
        """Show a line in the place of a value: none, not loaded, too large."""
        self._tree = None
        self._edition += 1
        self._value = self._masked = None
        self.masked_count = 0
        self._note = [Styled(text, style)]
        self._redraw()

    def _json(self) -> str:
        if self._tree is None:
            return ""
        return json.dumps(
            self._value if self.revealed else self._masked, indent=2, ensure_ascii=False, default=str
        )

    def _raw_text(self) -> str:
        return clean(self._json(), limit=RAW_LIMIT, line_limit=RAW_LIMIT, max_lines=RAW_LIMIT)

    def _redraw(self) -> None:
        width = max(8, self.size.width - 3)
        if self._tree is None:
            self._drawn = [TreeLine((), tuple(self._note))] if self._note else []
        elif self.raw:
            text = self._raw_text()
            pieces = wrapped(text, width)
            self._drawn = [
                TreeLine((), (Styled(piece),), shows=(Shown(0, _RAW, start),))
                for piece, start in zip(pieces, line_starts(text, pieces), strict=True)
            ]
        else:
            self._drawn = self._tree.lines(width)
        self._cursor = self._nearest(self._cursor)
        resized = self.virtual_size.height != len(self._drawn)
        self.measured(len(self._drawn))
        self.refresh(layout=resized and self.styles.is_auto_height)

    def watch_revealed(self) -> None:
        if self._tree is not None:
            self._tree.value = self._value if self.revealed else self._masked
            self._edition += 1
            self._redraw()
            self.post_message(self.Revealed(self, self.revealed))

    def watch_raw(self) -> None:
        self._edition += 1
        self._redraw()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def on_resize(self) -> None:
        self._redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self._drawn))

    # --- what a search asks ---

    @property
    def edition(self) -> int:
        return self._edition

    @property
    def is_shown(self) -> bool:
        return self._tree is not None

    def places(self, pattern: re.Pattern[str]) -> Iterator[Place | None]:
        if self._tree is None:
            return iter(())
        return places_in(self._raw_text(), _RAW, pattern) if self.raw else self._tree.places(pattern)

    def light(self, found: Found | None) -> None:
        self._found = found
        self.refresh()

    def go_to(self, place: Place) -> None:
        name = place.text
        assert isinstance(name, TextName)
        if self._tree is not None and not self.raw:
            self._tree.unfold(name.path)
            self._redraw()
            if self._line_of(name, place) is None:
                # It stands behind what a folded text shows of itself.
                self._tree.fold(TreeLine(name.path, (), folds=True), False)
                self._redraw()
        self.scroll_visible(animate=False)
        self.move_to(self._line_of(name, place) or 0)

    @property
    def reader(self) -> PayloadCard:
        return self

    def _line_of(self, name: TextName, place: Place) -> int | None:
        """Index of the line that shows a place from its first character on."""
        for index, line in enumerate(self._drawn):
            for part, text, start in line.shows:
                # The last cell of a text that is cut is an ellipsis.
                shown = len(line.parts[part].text) - line.folds
                if text == name and start <= place.start < start + shown:
                    return index
        return None

    # --- moving and folding ---

    @property
    def line_count(self) -> int:
        return len(self._drawn)

    def move_to(self, index: int) -> None:
        self._cursor = self._nearest(index)
        self._reveal()
        self.refresh()

    def action_toggle_fold(self) -> None:
        if self._tree is not None and not self.raw and self._drawn:
            self._tree.toggle(self._drawn[self._cursor])
            self._redraw()

    def action_fold(self, folded: bool) -> None:
        if self._tree is None or self.raw or not self._drawn:
            return
        line = self._drawn[self._cursor]
        if not line.folds:
            # A line inside: what it belongs to folds.
            folding = {other.path: i for i, other in enumerate(self._drawn) if other.folds}
            at = folding.get(line.path, folding.get(line.path[:-1]))
            if not folded or at is None:
                return
            line, self._cursor = self._drawn[at], at
        self._tree.fold(line, folded)
        self._redraw()
        self.move_to(self._cursor)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "toggle_fold" and self.opens_whole)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        index = round(self.scroll_y) + offset.y
        if index < len(self._drawn):
            self.move_to(index)
            self.action_toggle_fold()
        event.stop()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        index = round(self.scroll_y) + y
        if index >= len(self._drawn):
            return Strip.blank(width, base)
        at_cursor = self.has_focus and index == self._cursor
        if at_cursor:
            base += theme_style(self.app, "foreground", on="cursor-background")
        gutter = Styled("▌ " if at_cursor else "  ", "focus")
        drawn = strip(self.app, [gutter, *self._parts(self._drawn[index])], width, base)
        return Strip(on_cursor(self.app, drawn, base), width) if at_cursor else drawn

    def _parts(self, line: TreeLine) -> Parts:
        if self._found is None:
            return line.parts
        parts = list(line.parts)
        for part, text, start in reversed(line.shows):
            parts[part : part + 1] = self._found.lit(parts[part], text, start)
        return parts
