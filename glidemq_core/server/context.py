"""What every call on a queue needs: where it goes, which keys, which serializer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from ..errors import ClosedError, JobLostError, JobNotFoundError
from ..options.fields import queue_name, refuse
from ..options.types import JobIdLike, id_in
from ..wire.keys import QueueKeys
from ..wire.serializer import JSON_SERIALIZER, Serializer
from .commands import Arg
from .connect import connect
from .connection import Call, Connection


@dataclass(frozen=True, slots=True)
class QueueContext:
    """One queue as seen through one connection; feature modules take it as their first argument."""

    connection: Connection
    keys: QueueKeys
    serializer: Serializer = JSON_SERIALIZER
    #: What calls that are under way through this context share.
    shared: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    #: When it was opened, by the monotonic clock, s.
    opened_at: float = field(default_factory=time.monotonic, compare=False, repr=False)

    @property
    def queue(self) -> str:
        return self.keys.queue

    # Coroutines of others handed on: each one between a caller and the driver would be felt in every call.

    def call(self, function: str, *args: Arg) -> Coroutine[Any, Any, Any]:
        """Call one of our writing functions on this queue."""
        return self.connection.call(function, self.keys.root, *args)

    def read(self, function: str, *args: Arg) -> Coroutine[Any, Any, Any]:
        """Call one of our read-only functions on this queue."""
        return self.connection.read(function, self.keys.root, *args)

    async def gather(self, *commands: Call) -> list[Any]:
        """Run plain reading commands in one round trip; the first error is raised."""
        answers = await self.connection.pipeline(commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def missing(self, job_id: str) -> JobNotFoundError:
        """The error for a job that does not exist (any more)."""
        return JobNotFoundError(
            f"job '{self.queue}:{job_id}' not found",
            queue=self.queue,
            job_id=job_id,
            hint="it may be removed",
        )

    def refusal(self, job_id: str, status: bytes) -> JobNotFoundError | JobLostError:
        """The error for what a run asked for in vain: the job is gone, or it has ended or runs elsewhere."""
        if status != b"lost":
            return self.missing(job_id)
        return JobLostError(
            f"job '{self.queue}:{job_id}' is not owned by this run any more; nothing was recorded",
            queue=self.queue,
            job_id=job_id,
        )

    def now_ms(self) -> int:
        """Caller's clock, epoch ms; the wire wants it in every call that writes."""
        return self.connection.now_ms()


class LazyConnection:
    """What callers pass as `connection`: given, or opened at its first use and only then ours to close.

    Args:
        target: URL, shared Connection, or None for `GLIDEMQ_URL`.
        prefix: key prefix of a connection opened here; None takes the URL's.
        role: what a connection opened here is for, as in `connect`.
        refusal, what: message and fact of the error that a use after `close` meets.
        prepare: called with the connection before its first use; if it raises, the next use tries again.
    Raises: InvalidOptionError for another target.
    """

    def __init__(
        self,
        target: str | Connection | None,
        prefix: str | None,
        role: str,
        refusal: str,
        what: str,
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        if target is not None and not isinstance(target, (str, Connection)):
            refuse(
                "connection",
                type(target).__name__,
                "URL, Connection, None",
                "connection must be a URL, a Connection or None",
            )
        self.target = target
        self.closed = False
        self._prefix = prefix
        self._role = role
        self._refusal = refusal
        self._what = what
        self._prepare = prepare
        self._prepared: Connection | None = None
        self._opening = asyncio.Lock()

    @property
    def current(self) -> Connection | None:
        """The connection; None while none is open."""
        return self.target if isinstance(self.target, Connection) else self._prepared

    async def get(self) -> Connection:
        """Open the connection if need be. Raises ClosedError after `close`."""
        async with self._opening:
            self._check_open()
            if self._prepared is None:
                self._prepared = await self._open()
            return self._prepared

    async def close(self) -> None:
        """Close the connection if it was opened here; twice is fine."""
        self.closed = True
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared is not self.target:
            await prepared.close()

    async def _open(self) -> Connection:
        target = self.target
        connection = target if isinstance(target, Connection) else await self._connect(target)
        try:
            if self._prepare is not None:
                await self._prepare(connection)
            self._check_open()  # it may have been closed meanwhile
        except BaseException:
            if connection is not target:
                await connection.close()
            raise
        return connection

    async def _connect(self, target: str | None) -> Connection:
        url = target or os.environ.get("GLIDEMQ_URL")
        if not url:
            refuse(
                "connection",
                None,
                "valkey://host:port",
                "no connection given: pass a URL or a Connection, or set GLIDEMQ_URL",
            )
        return await connect(url, prefix=self._prefix, role=self._role)

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError(self._refusal, what=self._what)


class QueueBase:
    """Name and connection (opened at first use when given as a URL) of a queue object."""

    #: What a connection of its own is for: a part of the client's name on the server.
    _role: ClassVar[str] = "queue"

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        prefix: str | None = None,
        serializer: Serializer = JSON_SERIALIZER,
    ) -> None:
        self.name = queue_name(name)
        self._prefix = prefix
        self._serializer = serializer
        refusal = f"{type(self).__name__} '{self.name}' is closed"
        self._lazy = LazyConnection(connection, prefix, self._role, refusal, self.name, self._prepare)
        self._queue_context: QueueContext | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def connection(self) -> Connection | None:
        """The connection it works through; None while a URL has not been opened yet."""
        return self._lazy.current

    def _own(self, job: JobIdLike) -> str:
        """Return the id of a job of this queue. Raises InvalidOptionError for a job of another one."""
        return id_in(self.name, job)

    async def context(self) -> QueueContext:
        """Open the connection if need be and return the context of calls on this queue.

        Raises: ClosedError after `close`.
        """
        if self._queue_context is None or self._lazy.closed:
            connection = await self._lazy.get()
            self._queue_context = QueueContext(connection, self._keys(connection), self._serializer)
        return self._queue_context

    def _keys(self, connection: Connection) -> QueueKeys:
        return QueueKeys(self._prefix or connection.prefix, self.name)

    async def _prepare(self, connection: Connection) -> None:
        """Do what a connection needs before its first use."""

    async def close(self) -> None:
        """Close the connection if this object opened it; twice is fine."""
        await self._lazy.close()

    async def __aenter__(self) -> Self:
        await self.context()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
