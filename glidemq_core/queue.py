"""The queue as callers see it: everything but running jobs."""

from __future__ import annotations

from typing import Any, Generic

from .ai.streams import StreamCalls
from .ai.suspension import SuspensionCalls
from .ai.usage import UsageCalls
from .flows.budgets import BudgetCalls
from .flows.repair import FlowCalls
from .jobs.add import AddCalls
from .jobs.audit import AuditCalls
from .jobs.control import ControlCalls
from .jobs.read import ReadCalls
from .jobs.snapshot import DataT, ResultT
from .limits import LimitCalls
from .options.job import merge_options
from .options.worker import QueueOptions
from .search.index import SearchCalls
from .server.connection import Connection
from .server.context import QueueContext
from .wire.serializer import JSON_SERIALIZER, Serializer


class Queue(
    AddCalls,
    ReadCalls,
    ControlCalls,
    SuspensionCalls,
    StreamCalls,
    UsageCalls,
    SearchCalls,
    AuditCalls,
    BudgetCalls,
    FlowCalls,
    LimitCalls,
    Generic[DataT, ResultT],
):
    """Producer and control side of a queue. Starts no background task; connects at first use.

    Args:
        name: 1 to 256 characters, none of `{`, `}`, `:`.
        connection: URL (opened and owned), a shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix; None takes the connection's.
        dead_letter_queue: queue to which workers send exhausted jobs; named where consoles look for it.
        compression: `none` or `gzip`, for the data of jobs added here.
        events: False leaves out `added` events.
        options: the same set as one object; a keyword beside it wins.

    Every call may raise what speaks of the server (ServerUnavailableError, CallTimeoutError, AuthenticationError,
    PermissionDeniedError, ServerError), ClosedError after `close()`, and InvalidOptionError for a wrong `actor`.
    """

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        prefix: str | None = None,
        dead_letter_queue: str | None = None,
        compression: str | None = None,
        serializer: Serializer | None = None,
        events: bool | None = None,
        options: QueueOptions | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "prefix": prefix,
            "dead_letter_queue": dead_letter_queue,
            "compression": compression,
            "serializer": serializer,
            "events": events,
        }
        chosen = merge_options(QueueOptions, options, {k: v for k, v in given.items() if v is not None})
        super().__init__(
            name, connection, prefix=chosen.prefix, serializer=chosen.serializer or JSON_SERIALIZER
        )
        self._events = chosen.events
        self._compression = chosen.compression
        self._dead_letter_queue = chosen.dead_letter_queue

    async def _open(self) -> QueueContext:
        scope = await super()._open()
        if self._dead_letter_queue and not scope.connection.read_only:
            try:
                await scope.connection.command(
                    "HSET", scope.keys.meta, "deadLetterQueueName", self._dead_letter_queue
                )
            except BaseException:
                await self._lazy.release()
                raise
        return scope
