"""A walk over job hashes within a budget, for what no index knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ..reading.reader import Reader
from ..reading.scan import scan_all, scan_step
from ..wire.keys import queue_of
from ..wire.numbers import to_int
from ..wire.replies import failed, text

#: Steps of one walk, a thousand keys each.
_STEPS = 200
_FIELDS = ("state", "groupKey", "orderingSeq", "finishedOn", "processedOn", "lastActive", "lifo", "priority")


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that is neither new nor over, as its hash describes it."""

    queue: str
    id: str
    state: str
    group: str
    seq: int
    #: `finishedOn` is there and empty: a manual retry, which holds no slot.
    retried: bool
    processed_on: str
    #: Latest sign of life, epoch ms.
    beat_ms: int
    #: It is taken from the LIFO or the priority list.
    listed: bool


@dataclass(slots=True)
class Walk:
    """Jobs that were met, and whether all keys were looked at."""

    jobs: list[Begun]
    looked: int
    complete: bool


async def walk_jobs(reader: Reader, names: Sequence[str]) -> Walk:
    """Read what the jobs of some queues say of themselves, but those that are over; bounded."""
    found = Walk([], 0, False)
    async for page in _pages(reader, names):
        if page is None:
            found.complete = True
            break
        found.looked += len(page)
        answers = await reader.read(
            [("HMGET", reader.keys(name).job(job_id), *_FIELDS) for name, job_id in page]
        )
        for (name, job_id), answer in zip(page, answers, strict=True):
            if failed(answer) or answer is None:
                continue
            state, group, seq, finished, processed, beat, lifo, priority = (text(value) for value in answer)
            if state is None or state in ("completed", "failed"):
                continue
            found.jobs.append(
                Begun(
                    queue=name,
                    id=job_id,
                    state=state,
                    group=group or "",
                    seq=to_int(seq),
                    retried=finished == "",
                    processed_on=processed or "0",
                    beat_ms=max(to_int(beat), to_int(processed)),
                    listed=lifo == "1" or to_int(priority) > 0,
                )
            )
    return found


async def _pages(reader: Reader, names: Sequence[str]) -> AsyncIterator[list[tuple[str, str]] | None]:
    """Pages of (queue, job id); None at last if nothing is left."""
    wanted, steps = set(names), 0
    # A standalone server is walked once for all queues, a cluster where each queue is.
    for name in names if reader.connection.is_cluster else [None]:
        cursor = "0"
        while True:
            if steps == _STEPS:
                return
            steps += 1
            if name is None:
                cursor, keys = await scan_all(reader, cursor, "job:*")
            else:
                cursor, keys = await scan_step(reader, name, cursor, "job:*")
            page = [
                (queue, _job_id(reader, queue, key))
                for key in keys
                if (queue := queue_of(reader.prefix, key))
            ]
            yield [(queue, job_id) for queue, job_id in page if queue in wanted and ":" not in job_id]
            if cursor == "0":
                break
    yield None


def _job_id(reader: Reader, queue: str, key: str) -> str:
    return key[len(reader.keys(queue).job("")) :]
