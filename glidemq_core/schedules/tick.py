"""Making the runs of schedulers that are due: the part of a worker's promotion tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..errors import GlideMQError
from ..server.context import QueueContext
from ..wire.replies import as_text, as_texts
from ..wire.strict_json import compact_json, parse_json
from .entry import entry_of
from .next_run import following_run
from .template import template_job

#: How much of a promotion interval a worker's turn to look lasts.
_TURN: Final = 0.8
#: Schedulers are looked at no more often than this, ms: what runs faster is made once for all its runs.
_SHORTEST_MS: Final = 20
#: Until a peer that makes runs just now is done, ms.
_LOCKED_MS: Final = 250
_NO_JOB: Final = ("", "", "")


class SchedulerTick:
    """What one worker does for the schedulers of its queue, besides any number of others, of either language.

    A tick asks together with its promotions which schedulers are due, unless another worker has its turn to look. When
    some are, one more call makes their runs: each only if its entry is what was read and no peer holds its lock.
    """

    def __init__(self, context: QueueContext, worker_id: str, interval_ms: int) -> None:
        self._context = context
        self._worker_id = worker_id
        self._turn_ms = max(1, int(interval_ms * _TURN))
        #: When something is due next, as far as this worker knows: the one that has the turn does.
        self.due_ms: int | None = None
        #: When this worker asks for the turn again; until then it looks only for what it knows to be due.
        self._ask_at_ms = 0
        self._has_asked = False
        #: Hashes of entries that nobody can run, by name: each is told once.
        self._unusable: dict[str, int] = {}

    def question(self, now_ms: int) -> tuple[str, str]:
        """Return how the tick shall ask for due schedulers, and for whom.

        The first is how long a turn lasts, ms; "0" looks without one, "" does not look.
        """
        turn = ""
        if now_ms >= self._ask_at_ms:
            # Also when something is known to be due: whoever has the turn by now knows it too, and one is enough.
            self._ask_at_ms = now_ms + self._turn_ms
            turn = str(self._turn_ms)
        elif self.due_ms is not None and self.due_ms <= now_ms:
            turn = "0"
        self._has_asked = turn != ""
        return turn, self._worker_id

    async def run(self, found: Sequence[Any], now_ms: int) -> list[str]:
        """Make the runs that are due.

        Args:
            found: what the tick found.
            now_ms: time that it was asked with.

        Returns:
            What kept single schedulers from being run.
        """
        if not self._has_asked:
            return []
        self.due_ms = None
        if not found or found[0] == b"taken":
            return []
        troubles: list[str] = []
        try:
            is_idle = not await self._walk(found, now_ms, troubles)
        except BaseException:
            self.due_ms = None
            raise
        if self.due_ms is not None and self.due_ms <= now_ms and is_idle:
            self.due_ms = None  # nobody can run what is left: the next turn is soon enough
        elif self.due_ms is not None:
            self.due_ms = max(self.due_ms, now_ms + _SHORTEST_MS)
        return troubles

    async def _walk(self, page: Sequence[Any], now_ms: int, troubles: list[str]) -> bool:
        """Make the due runs of this page and of those after it; return whether any entry moved on."""
        moved = False
        while True:
            _, next_ms, cursor, *entries = page
            self._expect(int(next_ms) if next_ms else None)
            words, due = self._work_out(entries, now_ms, troubles)
            if words:
                moved |= await self._make(words, due, now_ms, troubles)
            if cursor == b"0":
                return moved
            page = await self._context.call("schedule_look", now_ms, cursor)

    def _work_out(
        self, entries: Sequence[bytes], now_ms: int, troubles: list[str]
    ) -> tuple[list[str | bytes], list[int | None]]:
        """Return the words for the call that makes the runs of entries, and when each entry is due again."""
        words: list[str | bytes] = []
        due: list[int | None] = []
        for name, stored in zip(entries[::2], entries[1::2], strict=True):
            shown = as_text(name)
            try:
                run, next_ms = self._run(shown, stored, now_ms)
            except (GlideMQError, ValueError, RecursionError) as error:
                if self._unusable.get(shown) != hash(stored):
                    self._unusable[shown] = hash(stored)
                    troubles.append(f"scheduler '{shown}': {error}")
                continue
            words += [name, stored, *run]
            due.append(next_ms)
        return words, due

    async def _make(
        self, words: Sequence[str | bytes], due: Sequence[int | None], now_ms: int, troubles: list[str]
    ) -> bool:
        """Make runs that were worked out; return whether any entry moved on, here or elsewhere."""
        status, *rest = await self._context.call("schedule_tick", now_ms, *words)
        if status == b"locked":
            self._expect(now_ms + _LOCKED_MS)
            return False
        *outcomes, wrong = rest
        troubles += as_texts(wrong)
        for outcome, next_ms in zip(outcomes, due, strict=True):
            self._expect({b"made": next_ms, b"changed": now_ms}.get(outcome))
        return any(outcome != b"held" for outcome in outcomes)

    def _expect(self, due_ms: int | None) -> None:
        if due_ms is not None and (self.due_ms is None or due_ms < self.due_ms):
            self.due_ms = due_ms

    def _run(self, name: str, stored: bytes, now_ms: int) -> tuple[tuple[str, str, str, str], int | None]:
        """Work out the run of a due entry: its new text ("": it goes), its job, and when it is due again.

        Raises:
            InvalidOptionError: its pattern or its time zone is none.
            SerializationError, PayloadTooLargeError: its data cannot be stored.
        """
        decoded = parse_json(stored)
        raw: dict[str, Any] = decoded if isinstance(decoded, dict) else {}
        entry = entry_of(raw)
        modes = (entry.pattern, entry.every, entry.repeat_after_complete)
        made = entry.iteration_count or 0
        is_over = entry.end_date is not None and (entry.next_run or 0) > entry.end_date
        if modes == (None, None, None) or is_over or (entry.limit is not None and made >= entry.limit):
            return ("", *_NO_JOB), None
        waited_for = entry.pattern is None and entry.every is None
        job = template_job(self._context.serializer, name, raw, waited_for=waited_for).words()
        next_ms = 0 if waited_for else following_run(entry, entry.next_run or 0, now_ms)
        if next_ms is None or made + 1 == entry.limit:
            return ("", *job), None
        changed = {**raw, "iterationCount": made + 1, "nextRun": next_ms, "lastRun": now_ms}
        return (compact_json(changed), *job), next_ms or None
