"""Lines that were typed at the bottom of the console, to find them again."""

from __future__ import annotations

from collections.abc import Sequence

#: Lines that are kept of each kind.
MOST = 200


class TypedLines:
    """What was typed before, by the mark it was typed after."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self._mark = ":"
        #: The line that is shown of them, counted from the latest; None for what is being typed.
        self._at: int | None = None
        self._shown: str | None = None
        self._draft = ""

    def begin(self, mark: str) -> None:
        """Begin to type after a mark."""
        self._mark, self._at, self._shown, self._draft = mark, None, None, ""

    @property
    def is_recalled(self) -> bool:
        """Whether the line shows what was typed before."""
        return self._at is not None

    def typed(self, text: str) -> None:
        """Take note of what the line reads now: changed by hand, it is no line of before any more."""
        if text != self._shown:
            self._at = self._shown = None

    def recall(self, step: int, text: str) -> str | None:
        """Return the line before (-1) or after (1) the one that is shown; None when there is no other."""
        lines = self._lines.get(self._mark, [])
        if self._at is None:
            if step > 0 or not lines:
                return None
            self._draft, self._at = text, 0
        else:
            at = self._at - step
            if at >= len(lines):
                return None
            self._at = at if at >= 0 else None
        self._shown = self._draft if self._at is None else lines[-1 - self._at]
        return self._shown

    def restore(self, mark: str, lines: Sequence[str]) -> None:
        """Take what was typed in another session, the latest last."""
        self._lines[mark] = list(lines)[-MOST:]

    def entered(self, mark: str) -> Sequence[str]:
        """Return what was typed after a mark, the latest last."""
        return self._lines.get(mark, ())

    def keep(self, text: str) -> None:
        """Remember a line that was entered, once."""
        if text:
            lines = [line for line in self._lines.get(self._mark, []) if line != text]
            self._lines[self._mark] = [*lines, text][-MOST:]
