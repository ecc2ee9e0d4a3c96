"""What a worker does beside its jobs: heartbeats, registration, promotion, sweeps, letters to other slots."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from ..ai.suspension import deliver_early
from ..errors import GlideMQError
from ..flows.parts import mend_flows
from ..jobs.links import mend_links
from ..jobs.registry import register_queue
from ..options.fields import LOCK_DURATION_MS
from ..reading.workers import get_workers
from ..server.context import QueueContext
from . import sweeps
from .events import logger
from .exchange import Exchange
from .execution.dead_letters import send_dead_letter
from .execution.outcome import SettleRecord, trouble_error
from .execution.run import JobRun
from .outbox import TRY_AGAIN_MS, Outbox
from .rate_limits import WorkerLimits

if TYPE_CHECKING:
    from .worker import Worker

#: Running jobs are looked after at least this often, whatever the lock: peers steal what is silent for longer.
_LONGEST_BEAT_MS = 15_000
_SHORTEST_BEAT_MS = 50
#: Half of the shortest lock that a job may have: nothing is gained by looking more often for locks that ran out.
_SHORTEST_LOOK_MS = LOCK_DURATION_MS[0] // 2
_UNKNOWN_MS = 2**53
#: Jobs that one call of a heartbeat is for: more would hold the server for long.
_BEATS = 500
#: How often records that nothing needs any more are looked for, ms.
_FORGETTING_MS = 60_000


class Maintenance:
    """Background loops of one worker; each owns its errors and goes on."""

    def __init__(
        self,
        worker: Worker,
        scope: QueueContext,
        exchange: Exchange,
        limits: WorkerLimits,
        running: Mapping[str, JobRun],
        emit: Callable[..., None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._worker = worker
        self._options = worker.options
        self._scope = scope
        self._exchange = exchange
        self._limits = limits
        self._running = running
        self._emit = emit
        self._on_error = on_error
        self._tasks: list[asyncio.Task[None]] = []
        self._letters: set[asyncio.Task[None]] = set()
        self._poked = asyncio.Event()
        self._beat_changed = asyncio.Event()
        self._shortest_lock = worker.options.lock_duration
        #: Shortest lock that a job of any worker was seen with, ms; 0 when none had its own.
        self._shortest_seen = 0
        self._list_walk = sweeps.ListWalk(scope)
        self._outbox = Outbox(scope, on_error)
        self._looked_at_schedulers = False
        self._suspended_rank = 0
        self._next_promotion_ms = _UNKNOWN_MS

    async def start(self) -> None:
        """Register, so that the worker is seen before its first job, then begin to look after the queue."""
        await self._register()
        options = self._options
        self._tasks = [
            asyncio.create_task(self._every(self._registration_ms, self._register)),
            asyncio.create_task(self._beat_loop()),
            asyncio.create_task(self._promotion_loop()),
            asyncio.create_task(self._every(lambda: options.stalled_interval, self._sweep, at_once=True)),
            asyncio.create_task(self._every(self._lock_look_ms, self._sweep_locks)),
            asyncio.create_task(
                self._every(lambda: _FORGETTING_MS, lambda: sweeps.sweep_records(self._scope))
            ),
        ]

    async def stop(self) -> None:
        """Finish letters under way, stop the loops, unregister."""
        if self._letters:
            await asyncio.wait(self._letters, timeout=5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._scope.call("unregister_worker", self._worker.id)
            if self._limits.published(0, 0, 0):
                await self._scope.call("publish_limits", self._worker.id, "", 0)
        except GlideMQError as error:
            self._on_error(error)

    def poke(self) -> None:
        """Something was scheduled: look at what is due now."""
        self._poked.set()

    def promote_by(self, at_ms: int) -> None:
        """Something falls due at `at_ms`: be there in time."""
        if at_ms < self._next_promotion_ms:
            self._poked.set()

    def expect_lock(self, lock_ms: int | None) -> None:
        """A job with a lock of its own runs: beat often enough for it."""
        if lock_ms is not None and lock_ms < self._shortest_lock:
            self._shortest_lock = lock_ms
            self._beat_changed.set()

    # Loops ---------------------------------------------------------------------------------------------------

    async def _every(
        self, interval_ms: Callable[[], int], step: Callable[[], Awaitable[object]], *, at_once: bool = False
    ) -> None:
        while True:
            if at_once:
                await self._guarded(step)
            at_once = True
            await asyncio.sleep(interval_ms() / 1000)

    async def _guarded(self, step: Callable[[], Awaitable[object]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever it was, the queue needs its sweeps
            self._on_error(error)

    # Registration --------------------------------------------------------------------------------------------

    def _registration_ms(self) -> int:
        return max(1_000, self._options.stalled_interval // 2)

    async def _register(self) -> None:
        await register_queue(self._scope)
        worker = self._worker
        record = {
            "addr": socket.gethostname(),
            "pid": os.getpid(),
            "startedAt": int(worker.started_at.timestamp() * 1000)
            if worker.started_at
            else self._scope.now_ms(),
            "activeJobs": len(self._running),
            "language": "python",
            "version": _version(),
            "concurrency": self._options.concurrency,
            "paused": worker.is_paused,
            "seenAt": self._scope.now_ms(),
            "jobs": [
                {"id": run.job.id, "name": run.job.name, "startedAt": run.started_ms}
                for run in list(self._running.values())[:50]
            ],
        }
        await self._scope.call(
            "register_worker",
            worker.id,
            json.dumps(record, separators=(",", ":")),
            max(self._options.stalled_interval, 2_000),
            self._options.dead_letter_queue or "",
            self._scope.now_ms(),
        )
        now_ms, lives_ms = self._scope.now_ms(), max(self._options.stalled_interval, 2_000)
        published = self._limits.published(self._exchange.held, now_ms + lives_ms, now_ms)
        if published:
            await self._scope.call("publish_limits", worker.id, published, 2 * lives_ms)

    # Heartbeats ----------------------------------------------------------------------------------------------

    def _beat_ms(self) -> int:
        half = min(self._shortest_lock // 2, self._options.promotion_interval, _LONGEST_BEAT_MS)
        return max(_SHORTEST_BEAT_MS, half)

    async def _beat_loop(self) -> None:
        while True:
            self._beat_changed.clear()
            try:
                # Not wait_for: it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(self._beat_ms() / 1000):
                    await self._beat_changed.wait()
                continue
            except TimeoutError:
                pass
            if self._running or not self._exchange.idle:
                await self._guarded(self._beat)
            else:
                self._shortest_lock = self._options.lock_duration

    async def _beat(self) -> None:
        """A heartbeat for every running job; learns which were revoked, and which are not ours any more."""
        # Those whose results are still on their way, too: a slow link must not make them look dead.
        runs = [*self._running.values(), *self._exchange.unsettled()]
        for start in range(0, len(runs), _BEATS):
            await self._beat_for(runs[start : start + _BEATS])

    async def _beat_for(self, runs: list[JobRun]) -> None:
        marks = [word for run in runs for word in (run.job.id, run.processed_on, run.entry)]
        answers = await self._scope.call("beat", self._scope.now_ms(), *marks)
        for run, answer in zip(runs, answers, strict=True):
            if run.ended:
                continue
            if answer == b"revoked":
                run.abort("revoked")
            elif answer == b"lost":
                run.abort("lost")

    # Promotion -----------------------------------------------------------------------------------------------

    async def _promotion_loop(self) -> None:
        due_ms: int | None = None
        walk_at_ms = 0
        while True:
            self._poked.clear()
            self._next_promotion_ms = _UNKNOWN_MS  # what falls due meanwhile may be too late for this one
            try:
                due_ms = await self._promote()
                # By the clock, not by the tick: retries may ask for a tick many times a second.
                if self._scope.now_ms() >= walk_at_ms:
                    walk_at_ms = self._scope.now_ms() + self._options.promotion_interval
                    await self._walk_lists()
            except Exception as error:  # noqa: BLE001 - whatever it was, the queue needs its promotions
                self._on_error(error)
                due_ms = None
            wait_ms = self._options.promotion_interval
            if due_ms is not None:
                wait_ms = max(1, min(wait_ms, due_ms - self._scope.now_ms()))
            self._next_promotion_ms = self._scope.now_ms() + wait_ms
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _promote(self) -> int | None:
        """Promote what is due, sweep deadlines, deliver kept signals and letters; when to come again, ms."""
        tick = await sweeps.tick(self._scope)
        self._report(tick.troubles)
        _, self._suspended_rank = await sweeps.sweep_suspended(self._scope, self._suspended_rank)
        delivered = await deliver_early(self._scope)
        await self.deliver_letters()
        if tick.promoted or delivered:
            self._exchange.wake()
        return tick.next_due_ms

    # Stalls --------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Look for what somebody left; a record that spoils one look keeps nothing from the others."""
        looks: list[Callable[[], Awaitable[object]]] = [
            self._sweep_stalls,
            self._sweep_list_stalls,
            self._try_letters_again,
            self.empty_outbox,
            self._look_at_schedulers,
            lambda: mend_flows(self._scope),
        ]
        if self._scope.connection.is_cluster:
            looks.append(lambda: mend_links(self._scope))
        for look in looks:
            await self._guarded(look)

    async def _sweep_stalls(self) -> None:
        options = self._options
        self._tell(
            await sweeps.sweep_stalls(
                self._scope,
                self._worker.id,
                min_idle_ms=options.stalled_interval,
                lock_ms=options.lock_duration,
                max_stalled=options.max_stalled_count,
            )
        )

    async def _sweep_list_stalls(self) -> None:
        lock_ms, limit = self._options.lock_duration, self._options.max_stalled_count
        self._tell(await sweeps.sweep_list_stalls(self._scope, lock_ms=lock_ms, max_stalled=limit))

    async def _look_at_schedulers(self) -> None:
        """Say once, at the start, that nobody runs the queue's schedulers: Python workers do not."""
        if self._looked_at_schedulers or not self._options.log_errors:
            return
        kept = await self._scope.connection.command("HLEN", self._scope.keys.schedulers)
        if kept and all(worker.language == "python" for worker in await get_workers(self._scope)):
            logger.warning(
                "queue '%s' has schedulers (%d) and no Node worker: nobody runs them, Python workers do not",
                self._scope.queue,
                kept,
            )
        self._looked_at_schedulers = True

    def _lock_look_ms(self) -> int:
        shortest = min(filter(None, (self._shortest_seen, self._shortest_lock)))
        return max(_SHORTEST_LOOK_MS, min(shortest // 2, self._options.promotion_interval))

    async def _sweep_locks(self) -> None:
        """Look for jobs whose own, short lock ran out: between two sweeps they would wait for long."""
        if self._running:
            await self._beat()  # what kept our loop busy must not cost our own runs their jobs
        found, self._shortest_seen = await sweeps.sweep_locks(
            self._scope, max_stalled=self._options.max_stalled_count
        )
        self._tell(found)

    async def _walk_lists(self) -> None:
        options = self._options
        self._tell(
            await self._list_walk.step(lock_ms=options.lock_duration, max_stalled=options.max_stalled_count)
        )

    def _report(self, troubles: list[str]) -> None:
        for text in dict.fromkeys(troubles):
            self._on_error(trouble_error(self._scope.queue, text))

    def _tell(self, found: sweeps.Stalled) -> None:
        self._report(found.troubles)
        for job_id in (*found.requeued, *found.failed):
            self._emit("stalled", job_id)
        if found.requeued:
            self._exchange.wake()

    # Parents in other slots, dead letters --------------------------------------------------------------------

    async def deliver_letters(self) -> None:
        """Empty the outbox if something was put in since the last time."""
        if self._exchange.outbox_waiting:
            await self.empty_outbox()

    async def empty_outbox(self) -> None:
        """Tell parents in other queues that a child is done, and budgets in other slots what was spent."""
        self._exchange.outbox_waiting = False
        if await self._outbox.deliver():
            self._exchange.outbox_waiting = True

    async def _try_letters_again(self) -> None:
        if await self._outbox.retry(self._scope.now_ms() - TRY_AGAIN_MS):
            await self.empty_outbox()

    def dead_letter(self, record: SettleRecord) -> None:
        """Copy an exhausted job to the dead letter queue, beside the work."""
        name = self._options.dead_letter_queue
        assert name is not None
        task = asyncio.create_task(self._guarded(lambda: send_dead_letter(self._scope, name, record)))
        self._letters.add(task)
        task.add_done_callback(self._letters.discard)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("glidemq")
    except PackageNotFoundError:
        return "unknown"
