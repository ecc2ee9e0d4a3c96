"""A bounded walk over the records of jobs, for what is in no index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ..reading.reader import Reader
from ..reading.scan import scan_steps
from ..wire.keys import queue_of
from ..wire.numbers import to_int
from ..wire.replies import failed, text

#: Steps of one walk, a thousand keys each.
_STEPS = 200
_FIELDS = ("state", "groupKey", "orderingSeq", "finishedOn", "processedOn", "lastActive", "lifo", "priority")


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job that has not ended, as its record describes it."""

    queue: str
    id: str
    state: str
    group: str
    seq: int
    #: `finishedOn` is there and empty: a manual retry, which holds no slot.
    retried: bool
    processed_on: str
    #: Latest heartbeat, epoch ms.
    beat_ms: int
    #: It came from the LIFO or the priority list.
    listed: bool


@dataclass(slots=True)
class Walk:
    """Jobs that were found, how many were looked at, and whether all keys were."""

    jobs: list[StartedJob]
    looked: int
    complete: bool


async def walk_jobs(reader: Reader, names: Sequence[str]) -> Walk:
    """Read the records of all jobs of some queues that have not ended, within a bounded number of steps."""
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
                StartedJob(
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
    """Yield pages of (queue, job id); None at last if nothing is left."""
    wanted, left = set(names), _STEPS
    # A standalone server is walked once for all queues, a cluster where each queue is.
    for name in names if reader.connection.is_cluster else [""]:
        complete = False
        async for cursor, keys in scan_steps(reader, name, "job:*", left):
            left -= 1
            complete = cursor == "0"
            page = [
                (queue, key[len(reader.keys(queue).job("")) :])
                for key in keys
                if (queue := queue_of(reader.prefix, key)) in wanted
            ]
            yield [(queue, job_id) for queue, job_id in page if ":" not in job_id]
        if not complete:
            return
    yield None
