"""The one boundary where foreign text becomes something to draw.

Names, payloads, tokens and errors come from strangers. `clean` and `SafeStream` turn them into plain text in
which every code point that could steer a terminal, hide or reorder text is a visible one-cell stand-in;
`stand_in_spans` says which to draw dim. Markup in them means nothing as long as they reach Rich as segments and
widgets with `markup=False`. `json_line` writes JSON that is inert on a terminal.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import unicodedata
from functools import cache
from typing import Any, Final

from rich.cells import cell_len, get_character_cell_size

from .format import byte_size, plural
from .secrets import MASK as MASK
from .secrets import mask as mask
from .secrets import mask_arguments as mask_arguments
from .secrets import mask_review as mask_review
from .secrets import masked_text as masked_text

#: Characters of one text that are shown unless the caller allows more.
DEFAULT_LIMIT: Final = 64 * 1024
#: Characters of one line that are shown.
DEFAULT_LINE_LIMIT: Final = 8 * 1024
#: Lines of one text that are shown.
DEFAULT_MAX_LINES: Final = 2_000
#: Marks that may sit on one base character; natural scripts need at most four.
MAX_MARKS: Final = 4

_INVISIBLE: Final = "¤"
_REORDERING: Final = "⇄"
_SEPARATOR: Final = "¶"
_BROKEN: Final = "\ufffd"
_NEWLINE: Final = "↵"
_TAB: Final = "⇥"
_NO_BASE: Final = "◌"

_BIDI_RANGES: Final = ((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x206F))
_SEPARATOR_RANGES: Final = ((0x2028, 0x2029),)
#: Zero-width, filler, selector, annotation and tag characters, and what Unicode reserves for more of them.
_INVISIBLE_RANGES: Final = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x0600, 0x0605), (0x06DD, 0x06DD), (0x070F, 0x070F)),
    *((0x0890, 0x0891), (0x08E2, 0x08E2), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200D), (0x2060, 0x2065), (0x3164, 0x3164), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
_BROKEN_RANGES: Final = (
    (0xD800, 0xDFFF),
    (0xFDD0, 0xFDEF),
    *((plane << 16 | 0xFFFE, plane << 16 | 0xFFFF) for plane in range(17)),
)
_EMOJI_SELECTORS: Final = "\ufe0e\ufe0f"

_BREAKS: Final = str.maketrans({"\n": _NEWLINE, "\t": _TAB})
_STAND_INS: Final = re.compile(
    f"[\u2400-\u2421{_INVISIBLE}{_REORDERING}{_SEPARATOR}{_BROKEN}{_NEWLINE}{_TAB}{_NO_BASE}]+"
    r"|… [\d.]+ (?:[kMG]?B|lines?) more(?=\n|$)"
)
_SURROGATE_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")

#: Characters met so far, by kind: texts repeat theirs, so each is looked up in the Unicode tables once.
_harmless: set[str] = set("\n\t")
_marks: set[str] = set()


@cache
def _stand_ins() -> dict[str, str]:
    """Return every unsafe character with its one-cell stand-in."""
    table = {chr(point): chr(0x2400 + point) for point in range(0x20) if chr(point) not in "\n\t"}
    table["\x7f"] = "\u2421"
    for ranges, stand_in in (
        (((0x80, 0x9F),), _BROKEN),
        (_BIDI_RANGES, _REORDERING),
        (_SEPARATOR_RANGES, _SEPARATOR),
        (_INVISIBLE_RANGES, _INVISIBLE),
        (_BROKEN_RANGES, _BROKEN),
    ):
        for first, last in ranges:
            table.update(dict.fromkeys(map(chr, range(first, last + 1)), stand_in))
    return table


def _sort(characters: set[str]) -> tuple[bool, bool]:
    """Return whether any is unsafe and whether any is a mark; remember the others as harmless."""
    unsafe = marks = False
    for character in characters:
        if character in _marks:
            marks = True
        elif character in _stand_ins():
            unsafe = True
        elif unicodedata.category(character)[0] == "M" or get_character_cell_size(character) == 0:
            # What takes no cell of its own piles up on the character before it.
            _marks.add(character)
            marks = True
        else:
            _harmless.add(character)
    return unsafe, marks


class _Inert:
    """Replace unsafe characters in text that arrives in pieces, cut anywhere between two characters.

    `base` is the last character that takes a cell, `height` how many marks sit on it.
    """

    __slots__ = ("base", "height")

    def __init__(self) -> None:
        self.base = "\n"
        self.height = 0

    def __call__(self, text: str) -> str:
        if not text:
            return text
        if not (text.isascii() and text.isprintable()) and (unknown := set(text).difference(_harmless)):
            unsafe, marks = _sort(unknown)
            if unsafe:
                stand_ins = _stand_ins()
                # Every character of the text is in the table: a miss would cost far more than a hit.
                text = text.translate({ord(known): stand_ins.get(known, known) for known in set(text)})
            if marks:
                return "".join([self._mark(c) if c in _marks else self._plain(c) for c in text])
        self.base, self.height = text[-1], 0
        return text

    def _plain(self, character: str) -> str:
        self.base, self.height = character, 0
        return character

    def _mark(self, mark: str) -> str:
        symbol = self.base > "\xa0" or self.base in "#*0123456789"
        if mark in _EMOJI_SELECTORS:
            if self.height == 0 and symbol:
                # Terminals disagree on the width of both together; a bare symbol has one width.
                self.height = 1
                return ""
            return self._plain(_INVISIBLE)
        if "\U0001f3fb" <= mark <= "\U0001f3ff" and self.base < "\u2600":
            return self._plain(_INVISIBLE)
        self.height += 1
        if self.height > MAX_MARKS:
            return _INVISIBLE if self.height == MAX_MARKS + 1 else ""
        if self.base in "\n\t":
            self.base = _NO_BASE
            return _NO_BASE + mark
        return mark


class SafeStream:
    """Clean text that arrives in chunks cut anywhere, be it inside a UTF-8 sequence or a CR LF.

    Chunks joined give the same as one piece: newlines and tabs stay, CR LF becomes a newline, the rest is as
    `clean` does it. Lengths are not capped here; the owner bounds what it keeps.
    """

    def __init__(self) -> None:
        self._inert = _Inert()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: str | bytes) -> str:
        """Return the next piece of safe text; what may be incomplete is held for the next call."""
        if isinstance(chunk, bytes):
            chunk = self._decoder.decode(chunk)
        if self._held:
            chunk, self._held = self._held + chunk, ""
        if not chunk:
            return ""
        if (last := chunk[-1]) == "\r" or "\ud800" <= last <= "\udbff":
            chunk, self._held = chunk[:-1], last
        return self._inert(_normalise(chunk))

    def finish(self) -> str:
        """Return what was held back; the stream may be fed again afterwards."""
        rest, self._held = self._held + self._decoder.decode(b"", final=True), ""
        return self._inert(_normalise(rest))


def _joined(pair: re.Match[str]) -> str:
    return pair.group().encode("utf-16", "surrogatepass").decode("utf-16")


def _normalise(text: str) -> str:
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    if not text.isascii() and _SURROGATE_PAIR.search(text) is not None:
        # Halves of one character that arrived as two JSON escapes.
        text = _SURROGATE_PAIR.sub(_joined, text)
    return text


def clean(
    text: str | bytes,
    *,
    limit: int = DEFAULT_LIMIT,
    single_line: bool = False,
    line_limit: int = DEFAULT_LINE_LIMIT,
    max_lines: int = DEFAULT_MAX_LINES,
) -> str:
    """Return `text` as inert plain text, with a marker (`… 1.2 MB more`) where something was left out.

    Args:
        text: Foreign text; bytes are read as UTF-8, broken sequences become U+FFFD.
        limit: Characters kept of the whole.
        single_line: Show newlines and tabs as stand-ins too.
        line_limit: Characters kept of each line.
        max_lines: Lines kept.
    """
    if isinstance(text, bytes):
        # No character is longer than four bytes, so the tail beyond is only ever counted.
        dropped = max(0, len(text) - 4 * limit)
        text = text[: 4 * limit].decode("utf-8", "replace")
    else:
        dropped = 0
    if len(text) > limit:
        dropped += _utf8_size(text[limit:])
        text = text[:limit]
    text = _Inert()(_normalise(text))
    marker = f"… {byte_size(dropped)} more" if dropped else ""
    if single_line:
        text = text.translate(_BREAKS) if "\n" in text or "\t" in text else text
        return text + marker
    if len(text) <= line_limit and text.count("\n") < max_lines:
        return text + marker
    lines = text.split("\n")
    surplus = len(lines) - max_lines
    if surplus > 0:
        rest = f"… {plural(surplus, 'line')} more" + (f"\n{marker}" if marker else "")
        return "\n".join([*(_cap_line(line, line_limit) for line in lines[:max_lines]), rest])
    return "\n".join(
        [*(_cap_line(line, line_limit) for line in lines[:-1]), _cap_line(lines[-1], line_limit, dropped)]
    )


def short(text: str | None, limit: int = 120) -> str:
    """Return foreign text as one inert line; an empty one for None."""
    return clean(text or "", single_line=True, limit=limit)


def _cap_line(line: str, limit: int, dropped: int = 0) -> str:
    """Return the first `limit` characters and a marker for the rest and the `dropped` bytes behind it."""
    dropped += _utf8_size(line[limit:])
    return f"{line[:limit]}… {byte_size(dropped)} more" if dropped else line


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def stand_in_spans(cleaned: str) -> list[tuple[int, int]]:
    """Return the (start, end) ranges of stand-ins in cleaned text, to be drawn dim."""
    if cleaned.isascii():
        return []
    return [match.span() for match in _STAND_INS.finditer(cleaned)]


def cell_fit(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Return cleaned `text` cut to at most `width` cells, ending in `ellipsis` when something was cut."""
    if width <= 0:
        return ""
    if text.isascii() and len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room < 0:
        return cell_fit(text, width, ellipsis="")
    used = cut = 0
    for index, character in enumerate(text, 1):
        used += get_character_cell_size(character)
        if used > width:
            return text[:cut] + ellipsis
        if used <= room:
            cut = index
    return text


def cell_pad(text: str, width: int, *, right: bool = False) -> str:
    """Return cleaned `text` cut or padded with spaces to exactly `width` cells, aligned left or `right`."""
    fitted = cell_fit(text, width)
    padding = " " * (width - cell_len(fitted))
    return padding + fitted if right else fitted + padding


def json_line(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as one line of compact JSON (or lines, with an indent) that is inert on a terminal.

    C0, DEL, C1, bidi, zero-width and tag characters and lone surrogates are `\\u` escapes; numbers that JSON
    does not know (NaN, infinities) become null.

    Raises:
        TypeError: The value holds something that JSON cannot carry.
    """
    try:
        line = _json(value, indent)
    except ValueError:
        line = _json(_finite(value), indent)
    if line.isascii() and "\x7f" not in line:
        return line
    line = _SURROGATE_PAIR.sub(_joined, line)
    return line.translate(
        {ord(c): _json_escape(c) if c in _stand_ins() or c in _EMOJI_SELECTORS else c for c in set(line)}
    )


def _json(value: Any, indent: int | None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _json_escape(character: str) -> str:
    point = ord(character)
    if point < 0x10000:
        return f"\\u{point:04x}"
    point -= 0x10000
    return f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}"
