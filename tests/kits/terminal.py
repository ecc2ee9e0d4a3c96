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
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conftest import eventually

from kits.emulator import Emulator

#: Sequences that the console itself needs: styles, cursor, pointer, modes, and what asks for those; at the end of a
#: frame, the query whether the terminal has come so far.
_OURS = re.compile(
    r"\x1b\[[0-9;]*H(?:\x1b\[\?2026l)?\x1b\[6n"
    r"|\x1b\[(?:[0-9;]*[mH]|\?[0-9;]+(?:[hl]|\$p)|[<>=][0-9;]*u|\?u|>4;[0-9]m)|\x1b\]22;[a-z-]+\x07"
)
#: What a terminal answers: where its cursor is, and that it can hold back what it shows.
_ANSWERS = {"6n": "\x1b[1;1R", "[?2026$p": "\x1b[?2026;2$y"}


class Terminal:
    """A console on a pseudo-terminal, everything that terminal got, and what it shows.

    It answers no query, unless told to; a link to it may carry so many bytes a second.
    """

    def __init__(
        self,
        *words: str,
        size: tuple[int, int],
        answers: bool = False,
        answers_after_s: float = 0,
        bytes_per_s: int | None = None,
        **environ: str,
    ) -> None:
        self.master, slave = pty.openpty()
        self._answers, self._answers_after_s, self._bytes_per_s = answers, answers_after_s, bytes_per_s
        #: How many queries were answered.
        self.answered = 0
        self.screen = Emulator(*size)
        self._decoder = getincrementaldecoder("utf-8")("replace")
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
                piece = os.read(self.master, self._bytes_per_s // 50 if self._bytes_per_s else 65_536)
            except OSError:
                return
            if not piece:
                return
            if self._bytes_per_s:
                time.sleep(len(piece) / self._bytes_per_s)
            self._show(self._decoder.decode(piece))
            self.got += piece

    def _show(self, text: str) -> None:
        here = len(self.screen.log)
        self.screen.feed(text)
        for asked in self.screen.log[here:] if self._answers else ():
            if answer := _ANSWERS.get(asked):
                self.answered += asked == "6n"
                time.sleep(self._answers_after_s)
                os.write(self.master, answer.encode())

    def stop_answering(self) -> None:
        """Answer nothing any more."""
        self._answers = False

    def resize(self, columns: int, rows: int) -> None:
        if (columns, rows) != (self.screen.width, self.screen.height):
            self.screen = Emulator(columns, rows)
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
        """Wait until words stand in a line of the terminal, after something was written since a place."""

        def is_there() -> bool:
            return len(self.got) > since and any(words in line for line in self.screen.lines)

        try:
            await eventually(is_there, timeout=timeout, interval=0.02)
        except AssertionError:
            shown = "\n".join(self.screen.lines)
            raise AssertionError(f"{words!r} never came; the terminal shows:\n{shown}") from None

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
def console(url: str, *words: str, size: tuple[int, int] = (100, 30), **options: Any) -> Iterator[Terminal]:
    terminal = Terminal("console", "--url", url, *words, size=size, **options)
    try:
        yield terminal
    finally:
        terminal.close()
