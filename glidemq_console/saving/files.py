"""Saving a text to a new file that a person names."""

from __future__ import annotations

import re
from pathlib import Path

from ..text.safe import short


def suggested(name: str) -> str:
    """Return a path in the current folder for a text of this (foreign) name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "stream"
    return str(Path.cwd() / f"{stem}.txt")


def why_not_save(where: str) -> str | None:
    """Say why a file cannot be made there; nothing is ever written over."""
    try:
        path = Path(where).expanduser()
        if not where.strip() or path.is_dir():
            return "name a file"
        if path.exists():
            return "that file exists; name another one"
        return None if path.parent.is_dir() else "there is no such folder"
    except (OSError, RuntimeError, ValueError) as error:
        return _reason(error)


def save(where: str, text: str) -> str:
    """Write a new file; returns the message."""
    if reason := why_not_save(where):
        return f"not saved: {reason}"
    try:
        path = Path(where).expanduser()
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
    except (OSError, RuntimeError, ValueError) as error:
        return f"not saved: {_reason(error)}"
    return f"saved to {path}"


def _reason(error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return short(words.rstrip("."), 200).lower()
