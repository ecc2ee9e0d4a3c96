"""When a frame may be written: not before the terminal has shown the one before, and not oftener than asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: A frame waits this long at most for the answer of the terminal to the one before, s.
PATIENCE_S: Final = 2.0
#: A terminal that answers nothing for so long is not waited for any more, until it answers again, s.
SILENCE_S: Final = 6.0


@dataclass(kw_only=True)
class FrameGate:
    """Keeps one frame in flight: the terminal answers a query behind each frame when it has come to it.

    Times are monotonic seconds. A terminal that never answers is never waited for.
    """

    #: Between the beginnings of two frames at least, s.
    interval_s: float = 0.0
    _answers: bool = False
    _asked: bool = False
    _drawn_at: float | None = None
    #: Queries without an answer.
    _open: int = 0
    #: When the terminal answered last, or was asked first.
    _heard_at: float = 0.0

    def wait_s(self, now: float) -> float:
        """Return how long the next frame has to wait; 0 when it may be written."""
        if self._drawn_at is None:
            return 0.0
        wait = self._drawn_at + self.interval_s - now
        if self._answers and self._open:
            if now - self._heard_at >= SILENCE_S:
                self._answers = self._asked = False
                self._open = 0
            else:
                wait = max(wait, self._drawn_at + PATIENCE_S - now)
        return max(0.0, wait)

    def drawn(self, now: float) -> bool:
        """Take note of a frame; returns whether the terminal is to be asked behind it."""
        self._drawn_at = now
        asks = self._answers or not self._asked
        if asks:
            self._heard_at = self._heard_at if self._open else now
            self._open += 1
            self._asked = True
        return asks

    def answered(self, now: float) -> None:
        """Take note of an answer of the terminal."""
        self._answers = True
        self._open = max(0, self._open - 1)
        self._heard_at = now

    def begin_again(self) -> None:
        """Wait for no answer that was to come: another program has had the terminal, or none."""
        self._asked, self._open, self._drawn_at = False, 0, None
