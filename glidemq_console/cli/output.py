"""Where a command writes: data to stdout, narration to stderr, both safe for a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ReaderGone, Refusal, cannot_write

if TYPE_CHECKING:
    from glidemq_console.widgets.lists.columns import Column

T = TypeVar("T")


def to_bytes(text: str) -> bytes:
    """Encode text for a stream; bytes that were never text come out as they went in."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def legible(text: str, *, is_tty: bool) -> bytes:
    """Encode words of ours, with ASCII signs where the locale has no Unicode.

    Text of others then becomes question marks on a terminal, and stays as it is in files and pipes.
    """
    from glidemq_console.text.encoding import encoding_without_unicode, to_ascii

    encoding = None if text.isascii() else encoding_without_unicode()
    return to_bytes(text if encoding is None else to_ascii(text, encoding if is_tty else None))


def write_error(text: str) -> None:
    """Write one line to stderr, if anybody can still read it."""
    with suppress(OSError):
        sys.stderr.buffer.write(legible(text + "\n", is_tty=sys.stderr.isatty()))
        sys.stderr.buffer.flush()


class Output:
    """The two streams of a command and how it wants them written."""

    def __init__(self, *, reveal: bool = False, color: bool | None = None) -> None:
        self.reveal = reveal
        self.stdout_is_tty = sys.stdout.isatty()
        self.stderr_is_tty = sys.stderr.isatty()
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.color = self.stdout_is_tty and (wanted if color is None else color)

    def write(self, content: bytes) -> None:
        """Write bytes to stdout as they are and flush them."""
        try:
            stream = sys.stdout.buffer
            stream.write(content)
            stream.flush()
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise Refusal(cannot_write(error)) from None

    def record(self, value: Any) -> None:
        """Write one record, or a mapping made of records, as a JSON object; secrets masked unless revealed."""
        from glidemq_core.records import to_json

        self.object(self.masked(to_json(value)))

    def masked(self, value: Any) -> Any:
        """Hide secrets in a JSON value unless they were asked for."""
        from glidemq_console.text.safe import mask

        return mask(value, self.reveal)[0]

    def safe(self, text: object, limit: int = 80) -> str:
        """Turn foreign text into one safe line of at most `limit` cells, secrets masked."""
        from glidemq_console.text.safe import cell_fit, clean, masked_text

        words = masked_text(str(text), self.reveal)
        return cell_fit(clean(words, limit=max(4 * limit, 1_000), single_line=True), limit)

    def cell(self, column: Column[T], item: T, at: datetime, limit: int = 80) -> str:
        """Return what the console shows in a column, as one safe line with secrets masked."""
        from glidemq_console.widgets.styled import parts_of

        parts = parts_of(column.cell(item, round(at.timestamp() * 1_000)))
        return self.safe("".join(part.text for part in parts).strip(), limit)

    def pretty(self, value: Any, limit: int = 65_536) -> str:
        """Turn a user's JSON value into safe indented text, secrets masked."""
        from glidemq_console.text.safe import clean

        return clean(self._indented(value), limit=limit)

    def whole(self, value: Any) -> str:
        """Turn a user's JSON value into safe indented text without leaving anything out, secrets masked."""
        return _uncut(self._indented(value))

    def whole_text(self, text: str) -> str:
        """Turn foreign text into safe lines without leaving anything out, secrets masked."""
        from glidemq_console.text.safe import masked_text

        return _uncut(masked_text(text, self.reveal))

    def _indented(self, value: Any) -> str:
        import json

        return json.dumps(self.masked(value), ensure_ascii=False, indent=2, allow_nan=True, default=str)

    def money(self, amount: float | None, unit: str | None, *, per: str = "") -> str:
        """Format an amount in a foreign unit."""
        from glidemq_console.text.format import money

        return money(amount, unit and self.safe(unit, 8), per=per)

    def line(self, text: str = "") -> None:
        """Write one line of text that is known to be safe."""
        self.write(legible(text + "\n", is_tty=self.stdout_is_tty))

    def object(self, value: Any) -> None:
        """Write one JSON value on one line that is inert on a terminal."""
        from glidemq_console.text.safe import json_line

        self.write(to_bytes(json_line(value) + "\n"))

    def note(self, text: str) -> None:
        """Write one line to stderr; a closed stderr is no error."""
        write_error(text)

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.color else text

    def table(
        self, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()
    ) -> None:
        """Write an aligned table; cells must be safe already. `right` names the columns of numbers."""
        from rich.cells import cell_len

        body = [list(row) for row in rows]
        widths = [max(cell_len(row[i]) for row in [list(headers), *body]) for i in range(len(headers))]
        numbers = {headers.index(name) for name in right}
        for number, row in enumerate([list(headers), *body]):
            cells = []
            for i, cell in enumerate(row):
                space = " " * (widths[i] - cell_len(cell))
                cells.append(space + cell if i in numbers else cell + space)
            text = "  ".join(cells).rstrip()
            self.line(self.dim(text) if number == 0 else text)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write labelled lines; values must be safe already, further lines are indented below the first."""
        shown = list(pairs)
        width = max((len(label) for label, _ in shown), default=0)
        for label, value in shown:
            first, *rest = value.split("\n")
            self.line(f"{self.dim(label.ljust(width))}  {first}")
            for line in rest:
                self.line(f"{' ' * width}  {line}")


def _uncut(text: str) -> str:
    from glidemq_console.text.safe import clean

    size = len(text) + 1
    return clean(text, limit=size, line_limit=size, max_lines=size)
