"""A payload to read: folded JSON whose secrets stay masked until they are asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from ...text.safe import clean, mask
from ...theme.style import theme_style
from ..drawn import strip
from ..scrolling import CURSOR_KEYS, CursorScrolled, Pane
from ..styled import Styled
from .json_tree import Tree, TreeLine

#: Characters of the raw text that are drawn.
RAW_LIMIT = 256 * 1024


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
        self._tree = Tree(self._masked)
        self._note = []
        self._cursor = 0
        self.set_reactive(PayloadCard.revealed, False)
        self._redraw()
        self.scroll_to(y=0, animate=False, force=True)

    def show_note(self, text: str, style: str = "dim") -> None:
        """Show a line in the place of a value: none, not loaded, too large."""
        self._tree = None
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

    def _redraw(self) -> None:
        width = max(8, self.size.width - 3)
        if self._tree is None:
            self._drawn = [TreeLine((), tuple(self._note))] if self._note else []
        elif self.raw:
            lines = clean(self._json(), limit=RAW_LIMIT).split("\n")
            self._drawn = [TreeLine((), (Styled(line),)) for line in lines]
        else:
            self._drawn = self._tree.lines(width)
        self._cursor = self._nearest(self._cursor)
        resized = self.virtual_size.height != len(self._drawn)
        self.measured(len(self._drawn))
        self.refresh(layout=resized and self.styles.is_auto_height)

    def watch_revealed(self) -> None:
        if self._tree is not None:
            self._tree.value = self._value if self.revealed else self._masked
            self._redraw()
            self.post_message(self.Revealed(self, self.revealed))

    def watch_raw(self) -> None:
        self._redraw()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def on_resize(self) -> None:
        self._redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(1, len(self._drawn))

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
        return strip(self.app, [gutter, *self._drawn[index].parts], width, base)
