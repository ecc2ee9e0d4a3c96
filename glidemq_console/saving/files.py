"""A new file that a person names: for its owner alone, and never written over another one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO

from ..text.safe import short


def suggested(name: str, ending: str = ".txt") -> str:
    """Return a path in the current folder for something of this (foreign) name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "stream"
    return str(Path.cwd() / f"{stem}{ending}")


def why_not_save(where: str) -> str | None:
    """Say why a file cannot be made there; nothing is ever written over."""
    try:
        path = Path(where).expanduser()
        if not where.strip() or path.is_dir():
            return "name a file"
        if path.exists() or path.is_symlink():
            return "that file exists; name another one"
        return None if path.parent.is_dir() else "there is no such folder"
    except (OSError, RuntimeError, ValueError) as error:
        return reason(error)


def new_file(where: str) -> tuple[Path, IO[bytes]]:
    """Make a new file that its owner alone may read.

    Raises:
        OSError, RuntimeError, ValueError: It cannot be made there, or there is one; `reason` words it.
    """
    path = Path(where).expanduser()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return path, os.fdopen(handle, "wb")


def save(where: str, text: str) -> str:
    """Write a new file; returns the message."""
    if why := why_not_save(where):
        return f"not saved: {why}"
    try:
        path, file = new_file(where)
        with file:
            file.write(f"{text}\n".encode("utf-8", "replace"))
    except (OSError, RuntimeError, ValueError) as error:
        return f"not saved: {reason(error)}"
    return f"saved to {short(str(path), 400)}"


def reason(error: Exception) -> str:
    """Word why a file could not be made or written."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return short(words.rstrip("."), 200).lower()
