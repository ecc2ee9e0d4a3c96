"""Waiting for a job's end."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final, cast

from ..errors import (
    CallTimeoutError,
    GlideMQError,
    JobFailedError,
    SerializationError,
    ServerUnavailableError,
    WaitTimeoutError,
)
from ..options.fields import Duration, deliberate_ms, deliberate_positive_ms, refuse, to_ms
from ..options.job import JobOptions
from ..options.worker import QueueOptions
from ..records import JobCounts
from ..records.outcomes import FinalState
from ..server.context import QueueContext
from ..server.retry import is_outage
from ..wire.numbers import to_int
from ..wire.payload import decode_result
from ..wire.replies import as_text
from .add import add_job
from .counts import get_job_counts
from .deadlines import DEADLINE_FIELDS, sweep_if_overdue
from .events.ends import JobEnds
from .read import get_jobs

#: Fields of a job that tell how it ended.
_OUTCOME: Final = ("state", "returnvalue", "failedReason", "attemptsMade")
#: Longest wait without looking at the job itself, ms.
_BLIND_MS: Final = 1_000
_RETRY_S: Final = 0.2


async def wait_until_finished(
    context: QueueContext, job_id: str, poll_interval: Duration, timeout: Duration
) -> FinalState:
    """Poll a job's state until it is final; see `Job.wait_until_finished`."""
    poll_s, timeout_ms = (
        max(1, to_ms(poll_interval, "poll_interval")) / 1000,
        deliberate_ms(timeout, "timeout"),
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    while True:
        state = as_text((await _read(context, job_id, deadline, "state"))[0])
        if state in ("completed", "failed"):
            return cast(FinalState, state)  # one of its words
        if not state:
            raise context.missing(job_id)
        left = deadline - loop.time()
        if left <= 0:
            raise _timed_out(context, job_id, state, timeout_ms)
        await asyncio.sleep(min(poll_s, left))


def _timed_out(context: QueueContext, job_id: str, state: str, timeout_ms: int) -> WaitTimeoutError:
    return WaitTimeoutError(
        f"job '{context.queue}:{job_id}' is still {state} after {timeout_ms} ms",
        queue=context.queue,
        job_id=job_id,
        state=state,
        timeout_ms=timeout_ms,
    )


async def add_and_wait(
    context: QueueContext,
    name: str,
    data: Any,
    options: JobOptions,
    settings: QueueOptions,
    *,
    wait_timeout: Duration,
    cross_slot: bool = False,
) -> Any:
    """Add a job, wait for its end and return its result; see `Queue.add_and_wait`."""
    timeout_ms = deliberate_positive_ms(wait_timeout, "wait_timeout")
    for option in ("remove_on_complete", "remove_on_fail"):
        if (given := getattr(options, option)) is not False:
            refuse(option, given, "left out when the result is waited for")
    async with JobEnds.of(context) as ends:
        job = await add_job(
            context, name, data, options, settings, cross_slot=cross_slot, on_duplicate="raise"
        )
        assert job is not None
        return await _result(context, ends, job.id, timeout_ms)


async def wait_for_result(context: QueueContext, job_id: str, timeout: Duration) -> Any:
    """Wait for the end of a job and return its result; see `Job.wait`."""
    timeout_ms = deliberate_positive_ms(timeout, "timeout")
    async with JobEnds.of(context) as ends:
        return await _result(context, ends, job_id, timeout_ms, is_new=False)


async def until_empty(context: QueueContext) -> None:
    """Return when nothing is left to do in the queue; a server that is away is waited for."""
    while not await is_empty(context):  # noqa: ASYNC110 - workers of other processes empty it too
        await asyncio.sleep(_RETRY_S)


async def is_empty(context: QueueContext) -> bool:
    """Tell whether nothing waits, runs, is scheduled or parked in the queue; False while the server is away."""
    try:
        counts = await get_job_counts(context)
        return not (counts.waiting or counts.active or counts.delayed or await _parked(context, counts))
    except (ServerUnavailableError, CallTimeoutError):
        return False


async def _parked(context: QueueContext, counts: JobCounts) -> bool:
    """Whether jobs are parked behind their ordering keys; with many keys they are looked for, not counted."""
    if counts.group_waiting is not None:
        return counts.group_waiting > 0
    return bool(await get_jobs(context, "group-waiting", 0, 0, exclude_data=True))


async def _read(context: QueueContext, job_id: str, deadline: float, *names: str) -> list[Any]:
    """Read fields of a job. It goes on while the server is away, and so does who waits for it, until `deadline`.

    A suspension whose deadline has passed is ended first.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            query = ("HMGET", context.keys.job(job_id), *DEADLINE_FIELDS, *names)
            fields: list[Any] = await context.connection.command(*query)
            if await sweep_if_overdue(context, *fields[: len(DEADLINE_FIELDS)]):
                fields = await context.connection.command(*query)
        except GlideMQError as error:
            if not is_outage(error) or loop.time() + _RETRY_S >= deadline:
                raise
        else:
            return fields[len(DEADLINE_FIELDS) :]
        await asyncio.sleep(_RETRY_S)


async def _result(
    context: QueueContext, ends: JobEnds, job_id: str, timeout_ms: int, *, is_new: bool = True
) -> Any:
    """Return the result of the job.

    Events only say when to look: they may be switched off, and the feed is trimmed.

    Args:
        is_new: whether it was added since the ends are read; else it may have ended long ago.
    Raises: JobFailedError, JobNotFoundError when it was removed, WaitTimeoutError.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    while True:
        left_ms = math.ceil((deadline - loop.time()) * 1000)
        told = await ends.next(job_id, min(left_ms, _BLIND_MS)) if is_new and left_ms > 0 else {}
        is_new = True
        state, result, reason, attempts = await _read(context, job_id, deadline, *_OUTCOME)
        if state is None:  # it was removed: what its event told is all there is
            result, reason = told.get("returnvalue"), told.get("failedReason")
        if state == b"completed" or (state is None and result is not None):
            answer = decode_result(result, context.serializer)
            if answer.error is not None:
                raise SerializationError(answer.error, what="result", job_id=job_id)
            return answer.value
        if state == b"failed" or (state is None and reason is not None):
            text = as_text(reason) or "failed"
            raise JobFailedError(
                f"job '{context.queue}:{job_id}' failed: {text}",
                queue=context.queue,
                job_id=job_id,
                failed_reason=text,
                attempts_made=to_int(attempts),
            )
        if state is None:
            raise context.missing(job_id)
        if left_ms <= 0:
            raise _timed_out(context, job_id, as_text(state), timeout_ms)
