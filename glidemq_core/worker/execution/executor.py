"""Call the processor of a claimed job, and turn whatever happens into an outcome."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from ...ai.suspension import suspend
from ...errors import BudgetExceededError, GlideMQError, GroupRateLimitError, JobControl
from ...job import Job
from ...options import middleware as around
from ...records.decoding import budget_of
from ...server.context import QueueContext
from ...server.retry import is_outage, is_server_trouble, retry_through_outage
from ...wire.keys import QueueKeys
from ..context import WorkerContext
from ..outbox import Outbox
from .batches import BatchProcessor
from .dead_letters import DeadLetters
from .outcome import SettleRecord, abort_error, completed, failed, ledger_head, lost_error, reported_tokens
from .run import DelayRequest, JobRun, LimitGroupRequest, SuspendRequest, WaitChildrenRequest
from .threads import Processor, is_async, run_in_thread

#: Continuations kept; of more suspended jobs the oldest start from the top, as they do in other workers.
_CONTINUATIONS = 10_000


@dataclass(frozen=True, slots=True)
class _Continuation:
    """What is to run in place of the processor, for one suspension only."""

    suspended_at: bytes
    function: Callable[..., Any]
    job: Job[Any, Any]

    def fits(self, job: Job[Any, Any]) -> bool:
        return job.fields.get("suspendedAt") == self.suspended_at and bool(job.signals)


class JobExecutor:
    """Calls a processor. Ends that are calls of their own (suspend, delay, hand back, ...) are made here."""

    def __init__(self, context: WorkerContext, processor: Processor, outbox: Outbox) -> None:
        self._context = context
        self._queue = context.queue
        self._processor = processor
        self._in_thread = not is_async(processor)
        self._middleware = context.options.middleware
        self._outbox = outbox
        self._letters = DeadLetters(context)
        options = context.options
        batch = options.batch
        self._batches = BatchProcessor(processor, batch, options.concurrency) if batch is not None else None
        #: The processor is called in the event loop, for one job.
        self._is_plain = not (self._in_thread or self._batches)
        #: Nothing of this worker stands between a run and its processor.
        self._direct = self._is_plain and not self._middleware
        #: on_resume continuations of jobs suspended here.
        self._continuations: dict[str, _Continuation] = {}

    async def execute(self, run: JobRun) -> SettleRecord | None:
        """Run the job and return its settle record; None when the run has ended by a call of its own."""
        if not run.begin():
            run.ended = True
            return await self._end(
                run, None, asyncio.CancelledError() if run.abort_reason == "closing" else abort_error(run)
            )
        if run.stop and "budgetKey" in run.job.fields:
            stopped, record = await self._budget(run)
            if stopped:
                return record
        error: BaseException | None = None
        result: Any = None
        try:
            if self._direct and not (self._continuations or around.of_process):
                run.called = True
                result = await self._processor(run.job)
            else:
                result = await self._call(run)
        except asyncio.CancelledError as cancelled:
            if run.abort_reason is None and self._context.is_abandoned:
                return None  # cancelled with its event loop, the job has not failed: it runs again as stalled
            error = cancelled if run.abort_reason is None else abort_error(run)
        except JobControl as control:
            error = control
        except BaseException as raised:  # noqa: BLE001 - whatever a processor raises is the outcome of its attempt
            error = raised
        if run.given_up:
            return None
        # From here on an abort comes too late: the end stands.
        run.ended = True
        if error is not None or run.abort_reason is not None or run.requests or run.controls:
            try:
                return await self._end(run, result, error)
            finally:
                del error  # its traceback refers to this frame: a cycle
        return await self._completed(run, result)

    async def end_without_processor(self, run: JobRun) -> SettleRecord | None:
        """End the run of a processor that swallows its cancellation; what it still does counts for nothing."""
        run.ended = run.given_up = True
        self._context.report(
            GlideMQError(f"the processor of job '{run.job.ref}' ignores its cancellation and runs on")
        )
        if run.abort_reason == "lost":
            self._context.report(lost_error(run))
            return None
        return await self._failure(run, abort_error(run))

    def _call(self, run: JobRun) -> Awaitable[Any]:
        """Call the processor through the middleware, outermost first. No coroutine but those of the application."""
        # Every job takes this way: with a middleware that does nothing each further call would be felt.
        continuation = self._continuation_of(run) if self._continuations else None
        chain = around.everywhere(self._middleware) if around.of_process else self._middleware
        call_next: around.RunNext = partial(self._process, run, continuation)
        if not chain:
            return call_next()
        for middleware in chain[:0:-1]:
            call_next = partial(middleware.run, run.job, call_next)
        return chain[0].run(run.job, call_next)

    def _continuation_of(self, run: JobRun) -> Callable[..., Any] | None:
        """Return what a suspended run of this worker left to be called in place of the processor."""
        continuation = self._continuations.pop(run.job.id, None)
        if continuation is None or not continuation.fits(run.job):
            return None
        # What it closes over is the job of the run that suspended: that object speaks for this run now.
        job, run.job = run.job, continuation.job
        run.job.adopt(job)
        return continuation.function

    def _process(self, run: JobRun, continuation: Callable[..., Any] | None) -> Awaitable[Any]:
        """Call the processor, or what is to be called in its place."""
        if run.called:
            raise GlideMQError("middleware called call_next() twice: a run calls its processor once")
        run.called = True
        if self._is_plain and continuation is None:
            answer: Awaitable[Any] = self._processor(run.job)
            return answer
        if self._batches is not None:
            return self._batches.process(run)
        if continuation is not None:
            return self._continue(run.job, continuation)
        return run_in_thread(self._processor, run.job)

    async def _continue(self, job: Job[Any, Any], continuation: Callable[..., Any]) -> Any:
        signals = job.signals
        if self._in_thread and not is_async(continuation):
            return job.as_result(await run_in_thread(lambda _: continuation(signals), job))
        answer = continuation(signals)
        return job.as_result(await answer if inspect.isawaitable(answer) else answer)

    async def _end(self, run: JobRun, result: Any, error: BaseException | None) -> SettleRecord | None:
        if run.abort_reason == "lost":
            self._context.report(lost_error(run))
            return None
        if run.abort_reason == "closing":
            if error is not None:
                await self._hand_back(run)
                return None
        elif run.aborted and error is None:
            error = abort_error(run)
        if self._context.subscription is not None and (asked := run.drop_requests()):
            error = GlideMQError(f"{asked}(): a message of a broadcast can only complete or fail")
        if self._context.subscription is None:
            error = await run.heed(error)
        request = run.request
        if request is not None:
            try:
                await self._control(run, request)
            except GlideMQError as refused:
                error = refused
            else:
                await self._count_tokens(run)
                return None
        elif isinstance(error, JobControl):
            error = GlideMQError(f"{type(error).__name__} was raised without the call that belongs to it")
        elif error is None and (name := run.unawaited) is not None:
            error = GlideMQError(
                f"the processor called job.{name}() and did not await it, so it did nothing",
                hint=f"write 'await job.{name}(...)'",
            )
        return await (self._completed(run, result) if error is None else self._failure(run, error))

    async def _completed(self, run: JobRun, result: Any) -> SettleRecord:
        try:
            return completed(run, result)
        except GlideMQError as bad_result:
            return await self._failure(run, bad_result)

    async def _failure(self, run: JobRun, error: BaseException) -> SettleRecord:
        limiter = self._context.options.limiter
        try:
            return await failed(
                run,
                error,
                self._context.options.backoff_strategies,
                limiter.duration if limiter else 0,
                self._letters.letter,
            )
        except Exception as broken:  # noqa: BLE001 - a backoff strategy is foreign code
            self._context.report(broken)
            return await failed(run, error, {}, 0, self._letters.letter)

    async def _budget(self, run: JobRun) -> tuple[bool, SettleRecord | None]:
        """Whether the budget of its flow stops the job, and the settle record if it fails."""
        try:
            await self._outbox.deliver_waiting()  # what was spent before this job started counts for it
            verdict = await _budget_verdict(self._queue, run)
        except (asyncio.CancelledError, GlideMQError) as error:
            if isinstance(error, GlideMQError):
                self._context.report(error)
            await self._hand_back(run)
            return True, None
        if verdict == "run":
            return False, None
        self._context.emit("budget_exceeded", run.job)
        if verdict == "parked":
            run.job.fields["state"] = b"delayed"
            return True, None
        return True, await self._failure(run, BudgetExceededError("Budget exceeded", job_id=run.job.id))

    # Ends that are calls of their own ------------------------------------------------------------------------

    async def _control(
        self, run: JobRun, request: DelayRequest | LimitGroupRequest | WaitChildrenRequest | SuspendRequest
    ) -> None:
        """Carry out what the processor asked for."""
        answer, repeated = await retry_through_outage(
            lambda _: self._control_once(run, request), passes=_passes
        )
        # "lost" in a repeat most likely means that the first call was carried out.
        if answer in ("lost", "not_found") and not repeated:
            self._context.report(lost_error(run))

    async def _control_once(self, run: JobRun, request: Any) -> str:
        job, queue = run.job, self._queue
        mark = (job.id, run.entry, run.processed_on)
        head = ledger_head(run)
        if isinstance(request, SuspendRequest):
            return await self._suspend(run, request, head)
        if isinstance(request, DelayRequest):
            reply = await queue.call(
                "delay", *mark, queue.now_ms(), request.until_ms, request.data or "", head
            )
        elif isinstance(request, WaitChildrenRequest):
            reply = await queue.call("wait_children", *mark, queue.now_ms(), head)
        else:
            if request.current_job == "fail":
                head = ledger_head(run, GroupRateLimitError(request.duration_ms))
            reply = await queue.call(
                "limit_group_run",
                *mark,
                queue.now_ms(),
                request.duration_ms,
                request.current_job,
                request.position,
                request.extend,
                head,
            )
        return str(reply[0].decode())

    async def _count_tokens(self, run: JobRun) -> None:
        """Count what the run reported before it ended by a call of its own; the provider has counted it too."""
        tokens = reported_tokens(run)
        if tokens:
            now_ms = self._queue.now_ms()
            self._context.limits.count(tokens, now_ms)
            if self._context.limits.shared_tokens:
                try:
                    await self._queue.call("count_tokens", now_ms, tokens, self._context.limits.header()[3])
                except GlideMQError as error:  # the run has ended all the same
                    self._context.report(error)

    async def _suspend(self, run: JobRun, request: SuspendRequest, head: str) -> str:
        job = run.job
        outcome = await suspend(
            self._queue,
            job.id,
            run.entry,
            run.processed_on,
            request.reason,
            request.timeout_ms,
            ledger_head=head,
        )
        if outcome.ok:
            if request.on_resume is not None:
                if len(self._continuations) >= _CONTINUATIONS:
                    del self._continuations[next(iter(self._continuations))]
                suspended_at = str(outcome.suspended_at_ms).encode()
                self._continuations[job.id] = _Continuation(suspended_at, request.on_resume, job)
            job.fields["state"] = b"suspended"
            self._context.emit("suspended", job)
        return outcome.status

    async def _hand_back(self, run: JobRun) -> None:
        words = (run.job.id, run.entry, run.processed_on, self._queue.now_ms())
        try:
            await retry_through_outage(
                lambda _: self._queue.call(*self._context.of_kind("hand_back", *words)), passes=_passes
            )
        except GlideMQError as error:
            self._context.report(error)


def _passes(error: BaseException) -> bool:
    """Whether the end of a run is tried again after an error, as its result would be."""
    return is_outage(error) or is_server_trouble(error)


async def _budget_verdict(queue: QueueContext, run: JobRun) -> Literal["run", "fail", "parked"]:
    """Return what the budget of its flow decides about a job that was just claimed; parks the job if it is to wait.

    Most jobs are checked in the claiming call, which cannot read a budget in another slot of a cluster.

    Raises: GlideMQError when the server refuses the check; an outage is waited out.
    """
    if run.stop == "fail":
        return "fail"
    flow = budget_of(run.job.fields, queue.keys.prefix)
    if flow is None:
        return "run"
    keys = QueueKeys(queue.keys.prefix, flow.queue)
    verdict = await _budget_word(queue, keys.root, flow.id)
    if verdict != "pause":
        return "fail" if verdict == "fail" else "run"
    job_id, connection = run.job.id, queue.connection
    parked = (keys.budget_parked(flow.id), queue.keys.member(job_id))
    await retry_through_outage(lambda _: connection.command("SADD", *parked))
    mark = (job_id, run.entry, run.processed_on, queue.now_ms())
    await retry_through_outage(lambda _: queue.call("budget_park", *mark))
    if await _budget_word(queue, keys.root, flow.id) == "go":
        # Topped up between the check and the parking: whoever did that has not seen this job.
        release = (keys.budget(flow.id), queue.now_ms(), "parked", job_id)
        await retry_through_outage(lambda _: queue.call("budget_release", *release))
    return "parked"


async def _budget_word(queue: QueueContext, root: str, flow_id: str) -> str:
    [word], _ = await retry_through_outage(lambda _: queue.connection.call("budget_check", root, flow_id))
    return str(word.decode())
