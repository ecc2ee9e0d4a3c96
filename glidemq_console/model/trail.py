"""Where one came from: the way back through tabs and pages, for `esc`."""

from __future__ import annotations

from dataclasses import dataclass

#: Steps remembered; the oldest are forgotten first.
MOST = 30


@dataclass(frozen=True, slots=True)
class Step:
    """A move from one tab to another. `depth` is how many screens the tab held on arrival."""

    origin: str
    target: str
    depth: int


class Trail:
    """The moves between tabs that `esc` takes back, the newest last."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def note(self, origin: str, target: str, depth: int) -> None:
        self._steps = [*self._steps, Step(origin, target, depth)][-MOST:]

    def back_from(self, mode: str, depth: int) -> str | None:
        """Take back the move that led here, if the screen on top is the one that it opened.

        Returns:
            The tab it came from; None when a page was opened since, or nothing is remembered.
        """
        if not self._steps or self._steps[-1].target != mode or depth > self._steps[-1].depth:
            return None
        return self._steps.pop().origin
