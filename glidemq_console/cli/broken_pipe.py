"""Detect that the reader of standard output is gone, also while there is nothing to write."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .errors import ReaderGone


@asynccontextmanager
async def reader_gone() -> AsyncIterator[None]:
    """Raise `ReaderGone` in the body as soon as the pipe behind stdout has lost its reader."""
    descriptor = _pipe()
    if descriptor is None:
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    gone = False

    def noticed() -> None:
        nonlocal gone
        loop.remove_reader(descriptor)
        gone = True
        if task is not None:
            task.cancel()

    try:
        # A pipe's writing end becomes "readable" only when its reader has closed it.
        loop.add_reader(descriptor, noticed)
    except (OSError, ValueError, NotImplementedError):
        yield
        return
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        if task is not None:
            task.uncancel()
        raise ReaderGone from None
    finally:
        loop.remove_reader(descriptor)


def _pipe() -> int | None:
    try:
        descriptor = sys.stdout.fileno()
        return descriptor if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None
    except (OSError, ValueError, AttributeError):
        return None
