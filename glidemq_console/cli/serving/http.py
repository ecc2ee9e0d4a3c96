"""A small HTTP server for probes and scrapers: GET and HEAD, one answer a connection, nothing else."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..errors import Refusal

#: Longest head of a request, bytes.
_HEAD = 8_192
#: How long a request may take to arrive, and its answer to be made and read, s.
_PATIENCE_S = 10.0
#: Connections at once; further ones are closed unanswered.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path answers with."""

    status: HTTPStatus
    body: bytes
    kind: str = "application/json"

    @classmethod
    def of_json(cls, value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
        """Answer with a JSON value on one line."""
        return cls(status, json.dumps(value).encode() + b"\n")


#: Answers a path without its query; None: there is no such path.
Respond = Callable[[str], Awaitable[Answer | None]]


async def listen(respond: Respond, host: str, port: int, option: str) -> asyncio.Server:
    """Answer requests until the server is closed.

    Args:
        option: names the option of the command line that chose the address.
    Raises:
        Refusal: the address cannot be listened on.
    """
    open_now: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_now.add(task)
        try:
            if len(open_now) <= _CONNECTIONS:
                async with asyncio.timeout(_PATIENCE_S):
                    await _answer(reader, writer, respond)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # whoever asked is slow, or gone
        finally:
            open_now.discard(task)
            writer.close()

    try:
        return await asyncio.start_server(serve, host, port, limit=_HEAD)
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise Refusal(f"port {port} of {host} {reason}; {option} chooses another") from error


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        head = b""
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        answer = _failure(HTTPStatus.BAD_REQUEST)
    elif words[0] not in (b"GET", b"HEAD"):
        answer = _failure(HTTPStatus.METHOD_NOT_ALLOWED)
    else:
        answer = await _asked(words[1].decode("latin-1").partition("?")[0], respond)
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode() + (b"" if words[:1] == [b"HEAD"] else answer.body))
    await writer.drain()
    with suppress(OSError):
        writer.write_eof()


async def _asked(path: str, respond: Respond) -> Answer:
    try:
        return await respond(path) or _failure(HTTPStatus.NOT_FOUND)
    except Exception:
        logging.getLogger("glidemq").exception("%s could not be answered", path)
        return _failure(HTTPStatus.INTERNAL_SERVER_ERROR)


def _failure(status: HTTPStatus) -> Answer:
    return Answer.of_json({"error": status.phrase.lower()}, status)
