"""Suspended jobs of all queues by deadline. What an approver sees is read again only when it has changed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from glidemq_core.approvals import APPROVAL_FIELDS, approval_of, draft_of
from glidemq_core.base import Scope
from glidemq_core.decoding import picked_fields
from glidemq_core.keys import NO_DEADLINE
from glidemq_core.numbers import to_int
from glidemq_core.option_fields import whole
from glidemq_core.payload import as_text
from glidemq_core.records import Approval, StreamChunk

from .source import Source, entries, failed, integer, number, pairs, text

#: Entries of a stream that a draft is put together from, at most.
DRAFT_ENTRIES = 2_000
#: Members without a suspended job that plain reads step over.
_LEFT_OVER = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A suspended job, and a print of everything its review shows."""

    queue: str
    id: str
    deadline: float
    print: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    print: tuple[str, ...]
    limit: int
    approval: Approval


class InboxReader:
    """Reads the inbox, keeping what it read of the jobs that have not changed since."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def read(
        self, names: Sequence[str], *, limit: int, payload_limit: int
    ) -> tuple[tuple[Approval, ...], int]:
        """Return the first `limit` suspended jobs by deadline, and how many there are."""
        whole(1, 10_000)(limit, "limit")
        whole(0)(payload_limit, "payload_limit")
        found, total = await self._waiting(names, limit)
        found.sort(key=lambda one: (one.deadline, one.queue, one.id))
        found = found[:limit]
        kept = {key: self._kept[key] for key in ((one.queue, one.id) for one in found) if key in self._kept}
        fresh = [
            one
            for one in found
            if (had := kept.get((one.queue, one.id))) is None
            or had.print != one.print
            or had.limit != payload_limit
        ]
        approvals = await asyncio.gather(*(self._approval(one, payload_limit) for one in fresh))
        for one, approval in zip(fresh, approvals, strict=True):
            if approval is None:
                kept.pop((one.queue, one.id), None)
            else:
                kept[one.queue, one.id] = _Kept(one.print, payload_limit, approval)
        self._kept = kept
        behind = await self._behind(found)
        items = []
        for one in found:
            if entry := kept.get((one.queue, one.id)):
                items.append(replace(entry.approval, waiting_behind=behind.get((one.queue, one.id))))
        return tuple(items), total

    async def _waiting(self, names: Sequence[str], limit: int) -> tuple[list[Waiting], int]:
        roots = [self._source.keys(name).root for name in names]
        replies = await self._source.functions("suspended", [(root, (limit,)) for root in roots])
        if replies is None:
            pages = await asyncio.gather(*(self._plain(name, limit) for name in names))
            return [one for page, _ in pages for one in page], sum(total for _, total in pages)
        found: list[Waiting] = []
        total = 0
        for name, reply in zip(names, replies, strict=True):
            if failed(reply) or text(reply[0]) != "ok":
                continue
            for job_id, score, *facts in reply[2:]:
                deadline = number(score)
                found.append(
                    Waiting(
                        name,
                        text(job_id) or "",
                        NO_DEADLINE if deadline is None else deadline,
                        (text(score) or "", *(text(fact) or "" for fact in facts)),
                    )
                )
            total += integer(reply[1])
        return found, total

    async def _plain(self, name: str, limit: int) -> tuple[list[Waiting], int]:
        """The same by plain reads; the payload has to come along to see whether it has changed."""
        keys = self._source.keys(name)
        members, count = await self._source.ask(
            [("ZRANGE", keys.suspended, 0, limit + _LEFT_OVER - 1, "WITHSCORES"), ("ZCARD", keys.suspended)]
        )
        scored = [(text(member) or "", number(score)) for member, score in pairs(members)]
        states = await self._source.ask([("HGET", keys.job(i), "state") for i, _ in scored])
        alive = [one for one, state in zip(scored, states, strict=True) if text(state) == "suspended"]
        gone, scored = len(scored) - len(alive), alive[:limit]
        hashes = await self._source.ask(
            [("HMGET", keys.job(i), "state", "suspendedAt", "data", "progress") for i, _ in scored]
        )
        streams = await self._source.ask(
            [("XREVRANGE", keys.jstream(i), "+", "-", "COUNT", 1) for i, _ in scored]
        )
        found = []
        for (job_id, deadline), fields, stream in zip(scored, hashes, streams, strict=True):
            if failed(fields) or text(fields[0]) != "suspended":
                continue
            digests = (hashlib.sha1(value or b"").hexdigest() for value in fields[2:])
            last = next((entry_id for entry_id, _ in entries(stream)), "")
            mark = (str(deadline), text(fields[1]) or "", *digests, last)
            found.append(Waiting(name, job_id, NO_DEADLINE if deadline is None else deadline, mark))
        return found, max(0, (0 if failed(count) else integer(count)) - gone)

    async def _approval(self, one: Waiting, payload_limit: int) -> Approval | None:
        keys = self._source.keys(one.queue)
        values = await self._source.one("HMGET", keys.job(one.id), *APPROVAL_FIELDS)
        fields = {} if failed(values) or not values else picked_fields(APPROVAL_FIELDS, values)
        last_chunk = one.print[-1]
        return approval_of(
            Scope(self._source.connection, keys),
            one.id,
            fields,
            deadline=one.deadline,
            last_chunk=last_chunk,
            draft=await self._draft(one, fields, last_chunk, payload_limit),
            parked=None,
            payload_limit=payload_limit,
        )

    async def _draft(self, one: Waiting, fields: dict[str, bytes], last_chunk: str, limit: int) -> str | None:
        """Content streamed since the latest start, up to the entry that the review hash names."""
        if not last_chunk:
            return None
        started = to_int(fields.get("processedOn"))
        key = self._source.keys(one.queue).jstream(one.id)
        reply = await self._source.one("XRANGE", key, started or "-", last_chunk, "COUNT", DRAFT_ENTRIES)
        return draft_of((StreamChunk(entry_id, found) for entry_id, found in entries(reply)), limit)

    async def _behind(self, found: Sequence[Waiting]) -> dict[tuple[str, str], int]:
        """Jobs that wait for each: those parked behind its ordering key, and its parent."""
        links = await self._source.ask(
            [("HMGET", self._source.keys(one.queue).job(one.id), "groupKey", "parentId") for one in found]
        )
        grouped = [
            (one, as_text(link[0]))
            for one, link in zip(found, links, strict=True)
            if not failed(link) and link[0]
        ]
        counts = await self._source.ask(
            [("ZCARD", self._source.keys(one.queue).groupq(group)) for one, group in grouped]
        )
        behind = {
            (one.queue, one.id): integer(count) for (one, _), count in zip(grouped, counts, strict=True)
        }
        for one, link in zip(found, links, strict=True):
            if not failed(link) and link[1]:
                behind[one.queue, one.id] = behind.get((one.queue, one.id), 0) + 1
        return behind
