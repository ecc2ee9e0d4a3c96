"""Append chunks to token streams of jobs (calls awaited together share round trips), and read them.

Following a stream live is in `hub`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Hashable, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from ...jobs.active_run import RunCalls
from ...jobs.appending import Appender
from ...options.fields import Duration, refuse, to_ms
from ...records import StreamChunk
from ...server.connection import Connection
from ...server.context import QueueContext
from ...wire.payload import MAX_PAYLOAD_BYTES, refuse_size
from .hub import StreamHub
from .shared_reader import close_quietly
from .tail import Page, decode_page

#: A server script cannot pass more values than this to one command.
_MAX_FIELDS = 3_500
#: A connection for blocking reads is kept this long (s) for the next one.
_IDLE_READER = 5.0

_ENTRY_ID = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?", re.ASCII)
_MAX_PART = 2**64 - 1


def encode_chunk(chunk: Mapping[str, str]) -> tuple[list[bytes], int]:
    """Check a chunk; returns its names and values in turn, and its size in bytes.

    Raises:
        InvalidOptionError: no mapping, not text, empty, or more than 3,500 fields.
        PayloadTooLargeError: names and values together over 1 MiB.
    """
    if not isinstance(chunk, Mapping):
        refuse("chunk", chunk, "a mapping of text to text")
    if not chunk:
        refuse("chunk", chunk, "at least one field", "Stream chunk must not be empty")
    if len(chunk) > _MAX_FIELDS:
        message = f"Stream chunk has too many fields ({len(chunk)} > {_MAX_FIELDS})"
        refuse("chunk", len(chunk), f"up to {_MAX_FIELDS} fields", message)
    words: list[bytes] = []
    for pair in chunk.items():
        for word in pair:
            if not isinstance(word, str):
                refuse("chunk", word, "text", f"Stream chunk values must be text, not {type(word).__name__}")
            # A lone surrogate (half an emoji cut by a model's tokenizer) has no UTF-8 form.
            words.append(word.encode("utf-8", "replace"))
    size = sum(map(len, words))
    if size > MAX_PAYLOAD_BYTES:
        message = f"Stream chunk exceeds maximum size ({size} bytes > {MAX_PAYLOAD_BYTES})"
        refuse_size("stream chunk", size, option="chunk", message=message)
    return words, size


_appenders: WeakKeyDictionary[Connection, dict[Hashable, Any]] = WeakKeyDictionary()


async def append_chunk(
    context: QueueContext, job_id: str, chunk: Mapping[str, str], calls: RunCalls | None = None
) -> str:
    """Append one chunk to a job's stream and return its entry id; see `Job.stream`.

    Args:
        calls: calls of the run that streams; they are repeated through an outage.
    Raises:
        JobNotFoundError: the job was removed; its stream is not created again.
        JobLostError: the job has ended or runs elsewhere.
    """
    words, size = encode_chunk(chunk)
    owners = _appenders.setdefault(context.connection, {}) if calls is None else calls.appenders
    key = ("stream", context.keys.root, job_id)
    appender: Appender[list[bytes], str] | None = owners.get(key)
    if appender is None:
        appender = owners[key] = Appender(owners, key, partial(_send, context, job_id, calls))
    return await appender.append(words, size)


async def _send(
    context: QueueContext, job_id: str, calls: RunCalls | None, chunks: list[list[bytes]]
) -> list[str]:
    args: list[str | bytes] = []
    for words in chunks:
        args += [str(len(words)), *words]
    if calls is None:
        reply = await context.call("stream_append", job_id, "", "", "", *args)
    else:
        # A repeat looks whether its entries are stored already, after the last entry that this run knows of.
        since = calls.last_chunk or f"?{calls.processed_on}"
        reply = await calls.repeat_numbered(
            lambda repeated, number: context.call(
                "stream_append", job_id, since if repeated else "", calls.processed_on, number, *args
            )
        )
    if reply[0] != b"ok":
        raise context.refusal(job_id, reply[0])
    ids = [entry_id.decode() for entry_id in reply[1:]]
    if calls is not None:
        calls.last_chunk = ids[-1]
    return ids


_idle_readers: WeakKeyDictionary[Connection, list[Connection]] = WeakKeyDictionary()


async def _blocking_read(
    connection: Connection, key: str, after: str, limit: tuple[str | int, ...], block: int
) -> Page:
    """Wait for entries of one stream on a connection of its own, which is kept a few seconds for the next such read."""
    idle = _idle_readers.setdefault(connection, [])
    reader = idle.pop() if idle else await connection.dedicated(role="stream")
    try:
        reply = await reader.command("XREAD", *limit, "BLOCK", block, "STREAMS", key, after)
    except BaseException:
        await close_quietly(reader)  # its read may still block
        raise
    idle.append(reader)
    asyncio.get_running_loop().call_later(_IDLE_READER, _discard, idle, reader)
    return next(iter(reply.values())) if reply else None


def _discard(idle: list[Connection], reader: Connection) -> None:
    if reader in idle:
        idle.remove(reader)
        _closing.add(task := asyncio.ensure_future(close_quietly(reader)))
        task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()


def check_entry_id(value: str, option: str, *, newest: bool = False) -> str:
    """Accept `<ms>`, `<ms>-<n>` and, where it makes sense, `$`. Raises InvalidOptionError."""
    if newest and value == "$":
        return value
    match = _ENTRY_ID.fullmatch(value) if isinstance(value, str) else None
    if match is None or any(int(part) > _MAX_PART for part in match.groups() if part):
        refuse(option, value, "an entry id like 1795467240172-0" + (" or $" if newest else ""))
    return value


async def read_stream(
    context: QueueContext,
    job_id: str,
    *,
    last_id: str | None = None,
    count: int = 100,
    block: Duration | None = None,
) -> list[StreamChunk]:
    """Read chunks after `last_id`, oldest first; see `Queue.read_stream`."""
    wait = to_ms(block, "block") if block and (not isinstance(block, int) or block > 0) else 0
    if isinstance(count, bool) or not isinstance(count, int):
        refuse("count", count, "a whole number")
    key = context.keys.jstream(job_id)
    after = check_entry_id(last_id, "last_id", newest=wait > 0) if last_id else None
    if wait:
        limit = ("COUNT", count) if count > 0 else ()
        reply = await _blocking_read(context.connection, key, after or "0-0", limit, wait)
    elif count <= 0 or after == f"{_MAX_PART}-{_MAX_PART}":
        return []
    else:
        start = f"({after}" if after else "-"
        reply = await context.connection.command("XRANGE", key, start, "+", "COUNT", count)
    return decode_page(reply)


async def stream(
    context: QueueContext,
    job_id: str,
    *,
    start: str = "0",
    follow: bool = True,
    until_done: bool = False,
    block: Duration = 5_000,
) -> AsyncGenerator[StreamChunk, None]:
    """Yield the chunks of a job's stream until the job ends; see `Queue.stream`."""
    check_entry_id(start, "start", newest=True)
    hub = StreamHub.of(context.connection)
    block_ms = max(1, to_ms(block, "block"))
    async with hub.follow(context, job_id, start=start, follow=follow, block_ms=block_ms) as tail:
        async for chunk in tail:
            yield chunk
            if until_done and chunk.type == "done":
                return
