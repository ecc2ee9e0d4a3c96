"""The worker: takes jobs of one queue, runs them, and maintains the queue meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Self, Unpack, overload

from ..errors import ClosedError, GlideMQError
from ..job import Job
from ..jobs.snapshot import DataT, ResultT
from ..jobs.wait import until_empty
from ..options.fields import refuse, to_ms
from ..options.job import Duration
from ..options.types import JobIdLike
from ..options.worker import WorkerKeywords, WorkerOptions, override_options
from ..server.connection import Connection
from ..server.context import QueueBase, QueueContext
from ..wire.serializer import JSON_SERIALIZER
from .context import ShortestLock, SubscriptionOptions, WorkerContext
from .events import EventSource, WorkerEvents
from .exchange import Exchange
from .execution.executor import JobExecutor
from .execution.lifespan import Lifespan
from .execution.run import JobRun
from .execution.runner import Runner
from .execution.threads import Processor, SyncJob
from .idle import IdleWait
from .maintenance import Maintenance
from .outbox import Outbox
from .rate_limits import WorkerLimits
from .serving import first_of, serve_until_stopped

#: What closing gives to runs that are to hand back their jobs, and to results on their way, s.
_LAST_WAIT_S = 5.0
_FLUSH_S = 10.0
#: How often a pause that waits for runs looks which are left, s.
_PAUSE_LOOK_S = 0.5


class Worker(QueueBase, EventSource[DataT, ResultT]):
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
        batch: hand several jobs at a time to the processor, which takes a list and returns one result a job.
        backoff_strategies: name -> f(failed attempts, error) -> duration; may be async.
        events, metrics: False leaves out `completed` events and its metrics.
        grace: ms that running jobs get at shutdown before they are handed back.
        log_errors: log failed attempts to `glidemq.worker` (extras `job`, `attempt`, `duration_ms`), and errors while
            nobody listens to `error`.
        middleware: code around every run, outermost first.
        lifespan: `f(worker)` gives an async context manager, entered before the first job and left after the last; its
            mapping is `job.resources`.
        options: the same set as one object; a keyword beside it wins.
    """

    _role = "worker"

    # An async function, a plain one, and the same for batches: each overload tells the types of the jobs.
    @overload
    def __init__(
        self,
        name: str,
        processor: Callable[[Job[DataT, ResultT]], Awaitable[ResultT]],
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        processor: Callable[[SyncJob[DataT, ResultT]], ResultT],
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        processor: Callable[[list[Job[DataT, ResultT]]], Awaitable[Sequence[ResultT]]],
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        processor: Callable[[list[SyncJob[DataT, ResultT]]], Sequence[ResultT]],
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None: ...
    def __init__(
        self,
        name: str,
        processor: Processor,
        connection: str | Connection | None = None,
        *,
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None:
        self.options = override_options(WorkerOptions, options, keywords)
        if not callable(processor):
            refuse(
                "processor",
                processor,
                "a function of one argument",
                f"processor must be a function, not {type(processor).__name__}",
            )
        super().__init__(
            name,
            connection,
            prefix=self.options.prefix,
            serializer=self.options.serializer or JSON_SERIALIZER,
        )
        if self.options.dead_letter_queue == self.name:
            message = (
                f"worker of '{self.name}' sends dead letters to its own queue: they would run and fail again"
            )
            refuse("dead_letter_queue", self.name, "another queue", message)
        self.processor = processor
        self.started_at: datetime | None = None
        self.id = f"worker-0-{secrets.token_hex(4)}"  # until it starts and knows when
        self._events = WorkerEvents(self.options.log_errors)
        self._running: dict[str, JobRun] = {}
        self._subscription: SubscriptionOptions | None = None
        self._ready = asyncio.Event()
        self._failure: BaseException | None = None
        self._state = "new"
        self._paused = asyncio.Event()
        self._closed = asyncio.Event()
        self._lifespan = Lifespan(lambda error: self._events.emit("error", error), self.close)

    # Life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, register and begin to take jobs. Raises what prevented it; ClosedError after `close()`."""
        if self._state in ("closing", "closed"):
            raise ClosedError(f"Worker '{self.name}' is closed", what=self.name)
        if self._state != "new":
            return
        self._state = "starting"
        try:
            self._assemble(await self.context())
            await self._lifespan.enter(self.options.lifespan, self)
            await self._maintenance.start()
        except BaseException as error:
            await self._lifespan.leave()
            self._state, self._failure = "closed", error
            self._ready.set()
            self._closed.set()
            await super().close()
            raise
        self._state = "running"
        self._exchange.claiming_allowed = not self.is_paused
        self._exchange.wake()
        self._ready.set()
        self._events.emit("ready")

    def _assemble(self, queue: QueueContext) -> None:
        """Make the parts; each knows those made before it, and the context that they share."""
        options, started_ms = self.options, queue.now_ms()
        self.started_at = datetime.fromtimestamp(started_ms / 1000, UTC)
        self.id = f"worker-{started_ms}-{secrets.token_hex(4)}"
        self._events.context = contextvars.copy_context()
        context = self._context = WorkerContext(
            queue=queue,
            worker_id=self.id,
            started_ms=started_ms,
            options=options,
            limits=WorkerLimits(options.limiter, options.token_limiter),
            events=self._events,
            running=self._running,
            paused=self._paused,
            lock=ShortestLock(options.lock_duration),
            subscription=self._subscription,
        )
        outbox = Outbox(queue, context.report)
        self._runner = Runner(context, JobExecutor(context, self.processor, outbox), self._lifespan)
        self._idle_wait = IdleWait(context)
        self._exchange = Exchange(context, self._runner, outbox, self._idle_wait)
        self._maintenance = Maintenance(context, self._exchange, outbox)

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
        await serve_until_stopped([self], signals=signals)

    async def wait_until_closed(self) -> None:
        """Return when it has closed."""
        await self._closed.wait()

    async def close(self, *, force: bool = False) -> None:
        """Stop taking jobs, wait up to `grace` for running ones, hand the rest back, unregister; twice is fine.

        With `force`, or when this call is cancelled, running jobs are cancelled and handed back at once.
        """
        if self._state == "starting":
            await self._ready.wait()
        if self._state in ("closing", "closed"):
            if self._state == "closing":
                await self._closed.wait()
            return
        if self._state != "running":
            self._state = "closed"
            self._closed.set()
            await super().close()
            return
        self._state = "closing"
        self._events.emit("closing")
        self._exchange.claiming_allowed = False
        self._runner.stop_starting()
        try:
            await self._wind_down(force)
        finally:
            self._state = "closed"
            self._events.emit("closed")
            self._closed.set()
            await self._events.drain()
            await super().close()

    async def _wind_down(self, force: bool) -> None:
        try:
            await self._idle_wait.close()
            if not force:
                await self._wait_for(self._run_tasks(), self.options.grace / 1000)
        finally:
            await self._stop_everything()

    async def _stop_everything(self) -> None:
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
                self._context.report(
                    GlideMQError("some results could not be recorded; the jobs will run again as stalled")
                )
            # Claimed by a call that was under way when closing began: these are handed back unstarted.
            await self._wait_for(self._run_tasks() - stopped, _LAST_WAIT_S)
        finally:
            await self._exchange.stop()
            for run in self._running.values():
                if run.ended and run.task is not None:
                    run.task.cancel()  # it still tries to record how it ended
            await self._maintenance.stop()
            await self._lifespan.leave()

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
        self._paused.set()
        if self._state != "running":
            return
        self._exchange.claiming_allowed = False
        while not force and self._paused.is_set():
            await self._exchange.wait_for_claims()
            tasks = self._run_tasks()
            if not tasks:
                await first_of(self._exchange.flush(), self.wait_until_closed())
                break
            # Not for ever: one that ignores its cancellation loses its job and runs on.
            await self._wait_for(tasks, _PAUSE_LOOK_S)

    async def resume(self) -> None:
        """Take jobs again."""
        self._paused.clear()
        if self._state == "running":
            self._exchange.claiming_allowed = True
            self._exchange.wake()

    def abort_job(self, job_id: JobIdLike) -> bool:
        """Stop a job that runs here: cancels a coroutine, sets `job.aborted` for a thread. False if it does not."""
        run = self._running.get(self._own(job_id))
        return run.abort("aborted") if run is not None else False

    def rate_limit(self, duration: Duration) -> None:
        """Hold back new starts of this worker for a while (ms, timedelta or text)."""
        hold_ms = to_ms(duration, "duration")
        if self._state == "running":
            self._exchange.hold(hold_ms)

    async def drain(self) -> None:
        """Serve until nothing waits, runs, is scheduled or parked in the queue, then close; starts if need be."""
        await self.start()
        outcome = None
        if self._state == "running":
            outcome, _ = await first_of(self._until_done(), self._closed.wait())
        await self.close()
        if isinstance(outcome, GlideMQError):
            raise outcome

    async def _until_done(self) -> None:
        """Return when nothing is left to do."""
        await until_empty(await self.context())

    @property
    def is_running(self) -> bool:
        """Whether it is taking or finishing jobs; not while this worker is paused."""
        return self.has_started and not self.is_paused

    @property
    def has_started(self) -> bool:
        """Whether it has started and has not closed; paused or not."""
        return self._state in ("running", "closing")

    @property
    def is_closing(self) -> bool:
        """Whether it has begun to close, or is closed."""
        return self._state in ("closing", "closed")

    @property
    def is_paused(self) -> bool:
        """Whether this worker was paused (not whether the queue is)."""
        return self._paused.is_set()

    @property
    def active_jobs(self) -> int:
        """Jobs running here now."""
        return len(self._running)


async def serve(
    *workers: Worker,
    signals: bool = True,
    grace: Duration | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Start workers, serve until SIGTERM, SIGINT or until all are closed, and close them all together.

    Running jobs get their grace; a second Ctrl-C hands them back at once.

    Args:
        signals: False leaves the signals to the program (a web server, for example): it ends the serving by cancelling
            this call, or by closing the workers.
        grace: ms, timedelta or text that running jobs get at the end; None leaves each worker's own.
        on_ready: called when all have started.
    Raises:
        InvalidOptionError: no worker is given, or something else.
        GlideMQError: what kept one of them from starting; those that had started are closed first.
    """
    if not workers or not all(isinstance(worker, Worker) for worker in workers):
        refuse(
            "workers", workers, "serve(worker, ...)", "serve() takes one Worker or more, each as an argument"
        )
    if grace is not None:
        for worker in workers:
            worker.options = override_options(WorkerOptions, worker.options, {"grace": grace})
    await serve_until_stopped(workers, signals=signals, on_ready=on_ready)
