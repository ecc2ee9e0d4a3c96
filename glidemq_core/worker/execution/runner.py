"""A claimed job from its start to its recorded end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import RateLimitError
from ...job import Job
from ...options.worker import WorkerOptions
from ...server.context import QueueContext
from ..events import WorkerEvents
from .executor import JobExecutor
from .failures import log_failure
from .outcome import SettleRecord, lost_error, rate_limit_ms
from .run import JobRun

if TYPE_CHECKING:
    from ..exchange import Exchange
    from ..exchange_call import Claim
    from ..maintenance import Maintenance

Processor = Callable[[Any], Any]


class Runner:
    """Starts what the exchange claims, hands it the results and tells what became of them.

    `running` holds the runs by job id; its owner may look into it and stop them.
    """

    def __init__(
        self,
        scope: QueueContext,
        worker: str,
        processor: Processor,
        options: WorkerOptions,
        ending: JobExecutor,
        events: WorkerEvents,
        *,
        running: dict[str, JobRun],
    ) -> None:
        self._scope = scope
        self._worker = worker
        self._processor = processor
        self._options = options
        self._ending = ending
        self._events = events
        self._running = running
        self._drained = False
        self._closing = False
        #: Every run begins with a copy of what was set when the worker started.
        self._context = contextvars.copy_context()
        self._given_up: set[asyncio.Task[None]] = set()
        self._exchange: Exchange
        self._maintenance: Maintenance

    def attach(self, exchange: Exchange, maintenance: Maintenance) -> None:
        """Name those to whom ends are reported; they call back, so they are made later."""
        self._exchange, self._maintenance = exchange, maintenance

    def stop_starting(self) -> None:
        """From now on a claimed job goes back to the queue without being started."""
        self._closing = True

    def tell_drained(self) -> None:
        """Nothing is ready: tell so once, until another job begins."""
        if not (self._running or self._drained):
            self._drained = True
            self._events.emit("drained")

    def begin(self, claim: Claim) -> None:
        """Start a claimed job; one whose budget parked it is only told of."""
        if claim.stop == "parked":
            claim.fields["state"] = b"delayed"
            self._events.emit("budget_exceeded", Job(self._scope, claim.job_id, claim.fields))
            return
        run = JobRun(claim.entry, claim.processed_on, self._worker, claim.stop, self._give_up)
        job: Job[Any, Any] = Job(self._scope, claim.job_id, claim.fields, run)
        run.job = job
        claim.fields["state"] = b"active"
        claim.fields["processedOn"] = claim.fields["lastActive"] = claim.processed_on.encode()
        self._running[claim.job_id] = run
        run.context = self._context.copy()
        if self._closing:
            run.abort("closing")
            run.task = asyncio.get_running_loop().create_task(self._process(run), context=run.context)
            return
        self._drained = False
        if self._events.listening("active"):
            self._events.emit("active", job)
        run.task = asyncio.get_running_loop().create_task(self._process(run), context=run.context)
        if claim.fields.get("opts", b"{}") != b"{}":
            self._apply_options(run)

    def _apply_options(self, run: JobRun) -> None:
        timeout_ms = run.job.options.timeout
        if timeout_ms:
            run.timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, run.abort, "timeout")
        self._maintenance.expect_lock(run.job.options.lock_duration)

    async def _process(self, run: JobRun) -> None:
        try:
            record = await self._ending.of(run, self._processor)
        except Exception as defect:  # noqa: BLE001 - the slot must come free; the job runs again as stalled
            self._events.emit("error", defect)
            record = None
        if not run.given_up:
            self._over(run, record)

    def _give_up(self, run: JobRun) -> None:
        """Nobody obeys the cancellation: end the job all the same, and free its slot."""
        if not run.ended:
            task = asyncio.get_running_loop().create_task(self._end_without(run))
            self._given_up.add(task)
            task.add_done_callback(self._given_up.discard)

    async def _end_without(self, run: JobRun) -> None:
        self._over(run, await self._ending.without_processor(run))

    def _over(self, run: JobRun, record: SettleRecord | None) -> None:
        """A run has ended: its result goes out with the next exchange."""
        if run.timer is not None:
            run.timer.cancel()
        run.ended = True
        if self._running.get(run.job.id) is run:  # a run that was lost may have a successor here
            del self._running[run.job.id]
        if record is None:
            # Its end was a call of its own (suspended, delayed, handed back): only the slot is left to free.
            self._exchange.active -= 1
            self._maintenance.poke()
            self._exchange.wake()
        else:
            limiter = self._options.limiter
            if isinstance(record.error, RateLimitError) and limiter is not None:
                self._exchange.hold(rate_limit_ms(record.error, limiter.duration))
            self._exchange.settle(record)

    def settled(self, record: SettleRecord, answer: str) -> None:
        """Tell what the server made of a result: "ok", "retrying", "failed", or that it was not recorded."""
        job = record.run.job
        if answer in ("lost", "refused"):
            self._events.emit("error", lost_error(record.run))
            return
        if record.error is None:
            if self._events.listening("completed"):
                job.fields["state"] = b"completed"
                self._events.emit("completed", job, record.result)
        else:
            if answer == "retrying":
                self._maintenance.poke()
            job.fields["state"] = b"delayed" if answer == "retrying" else b"failed"
            job.fields["attemptsMade"] = str(job.attempts_made + 1).encode()
            job.fields["failedReason"] = record.value.encode()
            if self._options.log_errors:
                log_failure(record, runs_again=answer == "retrying")
            if answer == "failed" and self._options.dead_letter_queue:
                self._maintenance.dead_letter(record)
            self._events.emit("failed", job, record.error)
