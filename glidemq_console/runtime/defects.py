"""Write unexpected exceptions to a log file and describe them in one line, without local variables."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ..text.safe import clean, masked_text, short

#: Bytes from which on the log begins anew; the one before is kept beside it.
LOG_LIMIT: Final = 1_048_576
#: Characters of an exception's own words: they may quote a payload.
_WORDS: Final = 200
#: Frames of a traceback that are written, the innermost ones.
_FRAMES: Final = 40


def log_path() -> Path:
    """Return where the console's log belongs on this platform."""
    import platformdirs

    return Path(platformdirs.user_log_dir("glidemq", appauthor=False)) / "console.log"


def describe(error: BaseException) -> str:
    """Return the class and the words of an exception as one safe line, secrets masked."""
    words = short(masked_text(str(error)[: 10 * _WORDS]), _WORDS)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class DefectLog:
    """Write defects to a file that only its owner reads; each place in the code once."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._written: set[tuple[str, ...]] = set()

    def record(self, error: BaseException, doing: str) -> str:
        """Write a defect to the log; returns the message to show.

        Args:
            doing: What was being done, as "drawing queues".
        """
        path = self._path or log_path()
        message = f"{describe(error)}, a defect while {doing}"
        place = (doing, type(error).__name__, *_places(error)[-1:])
        if place not in self._written:
            try:
                _append(path, _entry(error, doing))
            except OSError as problem:
                return f"{message}; not logged: {problem.strerror or problem}"
            self._written.add(place)
        return f"{message}; written to {clean(str(path), single_line=True)}"


def _entry(error: BaseException, doing: str) -> str:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    # Places in the code only: local variables hold payloads.
    return "\n".join([f"{at} while {doing}: {describe(error)}", *_places(error), ""])


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    lines = [f"  {frame.filename}:{frame.lineno} {frame.name}: {frame.line or ''}" for frame in frames]
    cause = error.__cause__ or error.__context__
    if cause is not None:
        lines = [f"  after {describe(cause)}", *lines]
    return lines


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="replace") as file:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)
        file.write(text)
