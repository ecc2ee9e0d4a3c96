"""Report on stderr what happens to a job while its tokens are printed: an event makes it read the job again."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ...text.format import duration, moment
from ..session import Session
from .printer import ChunkPrinter

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import JobDetail, QueueEvent
    from glidemq_core.watch import Watch

#: States that were told need no repeating; these are worth a line.
_NOT_STARTED = ("waiting", "prioritized", "group-waiting", "waiting-children", "delayed")
_ENDED = ("completed", "failed", "removed")
_EVENTS = ("suspended", "resumed", "retrying", *_ENDED)
#: How long what happened just before the end may take to reach us, s.
_LAST_WORDS_S = 0.5


class Narrator:
    """Tells one job's turns, and the printer where one attempt ends and the next begins."""

    def __init__(self, session: Session, watch: Watch, ref: JobRef, printer: ChunkPrinter) -> None:
        self._session = session
        self._watch = watch
        self._ref = ref
        self._printer = printer
        self._task: asyncio.Task[None] | None = None
        self._fallback_index = 0
        #: What the first look told already: events from before it are read again.
        self._attempts_seen = 0
        self._suspension: int | None = None

    async def look(self) -> JobDetail | None:
        """Read the job and learn which of its attempts have streamed already."""
        from glidemq_core.errors import GlideMQError
        from glidemq_core.options.fields import epoch_ms

        try:
            detail = await self._detail()
        except GlideMQError:
            return None  # the stream itself may be read all the same
        runs = (detail.ledger if detail is not None else None) or ()
        for before, run in itertools.pairwise(runs):
            if run.attempt != before.attempt:
                self._printer.attempt_from(epoch_ms(run.started_at))
        if detail is not None and detail.state in _NOT_STARTED and detail.attempts_made:
            self._printer.attempt_from(_now_ms())
        return detail

    async def __aenter__(self) -> Self:
        # Where the events stand is learned before the look: nothing can happen between the two unseen.
        start = await self._newest_event()
        detail = await self.look()
        self._first_look(detail)
        if detail is None or detail.state not in _ENDED:
            self._task = asyncio.create_task(self._listen(start))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if kind is None:
            await asyncio.wait({self._task}, timeout=_LAST_WORDS_S)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _newest_event(self) -> str:
        from glidemq_core.errors import GlideMQError

        context = await (await self._session.queue(self._ref.queue)).context()
        try:
            newest = await context.connection.command("XREVRANGE", context.keys.events, "+", "-", "COUNT", 1)
        except GlideMQError:
            return "$"
        return next((entry.decode() for entry in newest or ()), "0")

    async def _listen(self, start: str) -> None:
        from glidemq_core.errors import GlideMQError

        try:
            async for event in self._watch.events((self._ref.queue,), start=start, types=_EVENTS):
                if event.job_id == self._ref.id:
                    if event.event in _ENDED:
                        return
                    await self._happened(event)
        except GlideMQError:
            # Without events (no right to read them, server gone) the stream itself still tells the end.
            return

    async def _detail(self) -> JobDetail | None:
        return await self._watch.job(self._ref.queue, self._ref, payload_limit=0)

    def _first_look(self, detail: JobDetail | None) -> None:
        if detail is None:
            return
        self._attempts_seen = detail.attempts_made
        if detail.fallback_index:
            self._fell_back(detail)
        if detail.state == "suspended":
            self._suspended(detail)
        elif detail.state in _NOT_STARTED:
            words = "waits to run again" if detail.attempts_made else "not started yet"
            self._tell("waiting", f"{words} ({detail.state})", state=detail.state, due_ms=_ms(detail.due_at))

    async def _happened(self, event: QueueEvent) -> None:
        if event.event == "resumed":
            signal = event.data.get("signal")
            self._tell("resumed", "resumed" + (f" by signal '{signal}'" if signal else ""), signal=signal)
        elif event.event == "suspended":
            detail = await self._detail()
            if detail is not None and detail.suspend is not None:
                self._suspended(detail)
        elif event.event == "retrying" and not self._was_seen(event):
            self._printer.attempt_from((_ms(event.at) or 0) + 1)
            self._retrying(event.data)
            detail = await self._detail()
            if detail is not None and detail.fallback_index > self._fallback_index:
                self._fell_back(detail)

    def _was_seen(self, retry: QueueEvent) -> bool:
        attempts = retry.data.get("attempts_made")
        return isinstance(attempts, int) and attempts <= self._attempts_seen

    def _suspended(self, detail: JobDetail) -> None:
        info = detail.suspend
        since = _ms(info.suspended_at) if info else None
        if since is not None and since == self._suspension:
            return
        self._suspension = since
        reason = info.reason if info else None
        deadline = _ms(info.deadline_at) if info else None
        until = f", until {moment(deadline, _now_ms())}" if deadline is not None else ", no deadline"
        words = f"suspended: {reason or 'no reason given'}{until}"
        self._tell("suspended", words, reason=reason, deadline_ms=deadline)

    def _retrying(self, data: Any) -> None:
        reason, attempt, delay_ms = data.get("failed_reason"), data.get("attempts_made"), data.get("delay")
        waits = isinstance(delay_ms, int) and delay_ms > 0
        when = f"runs again in {duration(delay_ms)}" if waits else "runs again"
        self._tell(
            "retrying",
            f"attempt {attempt} failed: {reason}; {when}",
            failed_reason=reason,
            attempts_made=attempt,
            delay_ms=delay_ms,
        )

    def _fell_back(self, detail: JobDetail) -> None:
        self._fallback_index = detail.fallback_index
        if detail.fallback is None and not detail.options.fallbacks:
            return  # Node counts an empty list on too
        model = detail.fallback.model if detail.fallback else None
        provider = detail.fallback.provider if detail.fallback else None
        words = "no fallback left, so without one again"
        if detail.fallback:
            where = f" ({provider})" if provider else ""
            words = f"fallback {detail.fallback_index}: {model or 'unknown'}{where}"
        self._tell("fallback", words, fallback_index=detail.fallback_index, model=model, provider=provider)

    async def told_end(self) -> bool:
        """Tell how the job ended; True if it completed."""
        detail = await self._detail()
        state = detail.state if detail is not None else "removed"
        reason = detail.failed_reason if detail is not None and state == "failed" else None
        words = f"{state}: {reason}" if reason else state
        self._tell("end", words, state=state, failed_reason=reason)
        return state == "completed"

    def gave_up(self, limit_ms: int) -> None:
        """Tell that nobody waits for the job any longer."""
        self._tell("timeout", f"gave up after {limit_ms / 1_000:g} s; the job goes on", timeout_ms=limit_ms)

    def _tell(self, event: str, words: str, **facts: Any) -> None:
        if self._session.json:
            from glidemq_console.text.safe import json_line

            told = {"event": event, "queue": self._ref.queue, "id": self._ref.id, "at_ms": _now_ms(), **facts}
            self._session.out.note(json_line(told))
        else:
            out = self._session.out
            # Content and narration share a terminal: a word of ours never stands inside a line of the job's.
            before = self._printer.interrupt() if out.stdout_is_tty and out.stderr_is_tty else ""
            out.note(before + out.safe(f"{self._ref}: {words}", 400))


def _ms(at: Any) -> int | None:
    from glidemq_core.options.fields import epoch_ms

    return None if at is None else epoch_ms(at)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
