"""The jobs that run while things break: every kind of work the engine does, each with an end that can be checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glidemq_core import (
    Actor,
    Budget,
    Connection,
    FlowJob,
    FlowProducer,
    Job,
    NewJob,
    Ordering,
    Queue,
    Worker,
)
from glidemq_core.errors import BulkError, DuplicateJobError, GlideMQError

QUEUE = "work"
#: Words of a failure that is part of the plan.
PLANNED = "as planned"
CHUNKS = 8
TOKENS = 10


@dataclass
class Account:
    """What the outside knows: which jobs were accepted, and how each must end."""

    #: Id -> kind, of jobs whose add was acknowledged (or found to have been made).
    accepted: dict[str, str] = field(default_factory=dict)
    #: Tokens of jobs with automatic ids -> how many adds were acknowledged, and how many have an unknown end.
    plain: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Flow id -> ids of its children.
    flows: dict[str, list[str]] = field(default_factory=dict)
    #: Decisions whose call was acknowledged as sent.
    decided: list[str] = field(default_factory=list)
    repeated_calls: int = 0


class Runs:
    """A file to which every start of a processor adds a line, whichever process it is in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, job: Job[Any, Any]) -> None:
        line = json.dumps([job.id, job.name, job.attempts_made, os.getpid()]) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)

    def read(self) -> list[tuple[str, str, int, int]]:
        """Id, kind, failed attempts before and process of every start, oldest first."""
        if not self.path.exists():
            return []
        return [tuple(json.loads(line)) for line in self.path.read_text("utf-8").splitlines()]


# Processing ---------------------------------------------------------------------------------------------------


async def _plain(job: Job[Any, Any]) -> Any:
    await asyncio.sleep(job.data["ms"] / 1_000)
    return job.data["n"]


async def _retried(job: Job[Any, Any]) -> Any:
    if job.attempts_made < job.data["failures"]:
        raise ValueError(PLANNED)
    return job.attempts_made


async def _reports(job: Job[Any, Any]) -> Any:
    await job.report_usage(model="m", total_tokens=3)
    await job.report_usage(model="m", total_tokens=TOKENS)
    return TOKENS


async def _streams(job: Job[Any, Any]) -> Any:
    for number in range(CHUNKS):
        await job.stream({"run": str(job.attempts_made), "number": str(number)})
    return CHUNKS


async def _asks(job: Job[Any, Any]) -> Any:
    if not job.signals:
        await job.stream_chunk("content", "a draft")
        await job.suspend(reason="shall it go out?")
    return job.signals[-1].name


async def _sums(job: Job[Any, Any]) -> Any:
    values = await job.get_children_values()
    return sum(values.values())


async def _holds(job: Job[Any, Any]) -> Any:
    await asyncio.sleep(1.3)
    return "held"


PROCESSORS: dict[str, Callable[[Job[Any, Any]], Awaitable[Any]]] = {
    **dict.fromkeys(("plain", "bulk", "delayed", "ranked", "last", "ordered"), _plain),
    "retried": _retried,
    "hopeless": _retried,
    "reports": _reports,
    "child": _reports,
    "streams": _streams,
    "asks": _asks,
    "flow": _sums,
    "holds": _holds,
}


def worker(connection: Connection | str, runs: Runs, **options: Any) -> Worker[Any, Any]:
    """A worker of the workload, quick to notice that something is wrong."""

    async def process(job: Job[Any, Any]) -> Any:
        runs.note(job)
        return await PROCESSORS[job.name](job)

    quick = {
        "concurrency": 12,
        "lock_duration": 1_500,
        "stalled_interval": 1_000,
        "promotion_interval": 100,
        "max_stalled_count": 1_000,
        "block_timeout": 500,
        "log_errors": False,
    }
    return Worker(QUEUE, process, connection, **{**quick, **options})


# Producing ----------------------------------------------------------------------------------------------------

#: Kind -> options of its add.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "retried": {"attempts": 4, "backoff": 40},
    "hopeless": {"attempts": 2, "backoff": 30},
    "ordered": {},
    "delayed": {},
    "ranked": {},
    "last": {"lifo": True},
    "holds": {"lock_duration": 1_000},
    "reports": {},
    "streams": {"attempts": 3},
    "asks": {},
    "flow": {},
    "bulk": {},
}
#: How often a kind is drawn.
_WEIGHTS = {"plain": 6, "ordered": 6, "holds": 1, "asks": 2, "flow": 2}


