"""Pipelined reads, calls of our read-only functions where they may be called, and named fields of many jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from glidemq_core.errors import PermissionDeniedError, UnsupportedServerError
from glidemq_core.options.fields import EPOCH, from_epoch_ms
from glidemq_core.server.commands import Arg
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import failed, picked_fields, readable, sliced

#: Commands of one round trip; more are sent as several.
CHUNK = 512
#: After how long functions that could not be called are tried again, s.
RETRY_FUNCTIONS_S = 60.0
#: Bytes of one field that are kept; the function cuts at the same length.
FIELD_CAP = 4096
#: Jobs that one call of a function reads: a few ms of the server's time.
JOBS_PER_CALL = 100

Command = Sequence[Arg]
T = TypeVar("T")


class Reader:
    """Reads queues through one connection; what is asked at one moment shares round trips.

    Args:
        calls_per_s: round trips a second at most, in bursts of one second's worth; None for no limit.
        strict: raise an error instead of answering it; keys of another type then read as None.
    """

    def __init__(
        self, connection: Connection, prefix: str, calls_per_s: float | None = None, *, strict: bool = False
    ) -> None:
        self.connection = connection
        self.prefix = prefix
        self._throttle = Throttle(calls_per_s)
        self._strict = strict
        self._plain_until = 0.0
        self._queued: list[tuple[list[Command], asyncio.Future[list[Any]]]] = []
        #: Kept here because the loop alone does not keep a task alive.
        self._flushing: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, context: QueueContext, *, strict: bool = False) -> Reader:
        """Make a reader, without limit, of the connection of a queue."""
        return cls(context.connection, context.keys.prefix, strict=strict)

    def keys(self, queue: str) -> QueueKeys:
        return QueueKeys(self.prefix, queue)

    def context(self, queue: str) -> QueueContext:
        return QueueContext(self.connection, self.keys(queue))

    def now_ms(self) -> int:
        return self.connection.now_ms()

    def now(self) -> datetime:
        """When an answer was read, by the caller's clock."""
        return from_epoch_ms(self.now_ms()) or EPOCH

    async def read(self, commands: Iterable[Command]) -> list[Any]:
        """Run reads; an error stands in the place of its answer, unless the reader is strict."""
        mine = list(commands)
        if not mine:
            return []
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._queued.append((mine, future))
        if len(self._queued) == 1:
            flushing = asyncio.create_task(self._flush())
            self._flushing.add(flushing)
            flushing.add_done_callback(self._flushing.discard)
        answers = await future
        return [readable(answer) for answer in answers] if self._strict else answers

    async def read_each(
        self, things: Iterable[T], commands: Callable[[T], Sequence[Command]]
    ) -> list[Sequence[Any]]:
        """Run the same reads for each of many things; returns the answers of each."""
        asked = [commands(thing) for thing in things]
        answers = iter(await self.read(command for part in asked for command in part))
        return [[next(answers) for _ in part] for part in asked]

    async def _flush(self) -> None:
        await self._throttle.wait()
        queued, self._queued = self._queued, []
        commands = [command for mine, _ in queued for command in mine]
        answers: list[Any] = []
        error: BaseException | None = None
        try:
            for chunk in sliced(commands, CHUNK):
                answers += await self.connection.pipeline(chunk)
        except BaseException as raised:  # noqa: BLE001 - each of those who asked gets it
            error = raised
        at = 0
        for mine, future in queued:
            part = answers[at : at + len(mine)]
            at += len(mine)
            if future.done():
                continue
            if len(part) == len(mine):
                future.set_result(part)
            elif isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()

    async def read_one(self, *command: Arg) -> Any:
        """Run one read; an error answer is returned, not raised."""
        return (await self.read([command]))[0]

    async def ask(self, *command: Arg) -> Any:
        """Run one read; an error answer is raised."""
        answer = await self.read_one(*command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call_each(self, name: str, calls: Sequence[tuple[str, Sequence[Arg]]]) -> list[Any] | None:
        """Call one read-only function on many queues, `(queue prefix, arguments)` each.

        Returns None where this user cannot call them (ACL, or read-only before the library is loaded): plain commands
        are to be used then.
        """
        if time.monotonic() < self._plain_until:
            return None
        answers: list[Any] = []
        try:
            for part in sliced([(name, root, *args) for root, args in calls], CHUNK):
                await self._throttle.wait()
                answers += await self.connection.read_many(part)
        except (PermissionDeniedError, UnsupportedServerError) as error:
            answers.append(error)
        if any(isinstance(answer, (PermissionDeniedError, UnsupportedServerError)) for answer in answers):
            self._plain_until = time.monotonic() + RETRY_FUNCTIONS_S
            return None
        return answers


class Throttle:
    """Lets `per_s` calls a second through (None: any number); what was not used adds up to one second's worth."""

    def __init__(self, per_s: float | None) -> None:
        self._per_s = None if per_s is None else max(0.1, per_s)
        self._free = max(1.0, self._per_s or 0)
        self._at = time.monotonic()

    async def wait(self) -> None:
        if self._per_s is None:
            return
        now = time.monotonic()
        self._free = min(max(1.0, self._per_s), self._free + (now - self._at) * self._per_s)
        self._at = now
        self._free -= 1
        if self._free < 0:
            await asyncio.sleep(-self._free / self._per_s)


async def read_fields(
    reader: Reader, queue: str, ids: Sequence[str], names: Sequence[str]
) -> list[dict[str, bytes]]:
    """Read the named fields of jobs, long values cut; `{}` for a job that is not there."""
    if not ids:
        return []
    keys = reader.keys(queue)
    reply = await reader.call_each(
        "rows", [(keys.root, (len(names), *names, *part)) for part in sliced(ids, JOBS_PER_CALL)]
    )
    if reply is not None and not any(failed(part) for part in reply):
        answers = [row for part in reply for row in part[1:]]
    else:
        answers = await reader.read([("HMGET", keys.job(job_id), *names) for job_id in ids])
    return [cut_fields(names, answer) for answer in answers]


def cut_fields(names: Sequence[str], answer: Any) -> dict[str, bytes]:
    """Turn the answer of HMGET into fields; `{}` for a job that is not there."""
    if failed(answer) or not answer:
        return {}
    return picked_fields(names, [value if value is None else value[:FIELD_CAP] for value in answer])
