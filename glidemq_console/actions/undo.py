"""What was done last and can be taken back, as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

#: How long an act can be taken back, ms.
UNDO_MS = 60_000
#: Acts that are remembered.
REMEMBERED = 50

#: Takes an act back; returns what to show.
TakeBack = Callable[[], "Awaitable[str | None] | str | None"]


@dataclass(frozen=True, slots=True)
class Done:
    """An act that can be taken back."""

    #: What it was, as in "undo pause of inference".
    words: str
    at_ms: int
    take_back: TakeBack


class UndoLog:
    """Acts that can be taken back, for a minute each, the latest first."""

    def __init__(self) -> None:
        self._done: list[Done] = []
        self._barred = ""
        #: Acts noted so far.
        self.count = 0

    def note(self, words: str, at_ms: int, take_back: TakeBack) -> None:
        """Take note of an act, and of its exact inverse."""
        self._barred = ""
        self.count += 1
        self._done.append(Done(words, at_ms, take_back))
        del self._done[:-REMEMBERED]

    def bar(self, words: str) -> None:
        """Take note of an act that cannot be undone; what came before it is not taken back past it."""
        self._barred = words
        self._done.clear()

    def latest(self, now_ms: int) -> Done | None:
        """Return what is taken back next; None when there is nothing, or it is too long ago."""
        if self._done and now_ms - self._done[-1].at_ms < UNDO_MS:
            return self._done[-1]
        return None

    def why_not(self, now_ms: int) -> str | None:
        """Say why nothing can be taken back."""
        if self.latest(now_ms) is not None:
            return None
        if self._barred:
            return f"{self._barred} cannot be undone"
        return "the last act is over a minute old" if self._done else "nothing was done that can be undone"

    def take(self, now_ms: int) -> Done | None:
        """Return what is taken back next and forget it."""
        done = self.latest(now_ms)
        if done is not None:
            self._done.pop()
        return done
