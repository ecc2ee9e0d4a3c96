"""A worker of a queue in memory."""

from __future__ import annotations

import asyncio
import contextvars
from itertools import count
from typing import Any, Self, cast

from ..errors import (
    BudgetExceededError,
    GlideMQError,
    JobControl,
    RateLimitError,
    SerializationError,
    UnrecoverableError,
)
from ..jobs.snapshot import DataT, ResultT
from ..options.fields import instance_of, refuse, whole
from ..options.job import Batch, TokenLimit
from ..records.outcomes import FinalState
from ..wire.payload import encode_result
from ..worker.events import EventSource, WorkerEvents
from ..worker.execution.batches import BatchProcessor
from ..worker.execution.outcome import reason_of, reported_tokens
from ..worker.execution.run import JobRun, SuspendRequest
from ..worker.execution.threads import Processor, is_async, run_in_thread
from ..worker.rate_limits import WorkerLimits
from .entries import now_ms
from .jobs import RecordedJob
from .queues import TestQueue, WorkerFacts

_numbers = count(1)


class TestWorker(EventSource[DataT, ResultT]):
    """Run the jobs of a `TestQueue` as `Worker` does: attempts, fallbacks, suspension, steps, batches, events.

    `await worker.drain()` runs all that can be run. A failed attempt runs again at once, a job that asks to be delayed
    too; `suspend` waits for a signal or the end of its time.

    Args:
        queue, processor: as of `Worker`.
        concurrency: jobs at once; of batches, calls at once.
        batch: hand several jobs at a time to the processor.
        token_limiter: tokens allowed in a window; the only thing here that waits.
    Raises: InvalidOptionError.
    """

    __test__ = False

    def __init__(
        self,
        queue: TestQueue[DataT, ResultT],
        processor: Processor,
        *,
        concurrency: int = 1,
        batch: Batch | None = None,
        token_limiter: TokenLimit | None = None,
    ) -> None:
        self._queue = instance_of(TestQueue, "a TestQueue")(queue, "queue")
        if not callable(processor):
            refuse("processor", processor, "a function of one argument")
        concurrency = whole(1, 100_000)(concurrency, "concurrency")
        self.id = f"test-worker-{next(_numbers)}"
        self._processor = processor
        self._batches = BatchProcessor(processor, batch, concurrency) if batch is not None else None
        self._slots = concurrency * (batch.size if batch is not None else 1)
        self._limits = WorkerLimits(None, token_limiter, chance=lambda: 0)
        self._events = WorkerEvents(log_errors=True)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._taking: asyncio.Task[None] | None = None
        self._concurrency = concurrency
        self._is_drained = False
        self._is_closed = False

    @property
    def name(self) -> str:
        """Name of the queue."""
        return self._queue.name

    @property
    def has_started(self) -> bool:
        """Whether it has started and has not closed."""
        return self.is_running

    @property
    def is_running(self) -> bool:
        """Whether it takes jobs."""
        return self._taking is not None and not self._is_closed

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here, and nothing waits that may start."""
        return not (self._running or self._queue.may_take)

    @property
    def active_jobs(self) -> int:
        """Jobs running here now."""
        return len(self._running)

    async def start(self) -> None:
        """Begin to take jobs."""
        if self._taking is None and not self._is_closed:
            self._events.context = contextvars.copy_context()
            self._taking = asyncio.create_task(self._take())
            facts = WorkerFacts(self.id, self._concurrency, now_ms(), lambda: len(self._running))
            self._queue.attach(self.id, facts)
            self._events.emit("ready")

    async def drain(self) -> None:
        """Run all that waits and what that adds, then close; starts if need be. Suspended jobs stay suspended.

        Of a paused queue it waits only for what runs.
        """
        await self.start()
        async with self._queue.changed:
            await self._queue.changed.wait_for(lambda: self.is_idle)
        self._tell_if_drained()
        await self.close()

    def _tell_if_drained(self) -> None:
        """Emit `drained` once whenever nothing is left to do here."""
        if self.is_idle and not self._is_drained:
            self._is_drained = True
            self._events.emit("drained")

    async def close(self) -> None:
        """Take no more jobs, and return when those that run have ended; twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        self._events.emit("closing")
        self._queue.detach(self.id)
        if self._taking is not None:
            self._taking.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._events.emit("closed")
        await self._events.drain()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _take(self) -> None:
        """Start jobs while there are some and a slot is free."""
        while True:
            if wait_ms := self._limits.wait_ms(now_ms()):
                await asyncio.sleep(wait_ms / 1_000)
            job_id = self._queue.take() if len(self._running) < self._slots else None
            if job_id is None:
                async with self._queue.changed:
                    await self._queue.changed.wait()
                continue
            self._running[job_id] = asyncio.create_task(self._run(job_id))

    async def _run(self, job_id: str) -> None:
        entry, at_ms = self._queue.entries[job_id], now_ms()
        entry.put(state="active", processedOn=at_ms, lastActive=at_ms)
        self._is_drained = False
        job = self._queue.job_of(job_id, running=True)
        run = cast("JobRun", job._run)
        run.context = contextvars.copy_context()
        self._events.emit("active", job)
        await asyncio.sleep(0)  # handlers look at the job before its end changes it
        result: Any = None
        error: BaseException | None = None
        if int(entry.fields.get("expireAt", b"0")) and at_ms > int(entry.fields["expireAt"]):
            error = UnrecoverableError("expired")
        elif (verdict := self._verdict(job)) == "pause":
            await self._park(job_id)
            return
        elif verdict == "fail":
            error = BudgetExceededError("Budget exceeded", job_id=job_id)
        else:
            try:
                result = await self._process(job, run)
            except asyncio.CancelledError:
                raise
            except BaseException as raised:  # noqa: BLE001 - whatever a processor raises is the outcome of its attempt
                error = raised
        self._limits.count(reported_tokens(run), now_ms())
        self._book(job, run)
        try:
            await self._end(job, run, result, error)
        finally:
            await self._leave(job_id)

    async def _leave(self, job_id: str) -> None:
        """A job runs no more."""
        del self._running[job_id]
        self._tell_if_drained()
        await self._queue.tell()

    def _verdict(self, job: RecordedJob) -> str:
        """Return what the budget of a job that would start says."""
        found = self._queue.budget_of(job.id)
        verdict = "go" if found is None else found[1].verdict(found[0])
        if verdict != "go":
            self._events.emit("budget_exceeded", job)
        return verdict

    async def _park(self, job_id: str) -> None:
        """Let a job wait until its flow gets another budget."""
        found = self._queue.budget_of(job_id)
        if found is not None:
            found[1].parked.append(job_id)
        self._queue.entries[job_id].put(state="waiting")
        await self._leave(job_id)

    def _book(self, job: RecordedJob, run: JobRun) -> None:
        """Draw what a run has reported from its budget."""
        found, usage = self._queue.budget_of(job.id), job.usage
        if found is not None and run.reported and usage is not None and found[1].book(found[0], usage):
            self._events.emit("budget_exceeded", job)

    async def _process(self, job: RecordedJob, run: JobRun) -> Any:
        if self._batches is not None:
            return await self._batches.process(run)
        return await (
            self._processor(job) if is_async(self._processor) else run_in_thread(self._processor, job)
        )

    async def _end(self, job: RecordedJob, run: JobRun, result: Any, error: BaseException | None) -> None:
        """Do what follows from the end of a run."""
        run.ended = True
        error = await run.heed(error)
        # What handlers of events get stays as it is now, whatever becomes of the job.
        entry = self._queue.entries[job.id]
        entry.fields = dict(job.fields)
        request = run.request
        if isinstance(request, SuspendRequest):
            self._suspend(job, request)
            return
        if request is not None:
            await self._queue.put_back(job.id)
            return
        if isinstance(error, JobControl):
            error = GlideMQError(f"{type(error).__name__} was raised without the call that belongs to it")
        elif error is None and (name := run.unawaited) is not None:
            error = GlideMQError(f"the processor called job.{name}() and did not await it, so it did nothing")
        if error is None:
            try:
                stored = encode_result(result, self._queue.serializer)
            except (SerializationError, GlideMQError) as refused:
                error = refused
            else:
                self._settle(job, "completed", returnvalue=stored)
                self._queue.entries[job.id].steps.clear()
                self._events.emit("completed", job, result)
                return
        await self._fail(job, error)

    async def _fail(self, job: RecordedJob, error: BaseException) -> None:
        """Run a job again if it has attempts left."""
        entry = self._queue.entries[job.id]
        made = job.attempts_made + 1
        final = isinstance(error, UnrecoverableError) or job.discarded
        again = not final and (made < entry.options.attempts or isinstance(error, RateLimitError))
        entry.put(attemptsMade=made, failedReason=reason_of(error))
        job.fields.update(entry.fields)
        job.fields["state"] = b"delayed" if again else b"failed"
        self._events.emit("failed", job, error)
        if not again:
            self._settle(job, "failed")
            return
        if entry.options.fallbacks:
            entry.put(fallbackIndex=job.fallback_index + 1)
        await self._queue.put_back(job.id)

    def _settle(self, job: RecordedJob, state: FinalState, **words: object) -> None:
        self._queue.end(job.id, state, **words)
        job.fields.update(self._queue.entries[job.id].fields)

    def _suspend(self, job: RecordedJob, request: SuspendRequest) -> None:
        self._queue.suspend(job.id, request.reason or "", request.timeout_ms)
        self._events.emit("suspended", job)
