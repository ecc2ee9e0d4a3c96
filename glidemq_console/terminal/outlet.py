"""What is written goes to the terminal as long as there is one."""

from __future__ import annotations

import os
import signal
from typing import IO, Any


class Outlet:
    """A terminal's file whose writes never fail: where the terminal is gone, the process is told to end.

    Not every terminal that goes away sends SIGHUP: a process that has another controlling terminal, or none, gets none.
    A thread that writes would end with the first error, and who hands it more would wait for it for ever.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write to the terminal, or nowhere."""
        if not self._is_lost:
            try:
                return self._file.write(text)
            except (OSError, ValueError):
                self._end()
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if not self._is_lost:
            try:
                self._file.flush()
            except (OSError, ValueError):
                self._end()

    def _end(self) -> None:
        self._is_lost = True
        # A console that was told to outlive its terminal has nothing to show all the same.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM if ignored else signal.SIGHUP)
