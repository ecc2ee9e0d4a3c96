"""Suspended jobs of all queues by deadline; what an approver sees is read again only when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from glidemq_core.ai.reviews import APPROVAL_FIELDS, LIST_SIGNALS, Reading, approval_of
from glidemq_core.ai.rounds import Round, StreamFacts, limits_of, read_round, round_start
from glidemq_core.errors import GlideMQError
from glidemq_core.flows.walk import by_queue
from glidemq_core.options.fields import whole
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.records import Approval
from glidemq_core.wire.replies import as_text, failed, integer, picked_fields
from glidemq_core.wire.serializer import JSON_SERIALIZER

from .suspended import (
    REASON_FIELDS,
    Fingerprint,
    SuspendedFinder,
    SuspendedJob,
    digest,
    facts_of,
    reason_digest,
)

#: New jobs that one call reads for a caller who names those on screen, and bytes of their payloads.
_NEW_JOBS, _NEW_BYTES = 100, 4_194_304


@dataclass(slots=True)
class _Kept:
    """A job as it was read."""

    job: SuspendedJob
    fingerprint: Fingerprint
    limit: int
    approval: Approval
    group: str
    has_parent: bool
    #: Jobs parked behind its ordering key.
    parked: int = 0

    def is_current(self, one: SuspendedJob, limit: int) -> bool:
        """Tell whether nothing is known to have changed."""
        if self.limit != limit or self.job != replace(one, fingerprint=None):
            return False
        return one.fingerprint is None or not one.fingerprint.differs(self.fingerprint)

    @property
    def shown(self) -> Approval:
        behind = ([self.parked] if self.group else []) + ([1] if self.has_parent else [])
        return replace(self.approval, waiting_behind=sum(behind) if behind else None)


class InboxReader:
    """Reads the inbox, keeping what it read of the jobs that have not changed since."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._finder = SuspendedFinder(reader)
        self._kept: dict[JobRef, _Kept] = {}

    async def read(
        self, names: Sequence[str], *, limit: int, payload_limit: int, shown: Sequence[JobRef] | None
    ) -> tuple[tuple[Approval, ...], int]:
        """Return the first `limit` suspended jobs by deadline, and how many there are; see `Watch.approvals`."""
        whole(1, 10_000)(limit, "limit")
        whole(0)(payload_limit, "payload_limit")
        read_again = [ref for ref in (self._kept if shown is None else shown) if ref in self._kept]
        known = by_queue(read_again)
        opened = dict.fromkeys(names, "*") if shown is None else {ref.queue: ref.id for ref in shown[:1]}
        found, total = await self._finder.read(names, limit, known, opened)
        fresh = [
            one
            for one in found
            if (had := self._kept.get(one.ref)) is None or not had.is_current(one, payload_limit)
        ]
        if shown is not None:
            fresh = _choose(fresh, set(shown))
        answers = await asyncio.gather(*(self._read(one, payload_limit) for one in fresh))
        read = {one.ref: answer for one, answer in zip(fresh, answers, strict=True)}
        latest = {**self._kept, **read}
        self._kept = {one.ref: kept for one in found if (kept := latest.get(one.ref)) is not None}
        await self._count_parked({*read_again, *read} & self._kept.keys())
        return tuple(kept.shown for kept in self._kept.values()), total

    async def asking(self, names: Sequence[str]) -> list[str]:
        """Return the queues that may hold suspended jobs; none in a cluster."""
        return [] if self._reader.connection.is_cluster else await self._finder.holding(names)

    async def _read(self, one: SuspendedJob, payload_limit: int) -> _Kept | None:
        keys, key = self._reader.keys(one.queue), self._reader.keys(one.queue).job(one.id)
        values, length, answer = await self._reader.read(
            [
                ("HMGET", key, *APPROVAL_FIELDS),
                ("HSTRLEN", key, "signals"),
                ("XINFO", "STREAM", keys.jstream(one.id)),
            ]
        )
        fields = {} if failed(values) or not values else picked_fields(APPROVAL_FIELDS, values)
        facts, lengths = facts_of(answer), {"signals": integer(length)}
        streamed = await self._round(keys.jstream(one.id), fields, facts, payload_limit)
        if 0 < lengths["signals"] <= LIST_SIGNALS:
            signals = await self._reader.read_one("HGET", key, "signals")
            fields |= {} if failed(signals) or signals is None else {"signals": signals}
        stream, shown = facts or StreamFacts(), streamed or Round()
        reading = Reading(fields, stream, shown, one.deadline, lengths, unreadable=streamed is None)
        approval = approval_of(one.ref, reading, keys.prefix, JSON_SERIALIZER, payload_limit)
        if approval is None:
            return None
        begun, size = as_text(fields.get("suspendedAt")), approval.data_bytes
        job = replace(one, suspended_at=begun, data_bytes=size, fingerprint=None)
        fingerprint = Fingerprint(
            digest(fields.get("data")),
            digest(fields.get("progress")),
            "?" if facts is None else facts.text,
            reason_digest([fields.get(name) for name in REASON_FIELDS]),
        )
        group = as_text(fields.get("groupKey"))
        return _Kept(job, fingerprint, payload_limit, approval, group, bool(fields.get("parentId")))

    async def _round(
        self, key: str, fields: Mapping[str, bytes], facts: StreamFacts | None, limit: int
    ) -> Round | None:
        """Read what the run that suspended streamed; None where its stream cannot be read."""
        if facts is None:
            return None
        ask, start = self._reader.ask, round_start(fields)
        try:
            return await read_round(ask, key, start, facts.last, limits_of(limit))
        except GlideMQError:
            return None

    async def _count_parked(self, refs: Iterable[JobRef]) -> None:
        """Count the jobs parked behind the ordering keys of some jobs."""
        grouped = [self._kept[ref] for ref in refs if self._kept[ref].group]
        counts = await self._reader.read(
            [("ZCARD", self._reader.keys(one.job.queue).groupq(one.group)) for one in grouped]
        )
        for one, count in zip(grouped, counts, strict=True):
            one.parked = integer(count)


def _choose(fresh: Sequence[SuspendedJob], shown: set[JobRef]) -> list[SuspendedJob]:
    """Choose which new jobs are read now: those on screen before others, never much at once."""
    chosen: list[SuspendedJob] = []
    size = 0
    for one in sorted(fresh, key=lambda one: one.ref not in shown):
        size += one.data_bytes
        if chosen and (size > _NEW_BYTES or len(chosen) == _NEW_JOBS):
            break
        chosen.append(one)
    return chosen
