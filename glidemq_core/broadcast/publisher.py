"""The publishing side of a broadcast."""

from __future__ import annotations

import logging
from typing import Any, Unpack

from ..errors import GlideMQError
from ..jobs import add, admin
from ..options.fields import Duration, instance_of, positive_ms, refuse
from ..options.job import JobKeywords, JobOptions, RateLimit, job_options
from ..options.worker import QueueKeywords, QueueOptions
from ..producer import AddingQueue
from ..server.connection import Connection
from ..server.context import QueueContext
from .counts import SubscriptionCounts, read_counts

logger = logging.getLogger("glidemq.broadcast")


class Broadcast(AddingQueue):
    """Publish messages that every subscription of a queue gets. Connects at first use.

    Args:
        name: name of the queue; ordinary workers must not read it.
        connection: URL (opened and owned), a shared Connection, or None for `GLIDEMQ_URL`.
        max_messages: how many messages stay for subscriptions that come late or lag behind; None keeps all. Older ones
            go when something is published, also those that a subscription has not read.
        retain: how long messages stay (ms, timedelta or text); older ones go likewise. None: for ever.
        options: options of the queue as one object; a keyword beside it wins.
    Raises: InvalidOptionError.
    """

    _role = "broadcast"

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        max_messages: int | None = None,
        retain: Duration | None = None,
        options: QueueOptions | None = None,
        **keywords: Unpack[QueueKeywords],
    ) -> None:
        if max_messages is not None and (
            not isinstance(max_messages, int) or isinstance(max_messages, bool) or max_messages < 1
        ):
            refuse("max_messages", max_messages, "above 0", "max_messages must be a positive integer")
        super().__init__(name, connection, options=options, **keywords)
        self._max_messages = max_messages
        self._retain_ms = None if retain is None else positive_ms(retain, "retain")

    async def publish(
        self,
        subject: str,
        data: Any = None,
        *,
        options: JobOptions | None = None,
        **keywords: Unpack[JobKeywords],
    ) -> str | None:
        """Publish a message; returns its id, or None when it was deduplicated or its id is taken.

        Args:
            subject: name of the message, by which subscriptions may choose; may be empty.
            options, keywords: as of `Queue.add`; attempts and backoff are those of each subscription. No `priority`,
                `lifo` or `ordering`.
        Raises: as `Queue.add`.
        """
        chosen = job_options(options, keywords)
        for option, given in (
            ("priority", chosen.priority),
            ("lifo", chosen.lifo),
            ("ordering", chosen.ordering is not None),
        ):
            if given:
                refuse(
                    option,
                    given,
                    "nothing",
                    f"{option} has no meaning here: subscriptions read their messages in the order of the stream",
                )
        context = await self.context()
        job = await add.add_job(context, subject, data, chosen, self._options)
        if job is None:
            return None
        if self._max_messages is not None or self._retain_ms is not None:
            await self._trim(context)
        return job.id

    async def _trim(self, context: QueueContext) -> None:
        """Let old messages go. The message is out: an error here must not make its publisher send it again."""
        since = "" if self._retain_ms is None else context.now_ms() - self._retain_ms
        try:
            await context.call("broadcast_trim", self._max_messages or 0, since)
        except GlideMQError as error:
            logger.warning("old messages of broadcast '%s' stay for now: %s", self.name, error)

    async def pause(self) -> None:
        """Stop Python workers from starting messages; running ones go on. Node workers do not obey."""
        await admin.pause(await self.context())

    async def resume(self) -> None:
        """Let workers start messages again."""
        await admin.resume(await self.context())

    async def set_global_rate_limit(self, limit: RateLimit | None) -> None:
        """Cap the starts of all subscriptions together; None lifts the cap. Raises InvalidOptionError."""
        if limit is not None:
            instance_of(RateLimit)(limit, "limit")
        await admin.set_global_rate_limit(await self.context(), limit)

    async def get_subscriptions(self) -> list[SubscriptionCounts]:
        """Return how every subscription stands, by name."""
        return await read_counts(await self.context())

    async def remove_subscription(self, name: str) -> bool:
        """Remove a subscription and its retries; False if there is none of this name. Its workers must be closed."""
        [status] = await (await self.context()).call("broadcast_remove", name, "", "$")
        return bool(status == b"ok")
