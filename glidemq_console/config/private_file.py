"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path


def replace_private(path: Path, text: str) -> None:
    """Replace a file in one step, where a link points to too.

    Raises:
        OSError: It cannot be written; what was there stays.
        UnicodeEncodeError: The text cannot be written as UTF-8.
    """
    path = path.resolve()
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(new, "w", encoding="utf-8", newline="", opener=_private) as file:
            file.write(text)
        os.replace(new, path)
    except UnicodeEncodeError:
        new.unlink(missing_ok=True)
        raise
    except OSError as error:
        new.unlink(missing_ok=True)
        if error.filename is None:
            # A full disk does not say whose it is.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
