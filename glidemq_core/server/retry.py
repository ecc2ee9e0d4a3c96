"""Repeat calls to the server through an outage: the one place that knows which errors pass and how long to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import CallTimeoutError, GlideMQError, PermissionDeniedError, ServerUnavailableError

T = TypeVar("T")

#: Errors after which nobody knows whether the call was carried out.
LOST_REPLY = (ServerUnavailableError, CallTimeoutError)
#: Waits before the repeats, s; the last one repeats for ever.
RETRY_WAITS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
#: Error codes that speak of the server's condition, not of our call: it was not carried out.
SERVER_TROUBLE = frozenset(
    {"OOM", "READONLY", "BUSY", "LOADING", "MISCONF", "CLUSTERDOWN", "NOREPLICAS", "MASTERDOWN", "TRYAGAIN"}
)


def is_server_trouble(error: BaseException) -> bool:
    """Whether the server refused the call for a reason of its own, which passes."""
    return isinstance(error, PermissionDeniedError) or getattr(error, "code", "") in SERVER_TROUBLE


def is_outage(error: BaseException) -> bool:
    """Whether the server is away or not itself, so that the same call may work later."""
    return isinstance(error, LOST_REPLY) or getattr(error, "code", "") in SERVER_TROUBLE


class Backoff:
    """Waits before the repeats of a call: each longer than the one before, up to a limit."""

    def __init__(self) -> None:
        self._attempt = 0

    async def wait(self) -> None:
        """Wait before the next repeat."""
        seconds = RETRY_WAITS[min(self._attempt, len(RETRY_WAITS) - 1)]
        self._attempt += 1
        await asyncio.sleep(seconds)

    def reset(self) -> None:
        """Begin again with the shortest wait: the server has answered."""
        self._attempt = 0


async def retry_through_outage(
    call: Callable[[bool], Awaitable[T]],
    *,
    is_over: Callable[[], bool] | None = None,
    passes: Callable[[BaseException], bool] = is_outage,
) -> tuple[T, bool]:
    """Make a call until the server answers it.

    Args:
        call: makes the call; its argument tells whether an earlier try may have been carried out.
        is_over: asked before each repeat; True ends the repeating with the last error.
        passes: whether an error is one to try again after.

    Returns:
        The answer, and whether an earlier try may have been carried out.

    Raises:
        GlideMQError: what the call raises when the server is not to blame, or the last error when it is over.
    """
    backoff, repeated = Backoff(), False
    while True:
        try:
            return await call(repeated), repeated
        except GlideMQError as error:
            if not passes(error) or (is_over is not None and is_over()):
                raise
            repeated = repeated or isinstance(error, LOST_REPLY)
        await backoff.wait()


async def retry_lost_reply(call: Callable[[], Awaitable[T]], for_s: float) -> T:
    """Make a call that may be repeated until the server has answered it.

    Args:
        for_s: seconds after which the error of a lost reply is raised instead.
    """
    give_up_at = time.monotonic() + for_s
    answer, _ = await retry_through_outage(
        lambda _: call(),
        is_over=lambda: time.monotonic() >= give_up_at,
        passes=lambda error: isinstance(error, LOST_REPLY),
    )
    return answer
