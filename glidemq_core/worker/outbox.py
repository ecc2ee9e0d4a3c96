"""The outbox of a queue: entries for parents, budgets and dead letters in other queues, delivered in their order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Literal

from ..errors import ClosedError, GlideMQError, PermissionDeniedError, ServerError
from ..server.context import QueueContext
from ..server.retry import LOST_REPLY, SERVER_TROUBLE

#: Refusals after which an entry is set aside.
MOST_REFUSALS = 10
#: Time after which entries that were set aside are tried again, ms.
RETRY_AFTER_MS = 3_600_000
#: How long a record that refused an entry, or a queue out of reach, is left alone, s.
_PAUSE_S = 1.0
#: Entries of one read, and reads of one round; the next round goes on where this one ended.
_PAGE = 200
_PAGES = 20
#: Entries that one call to clear may pass over.
_MOST_PASSED = 200_000
#: What a dead letter is made of.
_LETTER = ("mark", "name", "data", "packed")
#: Codes of errors about the way to the target, or about the state of its server.
_PASSING_ERRORS = SERVER_TROUBLE | {"MOVED", "ASK", "CROSSSLOT"}


class Outbox:
    """Delivers the entries of one queue, in pages.

    Args:
        report: called with the error of every entry that could not be delivered.
    """

    def __init__(self, queue: QueueContext, report: Callable[[BaseException], None]) -> None:
        self._queue = queue
        self._report = report
        #: Index of the entry where the next round begins.
        self._start = 0
        #: Until when queues and records are left alone.
        self._paused: dict[tuple[str, str], float] = {}
        self._delivering = asyncio.Lock()
        #: Whether entries are known to wait.
        self.waiting = False

    async def deliver_waiting(self) -> None:
        """Deliver if entries are known to wait."""
        if self.waiting:
            await self.deliver()

    async def deliver(self) -> bool:
        """Try every entry once; False when all are gone. One that arrives twice counts once.

        A target that refuses or is out of reach keeps nobody else waiting. Entries of one record arrive in their order.
        """
        self.waiting = False
        async with self._delivering:
            left = await self._deliver()
        self.waiting = self.waiting or left
        return left

    async def _deliver(self) -> bool:
        """Try every entry, or as many as a round may; returns whether some are left."""
        now = time.monotonic()
        self._paused = {place: until for place, until in self._paused.items() if until > now}
        queue = self._queue
        start = self._start
        for _ in range(_PAGES):
            entries = await queue.connection.command("LRANGE", queue.keys.outbox, start, start + _PAGE - 1)
            if not entries:
                break
            outcomes = [(entry, await self._try(entry)) for entry in entries]
            delivered = [entry for entry, outcome in outcomes if outcome == "delivered"]
            # The server walks from the front of the list to each: the further back, the fewer a call.
            few = max(1, _MOST_PASSED // (start + _PAGE))
            for at in range(0, len(delivered), few):
                await queue.call("outbox_clear", *delivered[at : at + few])
            start += sum(outcome == "kept" for _, outcome in outcomes)
            if len(entries) < _PAGE:
                start = 0
                break
        else:
            self._start = start
            return True
        self._start = 0
        return bool(self._paused)

    async def retry(self, tried_until_ms: int, audit: str = "") -> int:
        """Give entries that were set aside one more try; returns how many are back in the outbox."""
        return int(
            (await self._queue.call("outbox_retry", tried_until_ms, _PAGE, MOST_REFUSALS - 1, audit))[1]
        )

    async def _try(self, entry: bytes) -> Literal["delivered", "kept", "gone"]:
        """Deliver an entry unless its target is left alone; "gone": it was set aside."""
        try:
            content = json.loads(entry)
            target, record = str(content["to"]), _record_of(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return await self._refused(entry, "not a readable outbox entry", most=1)
        if (target, "") in self._paused or (target, record) in self._paused:
            return "kept"
        try:
            await self._send(target, content)
        except ClosedError:
            raise
        except GlideMQError as error:
            self._report(error)
            refusal = _is_refusal(error)
            self._paused[target, record if refusal else ""] = time.monotonic() + _PAUSE_S
            return await self._refused(entry, error.message) if refusal else "kept"
        return "delivered"

    async def _send(self, target: str, content: dict[str, Any]) -> None:
        connection = self._queue.connection
        if "letter" in content:
            words = [content["letter"][word] for word in _LETTER]
            await connection.call("take_letter", target, self._queue.now_ms(), *words)
        elif "budget" in content:
            spend = json.dumps(content["spend"])
            await connection.call("budget_book", target, content["budget"], spend, content["mark"])
        else:
            await connection.call("child_done", target, content["parent"], content["member"])

    async def _refused(self, entry: bytes, reason: str, most: int = MOST_REFUSALS) -> Literal["kept", "gone"]:
        status = await self._queue.call("outbox_refused", self._queue.now_ms(), entry, most, reason)
        return "kept" if status[0] == b"kept" else "gone"


def _record_of(content: dict[str, Any]) -> str:
    """Return what an entry is for, of its target. Raises KeyError for what is no entry."""
    if "letter" in content:
        letter = content["letter"]
        if not all(isinstance(letter[word], str) for word in _LETTER):
            raise TypeError("a letter is made of texts")
        return "letters"
    return str(content.get("parent") or content["budget"])


def _is_refusal(error: GlideMQError) -> bool:
    """Whether the target itself refuses; a lost connection, a timeout or a server in trouble is no refusal."""
    if isinstance(error, LOST_REPLY):
        return False
    if isinstance(error, PermissionDeniedError):
        return True
    return isinstance(error, ServerError) and error.code not in _PASSING_ERRORS
