"""The worker: takes jobs of one queue, runs them, and looks after the queue while it is there."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Self, overload

from ..errors import ClosedError, GlideMQError, InvalidOptionError
from ..jobs.snapshot import DataT, ResultT
from ..jobs.wait import until_empty
from ..options.fields import to_ms
from ..options.job import Batch, Duration, RateLimit, TokenLimit, merge_options
from ..options.worker import BackoffStrategy, WorkerOptions
from ..server.connection import Connection
from ..server.context import QueueBase, QueueContext
from ..wire.serializer import JSON_SERIALIZER, Serializer
from .events import EventName, HandlerT, WorkerEvents
from .exchange import Exchange
from .execution.executor import JobExecutor
from .execution.run import JobRun
from .execution.runner import Processor, Runner
from .idle import IdleWait
from .maintenance import Maintenance
from .rate_limits import WorkerLimits
from .serving import first_of, serve

#: What closing gives to runs that are to hand back their jobs, and to results on their way, s.
_LAST_WAIT_S = 5.0
_FLUSH_S = 10.0
#: How often a pause that waits for runs looks which are left, s.
_PAUSE_LOOK_S = 0.5


class Worker(QueueBase, Generic[DataT, ResultT]):
    """Run jobs of a queue: `async with worker:` or `start()` begins, `run()` serves until a signal ends it.

    Args:
        name: queue name.
        processor: `async def process(job)`, or a plain function, which runs in a thread and sees a blocking job.
        connection: URL, shared Connection, or None for `GLIDEMQ_URL`.
        concurrency: jobs at once.
        lock_duration: ms; heartbeats come at half of it. All workers of a queue need the same.
        stalled_interval, promotion_interval, block_timeout: ms between sweeps, promotions, and blind looks.
        max_stalled_count: stalls a job survives.
        limiter: starts allowed in a window, shared with every worker of the queue.
        token_limiter: tokens allowed in a window; counted when a run that reported them ends.
        backoff_strategies: name -> f(failed attempts, error) -> duration; may be async.
        events, metrics: False leaves out `completed` events and its metrics.
        grace: ms that running jobs get at shutdown before they are handed back.
        log_errors: log failed attempts to `glidemq.worker` (extras `job`, `attempt`, `duration_ms`), and errors while
            nobody listens to `error`.
        options: the same set as one object; a keyword beside it wins.
    """

    def __init__(
        self,
        name: str,
        processor: Processor,
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        concurrency: int | None = None,
        block_timeout: Duration | None = None,
        promotion_interval: Duration | None = None,
        lock_duration: Duration | None = None,
        stalled_interval: Duration | None = None,
        max_stalled_count: int | None = None,
        limiter: RateLimit | None = None,
        token_limiter: TokenLimit | None = None,
        backoff_strategies: Mapping[str, BackoffStrategy] | None = None,
        events: bool | None = None,
        metrics: bool | None = None,
        prefix: str | None = None,
        serializer: Serializer | None = None,
        dead_letter_queue: str | None = None,
        batch: Batch | None = None,
        grace: Duration | None = None,
        log_errors: bool | None = None,
    ) -> None:
        given = {
            "concurrency": concurrency,
            "block_timeout": block_timeout,
            "promotion_interval": promotion_interval,
            "lock_duration": lock_duration,
            "stalled_interval": stalled_interval,
            "max_stalled_count": max_stalled_count,
            "limiter": limiter,
            "token_limiter": token_limiter,
            "backoff_strategies": backoff_strategies,
            "events": events,
            "metrics": metrics,
            "prefix": prefix,
            "serializer": serializer,
            "dead_letter_queue": dead_letter_queue,
            "batch": batch,
            "grace": grace,
            "log_errors": log_errors,
        }
        self.options = merge_options(
            WorkerOptions, options, {k: v for k, v in given.items() if v is not None}
        )
        if self.options.batch is not None:
            raise InvalidOptionError(
                "batch processing is not supported: leave batch out and raise concurrency instead",
                option="batch",
                value=self.options.batch,
                allowed="None",
            )
        if not callable(processor):
            raise InvalidOptionError(
                f"processor must be a function, not {type(processor).__name__}",
                option="processor",
                value=processor,
                allowed="a function of one argument",
            )
        super().__init__(
            name,
            connection,
            prefix=self.options.prefix,
            serializer=self.options.serializer or JSON_SERIALIZER,
        )
        self.processor = processor
        self.started_at: datetime | None = None
        self.id = f"worker-0-{secrets.token_hex(4)}"  # until it starts and knows when
        self._events = WorkerEvents(self.options.log_errors)
        self._running: dict[str, JobRun] = {}
        self._ready = asyncio.Event()
        self._failure: BaseException | None = None
        self._state = "new"
        self._paused = False
        self._all_quiet = asyncio.Event()

    # Life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, register and begin to take jobs. Raises what prevented it; ClosedError after `close()`."""
        if self._state in ("closing", "closed"):
            raise ClosedError(f"Worker '{self.name}' is closed", what=self.name)
        if self._state != "new":
            return
        self._state = "starting"
        try:
            scope = await self.scope()
            self.started_at = datetime.fromtimestamp(scope.now_ms() / 1000, UTC)
            self.id = f"worker-{scope.now_ms()}-{secrets.token_hex(4)}"
            self._set_up(scope)
            await self._maintenance.start()
        except BaseException as error:
            self._state, self._failure = "closed", error
            self._ready.set()
            self._all_quiet.set()
            await super().close()
            raise
        self._state = "running"
        self._exchange.claiming_allowed = not self._paused
        self._exchange.wake()
        self._ready.set()
        self._emit("ready")

    def _set_up(self, scope: QueueContext) -> None:
        options = self.options
        self._events.context = contextvars.copy_context()
        limits = WorkerLimits(options.limiter, options.token_limiter)
        ending = JobExecutor(scope, options, limits, self._emit, lambda: self._maintenance.deliver_letters())
        self._runner = Runner(
            scope, self.id, self.processor, options, ending, self._events, running=self._running
        )
        self._exchange = Exchange(
            scope,
            self.id,
            concurrency=options.concurrency,
            flags="".join(
                letter
                for letter, on in (
                    ("e", options.events),
                    ("m", options.metrics),
                    ("t", limits.shared_tokens),
                )
                if on
            ),
            limits=limits,
            on_claim=self._runner.begin,
            on_settled=self._runner.settled,
            on_error=self._trouble,
            on_dry=self._nothing_ready,
            on_outbox=lambda: self._maintenance.poke(),
            running=self._running.values,
        )
        self._idle = IdleWait(scope, options.block_timeout, on_wake=self._wake, on_error=self._trouble)
        self._maintenance = Maintenance(
            self, scope, self._exchange, limits, self._running, self._emit, self._trouble
        )
        self._runner.attach(self._exchange, self._maintenance)

    async def wait_until_ready(self) -> None:
        """Return when registered and claiming. Raises what prevented it."""
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self, *, signals: bool = True) -> None:
        """Start, serve until SIGTERM, SIGINT or `close()`, and return when everything is settled or handed back.

        Args:
            signals: False leaves the signals to the program. Several workers of one program: `serve(a, b)`.
        """
        await serve(self, signals=signals)

    async def wait_until_closed(self) -> None:
        """Return when it has closed."""
        await self._all_quiet.wait()

    async def close(self, *, force: bool = False) -> None:
        """Stop taking jobs, wait up to `grace` for running ones, hand the rest back, unregister; twice is fine.

        With `force`, or when this call is cancelled, running jobs are cancelled and handed back at once.
        """
        if self._state == "starting":
            await self._ready.wait()
        if self._state in ("closing", "closed"):
            if self._state == "closing":
                await self._all_quiet.wait()
            return
        if self._state != "running":
            self._state = "closed"
            self._all_quiet.set()
            await super().close()
            return
        self._state = "closing"
        self._emit("closing")
        self._exchange.claiming_allowed = False
        self._runner.stop_starting()
        try:
            await self._wind_down(force)
        finally:
            self._state = "closed"
            self._emit("closed")
            self._all_quiet.set()
            await self._events.drain()
            await super().close()

    async def _wind_down(self, force: bool) -> None:
        try:
            await self._idle.close()
            if not force:
                await self._wait_for(self._run_tasks(), self.options.grace / 1000)
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Hand back what still runs, record what has ended, and stop all that goes on in the background."""
        try:
            stopped = self._run_tasks()
            for run in list(self._running.values()):
                run.abort("closing")  # it hands its job back
            await self._wait_for(stopped, _LAST_WAIT_S)
            try:
                async with asyncio.timeout(_FLUSH_S):
                    await self._exchange.flush()
            except TimeoutError:
                self._trouble(
                    GlideMQError("some results could not be recorded; the jobs will run again as stalled")
                )
            # Claimed by a call that was under way when closing began: these are handed back unstarted.
            await self._wait_for(self._run_tasks() - stopped, _LAST_WAIT_S)
        finally:
            await self._exchange.stop()
            for run in self._running.values():
                if run.ended and run.task is not None:
                    run.task.cancel()  # it still tries to tell the server how it ended
            await self._maintenance.stop()

    def _run_tasks(self) -> set[asyncio.Task[None]]:
        """Tasks of the jobs that run now, but for the one that asks."""
        # Whoever pauses or closes from within a processor cannot wait for itself.
        own = asyncio.current_task()
        return {run.task for run in self._running.values() if run.task is not None and run.task is not own}

    async def _wait_for(self, tasks: set[asyncio.Task[None]], timeout_s: float | None) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Switches ------------------------------------------------------------------------------------------------

    async def pause(self, *, force: bool = False) -> None:
        """Stop taking jobs on this worker only; unless forced, return when running ones have ended and are recorded."""
        self._paused = True
        if self._state != "running":
            return
        self._exchange.claiming_allowed = False
        while not force and self._paused:
            await self._exchange.claims_in()
            tasks = self._run_tasks()
            if not tasks:
                await first_of(self._exchange.flush(), self.wait_until_closed())
                break
            # Not for ever: one that ignores its cancellation loses its job and runs on.
            await self._wait_for(tasks, _PAUSE_LOOK_S)

    async def resume(self) -> None:
        """Take jobs again."""
        self._paused = False
        if self._state == "running":
            self._exchange.claiming_allowed = True
            self._exchange.wake()

    def abort_job(self, job_id: str) -> bool:
        """Stop a job that runs here: cancels a coroutine, sets `job.aborted` for a thread. False if it does not."""
        run = self._running.get(job_id)
        return run.abort("aborted") if run is not None else False

    def rate_limit(self, duration: Duration) -> None:
        """Hold back new starts of this worker for a while (ms or timedelta)."""
        hold_ms = to_ms(duration, "duration")
        if self._state == "running":
            self._exchange.hold(hold_ms)

    async def drain(self) -> None:
        """Serve until nothing waits, runs, is scheduled or parked in the queue, then close; starts if need be."""
        await self.start()
        outcome = None
        if self._state == "running":
            outcome, _ = await first_of(until_empty(await self.scope()), self._all_quiet.wait())
        await self.close()
        if isinstance(outcome, GlideMQError):
            raise outcome

    @property
    def is_running(self) -> bool:
        """Whether it is taking or finishing jobs."""
        return self._state in ("running", "closing")

    @property
    def is_paused(self) -> bool:
        """Whether this worker was paused (not whether the queue is)."""
        return self._paused

    @property
    def active_jobs(self) -> int:
        """Jobs running here now."""
        return len(self._running)

    @overload
    def on(self, event: EventName, handler: None = None) -> Callable[[HandlerT], HandlerT]: ...
    @overload
    def on(self, event: EventName, handler: HandlerT) -> HandlerT: ...
    def on(self, event: EventName, handler: Any = None) -> Any:
        """Call a function on an event; also as decorator `@worker.on("completed")`.

        Events: ready, active(job), completed(job, result), failed(job, error) after every failed attempt,
        suspended(job), stalled(job_id), budget_exceeded(job), drained, error(exception), closing, closed.
        """
        if handler is not None:
            self._events.add(event, handler)
            return handler

        def decorate(function: HandlerT) -> HandlerT:
            self._events.add(event, function)
            return function

        return decorate

    # What the exchange and the idle wait tell -------------------------------------------------------------------

    def _nothing_ready(self, paused: bool, stream_id: str, events_id: str, group_due: str) -> None:
        if self._state == "running":
            if group_due:
                self._maintenance.promote_by(int(float(group_due)))
            if not paused:
                self._runner.tell_drained()
            self._idle.begin(stream_id, events_id)

    def _wake(self, scheduled: bool) -> None:
        if scheduled:
            self._maintenance.poke()
        self._exchange.wake()

    def _emit(self, event: EventName, *args: Any) -> None:
        self._events.emit(event, *args)

    def _trouble(self, error: BaseException) -> None:
        self._events.emit("error", error)
