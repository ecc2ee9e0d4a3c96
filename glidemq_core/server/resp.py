"""A few commands to a server without the driver: probing an address, looking after the embedded server."""

from __future__ import annotations

import asyncio
import ssl
from typing import Self

Reply = str | int | None | list["Reply"]

#: No answer to what we ask here is near this size; another program on the port may send anything.
_LIMIT = 1 << 20


class ReplyError(Exception):
    """An error reply; `code` is its first word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class NotValkeyError(Exception):
    """What answers does not speak the protocol; `start` holds its first bytes."""

    def __init__(self, start: bytes) -> None:
        super().__init__("the answer is not in the Valkey protocol")
        self.start = start


class RespConnection:
    """One short-lived connection; the caller bounds every step with a timeout."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls, host: str, port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> Self:
        """Connect to an address; with `tls`, check the certificate against `name`."""
        return cls(
            *await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=name if tls else None, limit=_LIMIT
            )
        )

    async def ask(self, *words: str) -> Reply:
        """Send one command and return its reply.

        Raises:
            ReplyError: the server answered with an error.
            NotValkeyError: it answered something else.
            OSError: the connection broke.
        """
        encoded = [word.encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)]
        self._writer.write(b"".join(parts))
        await self._writer.drain()
        return await self._reply()

    async def _reply(self) -> Reply:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise NotValkeyError(error.partial[:64]) from None
            raise ConnectionResetError("the server closed the connection") from None
        except asyncio.LimitOverrunError:
            raise NotValkeyError(b"") from None
        kind, rest = line[:1], line[1:].rstrip(b"\r\n")
        if kind == b"-":
            raise ReplyError(rest.decode("utf-8", "replace"))
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind not in (b":", b"$", b"*") or not rest.lstrip(b"-").isdigit():
            raise NotValkeyError(line[:64])
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if number > _LIMIT:
            raise NotValkeyError(line[:64])
        if kind == b"*":
            return [await self._reply() for _ in range(number)]
        return (await self._reader.readexactly(number + 2))[:-2].decode("utf-8", "replace")

    async def close(self) -> None:
        """Close without waiting for the other side."""
        self._writer.transport.abort()
