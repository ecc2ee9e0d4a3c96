"""Suspended jobs of all queues by deadline. What an approver sees is read again only when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from glidemq_core.approvals import APPROVAL_FIELDS, Streamed, approval_of, streamed_of
from glidemq_core.base import Scope
from glidemq_core.decoding import picked_fields
from glidemq_core.numbers import to_int
from glidemq_core.option_fields import whole
from glidemq_core.options import JobRef
from glidemq_core.payload import as_text
from glidemq_core.records import Approval, StreamChunk

from .source import Source, entries, failed, integer
from .waiting import Asking, Look, Waiting, digest

#: Entries of a stream that a draft is put together from, at most, and how many are read at first.
DRAFT_ENTRIES = 2_000
_FIRST_ENTRIES = 4
#: Bytes of a stream that one read of a draft aims at.
_DRAFT_BYTES = 65_536
#: New jobs that one call reads for somebody who is shown some of them, and bytes of their payloads.
_NEW_JOBS, _NEW_BYTES = 100, 4_194_304


@dataclass(slots=True)
class _Kept:
    """A job as it was read."""

    waiting: Waiting
    look: Look
    limit: int
    approval: Approval
    group: str
    has_parent: bool
    #: Jobs parked behind its ordering key.
    parked: int = 0

    def fits(self, one: Waiting, limit: int) -> bool:
        """Whether nothing is known to have changed."""
        before = self.waiting
        same = (before.deadline, before.suspended_at, before.data_bytes) == (
            one.deadline,
            one.suspended_at,
            one.data_bytes,
        )
        return same and self.limit == limit and (one.look is None or not one.look.differs(self.look))

    @property
    def shown(self) -> Approval:
        behind = ([self.parked] if self.group else []) + ([1] if self.has_parent else [])
        return replace(self.approval, waiting_behind=sum(behind) if behind else None)


class InboxReader:
    """Reads the inbox, keeping what it read of the jobs that have not changed since."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._asking = Asking(source)
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def read(
        self, names: Sequence[str], *, limit: int, payload_limit: int, shown: Sequence[JobRef] | None
    ) -> tuple[tuple[Approval, ...], int]:
        """Return the first `limit` suspended jobs by deadline, and how many there are; see `Watch.approvals`."""
        whole(1, 10_000)(limit, "limit")
        whole(0)(payload_limit, "payload_limit")
        looked = (
            [*self._kept]
            if shown is None
            else [key for ref in shown if (key := (ref.queue, ref.id)) in self._kept]
        )
        looks: dict[str, list[str]] = {}
        for queue, job_id in looked:
            looks.setdefault(queue, []).append(job_id)
        opened = dict.fromkeys(names, "*") if shown is None else {ref.queue: ref.id for ref in shown[:1]}
        found, total = await self._asking.read(names, limit, looks, opened)
        fresh = [
            one
            for one in found
            if (had := self._kept.get(one.key)) is None or not had.fits(one, payload_limit)
        ]
        if shown is not None:
            fresh = _first_of(fresh, {(ref.queue, ref.id) for ref in shown})
        answers = await asyncio.gather(*(self._read(one, payload_limit) for one in fresh))
        read = {one.key: answer for one, answer in zip(fresh, answers, strict=True)}
        kept: dict[tuple[str, str], _Kept] = {}
        for one in found:
            entry = read[one.key] if one.key in read else self._kept.get(one.key)
            if entry is not None:
                kept[one.key] = entry
        self._kept = kept
        await self._count_parked({*looked, *read} & kept.keys())
        return tuple(entry.shown for entry in kept.values()), total

    async def asking(self, names: Sequence[str]) -> list[str]:
        """Tell in which queues somebody may wait; none in a cluster."""
        return [] if self._source.connection.is_cluster else await self._asking.holding(names)

    async def _read(self, one: Waiting, payload_limit: int) -> _Kept | None:
        keys = self._source.keys(one.queue)
        values, newest = await self._source.ask(
            [
                ("HMGET", keys.job(one.id), *APPROVAL_FIELDS),
                ("XREVRANGE", keys.jstream(one.id), "+", "-", "COUNT", 1),
            ]
        )
        fields = {} if failed(values) or not values else picked_fields(APPROVAL_FIELDS, values)
        last_chunk = next((entry_id for entry_id, _ in entries(newest)), "")
        approval = approval_of(
            Scope(self._source.connection, keys),
            one.id,
            fields,
            deadline=one.deadline,
            last_chunk=last_chunk,
            streamed=await self._streamed(one, fields, last_chunk, payload_limit),
            parked=None,
            payload_limit=payload_limit,
        )
        if approval is None:
            return None
        return _Kept(
            replace(
                one,
                suspended_at=as_text(fields.get("suspendedAt")),
                data_bytes=approval.data_bytes,
                look=None,
            ),
            Look(digest(fields.get("data")), digest(fields.get("progress")), last_chunk),
            payload_limit,
            approval,
            as_text(fields.get("groupKey")),
            bool(fields.get("parentId")),
        )

    async def _streamed(
        self, one: Waiting, fields: Mapping[str, bytes], last_chunk: str, limit: int
    ) -> Streamed:
        """What it streamed since the latest start, up to the entry that the review hash names."""
        if not last_chunk:
            return Streamed()
        key = self._source.keys(one.queue).jstream(one.id)
        start: str | int = to_int(fields.get("processedOn")) or "-"
        chunks: list[StreamChunk] = []
        count, size = _FIRST_ENTRIES, 0
        # A chunk may hold a megabyte or a letter: as many are read at a time as make a sensible answer.
        while len(chunks) < DRAFT_ENTRIES and size <= limit:
            reply = entries(await self._source.one("XRANGE", key, start, last_chunk, "COUNT", count))
            page = [StreamChunk(entry_id, found) for entry_id, found in reply]
            chunks += page
            size += sum(len(chunk.text) for chunk in page if chunk.type in ("content", "done"))
            if len(page) < count:
                break
            start = f"({page[-1].id}"
            bytes_each = sum(len(value) for _, found in reply for _, value in found) // len(page) + 1
            count = max(1, min(_DRAFT_BYTES // bytes_each, DRAFT_ENTRIES - len(chunks)))
        return streamed_of(chunks, limit)

    async def _count_parked(self, keys: Iterable[tuple[str, str]]) -> None:
        """Count the jobs parked behind the ordering keys of some jobs."""
        grouped = [self._kept[key] for key in keys if self._kept[key].group]
        counts = await self._source.ask(
            [("ZCARD", self._source.keys(one.waiting.queue).groupq(one.group)) for one in grouped]
        )
        for one, count in zip(grouped, counts, strict=True):
            one.parked = integer(count)


def _first_of(fresh: Sequence[Waiting], shown: set[tuple[str, str]]) -> list[Waiting]:
    """What is read now of what is new: jobs on screen before others, never much at once."""
    chosen: list[Waiting] = []
    size = 0
    for one in sorted(fresh, key=lambda one: one.key not in shown):
        size += one.data_bytes
        if chosen and (size > _NEW_BYTES or len(chosen) == _NEW_JOBS):
            break
        chosen.append(one)
    return chosen
