"""The outbox of a queue: news for parents and budgets that live in other queues, delivered to each target in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from ..errors import ClosedError, GlideMQError, PermissionDeniedError, ServerError
from ..server.context import QueueContext
from ..server.retry import LOST_REPLY, SERVER_TROUBLE

#: Refusals after which a letter is set aside.
MOST_REFUSALS = 10
#: Time after which letters that were set aside are tried again, ms.
TRY_AGAIN_MS = 3_600_000
#: How long a record that refused a letter, or a queue out of reach, is left alone, s.
_REST_S = 1.0
#: Letters of one read, and reads of one round; the next round goes on where this one ended.
_PAGE = 200
_PAGES = 20
#: Letters that one call to clear may pass over.
_WALKED = 200_000
#: Codes of errors that speak of the way to the target, or of the state of its server.
_TROUBLE = SERVER_TROUBLE | {"MOVED", "ASK", "CROSSSLOT"}


class Outbox:
    """Delivers the letters of one queue; keeps in mind how far it has looked.

    Args:
        on_error: hears of every letter that could not be delivered.
    """

    def __init__(self, scope: QueueContext, on_error: Callable[[BaseException], None]) -> None:
        self._scope = scope
        self._on_error = on_error
        self._start = 0
        #: Until when queues and records are left alone.
        self._resting: dict[tuple[str, str], float] = {}
        self._delivering = asyncio.Lock()

    async def deliver(self) -> bool:
        """Try every letter once; False when all are gone. One that comes twice counts once.

        A target that refuses or is out of reach keeps nobody else waiting. Letters of one record arrive in their order.
        """
        async with self._delivering:
            return await self._deliver()

    async def _deliver(self) -> bool:
        now = time.monotonic()
        self._resting = {place: until for place, until in self._resting.items() if until > now}
        scope = self._scope
        start = self._start
        for _ in range(_PAGES):
            letters = await scope.connection.command("LRANGE", scope.keys.outbox, start, start + _PAGE - 1)
            if not letters:
                break
            fates = [(letter, await self._try(letter)) for letter in letters]
            delivered = [letter for letter, fate in fates if fate == "delivered"]
            # The server walks from the front of the list to each: the further back, the fewer a call.
            few = max(1, _WALKED // (start + _PAGE))
            for at in range(0, len(delivered), few):
                await scope.call("outbox_clear", *delivered[at : at + few])
            start += sum(fate == "kept" for _, fate in fates)
            if len(letters) < _PAGE:
                start = 0
                break
        else:
            self._start = start
            return True
        self._start = 0
        return bool(self._resting)

    async def retry(self, tried_until_ms: int, audit: str = "") -> int:
        """Give letters that were set aside one more try; how many went back into the outbox."""
        return int(
            (await self._scope.call("outbox_retry", tried_until_ms, _PAGE, MOST_REFUSALS - 1, audit))[1]
        )

    async def _try(self, letter: bytes) -> str:
        """Deliver a letter if its target is ready for one: "delivered", "kept", or "gone" from the outbox."""
        try:
            content = json.loads(letter)
            target, record = str(content["to"]), str(content.get("parent") or content["budget"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return await self._refused(letter, "no letter that can be read", most=1)
        if (target, "") in self._resting or (target, record) in self._resting:
            return "kept"
        try:
            await self._send(target, content)
        except ClosedError:
            raise
        except GlideMQError as error:
            self._on_error(error)
            refusal = _is_refusal(error)
            self._resting[target, record if refusal else ""] = time.monotonic() + _REST_S
            return await self._refused(letter, error.message) if refusal else "kept"
        return "delivered"

    async def _send(self, target: str, content: dict[str, Any]) -> None:
        connection = self._scope.connection
        if "budget" in content:
            spend = json.dumps(content["spend"])
            await connection.call("budget_book", target, content["budget"], spend, content["mark"])
        else:
            await connection.call("child_done", target, content["parent"], content["member"])

    async def _refused(self, letter: bytes, reason: str, most: int = MOST_REFUSALS) -> str:
        status = await self._scope.call("outbox_refused", self._scope.now_ms(), letter, most, reason)
        return "kept" if status[0] == b"kept" else "gone"


def _is_refusal(error: GlideMQError) -> bool:
    """Whether the target itself refuses; lost connections, timeouts and trouble of a server or cluster pass."""
    if isinstance(error, LOST_REPLY):
        return False
    if isinstance(error, PermissionDeniedError):
        return True
    return isinstance(error, ServerError) and error.code not in _TROUBLE
