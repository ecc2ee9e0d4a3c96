"""Remember how the console was looked at: read at its start, written every few seconds and at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..config.state import StateFile
from ..model.memory import Memory
from ..model.typed import TypedLines
from ..screens.registry import commands
from ..screens.table import SCREENS

if TYPE_CHECKING:
    from ..config.console import ConsoleConfig

#: Between two writes, s.
EVERY_S: Final = 5.0
_NAMES: Final = frozenset(spec.name for spec in SCREENS)


class Remembering:
    """What is remembered of the profile of one console; without a state file only until it ends."""

    def __init__(self, config: ConsoleConfig, typed_lines: TypedLines, screen: Callable[[], str]) -> None:
        """Read what is remembered.

        Args:
            typed_lines: gets the commands that were typed before.
            screen: returns the name of the screen that one is on.
        """
        self._typed_lines = typed_lines
        self._screen = screen
        self._file: StateFile | None = None
        self.memory = Memory()
        #: What is wrong with the state file, to be told once.
        self.told: str | None = None
        if config.state_path is not None:
            self._file = StateFile(config.state_path, config.label or config.shown_url)
            self.memory, self.told = self._file.read()
            typed_lines.restore(":", self.memory.lines)

    def first_visit(self, scope: str) -> bool:
        """Tell whether a screen is visited for the first time, and take note of it."""
        is_new = scope not in self.memory.seen
        self.memory.seen.add(scope)
        return is_new

    async def write(self) -> str | None:
        """Write what has changed, in a thread; return what to tell when that fails for the first time."""
        if self._file is None:
            return None
        told = await asyncio.to_thread(self._file.write, self._entry())
        if told is not None:
            self._file = None
        return told

    def finish(self) -> None:
        """Write what has changed, as the console ends."""
        if self._file is not None:
            self._file.write(self._entry())

    def _entry(self) -> dict[str, Any]:
        if (screen := self._screen()) in _NAMES:
            self.memory.screen = screen
        self.memory.lines = [line for line in self._typed_lines.entered(":") if not _acts_on_job(line)]
        return self.memory.to_json()


def _acts_on_job(line: str) -> bool:
    """Tell whether a command names a job."""
    name, _, rest = line.removeprefix(":").partition(" ")
    action = commands().get(name)
    return bool(rest.strip()) and (
        action is None or (action.takes is not None and action.takes.kind == "job")
    )
