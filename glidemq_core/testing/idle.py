"""Running workers until nothing is left to do."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import WaitTimeoutError
from ..jobs.wait import until_empty
from ..options.fields import Duration, positive_ms
from ..worker.worker import Worker


async def run_until_idle(*workers: Worker[Any, Any], timeout: Duration = 10_000) -> None:
    """Start workers, wait until nothing waits, runs or is delayed in their queues, and close those started here.

    Suspended jobs are left alone: nothing but a signal makes them go on.

    Args:
        timeout: ms or timedelta.

    Raises:
        WaitTimeoutError: there is still something to do.
    """
    timeout_ms = positive_ms(timeout, "timeout")
    started = [worker for worker in workers if not worker.is_running]
    try:
        for worker in started:
            await worker.start()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                # One that was empty may get jobs from another one: all must be empty in one look.
                while not await _all_idle(workers):
                    pass
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


async def _all_idle(workers: tuple[Worker[Any, Any], ...]) -> bool:
    """Wait until each queue was empty, then tell whether all are at once."""
    contexts = [await worker.context() for worker in workers]
    for context in contexts:
        await until_empty(context)
    try:
        async with asyncio.timeout(0.05):
            for context in contexts:
                await until_empty(context)
    except TimeoutError:
        return False
    return True