class Producer:
    """Adds jobs until it is told to stop; an add with an unknown end is repeated until it is known."""

    def __init__(
        self, connection: Connection, account: Account, rng: random.Random, *, pause_s: float
    ) -> None:
        self._queue: Queue[Any, Any] = Queue(QUEUE, connection)
        self._flows = FlowProducer(connection)
        self._account = account
        self._rng = rng
        self._pause = pause_s
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        names = list(KINDS)
        weights = [_WEIGHTS.get(name, 3) for name in names]
        number = 0
        while not self.stopping.is_set():
            number += 1
            [kind] = self._rng.choices(names, weights)
            await self._add(kind, f"{kind}-{number}", number)
            await asyncio.sleep(self._rng.uniform(0, 2 * self._pause))

    async def _add(self, kind: str, job_id: str, number: int) -> None:
        if kind == "bulk":
            await self._bulk(number)
        elif kind == "flow":
            await self._until_known(lambda: self._flow(job_id))
            self._account.accepted[job_id] = kind
        else:
            data, options = self._job(kind, number)
            await self._until_known(lambda: self._queue.add(kind, data, job_id=job_id, **options))
            self._account.accepted[job_id] = kind

    def _job(self, kind: str, number: int) -> tuple[Any, dict[str, Any]]:
        data = {"n": number, "ms": self._rng.choice((0, 0, 2, 10)), "failures": 99}
        options = dict(KINDS[kind])
        if kind == "retried":
            data["failures"] = self._rng.randint(1, 3)
        elif kind == "ordered":
            options["ordering"] = Ordering(f"key-{number % 5}", concurrency=1)
        elif kind == "delayed":
            options["delay"] = self._rng.randint(1, 800)
        elif kind == "ranked":
            options["priority"] = self._rng.randint(1, 9)
        return data, options

    async def _bulk(self, number: int) -> None:
        """Jobs with ids from the counter: after an unknown end they are added once more, and may exist twice."""
        jobs = [NewJob("bulk", {"n": f"{number}/{part}", "ms": 0}) for part in range(5)]
        pending = {job.data["n"]: job for job in jobs}
        while pending and not self.stopping.is_set():
            answers: list[Any]
            try:
                answers = list(await self._queue.add_bulk(list(pending.values())))
            except BulkError as error:
                answers = list(error.results)
            except GlideMQError as error:
                answers = [error] * len(pending)
            for (token, _), answer in zip(list(pending.items()), answers, strict=True):
                known, unknown = self._account.plain.get(token, (0, 0))
                if isinstance(answer, Job):
                    self._account.plain[token] = (known + 1, unknown)
                    del pending[token]
                else:
                    self._account.plain[token] = (known, unknown + 1)
            if pending:
                self._account.repeated_calls += 1
                await asyncio.sleep(0.05)

    async def _flow(self, job_id: str) -> None:
        children = [f"{job_id}-{part}" for part in range(3)]
        self._account.flows[job_id] = children
        leaves = [FlowJob(name="child", queue=QUEUE, data={}, options=_with_id(child)) for child in children]
        root = FlowJob(name="flow", queue=QUEUE, data={}, options=_with_id(job_id), children=leaves)
        await self._flows.add(root, budget=Budget(max_total_tokens=1_000_000))

    async def _until_known(self, add: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await add()
            except DuplicateJobError:
                return
            except GlideMQError:
                self._account.repeated_calls += 1
                await asyncio.sleep(0.05)
            else:
                return


def _with_id(job_id: str) -> Any:
    from glidemq_core import JobOptions

    return JobOptions(job_id=job_id)


# Deciding -----------------------------------------------------------------------------------------------------


async def decide(connection: Connection, account: Account) -> None:
    """Approve what is suspended, until cancelled."""
    queue: Queue[Any, Any] = Queue(QUEUE, connection)
    actor = Actor("checker", via="soak")
    while True:
        with contextlib.suppress(GlideMQError):
            for job in await queue.get_suspended_jobs():
                decision = await queue.approve(job.id, actor=actor)
                if decision.outcome == "sent":
                    account.decided.append(job.id)
        await asyncio.sleep(0.2)
