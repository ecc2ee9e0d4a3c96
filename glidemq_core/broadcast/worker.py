"""The receiving side of a broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Unpack

from ..errors import CallTimeoutError, ServerUnavailableError
from ..jobs.snapshot import DataT, ResultT
from ..options.fields import refuse
from ..options.worker import WorkerKeywords, WorkerOptions
from ..server.connection import Connection
from ..worker.context import SubscriptionOptions
from ..worker.execution.threads import Processor
from ..worker.worker import Worker
from .counts import read_counts
from .subjects import subject_patterns

#: How often draining looks what is left, s.
_LOOK_S = 0.1


class BroadcastWorker(Worker[DataT, ResultT]):
    """Run the messages of a broadcast for one subscription, as `Worker` runs the jobs of a queue.

    Every subscription gets every message; the workers of one subscription share its messages. Attempts, backoff and
    stalls are those of the subscription: `job.attempts_made` counts its failures only.

    Args:
        name, processor, connection: as of `Worker`.
        subscription: name of the subscription, which the server keeps while no worker runs.
        start_from: where a new subscription begins: `$` with what is published from now on, `0-0` with all that is
            kept, or after the entry of that id. A known one goes on where it stood.
        subjects: patterns of the subjects to run, such as `orders.*` or `orders.>`; the others are passed over.
            None given: all.
        options, keywords: as of `Worker`.
    Raises: InvalidOptionError.
    """

    def __init__(
        self,
        name: str,
        processor: Processor,
        connection: str | Connection | None = None,
        *,
        subscription: str,
        start_from: str = "$",
        subjects: str | Iterable[str] | None = (),
        options: WorkerOptions | None = None,
        **keywords: Unpack[WorkerKeywords],
    ) -> None:
        if not isinstance(subscription, str) or not subscription.strip():
            refuse(
                "subscription",
                subscription,
                "text that is not blank",
                "BroadcastWorker requires a `subscription` name (consumer group name).",
            )
        if subscription == "workers":
            refuse("subscription", subscription, "another name", "'workers' is the group of ordinary workers")
        if start_from != "$" and not _is_entry_id(start_from):
            refuse("start_from", start_from, "$, 0-0 or the id of an entry")
        super().__init__(name, processor, connection, options=options, **keywords)
        self._subscription = SubscriptionOptions(subscription, start_from, subject_patterns(subjects))

    async def _until_done(self) -> None:
        context = await self.context()
        while True:
            with suppress(ServerUnavailableError, CallTimeoutError):
                if all(one.is_done for one in await read_counts(context) if one.name == self.subscription):
                    return
            await asyncio.sleep(_LOOK_S)

    @property
    def subscription(self) -> str:
        """Name of the subscription."""
        assert self._subscription is not None
        return self._subscription.name


def _is_entry_id(text: object) -> bool:
    if not isinstance(text, str):
        return False
    head, _, tail = text.partition("-")
    return head.isascii() and head.isdigit() and (not tail or (tail.isascii() and tail.isdigit()))
