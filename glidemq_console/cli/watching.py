"""`--watch`: doing the same again and again, quietly ending when the reader goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .session import Session


async def repeat(session: Session, interval_ms: int | None, once: Callable[[], Awaitable[None]]) -> int:
    """Run `once`, and with an interval run it for ever; on a terminal each round replaces the one before."""
    if interval_ms is None:
        await once()
        return 0
    while True:
        if session.out.stdout_is_tty and not session.json:
            session.out.write(b"\x1b[H\x1b[2J")
        await once()
        await asyncio.sleep(interval_ms / 1_000)
