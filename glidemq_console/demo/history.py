"""Make twenty minutes of history: the same queues run with the clock set back, so that no chart begins empty."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from glidemq_core import Connection, Job, NewJob, Queue, Worker, connect

from .models import EMBEDDER, MODELS, ProviderError, model_of
from .workloads.workload import KEEP, Workload

_MINUTES = 20
_MINUTE_MS = 60_000
#: Jobs a minute at most: making the history must not delay the start.
_MOST = 60


async def make_history(url: str, prefix: str | None, workloads: Sequence[Workload]) -> None:
    """Let jobs of the past run, each queue on a clock of its own."""
    await asyncio.gather(*(_Past(workload).run(url, prefix) for workload in workloads))


class _Past:
    """One queue, minute by minute: add, let all begin, move the clock, let all end."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._rng = workload.world.rng("history", workload.queue)
        self._now = 0
        self._gate = asyncio.Event()
        self._began = self._ended = 0
        self._changed = asyncio.Event()

    async def run(self, url: str, prefix: str | None) -> None:
        async with connect(url, prefix=prefix, role="demo") as connection:
            self._now = connection.now_ms() - _MINUTES * _MINUTE_MS
            connection.now_ms = lambda: self._now
            await self._minutes(connection)

    async def _minutes(self, connection: Connection) -> None:
        workload, total = self._workload, 0
        queue: Queue[Any, Any] = Queue(workload.queue, connection)
        worker = Worker(
            workload.queue,
            self._process,
            connection,
            concurrency=_MOST,
            block_timeout=60_000,
            dead_letter_queue=workload.traffic.dead,
            log_errors=False,  # what fails in the past does so on purpose
        )
        worker.on("completed", lambda *_: self._end())
        worker.on("failed", lambda *_: self._end())
        async with worker:
            start = self._now
            for minute in range(_MINUTES):
                self._now = start + minute * _MINUTE_MS
                # A slow swell with some noise; `per_s` is what it comes up to now.
                share = 0.75 + 0.25 * math.sin(minute / 5) + self._rng.uniform(-0.12, 0.12)
                count = min(_MOST, round(workload.traffic.per_s * 60 * share))
                total += count
                self._gate.clear()
                await queue.add_bulk([self._job(total + number) for number in range(count)])
                await self._until("_began", total)
                self._now += round(self._rng.uniform(0.7, 1.3) * workload.traffic.usual_ms)
                self._gate.set()
                await self._until("_ended", total)

    def _job(self, number: int) -> NewJob:
        made = self._workload.new(number, False)
        return NewJob(made.name, made.data, KEEP)

    async def _process(self, job: Job[Any, Any]) -> Any:
        self._began += 1
        self._changed.set()
        await self._gate.wait()
        rng = self._workload.world.rng_of(job)
        data = job.data
        if "model" in data or "document" in data:
            model = model_of(job) if data.get("model") in MODELS else EMBEDDER
            tokens = {"input": rng.randint(40, 900), "output": rng.randint(30, 260) if model.usd_out else 0}
            await job.report_usage(
                model=model.name,
                provider=model.provider,
                tokens={name: amount for name, amount in tokens.items() if amount},
                total_cost=round(
                    (tokens["input"] * model.usd_in + tokens["output"] * model.usd_out) / 1e6, 8
                ),
                cost_unit="usd",
            )
        if rng.random() < self._workload.traffic.fails:
            raise ProviderError(rng.choice(("429 slow down", "503 overloaded", "504 gateway timeout")))
        return {"ok": True}

    def _end(self) -> None:
        self._ended += 1
        self._changed.set()

    async def _until(self, counter: str, total: int) -> None:
        while getattr(self, counter) < total:
            self._changed.clear()
            await self._changed.wait()
