"""The end that comes by itself: the deadline of a suspension, kept by workers and by whoever looks at such a job."""

from __future__ import annotations

import time
from typing import Final

from ..errors import PermissionDeniedError
from ..server.context import QueueContext
from ..wire.numbers import to_int

#: What tells whether a suspension is over.
DEADLINE_FIELDS: Final = ("state", "suspendedAt", "suspendTimeout")
#: How long who opened a queue leaves it to others to end suspensions, s.
_LOOKER_S: Final = 1.0
#: Suspended jobs that one call fails, and calls of one sweep.
_SUSPEND_PAGE: Final = 100
_MAX_PAGES: Final = 50


async def sweep_suspended(queue: QueueContext, rank: int = 0) -> tuple[int, int]:
    """Fail suspended jobs past their deadline; returns how many, and the `rank` to pass the next time.

    `rank` walks the set a few members a call, to drop those that describe no suspension any more.
    """
    failed = 0
    for _ in range(_MAX_PAGES):
        status, count, rank = await queue.call("suspend_sweep", queue.now_ms(), _SUSPEND_PAGE, rank)
        failed += count
        if status == b"ok":
            break
    return failed, rank


async def sweep_if_overdue(
    context: QueueContext, state: bytes | None, suspended_at: bytes | None, timeout: bytes | None
) -> bool:
    """Fail suspended jobs past their deadline if one that was just read looks like it; whether any was failed.

    Workers do it by themselves. Where none is left, whoever looks at the job does, as a peer's queue objects do, and
    like them not in their first second: who just came to look changes nothing, nor who may only read.
    """
    if state != b"suspended" or not to_int(timeout) or context.connection.read_only:
        return False
    due = to_int(suspended_at) + to_int(timeout)
    if due > context.now_ms() or time.monotonic() - context.opened_at < _LOOKER_S:
        return False
    try:
        failed, _ = await sweep_suspended(context)
    except PermissionDeniedError:
        return False
    return failed > 0
