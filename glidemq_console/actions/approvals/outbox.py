"""Holds decisions back for their undo time, then sends each bound to what was shown, and shows its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from textual.timer import Timer

from glidemq_core.errors import CallTimeoutError, ClosedError, GlideMQError, ServerUnavailableError
from glidemq_core.options.fields import UNSET, Unset

from ...model.decisions import Batch, Pending, Verb, due_at, name_of, outcome_words, server_of

if TYPE_CHECKING:
    from glidemq_core import Actor, JobRef, Queue
    from glidemq_core.records import Approval, Decision, JobDetail

    from ...feed.protocol import Feed

#: Answered decisions that are remembered, to keep their jobs out of the list until it has been read again.
REMEMBERED = 2_000
#: Errors that leave open whether a call was carried out.
_UNANSWERED = (CallTimeoutError, ServerUnavailableError, ClosedError)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A decision that has its answer; `decision` is None when it could not be sent."""

    pending: Pending
    decision: Decision | None
    words: str
    token: str


class Host(Protocol):
    """What an outbox needs of the app: the feed, the time, timers and tasks, and a place for messages."""

    @property
    def feed(self) -> Feed: ...

    @property
    def now_ms(self) -> Callable[[], int]: ...

    def undo_ms_of(self, ref: JobRef) -> int:
        """Return how long a decision on a job is held back, ms."""

    def set_timer(self, delay: float, callback: Callable[[], None]) -> Timer: ...

    def run_worker(
        self, work: Coroutine[Any, Any, Answer | None], *, group: str, exit_on_error: bool
    ) -> object: ...

    def show_message(self, text: str, token: str = "foreground") -> None: ...


