"""Repeating calls whose reply was lost, of server functions that may be repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import CallTimeoutError, ServerUnavailableError

T = TypeVar("T")

#: Errors after which nobody knows whether the call was carried out.
LOST_REPLY = (ServerUnavailableError, CallTimeoutError)
#: Waits before the repeats, s.
_WAITS = (0.1, 0.2, 0.4, 0.8)


async def insist(call: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
    """Make a call, some times if need be; its answer, and whether it had to be repeated.

    Raises: what the call raises; ServerUnavailableError, CallTimeoutError when the last repeat brought no reply either.
    """
    for wait in _WAITS:
        try:
            return await call(), wait != _WAITS[0]
        except LOST_REPLY:
            await asyncio.sleep(wait)
    return await call(), True
