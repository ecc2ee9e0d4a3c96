"""Watching the inbox for those who want to be told."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..session import Session
from .delivery import Channel, Deliveries, NewSuspensions, Notice, notice_key
from .program import Program
from .webhook import SECRET, Webhook

if TYPE_CHECKING:
    from glidemq_core.records import Approval, Inbox
    from glidemq_core.watch import Watch

#: Bytes of payload and draft in a notice, and in a list, unless `--max-bytes` says something else.
_BYTES, _LISTED_BYTES = 262_144, 4_096


def channels_of(command: str | None, url: str | None) -> list[Channel]:
    """Make the ways that a command line names. Raises UsageProblem."""
    channels: list[Channel] = []
    if command is not None:
        channels.append(Program(command))
    if url is not None:
        channels.append(Webhook(url, os.environ.get(SECRET) or None))
    return channels


def approval_object(session: Session, shown: Approval) -> dict[str, Any]:
    """Make the Approval object; `masked` counts the secrets that are hidden in payload, draft and tool calls."""
    from glidemq_console.text.safe import mask_review
    from glidemq_core.records import to_json

    return mask_review(to_json(shown), session.out.reveal)


class Telling:
    """Lists the inbox again and again, and tells each suspension once; outages are waited for.

    Args:
        limit: jobs of one listing at most.
        max_bytes: of payload and draft in a notice.
        show: is called with each listing; None: nobody looks.
    """

    def __init__(
        self,
        session: Session,
        channels: Sequence[Channel],
        *,
        limit: int,
        max_bytes: int | None,
        show: Callable[[Inbox], None] | None,
    ) -> None:
        self._session = session
        self._limit = limit
        self._bytes = _BYTES if max_bytes is None else max_bytes
        self._listed_bytes = _LISTED_BYTES if max_bytes is None else max_bytes
        self._show = show
        self._deliveries = Deliveries(
            channels, lambda notice, problem: self._tell_failure(notice.job, problem)
        )
        self._new = NewSuspensions()
        self._trouble = False

    async def run(self, view: Watch, wanted: Sequence[str], found: Sequence[str], interval_ms: int) -> None:
        """Look every `interval_ms`, at the queues `wanted`, else at those found and all that become known."""

        async def look() -> None:
            await self._look(view, wanted, found)

        try:
            await self._session.repeat(interval_ms, look)
        finally:
            await self._deliveries.close()

    async def _look(self, view: Watch, wanted: Sequence[str], found: Sequence[str]) -> None:
        from glidemq_core.errors import CallTimeoutError, ServerUnavailableError

        try:
            known = wanted or tuple(sorted({*found, *await view.known()}))
            # Payloads are read for what is looked at; a notice reads its own.
            shown = None if self._show is not None else ()
            inbox = await view.approvals(
                known, limit=self._limit, payload_limit=self._listed_bytes, shown=shown
            )
        except (ServerUnavailableError, CallTimeoutError) as error:
            if not self._trouble:
                self._session.out.note(f"cannot read what waits: {error.message}; trying again")
            self._trouble = True
            return
        if self._trouble:
            self._session.out.note("what waits can be read again")
            self._trouble = False
        if self._show is not None:
            self._show(inbox)
        for item in self._new.of(inbox.items):
            self._deliveries.begin(lambda item=item: self._read(item))  # type: ignore[misc]

    async def _read(self, item: Approval) -> Notice | None:
        """Read the review of a new suspension; None if that is over by now."""
        from glidemq_console.text.safe import json_line
        from glidemq_core.errors import (
            CallTimeoutError,
            GlideMQError,
            JobNotFoundError,
            JobStateError,
            ServerUnavailableError,
        )

        queue = await self._session.queue(item.queue)
        try:
            review = await queue.review(item.id, payload_limit=self._bytes)
        except (JobNotFoundError, JobStateError):
            return None
        except (ServerUnavailableError, CallTimeoutError):
            self._new.forget(item)
            return None
        except GlideMQError as error:
            self._tell_failure(f"{item.queue}:{item.id}", error.message)
            return None
        if notice_key(review) != notice_key(item):
            return None  # it was decided and waits anew: that is told by itself
        body = json_line({"approval": approval_object(self._session, review)})
        return Notice(f"{item.queue}:{item.id}", notice_key(item), body.encode())

    def _tell_failure(self, job: str, problem: str) -> None:
        out = self._session.out
        out.note(f"{out.safe(job, 300)} was not told: {out.safe(problem, 400)}")