class DecisionOutbox:
    """The decisions of this console that are not sent yet."""

    def __init__(self, host: Host, undo_ms: int) -> None:
        """Make an empty outbox; decisions are held back for `undo_ms`."""
        self._host = host
        #: How long a decision is held back from now on, ms.
        self.undo_ms = undo_ms
        self._pending: dict[JobRef, Pending] = {}
        self._timers: dict[JobRef, Timer] = {}
        self._sending: dict[JobRef, Pending] = {}
        #: What was on its way when the console ended.
        self.cut_off: list[Pending] = []
        #: Marks of what has been answered for good: that suspension is over.
        self._answered: dict[tuple[JobRef, str], None] = {}
        #: Called with every answer, and with None when something was taken back.
        self.listeners: list[Callable[[Answer | None], None]] = []

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What can still be taken back, oldest first."""
        return tuple(self._pending.values())

    @property
    def unsent(self) -> tuple[Pending, ...]:
        """What has no answer yet."""
        return (*self._pending.values(), *self._sending.values())

    @property
    def servers(self) -> frozenset[str]:
        """The servers of other profiles to which something is still to be sent."""
        return frozenset(server for one in self.unsent if (server := server_of(one.ref)) is not None)

    def _tell(self, answer: Answer | None) -> None:
        for listener in self.listeners:
            listener(answer)

    def of(self, ref: JobRef) -> Pending | None:
        """The decision on a job that is held back or on its way."""
        return self._pending.get(ref) or self._sending.get(ref)

    def is_sending(self, ref: JobRef) -> bool:
        return ref in self._sending

    def is_answered(self, shown: Approval) -> bool:
        """Tell whether this very question was answered, though the list may still show it."""
        return (shown.ref, shown.mark) in self._answered

    # --- holding back --------------------------------------------------------------------------------------

    def hold(
        self,
        shown: Iterable[Approval],
        verb: Verb,
        *,
        comment: str | None = None,
        reason: str = "",
        data: Any | Unset = UNSET,
    ) -> int:
        """Hold the same decision on some jobs back for the undo time; return on how many."""
        chosen = [one for one in shown if self.of(one.ref) is None]
        batch, now = Batch(len(chosen)), self._host.now_ms()
        for one in chosen:
            due = due_at(now, self._host.undo_ms_of(one.ref), one)
            self._pending[one.ref] = Pending(
                shown=one,
                verb=verb,
                due_ms=due,
                held_ms=due - now,
                batch=batch,
                comment=comment,
                reason=reason,
                data=data,
            )
            self._timers[one.ref] = self._host.set_timer(
                max(0.001, (due - now) / 1000), partial(self.send_now, one.ref)
            )
        return len(chosen)

    def undoable(self, ref: JobRef | None = None) -> tuple[Pending, ...]:
        """Return what taking back takes back: all that is held of the act on a job, or else of the latest act."""
        one = self._pending.get(ref) if ref is not None else None
        if one is None:
            one = next(reversed(self._pending.values()), None)
        if one is None:
            return ()
        return tuple(pending for pending in self._pending.values() if pending.batch is one.batch)

    def take_back(self, ref: JobRef | None = None) -> tuple[Pending, ...]:
        """Take back the act on a job, or the latest act, as a whole; return what was still held of it."""
        taken = self.undoable(ref)
        for pending in taken:
            self._timers.pop(pending.ref).stop()
            del self._pending[pending.ref]
            pending.batch.size -= 1
        if taken:
            self._show_batch(taken[0].batch)
            self._tell(None)
        return taken

    def give_up(self) -> None:
        """Send nothing any more: the console ends. What was held stays in `unsent`."""
        for timer in self._timers.values():
            timer.stop()

    # --- sending -------------------------------------------------------------------------------------------

    def send_now(self, ref: JobRef) -> None:
        """Send a decision without waiting any longer."""
        if ref in self._pending:
            self._host.run_worker(self._send(ref), group="decisions", exit_on_error=False)

    async def send_all(self) -> bool:
        """Send everything that is held back, and wait for the answers; return whether all of it counts."""
        answers = [await self._send(ref) for ref in list(self._pending)]
        return all(
            answer is None or (answer.decision is not None and answer.decision.ok) for answer in answers
        )

    async def _send(self, ref: JobRef) -> Answer | None:
        pending = self._pending.pop(ref, None)
        if pending is None:
            return None
        self._timers.pop(ref).stop()
        self._sending[ref] = pending
        self._tell(None)
        try:
            answer = await self._ask(pending)
        except asyncio.CancelledError:
            self.cut_off.append(pending)
            raise
        finally:
            del self._sending[ref]
        if answer.decision is not None and answer.decision.outcome != "changed":
            self._answered[ref, pending.shown.mark] = None
            while len(self._answered) > REMEMBERED:
                del self._answered[next(iter(self._answered))]
        batch = pending.batch
        batch.messages.append((answer.words, answer.token))
        batch.sent += answer.decision is not None and answer.decision.ok
        self._show_batch(batch)
        self._tell(answer)
        return answer

    def _show_batch(self, batch: Batch) -> None:
        message = batch.result() if batch.messages else None
        if message is not None:
            self._host.show_message(*message)

    async def _ask(self, pending: Pending) -> Answer:
        """Send one decision; a lost race is an answer, a lost connection becomes a message."""
        begun = False

        async def decide(queue: Queue[Any, Any], actor: Actor) -> Decision:
            nonlocal begun
            begun = True
            return await _call(pending)(queue, actor)

        try:
            decision = await self._host.feed.of(pending.ref).change(pending.ref.queue, decide)
        except GlideMQError as error:
            if begun and isinstance(error, _UNANSWERED):
                said = f": no answer, it may have been sent; the list will tell: {error.message}"
            else:
                said = f" was not sent, it still waits: {error.message}"
            return Answer(
                pending=pending, decision=None, words=f"{name_of(pending.ref)}{said}", token="error"
            )
        job = await self._look(pending.ref) if decision.outcome == "not_suspended" else None
        words, token = outcome_words(pending.ref, decision, job, self._host.now_ms())
        return Answer(pending=pending, decision=decision, words=words, token=token)

    async def _look(self, ref: JobRef) -> JobDetail | None:
        """The job as it is now, to say who was first; None when that cannot be known."""
        try:
            return await self._host.feed.of(ref).job(ref, payload_limit=0)
        except GlideMQError:
            return None


def _call(pending: Pending) -> Callable[[Queue[Any, Any], Actor], Awaitable[Decision]]:
    """The mutation that a decision is."""
    ref, expect = pending.ref, pending.shown.review_hash

    async def decide(queue: Queue[Any, Any], actor: Actor) -> Decision:
        if pending.verb == "approve":
            return await queue.approve(
                ref.id, actor=actor, data=pending.data, comment=pending.comment, expect=expect
            )
        return await queue.reject(
            ref.id,
            actor=actor,
            reason=pending.reason,
            data=pending.data,
            expect=expect,
            # What cannot be shown whole has no hash: then it is this suspension at least.
            expected_suspended_at=pending.shown.suspended_at,
        )

    return decide
