"""Reading the schedulers of queues."""

from __future__ import annotations

from collections.abc import Sequence

from glidemq_core.reading.reader import Reader
from glidemq_core.schedules.entry import Scheduler, SchedulerEntry, decode_schedulers, shown_scheduler
from glidemq_core.wire.replies import failed

from .session import WatchSession


async def read_schedulers(reader: Reader, queue: str) -> dict[str, SchedulerEntry]:
    """Read the schedulers of a queue by name; what is none is left out."""
    reply = await reader.ask("HGETALL", reader.keys(queue).schedulers)
    return decode_schedulers(reply, reader.now_ms())


async def list_schedulers(session: WatchSession, names: Sequence[str] | None) -> tuple[Scheduler, ...]:
    """Read the schedulers of many queues together, by queue and name; a key of a foreign type has none."""
    reader, queues = session.reader, await session.names(names)
    replies = await reader.read([("HGETALL", reader.keys(name).schedulers) for name in queues])
    return tuple(
        shown_scheduler(queue, name, entry)
        for queue, reply in zip(queues, replies, strict=True)
        if not failed(reply)
        for name, entry in decode_schedulers(reply, reader.now_ms()).items()
    )
