"""What every call on a queue needs: where it goes, which keys, which serializer."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any, Protocol, Self

from .connection import Call, Connection, connect
from .errors import ClosedError, InvalidOptionError, JobNotFoundError
from .keys import QueueKeys
from .option_fields import queue_name


class Serializer(Protocol):
    """Turns job data and results into text and back; every side of a queue must use the same one."""

    def serialize(self, value: Any) -> str: ...
    def deserialize(self, text: str) -> Any: ...


class _JsonSerializer:
    """Compact JSON; refuses NaN and infinities, which are not JSON."""

    _encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

    def serialize(self, value: Any) -> str:
        return self._encode(value)

    def deserialize(self, text: str) -> Any:
        return json.loads(text)


JSON_SERIALIZER: Serializer = _JsonSerializer()


@dataclass(frozen=True, slots=True)
class Scope:
    """One queue as seen through one connection; feature modules take it as their first argument."""

    connection: Connection
    keys: QueueKeys
    serializer: Serializer = JSON_SERIALIZER

    @property
    def queue(self) -> str:
        return self.keys.queue

    async def call(self, function: str, *args: str | bytes | int | float) -> Any:
        """Call one of our writing functions on this queue."""
        return await self.connection.call(function, self.keys.root, *args)

    async def read(self, function: str, *args: str | bytes | int | float) -> Any:
        """Call one of our read-only functions on this queue."""
        return await self.connection.read(function, self.keys.root, *args)

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

    def now_ms(self) -> int:
        """Caller's clock, epoch ms; the wire wants it in every call that writes."""
        return self.connection.now_ms()


class QueueBase:
    """Name, connection (opened at first use when given as a URL) and scope of a queue object."""

    def __init__(
        self,
        name: str,
        connection: str | Connection | None = None,
        *,
        prefix: str | None = None,
        serializer: Serializer = JSON_SERIALIZER,
    ) -> None:
        self.name = queue_name(name)
        if connection is not None and not isinstance(connection, (str, Connection)):
            raise InvalidOptionError(
                "connection must be a URL, a Connection or None",
                option="connection",
                value=type(connection).__name__,
                allowed="URL, Connection, None",
            )
        self._target = connection
        self._prefix = prefix
        self._serializer = serializer
        self._opened: Scope | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def scope(self) -> Scope:
        """Open the connection if need be and return the scope of this queue."""
        if self._closed:
            raise ClosedError(f"{type(self).__name__} '{self.name}' is closed", what=self.name)
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open()
        return self._opened

    async def _open(self) -> Scope:
        connection = await open_target(self._target, self._prefix)
        return Scope(connection, QueueKeys(self._prefix or connection.prefix, self.name), self._serializer)

    async def close(self) -> None:
        """Close the connection if this object opened it; twice is fine."""
        self._closed = True
        if self._opened is not None and not isinstance(self._target, Connection):
            await self._opened.connection.close()
        self._opened = None

    async def __aenter__(self) -> Self:
        await self.scope()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def open_target(target: str | Connection | None, prefix: str | None = None) -> Connection:
    """Resolve what callers pass as `connection`: a URL, a shared Connection, or None for `GLIDEMQ_URL`."""
    if isinstance(target, Connection):
        return target
    url = target or os.environ.get("GLIDEMQ_URL")
    if not url:
        raise InvalidOptionError(
            "no connection given: pass a URL or a Connection, or set GLIDEMQ_URL",
            option="connection",
            value=None,
            allowed="valkey://host:port",
        )
    return await connect(url, prefix=prefix)
