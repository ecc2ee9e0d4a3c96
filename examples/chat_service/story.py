"""What a browser is told of a chat: its tokens as they come, and what happens to its job in between."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from glidemq_core import Connection, Queue, QueueEvent, QueueEvents, StreamChunk

from .payloads import QUEUE, Answer, Ask

#: A comment this often keeps proxies from closing a stream in which nothing happens, s.
KEEP_ALIVE_S = 15.0


@dataclass(frozen=True)
class Message:
    """A server-sent event; one without a name is a comment."""

    event: str | None = None
    data: Any = None
    id: str | None = None

    def __str__(self) -> str:
        if self.event is None:
            return ": still here\n\n"
        place = "" if self.id is None else f"id: {self.id}\n"
        return f"{place}event: {self.event}\ndata: {json.dumps(self.data)}\n\n"


class Turns:
    """Suspensions, resumptions and retries of all chats: read once, on one connection, for every browser."""

    def __init__(self, connection: Connection) -> None:
        self._events = QueueEvents(QUEUE, connection, types=("suspended", "resumed", "retrying"))
        self._followers: defaultdict[str, set[asyncio.Queue[QueueEvent]]] = defaultdict(set)

    async def listen(self) -> None:
        """Hand out events until cancelled."""
        async for event in self._events:
            for inbox in self._followers.get(event.job_id or "", ()):
                inbox.put_nowait(event)

    @contextmanager
    def of(self, job_id: str) -> Iterator[asyncio.Queue[QueueEvent]]:
        """Give the turns of one job from now on."""
        inbox: asyncio.Queue[QueueEvent] = asyncio.Queue()
        self._followers[job_id].add(inbox)
        try:
            yield inbox
        finally:
            self._followers[job_id].discard(inbox)
            if not self._followers[job_id]:
                del self._followers[job_id]


async def story(
    queue: Queue[Ask, Answer], turns: Turns, job_id: str, after: str = "0"
) -> AsyncIterator[Message]:
    """Tell what happens to a job, from its beginning or after the last message that a browser got, to its end.

    Raises:
        JobNotFoundError: there is no such job.
    """
    with turns.of(job_id) as happened:  # before the first look, so that nothing falls between
        async for chunk in queue.stream(job_id, start=after, follow=False):
            yield token(chunk)
            after = chunk.id
        async for message in suspension(queue, job_id):
            yield message
        async with aclosing(queue.stream(job_id, start=after)) as chunks:
            reading = asyncio.ensure_future(anext(chunks, None))
            hearing = asyncio.ensure_future(happened.get())
            try:
                while True:
                    waits = {reading, hearing}
                    done, _ = await asyncio.wait(
                        waits, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
                    )
                    if not done:
                        yield Message()
                    if hearing in done:
                        event = hearing.result()
                        # What the job wrote before is told first, though events travel faster.
                        async with aclosing(queue.stream(job_id, start=after, follow=False)) as missing:
                            async for chunk in missing:
                                if place(chunk.id)[0] > place(event.id)[0]:
                                    break
                                yield token(chunk)
                                after = chunk.id
                        async for message in turn(queue, job_id, event):
                            yield message
                        hearing = asyncio.ensure_future(happened.get())
                    if reading in done:
                        read = reading.result()
                        if read is None:
                            break
                        if place(read.id) > place(after):
                            yield token(read)
                            after = read.id
                        reading = asyncio.ensure_future(anext(chunks, None))
            finally:
                for task in (reading, hearing):
                    task.cancel()
                await asyncio.gather(reading, hearing, return_exceptions=True)
    yield await end(queue, job_id)


def place(entry_id: str) -> tuple[int, int]:
    """Give what orders the entries of a stream."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def token(chunk: StreamChunk) -> Message:
    """Tell a chunk; a browser that reconnects names its id, and goes on after it."""
    if chunk.type == "tool_call":
        return Message("tool", {"name": chunk.get("name"), "args": chunk.get("args")}, chunk.id)
    return Message("token", {"text": chunk.text}, chunk.id)


async def turn(queue: Queue[Ask, Answer], job_id: str, event: QueueEvent) -> AsyncIterator[Message]:
    """Tell a turn of the job; a suspension as it is now, if it still is."""
    if event.event == "suspended":
        async for message in suspension(queue, job_id):
            yield message
    elif event.event == "resumed":
        yield Message("resumed", {})
    else:
        facts = event.data
        # Tokens of the next attempt may come before this: a browser drops those up to here.
        told = {
            "reason": facts.get("failed_reason"),
            "in_ms": facts.get("delay"),
            "at_ms": place(event.id)[0],
        }
        yield Message("retrying", told)


async def suspension(queue: Queue[Ask, Answer], job_id: str) -> AsyncIterator[Message]:
    """Tell that the job waits for a person, if it does."""
    waits = await queue.get_suspend_info(job_id)
    if waits is not None:
        until = waits.deadline_at.isoformat() if waits.deadline_at else None
        yield Message("suspended", {"reason": waits.reason, "until": until})


async def end(queue: Queue[Ask, Answer], job_id: str) -> Message:
    """Tell how the job ended."""
    job = await queue.get_job(job_id)
    if job is None:
        return Message("end", {"state": "removed"})
    return Message("end", {"state": job.state, "result": job.result, "reason": job.failed_reason})
