"""Repeating calls that may be repeated, for a while, against an outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import CallTimeoutError, ServerUnavailableError

#: Pauses between two tries, the first and the longest, s.
_PAUSE_S = (0.05, 1.0)


async def insist(call: Callable[[], Awaitable[Any]], for_s: float) -> Any:
    """Make a call until the server has answered it; its error once `for_s` seconds have passed."""
    give_up_at, pause = time.monotonic() + for_s, _PAUSE_S[0]
    while True:
        try:
            return await call()
        except (CallTimeoutError, ServerUnavailableError):
            if time.monotonic() >= give_up_at:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _PAUSE_S[1])
