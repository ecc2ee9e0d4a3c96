"""Middleware that comes with the engine: a line in the log for every job that is added and run."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from ..errors import JobControl
from ..options.middleware import AddNext, AddRequest, Middleware, RunNext

#: Characters of a job's name in a line.
_WORDS = 200


class LoggingMiddleware(Middleware):
    """Log every job that is added and the begin and end of every run, through `logging`.

    Extras of a line: `queue`, `job`, `job_name`; of a run also `attempt`, at its end `outcome` (completed, failed,
    cancelled, or the control call in words: suspended, delayed, ...) and `duration_ms`. Failures are told here in one
    line; their traceback is logged by the worker.

    Args:
        logger: where to; by default `glidemq.jobs`.
        level: of added jobs and of ends; begins are logged at DEBUG.
    """

    def __init__(self, logger: logging.Logger | str = "glidemq.jobs", level: int = logging.INFO) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level

    async def run(self, job: Any, call_next: RunNext) -> Any:
        """Log begin and end of a run."""
        if not self._logger.isEnabledFor(self._level):
            return await call_next()
        started = time.monotonic()
        facts = {
            "queue": job.queue,
            "job": str(job.ref),
            "job_name": job.name,
            "attempt": job.attempts_made + 1,
        }
        name = _short(job.name)
        self._logger.debug("job %s (%s) begins, attempt %d", job.ref, name, facts["attempt"], extra=facts)
        outcome = "completed"
        try:
            return await call_next()
        except JobControl as control:
            outcome = _CONTROLS.get(type(control).__name__, type(control).__name__)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            took_ms = round((time.monotonic() - started) * 1_000)
            ended = {**facts, "outcome": outcome, "duration_ms": took_ms}
            self._logger.log(
                self._level, "job %s (%s) %s after %d ms", job.ref, name, outcome, took_ms, extra=ended
            )

    async def add(self, request: AddRequest, call_next: AddNext) -> Any:
        """Log what became of a job to add; its payload is not logged."""
        added = await call_next(request)
        known = f"{request.queue}:{added.id}" if added is not None else None
        self._logger.log(
            self._level,
            "job %s (%s) added" if known else "%s: job (%s) skipped, there is one like it",
            known or request.queue,
            _short(request.name),
            extra={"queue": request.queue, "job": known, "job_name": request.name},
        )
        return added


#: What the control calls make of a job.
_CONTROLS = {
    "SuspendError": "suspended",
    "DelayedError": "delayed",
    "WaitingChildrenError": "waits for children",
    "GroupRateLimitError": "holds its group",
}


def _short(name: str) -> str:
    """Return the name of a job as part of one line."""
    return " ".join(name.split())[:_WORDS]
