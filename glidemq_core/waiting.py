"""Waiting for a job's end."""

from __future__ import annotations

import asyncio
from typing import Literal

from .base import Scope
from .errors import JobNotFoundError, WaitTimeoutError
from .options import Duration, to_ms
from .payload import as_text


async def wait_until_finished(
    scope: Scope, job_id: str, poll_interval: Duration, timeout: Duration
) -> Literal["completed", "failed"]:
    """Poll a job's state until it is final.

    Raises: WaitTimeoutError after `timeout`; JobNotFoundError when there is no such job (any more).
    """
    poll_s, timeout_ms = max(1, to_ms(poll_interval, "poll_interval")) / 1000, to_ms(timeout, "timeout")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    while True:
        state = as_text(await scope.connection.command("HGET", scope.keys.job(job_id), "state"))
        if state == "completed":
            return "completed"
        if state == "failed":
            return "failed"
        if not state:
            raise JobNotFoundError(
                f"job '{scope.queue}:{job_id}' not found", queue=scope.queue, job_id=job_id
            )
        left = deadline - loop.time()
        if left <= 0:
            raise WaitTimeoutError(
                f"job '{scope.queue}:{job_id}' is still {state} after {timeout_ms} ms",
                queue=scope.queue,
                job_id=job_id,
                state=state,
                timeout_ms=timeout_ms,
            )
        await asyncio.sleep(min(poll_s, left))
