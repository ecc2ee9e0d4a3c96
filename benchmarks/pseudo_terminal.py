"""A console in a pseudo-terminal: what it writes, what it costs, and how soon a key is painted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

#: What a terminal is asked, and what it answers: where its cursor is, whether it can hold back a frame.
ANSWERS = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b[?2026$p": b"\x1b[?2026;2$y"}
_LONGEST = max(map(len, ANSWERS))
#: What is no text in what comes out.
_SEQUENCE = re.compile(r"\x1b\[[0-9;?<>=$]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\r\n\x07]")
#: A slow link carries at least so many bytes at a time.
_SIP = 256


class PseudoTerminal:
    """A console in a pseudo-terminal that answers queries; a link to it may carry so many bytes a second."""

    def __init__(
        self, url: str, *words: str, columns: int, lines: int, bytes_per_s: float | None = None
    ) -> None:
        self.started = time.monotonic()
        self.received = 0
        self._rate = bytes_per_s
        self._may_read, self._filled = 0.0, self.started
        self._tail = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # As where it is installed: no module is compiled at every start.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ |= {"GLIDEMQ_URL": url, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execv(sys.executable, [sys.executable, "-m", "glidemq_console", "console", *words])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def cpu_s(self) -> float:
        """Seconds of a core that the console has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def until(self, wanted: bytes, seconds: float) -> float | None:
        """Read until something comes out; return the moment, None if it does not in time."""
        seen, deadline = b"", time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            seen = seen[-len(wanted) :] + self._read(left)
            if wanted in seen:
                return time.monotonic()
        return None

    def redrawn(self, seconds: float) -> str:
        """Have the whole screen drawn again; return the text that comes out for a while."""
        self.press("\x0c")
        pieces, deadline = [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            pieces.append(self._read(left))
        return _SEQUENCE.sub("", b"".join(pieces).decode(errors="replace"))

    def drain(self, seconds: float) -> None:
        """Read and forget what comes out for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> bytes:
        size = 1 << 16
        if self._rate is not None:
            now = time.monotonic()
            self._may_read = min(4 * _SIP, self._may_read + (now - self._filled) * self._rate)
            self._filled = now
            if self._may_read < _SIP:
                time.sleep(min(seconds, (_SIP - self._may_read) / self._rate))
                return b""
            size = int(self._may_read)
        if not select.select([self.fd], [], [], seconds)[0]:
            return b""
        piece = os.read(self.fd, size)
        self.received += len(piece)
        self._may_read -= len(piece)
        self._answer(piece)
        return piece

    def _answer(self, piece: bytes) -> None:
        """Answer the queries that have come whole."""
        text = self._tail + piece
        for query, answer in ANSWERS.items():
            for _ in range(text.count(query)):
                os.write(self.fd, answer)
                text = text.replace(query, b"", 1)
        self._tail = text[1 - _LONGEST :]

    def press(self, text: str) -> float:
        """Press keys; return the moment."""
        os.write(self.fd, text.encode())
        return time.monotonic()

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
