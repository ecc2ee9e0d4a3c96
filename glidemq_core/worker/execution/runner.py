"""A claimed job from its start to its recorded end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...job import Job
from ..context import WorkerContext
from ..exchange_call import Claim
from .error_facts import of_processor
from .executor import JobExecutor
from .lifespan import Lifespan
from .outcome import SettleRecord, lost_error
from .run import JobRun

#: Called when a run has ended: with its result, or None when its end was a call of its own (suspended, delayed, ...).
RunEnded = Callable[[SettleRecord | None], None]

#: Characters of the name and of the reason in a log line.
_WORDS = 1_000

logger = logging.getLogger("glidemq.worker")


class Runner:
    """Starts claimed jobs, hands in their results, and emits what became of them."""

    def __init__(self, context: WorkerContext, executor: JobExecutor, lifespan: Lifespan) -> None:
        self._context = context
        self._executor = executor
        #: Nothing has begun since it was told that nothing is left, or at all.
        self._drained = True
        self._closing = False
        self._lifespan = lifespan
        #: Tasks that end the jobs of processors which ignore their cancellation.
        self._giving_up: set[asyncio.Task[None]] = set()

    def stop_starting(self) -> None:
        """From now on a claimed job goes back to the queue without being started."""
        self._closing = True

    def emit_drained(self) -> None:
        """Nothing is ready: emit `drained` once, until another job begins."""
        if not (self._context.running or self._drained):
            self._drained = True
            self._context.emit("drained")

    def begin(self, claim: Claim, on_end: RunEnded) -> None:
        """Start a claimed job; one that its budget has parked is only reported."""
        context = self._context
        if claim.stop == "parked":
            claim.fields["state"] = b"delayed"
            context.emit("budget_exceeded", Job(context.queue, claim.job_id, claim.fields))
            return
        entry, job_id, fields, processed_on, stop = claim
        fields["state"] = b"active"
        fields["processedOn"] = fields["lastActive"] = processed_on.encode()
        lifespan, shared = self._lifespan, context.subscription is not None
        variables = lifespan.variables.copy()
        run = JobRun(
            entry,
            processed_on,
            context.worker_id,
            stop,
            self._give_up,
            lifespan.resources,
            shared,
            variables,
            on_end,
        )
        job: Job[Any, Any] = Job(context.queue, job_id, fields, run)
        run.job = job
        context.running[job_id] = run
        if self._closing:
            run.abort("closing")
        else:
            self._drained = False
            if context.events.listening("active"):
                context.emit("active", job)
        run.task = asyncio.get_running_loop().create_task(self._process(run), context=variables)
        if not self._closing and fields.get("opts", b"{}") != b"{}":
            self._apply_options(run)

    def _apply_options(self, run: JobRun) -> None:
        if self._context.options.batch is None:
            run.start_timer()  # else with its batch
        self._context.lock.expect(run.job.options.lock_duration)

    async def _process(self, run: JobRun) -> None:
        try:
            record = await self._executor.execute(run)
        except Exception as defect:  # noqa: BLE001 - the slot must come free; the job runs again as stalled
            self._context.report(defect)
            record = None
        if not run.given_up:
            self._ended(run, record)

    def _give_up(self, run: JobRun) -> None:
        """The processor ignores its cancellation: end the job all the same, and free its slot."""
        if not run.ended:
            task = asyncio.get_running_loop().create_task(self._end_without_processor(run))
            self._giving_up.add(task)
            task.add_done_callback(self._giving_up.discard)

    async def _end_without_processor(self, run: JobRun) -> None:
        self._ended(run, await self._executor.end_without_processor(run))

    def _ended(self, run: JobRun, record: SettleRecord | None) -> None:
        if run.timer is not None:
            run.timer.cancel()
        run.ended = True
        if self._context.running.get(run.job.id) is run:  # a run that was lost may have a successor here
            del self._context.running[run.job.id]
        run.on_end(record)
        if record is None:
            _part(run)

    def settled(self, record: SettleRecord, answer: str) -> None:
        """Emit what the server made of a result: "ok", "retrying", "failed", or that it was not recorded."""
        if answer in ("lost", "refused"):
            self._context.report(lost_error(record.run))
        elif record.error is not None:
            self._failed(record, runs_again=answer == "retrying")
        elif self._context.events.listening("completed"):
            job = record.run.job
            job.fields["state"] = b"completed"
            self._context.emit("completed", job, record.result)
        _part(record.run)

    def _failed(self, record: SettleRecord, *, runs_again: bool) -> None:
        context, job = self._context, record.run.job
        if runs_again:
            context.promotion.ring()
        job.fields["state"] = b"delayed" if runs_again else b"failed"
        job.fields["attemptsMade"] = str(job.attempts_made + 1).encode()
        job.fields["failedReason"] = record.stored
        if context.options.log_errors:
            _log_failure(record, runs_again=runs_again)
        context.emit("failed", job, record.error)


def _part(run: JobRun) -> None:
    """Let a run forget its job once nothing asks for it any more.

    A job knows its run: together they would stay in memory until the garbage collector looks for cycles, and make it
    look often.
    """
    if not run.given_up:  # else its processor runs on
        run.forget()


def _log_failure(record: SettleRecord, *, runs_again: bool) -> None:
    """Log a failed attempt: WARNING when the job runs again, ERROR when not."""
    job, error = record.run.job, record.error
    raised = None if error is None else of_processor(error.__traceback__)
    logger.log(
        logging.WARNING if runs_again else logging.ERROR,
        "job %s (%s) failed in attempt %d%s: %s",
        job.ref,
        " ".join(job.name.split())[:_WORDS],
        job.attempts_made,
        ", runs again" if runs_again else "",
        " ".join(record.stored.decode().split())[:_WORDS],
        exc_info=(type(error), error, raised) if error is not None and raised is not None else None,
        extra={"job": str(job.ref), "attempt": job.attempts_made, "duration_ms": record.duration_ms},
    )
