"""What queues are like now: a few reads of fixed size each, however many jobs they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from glidemq_core.errors import InvalidOptionError
from glidemq_core.options.fields import queue_name
from glidemq_core.records import QueueSnapshot
from glidemq_core.schedules.entry import decode_schedulers
from glidemq_core.wire.keys import NO_DEADLINE
from glidemq_core.wire.replies import failed, number, pairs

from ..session import WatchSession
from .budgets import OpenBudgets, read_open_budgets


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """One queue at this moment."""

    snapshot: QueueSnapshot
    workers: int
    #: Soonest deadline of a suspended job, epoch ms.
    deadline_ms: float | None
    schedulers: int
    #: Runs of schedulers that are due and were not made.
    missed: int
    budgets: OpenBudgets


@dataclass(frozen=True, slots=True)
class Gauges:
    """Some queues at this moment, and jobs in each queue that holds dead letters of theirs."""

    queues: tuple[QueueGauges, ...]
    dead_letters: Mapping[str, int]


async def read_gauges(session: WatchSession, names: Sequence[str]) -> Gauges:
    """Read queues, and those that hold their dead letters."""
    reader = session.reader
    listed = await session.workers.read(names, brief=True)
    fleet = await session.snapshot(names)
    facts = await reader.read_each(
        [reader.keys(name) for name in names],
        lambda keys: [
            ("ZRANGEBYSCORE", keys.suspended, "-inf", f"({NO_DEADLINE}", "WITHSCORES", "LIMIT", 0, 1),
            ("HGETALL", keys.schedulers),
        ],
    )
    budgets = await read_open_budgets(reader, names)
    working = [worker.queue for worker in listed.workers]
    found = []
    for one, (soonest, stored) in zip(fleet.queues, facts, strict=True):
        schedulers = {} if failed(stored) else decode_schedulers(stored, reader.now_ms())
        scores = [] if failed(soonest) else pairs(soonest)
        found.append(
            QueueGauges(
                snapshot=one,
                workers=working.count(one.name),
                deadline_ms=number(scores[0][1]) if scores else None,
                schedulers=len(schedulers),
                missed=sum(entry.missed for entry in schedulers.values()),
                budgets=budgets[one.name],
            )
        )
    return Gauges(tuple(found), await _dead_letters(session, fleet.queues))


async def _dead_letters(session: WatchSession, queues: Sequence[QueueSnapshot]) -> dict[str, int]:
    """Count the jobs in the queues that others name for their dead letters."""
    known = {one.name: one for one in queues}
    named = dict.fromkeys(one.dead_letter_queue for one in queues if one.dead_letter_queue)
    others = [name for name in named if name not in known and _is_name(name)]
    if others:
        known |= {one.name: one for one in (await session.snapshot(others)).queues}
    return {name: known[name].waiting + known[name].delayed for name in named if name in known}


def _is_name(name: str) -> bool:
    try:
        queue_name(name)
    except InvalidOptionError:
        return False
    return True
