"""Running workers until nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ..errors import WaitTimeoutError
from ..jobs.wait import is_empty
from ..options.fields import Duration, positive_ms
from ..worker.worker import Worker
from .workers import TestWorker

#: Time between two looks while there is something to do, s.
_LOOK_S = 0.02


async def run_until_idle(
    *workers: Worker[Any, Any] | TestWorker[Any, Any], timeout: Duration = 10_000
) -> None:
    """Start workers, wait until nothing waits, runs or is delayed in their queues, and close those started here.

    Suspended jobs are left alone: nothing but a signal makes them go on.

    Args:
        timeout: ms, timedelta or text.

    Raises:
        WaitTimeoutError: there is still something to do.
    """
    timeout_ms = positive_ms(timeout, "timeout")
    started = [worker for worker in workers if not worker.has_started]
    try:
        for worker in started:
            await worker.start()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await _until_idle([await _question(worker) for worker in workers])
        except TimeoutError:
            names = ", ".join(dict.fromkeys(worker.name for worker in workers))
            raise WaitTimeoutError(
                f"there is still something to do in {names} after {timeout_ms} ms",
                queue=names,
                job_id="",
                state="busy",
                timeout_ms=timeout_ms,
            ) from None
    finally:
        await asyncio.gather(*(worker.close() for worker in started))


async def _question(worker: Worker[Any, Any] | TestWorker[Any, Any]) -> Callable[[], Awaitable[bool]]:
    """Return what tells whether a worker has nothing to do."""
    if isinstance(worker, TestWorker):
        return partial(_is_idle, worker)
    return partial(is_empty, await worker.context())


async def _is_idle(worker: TestWorker[Any, Any]) -> bool:
    return worker.is_idle


async def _until_idle(questions: Sequence[Callable[[], Awaitable[bool]]]) -> None:
    """Return when all queues were empty in two looks: one seen empty may get jobs from one looked at after it."""
    looks = 0
    while looks < 2:
        empty = all([await is_empty() for is_empty in questions])
        looks = looks + 1 if empty else 0
        if not empty:
            await asyncio.sleep(_LOOK_S)
