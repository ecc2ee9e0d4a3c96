"""Heartbeats of the runs of this worker: they renew the locks of their jobs, and bring back which runs are to stop."""

from __future__ import annotations

from .context import WorkerContext
from .exchange import Exchange
from .execution.run import JobRun

#: Running jobs are looked after at least this often, whatever the lock: peers take over what is silent for longer.
_LONGEST_MS = 15_000
_SHORTEST_MS = 50
#: Jobs that one call is for: more would hold the server for long.
_BATCH = 500


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
        for start in range(0, len(runs), _BATCH):
            await self._beat_for(runs[start : start + _BATCH])

    async def _beat_for(self, runs: list[JobRun]) -> None:
        marks = [word for run in runs for word in (run.job.id, run.processed_on, run.entry)]
        queue = self._context.queue
        answers = await queue.call("beat", queue.now_ms(), *marks)
        for run, answer in zip(runs, answers, strict=True):
            if run.ended:
                continue
            if answer == b"revoked":
                run.abort("revoked")
            elif answer == b"lost":
                run.abort("lost")

    def _interval_ms(self) -> int:
        promotion_ms = self._context.options.promotion_interval
        return max(_SHORTEST_MS, min(self._context.lock.ms // 2, promotion_ms, _LONGEST_MS))
