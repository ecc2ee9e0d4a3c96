"""Group exchange: one call settles what has finished since the last one and claims what fits.

At most `lanes` calls are in flight; results gather meanwhile. Half-size claims in two lanes keep server and
client busy at the same time. No Event, Future or task per job beyond the processor's own. A call carries results in
their order, up to a number and a size that follows what the link can carry, so that heartbeats get through between
two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from ..errors import GlideMQError
from ..jobs.add import BATCH, BATCH_BYTES
from ..server.context import QueueContext
from ..server.retry import LOST_REPLY, RETRY_WAITS, is_server_trouble, retry_wait
from ..wire.replies import hash_fields
from .exchange_call import Claim, load_claims, owned
from .execution.outcome import SettleRecord, trouble_error
from .execution.run import JobRun
from .rate_limits import WorkerLimits

#: First and longest wait while a queue-wide limit on running jobs is reached, s.
_FULL_WAITS = (0.02, 0.25)
#: Longest wait while a queue-wide limit on starts is reached, s.
_LONGEST_LOOK = 5.0


#: Wait after a claim that met something it could not start, and before results that could not be recorded go out
#: again, s.
_TROUBLE_WAIT = 1.0
_HELD_WAIT = 2.0
#: Bytes of results that a call carries at first and at least, and how long one should take at most: slower ones carry
#: less, quick ones more, s.
_FIRST_BYTES = 500_000
_LEAST_BYTES = 64_000
_SLOW_S = 1.0
#: Jobs that a call claims at most: more would hold the server for long.
_CLAIMS = 1_000


class Exchange:
    """The worker's conversation with the server about starting and ending jobs.

    The owner supplies callbacks: `on_claim` starts a job, `on_settled` hears what became of a result,
    `on_error` hears trouble, `running` gives what this process runs.
    """

    def __init__(
        self,
        scope: QueueContext,
        consumer: str,
        *,
        concurrency: int,
        flags: str,
        limits: WorkerLimits,
        on_claim: Callable[[Claim], None],
        on_settled: Callable[[SettleRecord, str], None],
        on_error: Callable[[BaseException], None],
        on_dry: Callable[[bool, str, str, str], None],
        on_outbox: Callable[[], None],
        running: Callable[[], Iterable[JobRun]],
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
        self._finished: list[SettleRecord] = []
        #: Results on their way, by the stamp of their call.
        self._sent: dict[int, list[SettleRecord]] = {}
        #: Stamps of calls that were repeated: the server takes no first call with one any more.
        self._repeated: set[int] = set()
        #: Results that the server could not record, until they go out again.
        self._unrecorded: list[SettleRecord] = []
        self._again: asyncio.TimerHandle | None = None
        self._most_bytes = _FIRST_BYTES
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

    def settle(self, record: SettleRecord) -> None:
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
        return not self._finished and not self._unrecorded and self._in_flight == 0

    def unsettled(self) -> Iterator[JobRun]:
        """Runs that have ended and are not recorded yet: somebody has to keep them from being taken for stalled."""
        return (record.run for record in chain(self._finished, self._unrecorded, *self._sent.values()))

    async def flush(self) -> None:
        """Return when everything handed in so far is settled."""
        while not self.idle:
            self._schedule()
            if self._tasks:
                await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0.05 if self._unrecorded else 0)

    async def claims_in(self) -> None:
        """Return when no call is under way that may still claim jobs."""
        while self._claiming and self._tasks:
            await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Drop calls in flight; what they would have claimed is recovered as stalled."""
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The pump ------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # Once a turn of the event loop: processors that are ready to finish in this turn finish first.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _free(self, leaving: int) -> int:
        """Slots that are free once `leaving` results are on their way; those that wait for another call keep theirs."""
        if not self.claiming_allowed:
            return 0
        return self._concurrency - self.active + leaving - self._claiming

    def _batch(self) -> int:
        """How many of the finished runs the next call carries."""
        size = 0
        for number, record in enumerate(self._finished[:BATCH]):
            size += _bytes(record)
            if number and size > self._most_bytes:
                return number
        return min(len(self._finished), BATCH)

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._in_flight < self._lanes:
            count = self._batch()
            free = self._free(count)
            if not count and (free <= 0 or self.dry or self._timer is not None):
                return
            records, self._finished = self._finished[:count], self._finished[count:]
            want = max(0, min(free, -(-self._concurrency // self._lanes), _CLAIMS))
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

        Only calls that are under way together, or were repeated, must differ: one that ran ahead of the clock with
        every call would soon be far from it.
        """
        now = self._scope.now_ms()
        self._repeated = {stamp for stamp in self._repeated if stamp >= now}
        while now in self._sent or now in self._repeated:
            now += 1
        return now

    async def _call(self, records: list[SettleRecord], want: int) -> None:
        now, looked = self._stamp(), want > 0
        self._sent[now] = records
        started, claims = self._loop.time(), None
        try:
            reply = await self._exchange(now, records, want)
        except LOST_REPLY as error:
            self._on_error(error)
            reply, claims = await self._recover(now, records, want)
            looked = False
        except GlideMQError as error:
            self._on_error(error)
            await self._refused(records, error)
            reply = None
        finally:
            self._in_flight -= 1
            self._claiming -= want
            del self._sent[now]
        self._measure(records, self._loop.time() - started)
        if reply is None:
            self._schedule()
            return
        self._apply(now, records, want if looked else 0, reply, claims)

    def _measure(self, records: Sequence[SettleRecord], took_s: float) -> None:
        """Let calls carry as many bytes as the link carries in good time."""
        if took_s > _SLOW_S:
            self._most_bytes = max(_LEAST_BYTES, self._most_bytes // 2)
        elif took_s < _SLOW_S / 4:
            self._most_bytes = min(BATCH_BYTES, self._most_bytes * 2)

    async def _exchange(
        self, now: int, records: list[SettleRecord], want: int, *, repeated: bool = False
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

    async def _refused(self, records: list[SettleRecord], error: GlideMQError) -> None:
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
                self._settled([record], reply)

    async def _recover(
        self, now: int, records: list[SettleRecord], want: int
    ) -> tuple[list[Any], list[Claim] | None]:
        """After a lost reply: settle again under the same stamp, then ask what this consumer owns since then.

        Earlier calls may bear the same stamp: what they claimed is known here already. What was too much for the link
        goes in ever smaller parts.
        """
        self._repeated.add(now)
        answers: list[bytes] = []
        rest: list[Any] = []
        attempt, size = 0, max(1, len(records))
        while True:
            await asyncio.sleep(retry_wait(attempt))
            attempt += 1
            try:
                while len(answers) < len(records) or not rest:
                    part = records[len(answers) : len(answers) + size]
                    reply = await self._exchange(now, part, 0, repeated=True)
                    answers += reply[0]
                    rest = _merged(rest, reply[1:])
                    attempt = 0
                known = self._known()
                found = await owned(self._scope, self._consumer, now) if want else []
                known |= self._known()
                lost = [pair for pair in found if (pair[1], pair[0], str(now)) not in known]
                return [answers, *rest], await load_claims(self._scope, lost, now)
            except GlideMQError as error:
                size = max(1, size // 2)
                self._on_error(error)

    def _known(self) -> set[tuple[str, str, str]]:
        """Runs that go on here, and those whose results are not told of yet: job, entry and stamp.

        Not jobs: the next attempt of one that just ended may be what the lost call claimed.
        """
        return {(run.job.id, run.entry, run.processed_on) for run in (*self._running(), *self.unsettled())}

    def _apply(
        self, now: int, records: list[SettleRecord], want: int, reply: list[Any], lost: list[Claim] | None
    ) -> None:
        _, claims, why, wait_ms, *_rest = reply
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
        for claim in lost or ():
            self._on_claim(claim)
            started += 1
        self.active += started
        self._settled(records, reply)
        if want and self.claiming_allowed:
            self._look_ahead(want - started, why.decode(), int(wait_ms), reply[5:8])
        self._schedule()

    def _settled(self, records: Sequence[SettleRecord], reply: list[Any]) -> None:
        """Tell what became of results, and what else went wrong; keep those that could not be recorded."""
        for record, answer in zip(records, reply[0], strict=True):
            if answer == b"held":
                self._unrecorded.append(record)
                self.active += 1
            else:
                self._on_settled(record, answer.decode())
        if self._unrecorded and self._again is None:
            self._again = self._loop.call_later(_HELD_WAIT, self._send_again)
        if reply[4]:
            self.outbox_waiting = True
            self._on_outbox()
        for text in reply[8:]:
            self._on_error(trouble_error(self._scope.queue, text.decode("utf-8", "replace")))

    def _send_again(self) -> None:
        self._again = None
        self._finished, self._unrecorded = self._unrecorded + self._finished, []
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
        elif why == "trouble":
            self._arm(_TROUBLE_WAIT)
        elif why != "more":
            self.dry = True
            if marks[0]:
                self._on_dry(why == "paused", *(mark.decode() for mark in marks))

    def _arm(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(max(delay_s, 0.001), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.held = 0
        self.wake()


def _bytes(record: SettleRecord) -> int:
    value = record.value
    return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))


def _merged(rest: list[Any], more: list[Any]) -> list[Any]:
    """What replies say beside their answers, of one call and the next."""
    if not rest:
        return more
    return [*more[:3], rest[3] or more[3], *more[4:7], *rest[7:], *more[7:]]
