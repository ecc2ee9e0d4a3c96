"""A pane of live tokens: reasoning, content, tool calls and other data in their own styles, with bounded memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, cast

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.reactive import Reactive, reactive
from textual.strip import Strip

from ..text.format import plural
from ..text.safe import SafeStream, clean
from ..text.wrap import Wrapper
from .drawn import segments, strip
from .scroll_bar import bar_cell, thumb, top_at
from .scrolling import READING_KEYS, Scrolled
from .styled import Parts, Styled

Kind = Literal["content", "reasoning", "tool", "other", "note"]

#: What a pane keeps; what is older goes, and the first line says so.
MAX_LINES: Final = 5_000
MAX_CHARACTERS: Final = 1_000_000
#: A chunk is wrapped in pieces of this size, so that one huge chunk leaves the ring bit by bit.
_PIECE: Final = 4_096

#: Kinds whose chunks are one text.
_JOINED: Final = ("content", "reasoning")
_GUTTERS: Final[dict[str, Styled]] = {
    "reasoning": Styled("┊ ", "reasoning"),
    "tool": Styled("» ", "tool"),
    "other": Styled("· ", "dim"),
}
_NO_GUTTER: Final = Styled("  ")
_LOOKS: Final[dict[str, tuple[str, str]]] = {
    "content": ("", ""),
    "reasoning": ("reasoning", "dim italic"),
    "tool": ("tool", ""),
    "other": ("dim", ""),
    "note": ("dim", ""),
}


class TokenPane(Scrolled, can_focus=True):
    """Text of one stream. `feed` only collects; the owner calls `flush` every 50-100 ms to draw what came.

    The pane follows the end until the reader scrolls up; then it stays where it is and counts what is new below.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *READING_KEYS,
        Binding("end,G", "follow", "follow", show=False),
    ]

    DEFAULT_CSS = """
    TokenPane { overflow-y: hidden; }
    """

    #: Its height never follows its lines: a token is no reason to lay out the screen again.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0), layout=False, repaint=False)
    live: reactive[bool] = reactive(False)
    """More is expected: a cursor stands behind the last token."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty pane that follows."""
        super().__init__(id=id, classes=classes)
        self._source: deque[tuple[Kind, str, bool]] = deque()
        self._characters = 0
        self._pending: list[tuple[Kind, str | bytes]] = []
        self._streams: dict[Kind, SafeStream] = {}
        self._wrapped = Wrapper(80)
        self._forgot = False
        self._following = True
        self._seen = 0
        self._strips: LRUCache[int, Strip] = LRUCache(1_000)
        #: The style of plain text; Textual works it out anew at every asking.
        self._base: Style | None = None
        self._pattern: re.Pattern[str] | None = None
        #: Number of a line -> (start, end, whether the match begins here) in its text.
        self._matches: dict[int, list[tuple[int, int, bool]]] = {}
        self._match: int | None = None

    # --- data ---

    @property
    def following(self) -> bool:
        """Whether the end is kept in view."""
        return self._following

    @property
    def new_below(self) -> int:
        """Lines that came since the reader scrolled up."""
        end = self._wrapped.dropped + len(self._wrapped.lines)
        return 0 if self._following else max(0, end - self._seen)

    @property
    def text(self) -> str:
        """What is kept, as safe text for copying and saving."""
        pieces: list[str] = []
        for _, text, begins in self._source:
            if begins and pieces and not pieces[-1].endswith("\n"):
                pieces.append("\n")
            pieces.append(text)
        return "".join(pieces)

    def feed(self, kind: Kind, chunk: str | bytes) -> None:
        """Take a chunk of foreign text, cut anywhere; tools, other data and notes are one line a chunk."""
        self._pending.append((kind, chunk))

    def _made_safe(self, kind: Kind, chunks: Sequence[str | bytes]) -> str:
        if kind not in _JOINED:
            return clean(chunks[0], single_line=True, limit=_PIECE)
        stream = self._streams.setdefault(kind, SafeStream())
        if len(chunks) > 1 and all(isinstance(chunk, str) for chunk in chunks):
            # Much cheaper than one by one, and the same.
            return stream.feed("".join(cast("Sequence[str]", chunks)))
        return "".join([stream.feed(chunk) for chunk in chunks])

    def flush(self) -> bool:
        """Draw what was fed since the last call; return whether there was anything."""
        if not self._pending:
            return False
        pending, self._pending = self._pending, []
        first_changed = max(0, len(self._wrapped.lines) - 1)
        run: list[str | bytes] = []
        for index, (kind, chunk) in enumerate(pending):
            run.append(chunk)
            joins = kind in _JOINED
            if not joins or index + 1 == len(pending) or pending[index + 1][0] != kind:
                begins = not joins or self._wrapped.open_kind != kind
                self._append(kind, self._made_safe(kind, run), begins=begins)
                run.clear()
        self._grown(first_changed)
        return True

    def clear(self) -> None:
        """Forget everything and follow again."""
        self._source.clear()
        self._characters = 0
        self._pending.clear()
        self._streams.clear()
        self._forgot = False
        self._match = None
        self._set_following(True)
        self._rewrap()

    def _append(self, kind: Kind, text: str, *, begins: bool) -> None:
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            entry = (kind, piece, begins and start == 0)
            self._source.append(entry)
            self._characters += len(piece)
            self._wrap(entry)
        while self._characters > MAX_CHARACTERS:
            self._characters -= len(self._source.popleft()[1])
            self._forgot = True

    def _wrap(self, entry: tuple[Kind, str, bool]) -> None:
        kind, text, begins = entry
        if begins or not self._wrapped.lines:
            self._wrapped.start(kind)
            if kind == "reasoning":
                self._wrapped.add("thinking  ")
        self._wrapped.add(text)

    def _grown(self, first_changed: int) -> None:
        gone = self._wrapped.trim(MAX_LINES)
        count = len(self._wrapped.lines)
        number = self._wrapped.dropped + max(0, first_changed - gone)
        self._strips.discard(number)
        if self._pattern is not None:
            first, _ = self._wrapped.paragraph(max(0, first_changed - gone))
            self._find_from(first)
        self.virtual_size = Size(self.size.width, count)
        if self._following:
            self._seen = self._wrapped.dropped + count
            self._to_end()
        elif gone:
            # The reader's lines moved up; move along, so that they stand still.
            self.scroll_to(y=max(0, round(self.scroll_y) - gone), animate=False, force=True)
        if gone or not self._following:
            self.refresh()
        else:
            self.refresh_lines(max(0, first_changed - 1), count - first_changed + 2)

    def _rewrap(self) -> None:
        place = round(self.scroll_y) / max(1, len(self._wrapped.lines))
        behind = self.new_below
        self._wrapped = Wrapper(self.size.width - 3)
        for entry in self._source:
            self._wrap(entry)
        self._wrapped.trim(MAX_LINES)
        self._strips.clear()
        count = len(self._wrapped.lines)
        self.virtual_size = Size(self.size.width, count)
        self._find_from(0)
        self._seen = max(0, self._wrapped.dropped + count - behind)
        if self._following:
            self._to_end()
        else:
            self.scroll_to(y=round(place * count), animate=False, force=True)
        self.refresh()

    # --- following ---

    def action_follow(self) -> None:
        self._set_following(True)
        self._to_end()
        self.refresh()

    def _to_end(self) -> None:
        self.scroll_to(y=max(0, len(self._wrapped.lines) - self.size.height), animate=False, force=True)

    def _set_following(self, following: bool) -> None:
        if following == self._following:
            return
        self._following = following
        self._seen = self._wrapped.dropped + len(self._wrapped.lines)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) == round(new_value):
            return
        at_end = round(new_value) >= len(self._wrapped.lines) - self.size.height
        if at_end or new_value < old_value:
            self._set_following(at_end)

    # --- the bar, a part of the lines ---

    @property
    def allow_vertical_scroll(self) -> bool:
        return True

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.x == self.size.width - 1 and len(self._wrapped.lines) > self.size.height:
            self.capture_mouse()
            self._drag_to(event.y)
            event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._drag_to(event.y)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _drag_to(self, row: int) -> None:
        top = top_at(row, self.size.height, len(self._wrapped.lines))
        self.scroll_to(y=top, animate=False, force=True)

    # --- search ---

    def search(self, query: str) -> int:
        """Light up a text wherever it stands, in any case; return how often. An empty one ends the search."""
        self._pattern = re.compile(re.escape(query), re.IGNORECASE) if query else None
        self._match = None
        self._find_from(0)
        self.refresh()
        return sum(begins for spans in self._matches.values() for _, _, begins in spans)

    def next_match(self, step: int = 1) -> bool:
        """Scroll to the next line (or, with -1, the one before) that holds the text; return False if none does."""
        numbers = sorted(self._matches)
        if not numbers:
            return False
        here = self._match if self._match is not None else self._wrapped.dropped + round(self.scroll_y) - step
        ahead = [number for number in numbers if (number > here if step > 0 else number < here)]
        self._match = (ahead[0] if step > 0 else ahead[-1]) if ahead else numbers[0 if step > 0 else -1]
        index = self._match - self._wrapped.dropped
        top = max(0, min(index - self.size.height // 2, len(self._wrapped.lines) - self.size.height))
        self._set_following(False)
        self.scroll_to(y=top, animate=False, force=True)
        self.refresh()
        return True

    def _find_from(self, index: int) -> None:
        """Look for the text in the lines from an index on, across the places where lines were wrapped."""
        dropped, lines = self._wrapped.dropped, self._wrapped.lines
        kept = {
            number: spans for number, spans in self._matches.items() if dropped <= number < dropped + index
        }
        self._matches = kept if self._pattern is not None else {}
        self._strips.clear()
        if self._pattern is None:
            return
        while index < len(lines):
            first, last = self._wrapped.paragraph(index)
            joined = "".join(line.text for line in lines[first:last])
            for match in self._pattern.finditer(joined):
                offset = 0
                for number in range(first, last):
                    length = len(lines[number].text)
                    start, end = max(match.start() - offset, 0), min(match.end() - offset, length)
                    if start < end:
                        self._matches.setdefault(dropped + number, []).append(
                            (start, end, match.start() >= offset)
                        )
                    offset += length
            index = last

    # --- drawing ---

    def on_resize(self) -> None:
        if self.size.width - 3 != self._wrapped.width:
            self._rewrap()
        elif self._following:
            self._to_end()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._base = None
        self._strips.clear()

    def watch_live(self) -> None:
        last = len(self._wrapped.lines) - 1
        if last >= 0:
            self._strips.discard(self._wrapped.dropped + last)
            self.refresh_lines(last)

    def render_line(self, y: int) -> Strip:
        if self._base is None:
            self._base = self.rich_style
        base, top, height = self._base, round(self.scroll_y), self.size.height
        rows = thumb(height, len(self._wrapped.lines), top)
        # Lines have the same width with and without a bar.
        line = self._line(y, top + y, self.size.width - 1, base)
        return Strip([*line, *segments(self.app, [bar_cell(y, rows)], base)], self.size.width)

    def _line(self, y: int, index: int, width: int, base: Style) -> Strip:
        """Return what stands left of the bar."""
        if y == self.size.height - 1 and (new := self.new_below):
            words = f" {plural(new, 'new line')} below · end to follow "
            left = max(0, width - len(words) - 2)
            return strip(
                self.app,
                [Styled("─" * left, "hairline"), Styled(words, "focus"), Styled("──", "hairline")],
                width,
                base,
            )
        if index >= len(self._wrapped.lines):
            return Strip.blank(width, base)
        if index == 0 and (self._forgot or self._wrapped.dropped):
            return strip(
                self.app, [_NO_GUTTER, Styled("… what came before is not kept", "dim", "italic")], width, base
            )
        number = self._wrapped.dropped + index
        is_last = index == len(self._wrapped.lines) - 1
        drawn = None if is_last else self._strips.get(number)
        if drawn is None:
            drawn = strip(self.app, self._parts(index, number, is_last=is_last), width, base)
            if not is_last:
                self._strips[number] = drawn
        return drawn

    def _parts(self, index: int, number: int, *, is_last: bool) -> Parts:
        line = self._wrapped.lines[index]
        style, attributes = _LOOKS[line.kind]
        gutter = _GUTTERS.get(line.kind, _NO_GUTTER)
        parts = [_NO_GUTTER if line.soft and line.kind != "reasoning" else gutter]
        position = 0
        for start, end, _ in self._matches.get(number, ()):
            parts.append(Styled(line.text[position:start], style, attributes))
            here = "bold underline" if number == self._match else ""
            parts.append(Styled(line.text[start:end], "match-foreground", here, "match-background"))
            position = end
        parts.append(Styled(line.text[position:], style, attributes))
        if is_last and self.live:
            parts.append(Styled("▌", "focus"))
        return parts
