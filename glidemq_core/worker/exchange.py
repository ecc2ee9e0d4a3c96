"""Group exchange: one call settles what has finished since the last one and claims what fits.

At most `lanes` calls are in flight; results gather meanwhile. Half-size claims in two lanes keep server and
client busy at the same time. No Event, Future or task per job beyond the processor's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..base import Scope
from ..decoding import hash_fields
from ..errors import GlideMQError
from ..retry import LOST_REPLY, RETRY_WAITS, is_server_trouble, retry_wait
from .limits import WorkerLimits
from .outcome import Settle
from .run import Run

#: First and longest wait while a queue-wide limit on running jobs is reached, s.
_FULL_WAITS = (0.02, 0.25)
#: Longest wait while a queue-wide limit on starts is reached, s.
_LONGEST_LOOK = 5.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker has just activated."""

    entry: str
    job_id: str
    fields: dict[str, bytes]
    processed_on: str
    #: What the job's budget says: "" run it, "fail", "ask" (out of reach of the claim), "parked" (done already).
    stop: str = ""


class Exchange:
    """The worker's conversation with the server about starting and ending jobs.

    The owner supplies callbacks: `on_claim` starts a job, `on_settled` hears what became of a result,
    `on_error` hears trouble, `running` gives what this process runs.
    """

    def __init__(
        self,
        scope: Scope,
        consumer: str,
        *,
        concurrency: int,
        flags: str,
        limits: WorkerLimits,
        on_claim: Callable[[Claim], None],
        on_settled: Callable[[Settle, str], None],
        on_error: Callable[[BaseException], None],
        on_dry: Callable[[bool, str, str, str], None],
        on_outbox: Callable[[], None],
        running: Callable[[], Iterable[Run]],
    ) -> None:
        self._scope = scope
        self._consumer = consumer
        self._concurrency = concurrency
        self._flags = flags
        self._limits = limits
        self._on_claim = on_claim
        self._on_settled = on_settled
        self._on_error = on_error
        self._on_dry = on_dry
        self._on_outbox = on_outbox
        self._running = running
        self._lanes = 2 if concurrency > 1 else 1
        self._in_flight = 0
        self._claiming = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[Settle] = []
        #: Results on their way, by the stamp of their call.
        self._sent: dict[int, list[Settle]] = {}
        self._pump_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._full_wait = _FULL_WAITS[0]
        self._full = False
        self._loop = asyncio.get_running_loop()
        #: Jobs this worker has started and not settled yet, counted by the owner's callbacks.
        self.active = 0
        #: Slots that stay empty because a limit is reached.
        self.held = 0
        #: Whether new jobs may be claimed (False while paused or closing).
        self.claiming_allowed = False
        #: Nothing more was ready at the last look; a wake-up ends it.
        self.dry = False
        #: Entries wait in the outbox for parents in other slots.
        self.outbox_waiting = False

    # What the owner calls ------------------------------------------------------------------------------------

    def settle(self, record: Settle) -> None:
        """Hand in a finished run; it goes out with the next call."""
        if record.tokens:
            self._limits.count(record.tokens, self._scope.now_ms())
        self._finished.append(record)
        self._schedule()

    def wake(self) -> None:
        """Something may be ready: look again."""
        self.dry = False
        self._schedule()

    def hold(self, hold_ms: int) -> None:
        """Claim nothing for a while; a longer hold in force stays."""
        if self._timer is None or self._timer.when() < self._loop.time() + hold_ms / 1000:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(hold_ms / 1000, self._timer_fired)
        self._full = False  # while a queue is full, jobs that end make room for others; not during a hold

    @property
    def idle(self) -> bool:
        """No call in flight and nothing waiting to be sent."""
        return not self._finished and self._in_flight == 0

    async def flush(self) -> None:
        """Return when everything handed in so far is settled."""
        while not self.idle:
            self._schedule()
            if self._tasks:
                await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)

    async def claims_in(self) -> None:
        """Return when no call is under way that may still claim jobs."""
        while self._claiming and self._tasks:
            await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Drop calls in flight; what they would have claimed is recovered as stalled."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The pump ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # Once a turn of the event loop: processors that are ready to finish in this turn finish first.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _free(self) -> int:
        if not self.claiming_allowed:
            return 0
        return self._concurrency - self.active + len(self._finished) - self._claiming

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._in_flight < self._lanes:
            free = self._free()
            if not self._finished and (free <= 0 or self.dry or self._timer is not None):
                return
            records, self._finished = self._finished, []
            want = max(0, min(free, -(-self._concurrency // self._lanes)))
            if want and (wait_ms := self._limits.wait_ms(self._scope.now_ms())):
                self.held, want = want, 0
                self._arm(wait_ms / 1000)
            elif self._timer is not None and not (records and self._full):
                want = 0
            if not want and not records:
                return
            self.active -= len(records)
            self._claiming += want
            self._in_flight += 1
            task = self._loop.create_task(self._call(records, want))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _stamp(self) -> int:
        """Time of a call: it marks what the call starts, and makes a repeat of it recognisable.

        Only calls that are under way together must differ: one that ran ahead of the clock with every call would soon
        be far from it.
        """
        now = self._scope.now_ms()
        while now in self._sent:
            now += 1
        return now

    async def _call(self, records: list[Settle], want: int) -> None:
        now, looked = self._stamp(), want > 0
        self._sent[now] = records
        try:
            reply = await self._exchange(now, records, want)
        except LOST_REPLY as error:
            self._on_error(error)
            reply = await self._recover(now, records, want)
            looked = False
        except GlideMQError as error:
            self._on_error(error)
            await self._refused(records, error)
            reply = None
        finally:
            self._in_flight -= 1
            self._claiming -= want
            del self._sent[now]
        if reply is None:
            self._schedule()
            return
        self._apply(now, records, want if looked else 0, reply)

    async def _exchange(
        self, now: int, records: list[Settle], want: int, *, repeated: bool = False
    ) -> list[Any]:
        words: list[str | bytes | int | float] = [
            now,
            self._consumer,
            want,
            self._flags + "r" if repeated else self._flags,
            *self._limits.header(),
        ]
        for record in records:
            words += (record.head, record.value)
        reply: list[Any] = await self._scope.call("exchange", *words)
        return reply

    async def _refused(self, records: list[Settle], error: GlideMQError) -> None:
        """The server answered with an error: wait out its own trouble, isolate a record that causes it."""
        if is_server_trouble(error) or not records:
            await asyncio.sleep(RETRY_WAITS[-1])
            self._finished = records + self._finished
            self.active += len(records)
            return
        if len(records) == 1:
            self._on_settled(records[0], "refused")
            return
        for record in records:
            try:
                reply = await self._exchange(self._stamp(), [record], 0)
            except GlideMQError as again:
                self._on_error(again)
                self._on_settled(record, "refused")
            else:
                self._on_settled(record, reply[0][0].decode())

    async def _recover(self, now: int, records: list[Settle], want: int) -> list[Any]:
        """After a lost reply: settle again under the same stamp, then ask what this consumer owns since then.

        Earlier calls may bear the same stamp: what they claimed is known here already.
        """
        attempt = 0
        while True:
            await asyncio.sleep(retry_wait(attempt))
            attempt += 1
            try:
                reply = await self._exchange(now, records, 0, repeated=True)
                known = self._known()
                owned = await self._scope.read("owned", self._consumer, now) if want else []
            except GlideMQError as error:
                self._on_error(error)
                continue
            known |= self._known()
            # What their budgets said went with the reply: ask again.
            reply[1] = [
                [entry, job_id, flat, b"ask"]
                for entry, job_id, flat in owned
                if (job_id.decode("utf-8", "replace"), entry.decode(), str(now)) not in known
            ]
            reply[2] = b""
            return reply

    def _known(self) -> set[tuple[str, str, str]]:
        """Runs that go on here, and those whose results are not told of yet: job, entry and stamp.

        Not jobs: the next attempt of one that just ended may be what the lost call claimed.
        """
        ended = (record.run for records in (self._finished, *self._sent.values()) for record in records)
        return {(run.job.id, run.entry, run.processed_on) for run in (*self._running(), *ended)}

    def _apply(self, now: int, records: list[Settle], want: int, reply: list[Any]) -> None:
        answers, claims, why, wait_ms, outbox, *marks = reply
        stamp = str(now)
        started = 0
        for entry, job_id, flat, stop in claims:
            try:
                self._on_claim(
                    Claim(entry.decode(), job_id.decode(), hash_fields(flat), stamp, stop.decode())
                )
            except Exception as defect:  # noqa: BLE001 - one odd record (an id that is no text) must not cost the others
                self._on_error(defect)
                continue
            if stop != b"parked":
                started += 1
        self.active += started
        for record, answer in zip(records, answers, strict=True):
            self._on_settled(record, answer.decode())
        if outbox:
            self.outbox_waiting = True
            self._on_outbox()
        if want and self.claiming_allowed:
            self._look_ahead(want - started, why.decode(), int(wait_ms), marks)
        self._schedule()

    def _look_ahead(self, missing: int, why: str, wait_ms: int, marks: list[bytes]) -> None:
        """Decide when to claim next: at once, after a limit's window, or when something wakes us."""
        if missing <= 0:
            self.dry = self._full = False
            self._full_wait = _FULL_WAITS[0]
            return
        self._full = why == "concurrency"
        if self._full:
            self._arm(self._full_wait)
            self._full_wait = min(self._full_wait * 2, _FULL_WAITS[1])
        elif why in ("rate", "tokens"):
            self.held = missing
            # A limit of the queue may be changed or lifted at any time.
            self._arm(
                self._limits.spread(wait_ms) / 1000 if why == "tokens" else min(wait_ms / 1000, _LONGEST_LOOK)
            )
        elif why != "more":
            self.dry = True
            if marks:
                self._on_dry(why == "paused", *(mark.decode() for mark in marks))

    def _arm(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(max(delay_s, 0.001), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.held = 0
        self.wake()
