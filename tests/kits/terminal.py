"""A console on a pseudo-terminal: what reaches it, keys, sizes and its end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import eventually

#: Sequences that the console itself needs: styles, cursor, pointer, modes, and what asks for those.
_OURS = re.compile(
    r"\x1b\[(?:[0-9;]*[mH]|\?[0-9;]+(?:[hl]|\$p)|[<>=][0-9;]*u|\?u|>4;[0-9]m)|\x1b\]22;[a-z-]+\x07"
)


class Terminal:
    """A console on a pseudo-terminal, and everything that terminal got."""

    def __init__(self, *words: str, size: tuple[int, int], **environ: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.modes = termios.tcgetattr(slave)
        # A run of tests that ignores a signal, as one started by nohup does, would hand that on.
        heard = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TEXTUAL")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "glidemq_console", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**clean, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environ},
        )
        signal.signal(signal.SIGHUP, heard)
        self.slave = slave
        self.got = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self.master, 65_536)
            except OSError:
                return
            if not piece:
                return
            self.got += piece

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> int:
        """Type, and return the place from which on the answer is read."""
        here = len(self.got)
        os.write(self.master, keys.encode())
        return here

    def text(self, since: int = 0) -> str:
        """What was written since a place, without the sequences of the console."""
        return _OURS.sub("", bytes(self.got[since:]).decode("utf-8", "replace"))

    async def shows(self, words: str, since: int = 0, timeout: float = 30) -> None:
        try:
            await eventually(lambda: words in self.text(since), timeout=timeout, interval=0.02)
        except AssertionError:
            raise AssertionError(f"{words!r} never came; the last was {self.text()[-6000:]!r}") from None

    async def ends(self) -> int:
        await eventually(lambda: self.process.poll() is not None, timeout=20)
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.slave)
        os.close(self.master)
        self._reader.join(5)


@contextmanager
def console(url: str, *words: str, size: tuple[int, int] = (100, 30), **environ: str) -> Iterator[Terminal]:
    terminal = Terminal("console", "--url", url, *words, size=size, **environ)
    try:
        yield terminal
    finally:
        terminal.close()
