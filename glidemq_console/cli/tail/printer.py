"""How chunks of a token stream are written: raw, made safe for a terminal, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..output import Output, to_bytes

if TYPE_CHECKING:
    from glidemq_core.records import StreamChunk

KINDS = ("content", "reasoning", "tool_call", "data")
_REASONING = "\x1b[2;3m"
_DIM = "\x1b[2m"
_PLAIN = "\x1b[0m"


def kind_of(chunk: StreamChunk) -> str:
    """Sort a chunk into one of `KINDS`, or `done`; a type of someone's own with text is data too."""
    kind = chunk.type
    return kind if kind in KINDS or kind == "done" else "data"


def tool_line(chunk: StreamChunk) -> str:
    """Write a tool call as `tool NAME ARGS`."""
    name, args = chunk.get("name", ""), chunk.get("args", "")
    if not name and not args:
        return f"tool {chunk.text or data_line(chunk)}"
    return f"tool {name} {args}".rstrip()


def data_line(chunk: StreamChunk) -> str:
    """Write any other chunk as compact JSON."""
    return json.dumps(dict(chunk), ensure_ascii=False, separators=(",", ":"))


class ChunkPrinter:
    """Writes chunks; several at once become one write."""

    def __init__(self, out: Output, kinds: Sequence[str] = KINDS) -> None:
        self.out = out
        self.kinds = frozenset(kinds)

    def write(self, chunks: Sequence[StreamChunk]) -> None:
        """Write what is to be shown of the chunks and flush it."""
        raise NotImplementedError

    def attempt_from(self, at_ms: int) -> None:
        """Begin a new line before the first chunk from this time on: it is another attempt's."""

    def interrupt(self) -> str:
        """Leave the line for a word on the same terminal; returns what is to stand before that word."""
        return ""

    def end(self) -> None:
        """Finish the last line, where there is one to finish."""


class JsonPrinter(ChunkPrinter):
    """Every chunk of every kind, one JSON object a line."""

    def write(self, chunks: Sequence[StreamChunk]) -> None:
        from glidemq_console.text.safe import json_line

        self.out.write(to_bytes("".join(json_line(chunk.to_json()) + "\n" for chunk in chunks)))


class _TextPrinter(ChunkPrinter):
    """Joins content without anything between; other kinds stand on lines of their own."""

    def __init__(self, out: Output, kinds: Sequence[str] = KINDS) -> None:
        super().__init__(out, kinds)
        self._at_line_start = True
        self._style = ""
        self._attempts: list[int] = []

    def write(self, chunks: Sequence[StreamChunk]) -> None:
        pieces: list[str] = []
        for chunk in chunks:
            self._chunk(chunk, pieces)
        if pieces:
            self.out.write(to_bytes("".join(pieces)))

    def _chunk(self, chunk: StreamChunk, pieces: list[str]) -> None:
        while self._attempts and int(chunk.id.partition("-")[0]) >= self._attempts[0]:
            self._attempts.pop(0)
            self._break(pieces)
        kind = kind_of(chunk)
        if kind == "done":
            kind = "content"  # a done marker may still carry text
        if kind not in self.kinds:
            return
        if kind in ("content", "reasoning"):
            if text := chunk.text:
                self._switch(_REASONING if kind == "reasoning" else "", pieces)
                self._put(self.part(text), pieces)
        else:
            self._break(pieces)
            line = tool_line(chunk) if kind == "tool_call" else data_line(chunk)
            dim = self.styled and kind == "data"
            pieces += [_DIM if dim else "", self.whole(line), _PLAIN if dim else "", "\n"]
            self._at_line_start = True

    def _switch(self, style: str, pieces: list[str]) -> None:
        if style == self._style:
            return
        self._break(pieces)
        self._style = style
        if style and self.styled:
            pieces.append(style)

    def _put(self, shown: str, pieces: list[str]) -> None:
        if shown:
            pieces.append(shown)
            self._at_line_start = shown.endswith("\n")

    def _break(self, pieces: list[str]) -> None:
        self._put(self.rest(), pieces)
        if self._style and self.styled:
            pieces.append(_PLAIN)
        self._style = ""
        if not self._at_line_start:
            pieces.append("\n")
            self._at_line_start = True

    def attempt_from(self, at_ms: int) -> None:
        if at_ms not in self._attempts:
            self._attempts = sorted([*self._attempts, at_ms])

    def break_line(self) -> None:
        """End the line, if one was begun."""
        pieces: list[str] = []
        self._break(pieces)
        if pieces:
            self.out.write(to_bytes("".join(pieces)))

    @property
    def styled(self) -> bool:
        """Whether kinds are told apart by style."""
        return False

    def part(self, text: str) -> str:
        """Turn a piece of running text into what is written."""
        return text

    def rest(self) -> str:
        """Return what of the running text was held back."""
        return ""

    def whole(self, line: str) -> str:
        """Turn one line into what is written."""
        return line


class RawPrinter(_TextPrinter):
    """Text as it came, for pipes."""

    def interrupt(self) -> str:
        begun, self._at_line_start = not self._at_line_start, True
        return "\n" if begun else ""

    def end(self) -> None:
        return


class SafePrinter(_TextPrinter):
    """Text that no terminal can be fooled by."""

    def __init__(self, out: Output, kinds: Sequence[str] = KINDS) -> None:
        from glidemq_console.text.safe import SafeStream

        super().__init__(out, kinds)
        self._stream: Any = SafeStream()

    @property
    def styled(self) -> bool:
        return self.out.color

    def part(self, text: str) -> str:
        return str(self._stream.feed(text))

    def rest(self) -> str:
        return str(self._stream.finish())

    def whole(self, line: str) -> str:
        from glidemq_console.text.safe import clean

        return clean(line, single_line=True)

    def interrupt(self) -> str:
        self.break_line()
        return ""

    def end(self) -> None:
        self.break_line()
