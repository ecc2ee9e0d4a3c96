"""Jobs that ended lately: found by the times in the sets they end in, read once, remembered from call to call."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader, read_fields
from glidemq_core.records.outcomes import FinalState
from glidemq_core.wire.replies import as_text, failed, number, pairs, sliced

#: Jobs that are read in one go.
_PAGE = 500
#: Jobs that are remembered from call to call, besides those of the latest call.
_REMEMBERED = 20_000

#: A job that has ended, and when, epoch ms: it is another one when it ends again.
Ended = tuple[JobRef, int]
T = TypeVar("T")


async def newest_ended(
    reader: Reader, queues: Sequence[str], states: Sequence[FinalState], since_ms: int, limit: int
) -> tuple[list[Ended], bool]:
    """Return the newest jobs of queues that are in a state, newest first, and whether these are all since a moment.

    Args:
        since_ms: the moment, epoch ms.
        limit: jobs that are returned at most.
    """
    # One more than wanted tells whether there are more.
    newest_first = ("BYSCORE", "REV", "LIMIT", 0, limit + 1, "WITHSCORES")
    places = [(queue, state) for queue in queues for state in states]
    answers = await reader.read(
        [
            ("ZRANGE", getattr(reader.keys(queue), state), "+inf", max(0, since_ms), *newest_first)
            for queue, state in places
        ]
    )
    found: list[Ended] = []
    complete = True
    for (queue, _), answer in zip(places, answers, strict=True):
        if failed(answer):
            complete = False
            continue
        found += [(JobRef(queue, as_text(job)), int(number(score) or 0)) for job, score in pairs(answer)]
    newest = heapq.nlargest(limit + 1, found, key=lambda one: one[1])
    return newest[:limit], complete and len(newest) <= limit


async def read_once(
    wanted: Sequence[Ended],
    known: dict[Ended, T],
    read: Callable[[Sequence[Ended]], Awaitable[Mapping[Ended, T]]],
) -> list[T]:
    """Read those jobs that are not known yet; return all that could be read, in order."""
    fresh = await read([one for one in wanted if one not in known])
    if len(known) + len(fresh) > _REMEMBERED:
        for one in known.keys() - set(wanted):
            del known[one]
    known.update(fresh)
    return [known[one] for one in wanted if one in known]


async def with_ledgers(
    reader: Reader, wanted: Sequence[Ended], names: Sequence[str], entries: int
) -> AsyncIterator[tuple[Ended, dict[str, bytes], Any]]:
    """Read fields of jobs and the newest entries of their ledgers; gives a job, its fields and its reply."""
    for page in sliced(wanted, _PAGE):
        by_queue: dict[str, list[Ended]] = {}
        for one in page:
            by_queue.setdefault(one[0].queue, []).append(one)
        for queue, members in by_queue.items():
            rows = await read_fields(reader, queue, [ref.id for ref, _ in members], names)
            ledgers = await reader.read(
                [("LRANGE", reader.keys(queue).ledger(ref.id), -entries, -1) for ref, _ in members]
            )
            for one, fields, ledger in zip(members, rows, ledgers, strict=True):
                yield one, fields, ledger
