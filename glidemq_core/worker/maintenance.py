"""What a worker does beside its jobs: heartbeats, registration, promotion, sweeps, the outbox."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import warnings
from collections.abc import Awaitable, Callable

from ..ai.suspension import deliver_early
from ..errors import GlideMQError
from ..flows.parts import recover_flows
from ..installed import package_version
from ..jobs.adding.links import mend_links
from ..jobs.deadlines import sweep_suspended
from ..jobs.registry import register_queue
from ..options.fields import LOCK_DURATION_MS
from ..schedules.tick import SchedulerTick
from . import sweeps
from .context import WorkerContext
from .exchange import Exchange
from .execution.run import JobRun
from .outbox import RETRY_AFTER_MS, Outbox

#: Half of the shortest lock that a job may have: nothing is gained by looking more often for locks that ran out.
_SHORTEST_LOOK_MS = LOCK_DURATION_MS[0] // 2
#: How often records that nothing needs any more are looked for, ms.
_FORGETTING_MS = 60_000
#: Running jobs that a registration names.
_LISTED_JOBS = 50
#: Running jobs are looked after at least this often, whatever the lock: peers take over what is silent for longer.
_LONGEST_BEAT_MS = 15_000
_SHORTEST_BEAT_MS = 50
#: Jobs that one heartbeat is for: more would hold the server for long.
_BEATS = 500


class Heartbeats:
    """Sends heartbeats at half of the shortest lock that a running job has."""

    def __init__(self, context: WorkerContext, exchange: Exchange) -> None:
        self._context = context
        self._exchange = exchange

    async def run(self) -> None:
        """Beat until cancelled."""
        context = self._context
        while True:
            context.lock.reset()
            if await context.lock.sleep(self._interval_ms() / 1000):
                continue  # a job with a shorter lock runs
            if context.running or not self._exchange.idle:
                await context.attempt(self.beat)
            else:
                context.lock.ms = context.options.lock_duration

    async def beat(self) -> None:
        """Send a heartbeat for every running job; learns which were revoked, and which are not ours any more."""
        # Those whose results are still on their way, too: a slow connection must not make them look stalled.
        runs = [*self._context.running.values(), *self._exchange.unsettled()]
        for start in range(0, len(runs), _BEATS):
            await self._beat_for(runs[start : start + _BEATS])

    async def _beat_for(self, runs: list[JobRun]) -> None:
        marks = [word for run in runs for word in (run.job.id, run.processed_on, run.entry)]
        queue = self._context.queue
        answers = await queue.call(*self._context.of_kind("beat", queue.now_ms(), *marks))
        for run, answer in zip(runs, answers, strict=True):
            if run.ended:
                continue
            if answer == b"revoked":
                run.abort("revoked")
            elif answer == b"lost":
                run.abort("lost")

    def _interval_ms(self) -> int:
        promotion_ms = self._context.options.promotion_interval
        return max(_SHORTEST_BEAT_MS, min(self._context.lock.ms // 2, promotion_ms, _LONGEST_BEAT_MS))


class Maintenance:
    """Background loops of one worker; each reports its errors and goes on."""

    def __init__(self, context: WorkerContext, exchange: Exchange, outbox: Outbox) -> None:
        self._context = context
        self._queue = context.queue
        self._options = context.options
        self._exchange = exchange
        self._outbox = outbox
        self._heartbeats = Heartbeats(context, exchange)
        #: Shortest lock that a job of any worker was seen with, ms; 0 when none had its own.
        self._shortest_seen = 0
        self._list_walk = sweeps.ListWalk(self._queue)
        self._walk_lists_at_ms = 0
        self._schedulers = SchedulerTick(self._queue, context.worker_id, self._options.promotion_interval)
        self._suspended_rank = 0
        self._warned = False

    async def start(self) -> None:
        """Register, so that the worker is seen before its first job, then begin to look after the queue."""
        await self._register()
        options = self._options
        self._context.background.extend(
            asyncio.create_task(loop)
            for loop in (
                self._every(lambda: max(1_000, options.stalled_interval // 2), self._register),
                self._heartbeats.run(),
                self._promotion_loop(),
                self._every(lambda: options.stalled_interval, self._sweep, at_once=True),
                self._every(lambda: _FORGETTING_MS, self._forget),
                *(
                    ()
                    if self._context.subscription
                    else (self._every(self._lock_look_ms, self._sweep_locks),)
                ),
            )
        )

    async def stop(self) -> None:
        """Stop the loops and unregister."""
        for task in self._context.background:
            task.cancel()
        await asyncio.gather(*self._context.background, return_exceptions=True)
        try:
            await self._queue.call("unregister_worker", self._context.worker_id)
            if self._context.limits.published(0, 0, 0):
                await self._queue.call("publish_limits", self._context.worker_id, "", 0)
        except GlideMQError as error:
            self._context.report(error)

    async def _every(
        self, interval_ms: Callable[[], int], step: Callable[[], Awaitable[object]], *, at_once: bool = False
    ) -> None:
        if at_once:
            await self._context.attempt(step)
        while True:
            await asyncio.sleep(interval_ms() / 1000)
            await self._context.attempt(step)

    # Registration --------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        context, queue, options = self._context, self._queue, self._options
        await register_queue(queue)
        now_ms, lives_ms = queue.now_ms(), max(options.stalled_interval, 2_000)
        record = {
            "addr": socket.gethostname(),
            "pid": os.getpid(),
            "startedAt": context.started_ms,
            "activeJobs": len(context.running),
            "language": "python",
            "version": package_version(),
            "concurrency": options.concurrency,
            "paused": context.paused.is_set(),
            "seenAt": now_ms,
            "jobs": [
                {"id": run.job.id, "name": run.job.name, "startedAt": run.started_ms}
                for run in list(context.running.values())[:_LISTED_JOBS]
            ],
        }
        subscription = context.subscription
        [status] = await queue.call(
            "register_worker",
            context.worker_id,
            json.dumps(record, separators=(",", ":")),
            lives_ms,
            options.dead_letter_queue or "",
            now_ms,
            *((subscription.name, subscription.start_from) if subscription else ()),
        )
        if status == b"mixed":
            self._warn_of_mixed_groups()
        now_ms = queue.now_ms()
        published = context.limits.published(self._exchange.limited_slots, now_ms + lives_ms, now_ms)
        if published:
            await queue.call("publish_limits", context.worker_id, published, 2 * lives_ms)

    def _warn_of_mixed_groups(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"queue '{self._queue.queue}' has subscriptions and ordinary workers: what the workers take, "
                "subscriptions that come later never see",
                RuntimeWarning,
                stacklevel=1,
            )

    # Promotion -----------------------------------------------------------------------------------------------

    async def _promotion_loop(self) -> None:
        timer, queue, interval_ms = self._context.promotion, self._queue, self._options.promotion_interval
        due_ms: int | None = None
        turn_ms: int | None = None  # the first time it comes unasked: nobody knows what waits
        while True:
            timer.reset()
            try:
                due_ms = await self._promote(turn_ms)
            except Exception as error:  # noqa: BLE001 - whatever it was, the queue needs its promotions
                self._context.report(error)
                due_ms = None
            now_ms = queue.now_ms()
            latest_ms = now_ms + interval_ms
            at_ms = latest_ms if due_ms is None else max(now_ms + 1, min(latest_ms, due_ms))
            rung = await timer.sleep_until(at_ms, now_ms)
            is_due = due_ms is not None and due_ms <= at_ms
            turn_ms = None if rung or is_due else sweeps.turn_of(interval_ms)

    async def _promote(self, turn_ms: int | None) -> int | None:
        """Promote what is due, make runs of schedulers, sweep deadlines, deliver kept signals and the outbox.

        One worker has its turn to do so, unless something is known to be due. Returns when to come again, epoch ms.
        """
        await self._outbox.deliver_waiting()
        question = self._schedulers.question(self._queue.now_ms())
        tick = await sweeps.tick(self._queue, question, turn_ms=turn_ms)
        if tick.taken:
            return self._schedulers.due_ms
        self._context.report_texts(tick.errors)
        await self._context.attempt(lambda: self._make_runs(tick))
        _, self._suspended_rank = await sweep_suspended(self._queue, self._suspended_rank)
        delivered = await deliver_early(self._queue)
        if tick.promoted or delivered:
            self._exchange.wake()
        await self._walk_lists()
        return min(filter(None, (tick.next_due_ms, self._schedulers.due_ms)), default=None)

    async def _make_runs(self, tick: sweeps.Tick) -> None:
        """Make the runs of schedulers that a tick found due; what goes wrong keeps nothing else from being done."""
        self._context.report_texts(await self._schedulers.run(tick.schedulers, tick.at_ms))

    async def _walk_lists(self) -> None:
        """Look for list-sourced jobs of Node workers, once an interval: retries may promote many times a second."""
        now_ms, options = self._queue.now_ms(), self._options
        if self._context.subscription is None and now_ms >= self._walk_lists_at_ms:
            self._walk_lists_at_ms = now_ms + options.promotion_interval
            self._handle(
                await self._list_walk.step(
                    lock_ms=options.lock_duration, max_stalled=options.max_stalled_count
                )
            )

    # Stalls --------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Run every sweep; a record that fails one of them does not stop the others."""
        looks: list[Callable[[], Awaitable[object]]] = [
            self._sweep_stalls,
            *(() if self._context.subscription else (self._sweep_list_stalls,)),
            self._retry_outbox,
            self._outbox.deliver,
            lambda: recover_flows(self._queue),
        ]
        if self._queue.connection.is_cluster:
            looks.append(lambda: mend_links(self._queue))
        for look in looks:
            await self._context.attempt(look)

    async def _sweep_stalls(self) -> None:
        options = self._options
        self._handle(
            await sweeps.sweep_stalls(
                self._queue,
                self._context.worker_id,
                min_idle_ms=options.stalled_interval,
                lock_ms=options.lock_duration,
                max_stalled=options.max_stalled_count,
                subscription=self._context.subscription,
                turn_ms=sweeps.turn_of(options.stalled_interval),
            )
        )

    async def _sweep_list_stalls(self) -> None:
        lock_ms, limit = self._options.lock_duration, self._options.max_stalled_count
        turn_ms = sweeps.turn_of(self._options.stalled_interval)
        self._handle(
            await sweeps.sweep_list_stalls(self._queue, lock_ms=lock_ms, max_stalled=limit, turn_ms=turn_ms)
        )

    async def _retry_outbox(self) -> None:
        """Give entries that were set aside another try."""
        if await self._outbox.retry(self._queue.now_ms() - RETRY_AFTER_MS):
            await self._outbox.deliver()

    def _lock_look_ms(self) -> int:
        shortest = min(filter(None, (self._shortest_seen, self._context.lock.ms)))
        return max(_SHORTEST_LOOK_MS, min(shortest // 2, self._options.promotion_interval))

    async def _sweep_locks(self) -> None:
        """Look for jobs whose own, short lock ran out: between two sweeps they would wait for long."""
        if self._context.running:
            await self._heartbeats.beat()  # what kept our loop busy must not cost our own runs their jobs
        found, self._shortest_seen = await sweeps.sweep_locks(
            self._queue,
            max_stalled=self._options.max_stalled_count,
            turn_ms=sweeps.turn_of(self._lock_look_ms()),
        )
        self._handle(found)

    async def _forget(self) -> None:
        await sweeps.sweep_records(self._queue, sweeps.turn_of(_FORGETTING_MS))

    def _handle(self, found: sweeps.Stalled) -> None:
        """Emit what a sweep found, and claim what it has queued again."""
        self._context.report_texts(found.errors)
        for job_id in (*found.requeued, *found.failed):
            self._context.emit("stalled", job_id)
        if found.requeued:
            self._exchange.wake()
