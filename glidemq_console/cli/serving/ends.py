"""Commands that go on until they are told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def until_terminated(work: Coroutine[Any, Any, None]) -> None:
    """Do something until it ends or SIGTERM comes; Ctrl-C ends a command as it ends any other."""
    task = asyncio.ensure_future(work)
    terminated = False

    def end() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        await task
    except asyncio.CancelledError:
        if not terminated:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        task.cancel()
