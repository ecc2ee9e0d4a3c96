"""What a workload of the demo is: a queue, what is added to it, how its jobs run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from glidemq_core import (
    Backoff,
    Connection,
    Job,
    JobOptions,
    NewJob,
    Queue,
    RateLimit,
    Retention,
    TokenLimit,
    Worker,
)
from glidemq_core.options.job import merge_options

from ..pace import World

#: Enough to look back at, little enough to run for days.
KEEP = JobOptions(remove_on_complete=Retention(count=400), remove_on_fail=Retention(count=150))


_MINUTE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What comes into a queue, and how it is worked off."""

    concurrency: int
    #: Jobs added a second at speed 1, and how many may wait before no more are added.
    per_s: float
    backlog: int
    #: Jobs that are there at once.
    opening: int
    #: What one job takes, ms, and the share that fails for good: as the history of the queue has it.
    usual_ms: int = 2_000
    fails: float = 0.01
    #: How many may wait for a person before the next ones get by without asking.
    asking: int = 0
    #: Starts and tokens that the worker allows in a window of so many seconds, at speed 1.
    rpm: int | None = None
    tpm: int | None = None
    window_s: float = 60
    #: Starts a minute that the queue allows, at speed 1.
    queue_rpm: int | None = None
    #: Queue of the dead letters that its jobs leave.
    dead: str | None = None


class Workload(ABC):
    """One queue with its traffic."""

    queue: ClassVar[str]
    traffic: ClassVar[Traffic]

    def __init__(self, world: World, connection: Connection) -> None:
        self.world = world
        self.connection = connection

    @abstractmethod
    def new(self, number: int, may_ask: bool) -> NewJob:
        """Make the `number`-th job; with `may_ask` it may be one that waits for a person."""

    @abstractmethod
    async def process(self, job: Job[Any, Any]) -> Any:
        """Run one job."""

    async def add(self, queue: Queue[Any, Any], numbers: Iterable[int], may_ask: bool) -> None:
        """Add the jobs of these numbers."""
        jobs = [self.new(number, may_ask) for number in numbers]
        if jobs:
            await queue.add_bulk(jobs)

    async def prepare(self, queue: Queue[Any, Any]) -> None:
        """Set the limit that the queue itself has, if any, and add the jobs that are there at once."""
        if self.traffic.queue_rpm is not None:
            await queue.set_global_rate_limit(RateLimit(self.traffic.queue_rpm, self.world.ms(_MINUTE_MS)))
        await self.add(queue, range(1, self.traffic.opening + 1), self.traffic.asking > 0)

    def worker(self, grace_ms: int) -> Worker:
        """Return the worker of this queue, not started."""
        window = self.world.ms(self.traffic.window_s * 1_000)
        return Worker(
            self.queue,
            self.process,
            self.connection,
            concurrency=self.traffic.concurrency,
            promotion_interval=500,
            limiter=RateLimit(self.traffic.rpm, window) if self.traffic.rpm else None,
            token_limiter=TokenLimit(self.traffic.tpm, window) if self.traffic.tpm else None,
            grace=grace_ms,
            dead_letter_queue=self.traffic.dead,
            log_errors=False,  # a lost server is told once, by whoever adds jobs
        )

    def options(self, **given: Any) -> JobOptions:
        """Return job options with what all jobs of the demo have: retention, retries with growing pauses."""
        common = {"attempts": 3, "backoff": Backoff("exponential", self.world.ms(900), 0.3)}
        return merge_options(JobOptions, KEEP, {**common, **given})
