"""What the status line said in this session: the latest messages, repeats folded, gone at the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

#: Messages that are kept, and characters of each.
MOST, LONGEST = 500, 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One message, safe text; said `times` times in a row, the last time at `at_ms`."""

    text: str
    token: str
    at_ms: int
    times: int = 1


class MessageLog:
    """The messages of one console."""

    def __init__(self) -> None:
        self._said: deque[Said] = deque(maxlen=MOST)

    def note(self, text: str, token: str, at_ms: int) -> None:
        """Remember a message of safe text; the same one again is counted."""
        text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        last = self._said[-1] if self._said else None
        if last is not None and (last.text, last.token) == (text, token):
            self._said[-1] = replace(last, at_ms=at_ms, times=last.times + 1)
        else:
            self._said.append(Said(text=text, token=token, at_ms=at_ms))

    def newest_first(self) -> list[Said]:
        """Return what was said, the latest first."""
        return list(reversed(self._said))
