"""Group exchange: one call settles what has finished since the last one and claims what fits.

At most `_lanes` calls are in flight; results gather meanwhile. Half-size claims in two lanes keep server and
client busy at the same time. No Event, Future or task per job beyond the processor's own. A call carries results in
their order, up to a number and a size that follows what the connection can carry, so that heartbeats get through
between two of them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator, Sequence
from itertools import chain

from ..errors import GlideMQError, RateLimitError
from ..server.retry import LOST_REPLY, RETRY_WAITS, Backoff, is_server_trouble
from .context import WorkerContext
from .exchange_call import (
    CallSize,
    Claim,
    ExchangeReply,
    UnexpectedReplyError,
    call_exchange,
    exchange_settings,
    load_claims,
    owned,
)
from .execution.outcome import SettleRecord, rate_limit_ms
from .execution.run import JobRun
from .execution.runner import Runner
from .idle import IdleWait
from .outbox import Outbox

#: First and longest wait while a queue-wide limit on running jobs is reached, s.
_FULL_WAITS = (0.02, 0.25)
#: Longest wait while a queue-wide limit on starts is reached, s.
_LONGEST_LOOK = 1.0
#: Wait after a claim with a job that could not be started, and before results that could not be recorded are sent
#: again, s.
_FAILED_CLAIM_WAIT = 1.0
_UNRECORDED_WAIT = 2.0
#: Jobs that a call claims at most: more would hold the server for long.
_CLAIMS = 1_000


class Exchange:
    """The worker's conversation with the server about starting and ending jobs."""

    def __init__(self, context: WorkerContext, runner: Runner, outbox: Outbox, idle: IdleWait) -> None:
        self._context = context
        self._queue = context.queue
        self._limits = context.limits
        self._settings = exchange_settings(context.options, context.limits)
        batch = context.options.batch
        self._concurrency = context.options.concurrency * (batch.size if batch is not None else 1)
        self._runner = runner
        self._outbox = outbox
        self._idle_wait = idle
        # A batch is what one call claims.
        self._lanes = 2 if self._concurrency > 1 and batch is None else 1
        self._in_flight = 0
        self._claiming = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: list[SettleRecord] = []
        #: Results on their way, by the stamp of their call.
        self._sent: dict[int, list[SettleRecord]] = {}
        #: Stamps of calls that were repeated: the server takes no first call with one any more.
        self._repeated: set[int] = set()
        #: Results that the server could not record, until they are sent again.
        self._unrecorded: list[SettleRecord] = []
        self._resend_timer: asyncio.TimerHandle | None = None
        self._size = CallSize()
        self._pump_scheduled = False
        #: How many calls of `flush` wait for the results, also if the event loop ends.
        self._flushing = 0
        self._claim_timer: asyncio.TimerHandle | None = None
        self._full_wait = _FULL_WAITS[0]
        self._full = False
        self._held_until = 0.0
        self._loop = asyncio.get_running_loop()
        #: Of all lanes: one that lives on must not keep the variables of the job during which it began.
        self._variables = contextvars.copy_context()
        #: Jobs that were started here and are not settled yet.
        self._active = 0
        #: Slots that stay empty because a limit is reached.
        self.limited_slots = 0
        #: Whether new jobs may be claimed (False while paused or closing).
        self.claiming_allowed = False
        #: Nothing more was ready at the last look; a wake-up ends it.
        self.nothing_ready = False

    # What the worker calls -----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something may be ready: look again."""
        self.nothing_ready = False
        self._schedule()

    def hold(self, hold_ms: int) -> None:
        """Claim nothing for a while; a longer hold in force stays."""
        until = self._loop.time() + hold_ms / 1000
        self._held_until = max(self._held_until, until)
        if self._claim_timer is None or self._claim_timer.when() < until:
            if self._claim_timer is not None:
                self._claim_timer.cancel()
            self._claim_timer = self._loop.call_at(until, self._claim_again)
        self._full = False  # no room is made for others during a hold

    @property
    def idle(self) -> bool:
        """No call in flight and nothing waiting to be sent."""
        return not self._finished and not self._unrecorded and self._in_flight == 0

    def unsettled(self) -> Iterator[JobRun]:
        """Runs that have ended and are not recorded yet: they need heartbeats, or they would count as stalled."""
        return (record.run for record in chain(self._finished, self._unrecorded, *self._sent.values()))

    async def flush(self) -> None:
        """Return when everything handed in so far is settled."""
        self._flushing += 1
        try:
            while not self.idle:
                self._schedule()
                if self._tasks:
                    await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(0.05 if self._unrecorded else 0)
        finally:
            self._flushing -= 1

    async def wait_for_claims(self) -> None:
        """Return when no call is under way that may still claim jobs."""
        while self._claiming and self._tasks:
            await asyncio.wait(list(self._tasks), return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Drop calls in flight; what they would have claimed is recovered as stalled."""
        for timer in (self._claim_timer, self._resend_timer):
            if timer is not None:
                timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # When to call --------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # Once a turn of the event loop: processors that are ready to finish in this turn finish first.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Start as many calls as there are lanes and something to do."""
        self._pump_scheduled = False
        while (todo := self._next()) is not None:
            task = self._loop.create_task(self._serve_lane(*todo), context=self._variables)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_lane(self, records: list[SettleRecord], want: int) -> None:
        """Make a call, and go on with the next one as long as there is something to do, in place of the pump."""
        todo: tuple[list[SettleRecord], int] | None = (records, want)
        while todo is not None:
            await self._call(*todo)
            if self._pump_scheduled:
                return
            self._pump_scheduled = True
            try:
                await asyncio.sleep(0)  # what has just begun may end in this turn of the event loop
            finally:
                self._pump_scheduled = False
            todo = self._next()
            self._pump()

    def _next(self) -> tuple[list[SettleRecord], int] | None:
        """Results for a further call, and how many jobs it is to claim; None if there is no lane or nothing to do."""
        if self._in_flight >= self._lanes or (self._context.is_abandoned and not self._flushing):
            return None  # in an event loop that ends no reply would be read any more
        count = self._size.fitting(self._finished)
        # Results that wait for another call keep their slots.
        free = self._concurrency - self._active + count - self._claiming if self.claiming_allowed else 0
        if not count and (free <= 0 or self.nothing_ready or self._claim_timer is not None):
            return None
        records, self._finished = self._finished[:count], self._finished[count:]
        want = max(0, min(free, -(-self._concurrency // self._lanes), _CLAIMS))
        if want and self._limits.own_tokens and (wait_ms := self._limits.wait_ms(self._queue.now_ms())):
            self.limited_slots, want = want, 0
            self._claim_after(wait_ms / 1000)
        elif self._claim_timer is not None and not (records and self._full):
            want = 0
        if not want and not records:
            return None
        self._active -= len(records)
        self._claiming += want
        self._in_flight += 1
        return records, want

    def _claim_after(self, delay_s: float) -> None:
        if self._claim_timer is None:
            self._claim_timer = self._loop.call_later(max(delay_s, 0.001), self._claim_again)

    def _claim_again(self) -> None:
        self._claim_timer = None
        self.limited_slots = 0
        self.wake()

    # One call ------------------------------------------------------------------------------------------------

    async def _call(self, records: list[SettleRecord], want: int) -> None:
        now, looked = self._stamp(), want > 0
        self._sent[now] = records
        started = self._loop.time()
        lost_claims: list[Claim] = []
        reply: ExchangeReply | None = None
        try:
            reply = await call_exchange(self._context, self._settings, now, records, want)
        except (*LOST_REPLY, UnexpectedReplyError) as error:
            self._context.report(error)
            reply, lost_claims = await self._recover(now, records, want)
            looked = False
        except GlideMQError as error:
            self._context.report(error)
            await self._refused(records, error)
        finally:
            self._in_flight -= 1
            self._claiming -= want
            del self._sent[now]
        self._size.adapt(self._loop.time() - started)
        if reply is not None:
            started_jobs = self._start(reply, lost_claims)
            self._settled(records, reply)
            if looked and self.claiming_allowed:
                self._look_ahead(want - started_jobs, reply)

    def _stamp(self) -> int:
        """Time of a call: it marks what the call starts, and makes a repeat of it recognisable.

        Only calls that are under way together, or were repeated, must differ: one that ran ahead of the clock with
        every call would soon be far from it.
        """
        now = self._queue.now_ms()
        if self._repeated:
            self._repeated = {stamp for stamp in self._repeated if stamp >= now}
        while now in self._sent or now in self._repeated:
            now += 1
        return now

    async def _refused(self, records: list[SettleRecord], error: GlideMQError) -> None:
        """The server answered with an error: wait if its state is the cause, else isolate the record that causes it."""
        if is_server_trouble(error) or not records:
            await asyncio.sleep(RETRY_WAITS[-1])
            self._finished = records + self._finished
            self._active += len(records)
            return
        if len(records) == 1:
            self._runner.settled(records[0], "refused")
            return
        while records:
            record = records[0]
            try:
                reply = await call_exchange(self._context, self._settings, self._stamp(), [record], 0)
            except GlideMQError as again:
                self._context.report(again)
                self._runner.settled(record, "refused")
            else:
                self._settled([record], reply)
            del records[0]  # no heartbeat any more

    async def _recover(
        self, now: int, records: list[SettleRecord], want: int
    ) -> tuple[ExchangeReply, list[Claim]]:
        """After a lost reply: settle again under the same stamp, then ask what this consumer owns since then.

        Earlier calls may bear the same stamp: what they claimed is known here already. What was too much for the
        connection is sent in ever smaller parts.
        """
        self._repeated.add(now)
        backoff, size = Backoff(), max(1, len(records))
        reply: ExchangeReply | None = None
        while True:
            await backoff.wait()
            try:
                while reply is None or len(reply.answers) < len(records):
                    done = len(reply.answers) if reply else 0
                    part = records[done : done + size]
                    more = await call_exchange(self._context, self._settings, now, part, 0, repeated=True)
                    reply = reply.followed_by(more) if reply else more
                    backoff.reset()
                known = self._known()
                found = (
                    await owned(self._queue, self._context.worker_id, now, self._context.subscription)
                    if want
                    else []
                )
                known |= self._known()
                lost = [pair for pair in found if (pair[1], pair[0], str(now)) not in known]
                return reply, await load_claims(self._context, lost, now)
            except GlideMQError as error:
                size = max(1, size // 2)
                self._context.report(error)

    def _known(self) -> set[tuple[str, str, str]]:
        """Runs that go on here, and those whose results are not reported yet: job, entry and stamp.

        Not jobs: the next attempt of one that just ended may be what the lost call claimed.
        """
        runs = (*self._context.running.values(), *self.unsettled())
        return {(run.job.id, run.entry, run.processed_on) for run in runs}

    # What a reply says ---------------------------------------------------------------------------------------

    def _start(self, reply: ExchangeReply, lost_claims: list[Claim]) -> int:
        """Start what was claimed; returns how many jobs run now."""
        started = 0
        for claim in chain(reply.claims, lost_claims):
            try:
                self._runner.begin(claim, self._run_ended)
            except Exception as defect:  # noqa: BLE001 - one odd record must not cost the others
                self._context.report(defect)
                continue
            if claim.stop != "parked":
                started += 1
        self._active += started
        return started

    def _run_ended(self, record: SettleRecord | None) -> None:
        """A run has ended: its result goes out with the next call, unless its end was a call of its own."""
        if record is None:
            self._active -= 1
            self._context.promotion.ring()
            self.wake()
            return
        limiter = self._context.options.limiter
        if limiter is not None and isinstance(record.error, RateLimitError):
            self.hold(rate_limit_ms(record.error, limiter.duration))
        if record.tokens:
            self._limits.count(record.tokens, self._queue.now_ms())
        self._finished.append(record)
        self._schedule()

    def _settled(self, records: Sequence[SettleRecord], reply: ExchangeReply) -> None:
        """Report what became of results, and other errors; keep those that could not be recorded."""
        for record, answer in zip(records, reply.answers, strict=True):
            if answer == b"unrecorded":
                self._unrecorded.append(record)
                self._active += 1
            else:
                self._runner.settled(record, answer.decode())
        if self._unrecorded and self._resend_timer is None:
            self._resend_timer = self._loop.call_later(_UNRECORDED_WAIT, self._send_again)
        if reply.outbox:
            self._outbox.waiting = True
            self._context.promotion.ring()
        if reply.errors:
            self._context.report_texts(reply.errors)

    def _send_again(self) -> None:
        self._resend_timer = None
        self._finished, self._unrecorded = self._unrecorded + self._finished, []
        self._schedule()

    def _look_ahead(self, missing: int, reply: ExchangeReply) -> None:
        """Decide when to claim next: at once, after a limit's window, or when something wakes us."""
        if missing <= 0:
            self.nothing_ready = self._full = False
            self._full_wait = _FULL_WAITS[0]
            return
        # A hold may have begun while the call was under way.
        self._full = reply.reason == "concurrency" and self._loop.time() >= self._held_until
        if self._full:
            self._claim_after(self._full_wait)
            self._full_wait = min(self._full_wait * 2, _FULL_WAITS[1])
        elif reply.reason == "rate":
            self.limited_slots = missing
            # A limit of the queue may be changed or lifted at any time.
            self._claim_after(min(reply.wait_ms / 1000, _LONGEST_LOOK))
        elif reply.reason == "tokens":
            self.limited_slots = missing
            self._claim_after(self._limits.spread(reply.wait_ms) / 1000)
        elif reply.reason == "trouble":
            self._claim_after(_FAILED_CLAIM_WAIT)
        elif reply.reason != "more":
            self.nothing_ready = True
            if reply.stream_id:
                self._wait_for_more(reply)

    def _wait_for_more(self, reply: ExchangeReply) -> None:
        """Nothing is ready: wait without polling for what comes after the entries that the reply names."""
        if reply.group_due:
            self._context.promotion.ring_by(int(float(reply.group_due)))
        if reply.reason != "paused":
            self._runner.emit_drained()
        self._idle_wait.begin(reply.stream_id, reply.events_id, self._woken)

    def _woken(self, scheduled: bool) -> None:
        if scheduled:
            self._context.promotion.ring()
        self.wake()
