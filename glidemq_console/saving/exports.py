"""Write many rows into one new file, page by page in a thread, until there are no more or it is enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import IO, Any, Final

from ..text.format import byte_size
from ..text.safe import short
from .files import new_file
from .formats import About, Format, SavedRow

#: Rows and bytes of a file at most.
MOST_ROWS: Final = 100_000
MOST_BYTES: Final = 64 << 20
#: Items that one turn of the thread makes rows of.
TURN: Final = 500


@dataclass(frozen=True, kw_only=True)
class SavedList:
    """A list that can be written: what it is, and its items page by page."""

    about: About
    pages: Callable[[], AsyncIterator[Sequence[Any]]]
    #: Makes the row of an item; it is called in a thread.
    row_of: Callable[[Any], SavedRow]
    total: int | None = None
    #: Why the list itself does not hold everything.
    lacks: str | None = None


@dataclass(frozen=True, kw_only=True)
class SavedOne:
    """One thing that is written as one JSON value: what it is called, and what reads it."""

    name: str
    read: Callable[[], Awaitable[Any]]


class Export:
    """One file that is being written. `stop` ends it with the page at hand."""

    def __init__(self, where: str, form: Format, about: About, *, total: int | None = None) -> None:
        """Plan a file; nothing is made before `write`.

        Args:
            total: how many rows there will be, for the words of progress; None where that is not known.
        """
        self._where = where
        self._form = form
        self._about = about
        self._total = total
        self._file: IO[bytes] | None = None
        self._path = where
        self._bytes = 0
        #: Rows that are written.
        self.rows = 0
        #: Why the file does not hold everything.
        self.partial: str | None = None
        self._is_stopped = False
        #: The thread may still write when the console ends.
        self._lock = Lock()

    @property
    def progress(self) -> str:
        """How far it is."""
        of = f" of {self._total:,}" if self._total is not None and self._total > self.rows else ""
        return f"exporting: {self.rows:,}{of} rows, {byte_size(self._bytes)}"

    def stop(self) -> None:
        """End with what there is."""
        self._is_stopped = True

    async def write(self, source: SavedList) -> str:
        """Write all that comes; return what to show.

        A file is made with the first page, and complete in its form however this ends.

        Raises:
            OSError, RuntimeError, ValueError: The file cannot be made or written.
        """
        self.partial = "it ended early"
        try:
            why = await self._write_pages(source)
            self.partial = why or source.lacks
        finally:
            # Also when the console ends: what was written is a file that can be read.
            with self._lock:
                self._end()
        return self.result

    async def _write_pages(self, source: SavedList) -> str | None:
        """Write pages until there are no more, or return why not."""
        async for page in source.pages():
            for at in range(0, max(1, len(page)), TURN):
                if self._is_stopped:
                    return "stopped by hand"
                why = await asyncio.to_thread(self._write_some, page[at : at + TURN], source.row_of)
                if why is not None:
                    return why
        return None

    @property
    def result(self) -> str:
        """What became of it."""
        rows = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        where = short(str(self._path), 400)
        if self.partial is None:
            return f"{rows} in {where}"
        return f"partial: the first {rows} in {where}; {self.partial}" if self._file else "nothing was saved"

    def _write_some(self, items: Sequence[Any], row_of: Callable[[Any], SavedRow]) -> str | None:
        """Write some rows; return why there is no room for more."""
        rows = [row_of(item) for item in items]
        with self._lock:
            if self._file is None:
                path, self._file = new_file(self._where)
                self._path = str(path)
                self._put(self._form.begin(self._about, rows))
            for row in rows:
                if self.rows >= MOST_ROWS:
                    return f"a file holds {MOST_ROWS:,} rows at most"
                if not self._put(self._form.row(row)):
                    return f"a file holds {byte_size(MOST_BYTES)} at most"
                self.rows += 1
        return None

    def _put(self, text: str) -> bool:
        """Write a piece; False where there is no room for it."""
        assert self._file is not None
        piece = text.encode("utf-8", "replace")
        if self._bytes + len(piece) > MOST_BYTES:
            return False
        self._file.write(piece)
        self._bytes += len(piece)
        return True

    def _end(self) -> None:
        if self._file is not None and not self._file.closed:
            with self._file as file:
                file.write(self._form.end(self.partial).encode())
