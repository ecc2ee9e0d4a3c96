"""What the parts of one worker share: its queue, its options, what it runs, and where it reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import ServerError
from ..options.worker import WorkerOptions
from ..server.commands import Arg
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from .events import EventName, WorkerEvents
from .execution.run import JobRun
from .rate_limits import WorkerLimits

_UNKNOWN_MS = 2**53


class Alarm:
    """A sleep that another part of the worker may cut short."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """End the sleep, or the next one if none goes on."""
        self._rung.set()

    async def sleep(self, seconds: float) -> bool:
        """Return after some seconds, or True once it was rung since the last `reset`."""
        try:
            # Not wait_for: it swallows a cancellation that comes together with the event.
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True

    def reset(self) -> None:
        """Forget that it was rung."""
        self._rung.clear()


class PromotionTimer(Alarm):
    """Wakes the promotion of scheduled jobs; other parts may ask for an earlier look."""

    def __init__(self) -> None:
        super().__init__()
        self._next_ms = _UNKNOWN_MS

    def ring_by(self, at_ms: int) -> None:
        """Something falls due at `at_ms`: look again unless a look is planned until then."""
        if at_ms < self._next_ms:
            self.ring()

    def reset(self) -> None:
        super().reset()
        self._next_ms = _UNKNOWN_MS  # what falls due during a look may be too late for it

    async def sleep_until(self, at_ms: int, now_ms: int) -> bool:
        """Sleep until an instant; True when it was rung since the last `reset`."""
        self._next_ms = at_ms
        return await self.sleep((at_ms - now_ms) / 1000)


class ShortestLock(Alarm):
    """The shortest lock of the jobs that run here, ms; a shorter one wakes the heartbeats."""

    def __init__(self, lock_ms: int) -> None:
        super().__init__()
        self.ms = lock_ms

    def expect(self, lock_ms: int | None) -> None:
        """A job with a lock of its own runs: beat often enough for it."""
        if lock_ms is not None and lock_ms < self.ms:
            self.ms = lock_ms
            self.ring()


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """What a worker of a broadcast reads: a consumer group of its own, from where, and which subjects."""

    name: str
    start_from: str
    subjects: tuple[str, ...]

    @property
    def words(self) -> tuple[str, str, str]:
        """First arguments of every server function of broadcasts."""
        return self.name, json.dumps(self.subjects) if self.subjects else "", self.start_from

    def counters(self, keys: QueueKeys, job_id: str) -> str:
        """Key of what this subscription counts of a message."""
        return f"{keys.job(job_id)}:sub:{self.name}"


def of_kind(subscription: SubscriptionOptions | None, function: str, *args: Arg) -> tuple[Any, ...]:
    """Name and arguments of a server function about runs: of queues, or of broadcasts."""
    if subscription is None:
        return (function, *args)
    return (f"broadcast_{function}", *subscription.words, *args)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Shared by all parts of a worker from its start to its end."""

    queue: QueueContext
    #: Name of this worker among the consumers of the queue.
    worker_id: str
    started_ms: int
    options: WorkerOptions
    limits: WorkerLimits
    events: WorkerEvents
    #: Runs that go on here, by job id.
    running: dict[str, JobRun]
    #: Set while this worker is paused (not its queue).
    paused: asyncio.Event
    lock: ShortestLock
    #: Set for a worker of a broadcast.
    subscription: SubscriptionOptions | None = None
    promotion: PromotionTimer = field(default_factory=PromotionTimer)
    #: The loops beside the jobs; only their owner cancels them, after the last run has ended.
    background: list[asyncio.Task[None]] = field(default_factory=list)

    def of_kind(self, function: str, *args: Arg) -> tuple[Any, ...]:
        """Name and arguments of a server function about runs, as this kind of worker calls it."""
        return of_kind(self.subscription, function, *args)

    @property
    def is_abandoned(self) -> bool:
        """Whether the event loop ends without the worker being closed: every task was cancelled.

        A time limit that runs out cancels a single one for a moment.
        """
        for task in self.background:
            if not (task.done() or task.cancelling()):  # the first one, as a rule: asked before every call
                return False
        return bool(self.background)

    def emit(self, event: EventName, *args: Any) -> None:
        """Pass an event to its handlers."""
        self.events.emit(event, *args)

    def report(self, error: BaseException) -> None:
        """Pass an error to the handlers of `error`, or to the log."""
        self.events.emit("error", error)

    def report_texts(self, texts: list[str]) -> None:
        """Report what a server function met beside its main business: texts of the server's errors, each once."""
        for text in dict.fromkeys(texts):
            code = text.partition(" ")[0]
            self.report(
                ServerError(
                    f"queue '{self.queue.queue}': {text}",
                    hint="glidemq doctor tells what is wrong",
                    command="FCALL",
                    code=code if code.isupper() else "ERR",
                )
            )

    async def attempt(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step of the background work; whatever goes wrong is reported and stops nothing else."""
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever it was, the queue needs its other steps
            self.report(error)
