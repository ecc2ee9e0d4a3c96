"""The most urgent suspended jobs of many queues: only queues that hold some are read, and no further than needed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from glidemq_core.ai.rounds import StreamFacts, stream_facts
from glidemq_core.errors import GlideMQError
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import Reader
from glidemq_core.wire.keys import NO_DEADLINE
from glidemq_core.wire.replies import failed, integer, number, pairs, sliced, text

#: Members without a suspended job that plain reads step over.
_LEFT_OVER = 100
#: Members asked of a queue at first; more where its jobs are among the most urgent.
_FIRST_PAGE = 16
#: Keys of one EXISTS, and into how many parts they are cut to find those that exist.
_EXIST, _PARTS = 512, 16
#: Payloads up to so many bytes are part of every fingerprint; the function knows the same number.
FINGERPRINT_BYTES = 65_536
#: Small fields that an approver sees or that say where the round begins; the function knows the same.
REASON_FIELDS = ("name", "suspendReason", "suspendTimeout", "processedOn", "roundFrom")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of what an approver sees of a job; "" of what was too long to be read."""

    data: str
    progress: str
    #: What the server says of its token stream.
    stream: str
    #: Of `REASON_FIELDS`.
    reason: str

    def differs(self, other: Fingerprint) -> bool:
        """Tell whether something that was read both times is not the same."""
        mine, others = (self.data, self.progress), (other.data, other.progress)
        changed = any(a and b and a != b for a, b in zip(mine, others, strict=True))
        return changed or (self.stream, self.reason) != (other.stream, other.reason)


@dataclass(frozen=True, slots=True)
class SuspendedJob:
    """A suspended job, with its fingerprint if that was asked for."""

    queue: str
    id: str
    deadline: float
    suspended_at: str
    data_bytes: int
    fingerprint: Fingerprint | None = None

    @property
    def ref(self) -> JobRef:
        return JobRef(self.queue, self.id)

    @property
    def order(self) -> tuple[float, str, str]:
        return self.deadline, self.queue, self.id


@dataclass(slots=True)
class SuspendedPage:
    """The most urgent jobs of one queue; `full`: there may be more."""

    items: list[SuspendedJob]
    total: int
    full: bool


class SuspendedFinder:
    """Finds suspended jobs by deadline, and remembers how many of each queue were needed before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._wanted: dict[str, int] = {}
        #: Queues that held suspended jobs when they were read last.
        self._held: set[str] = set()

    async def read(
        self, names: Sequence[str], limit: int, known: Mapping[str, Sequence[str]], whole: Mapping[str, str]
    ) -> tuple[list[SuspendedJob], int]:
        """Return the first `limit` by deadline, and how many there are.

        Args:
            known: by queue ids of jobs whose fingerprint is wanted.
            whole: by queue the one id of them whose payload is read whatever its size, or `*`.
        """
        asked = [name for name in names if name in self._held]
        others = [name for name in names if name not in self._held]
        asked += others if self._reader.connection.is_cluster else await self.holding(others)
        pages: dict[str, SuspendedPage] = {}
        while asked:
            sizes = [min(limit, self._wanted.get(name, _FIRST_PAGE)) for name in asked]
            calls = [
                (name, size, whole.get(name, ""), known.get(name, ()))
                for name, size in zip(asked, sizes, strict=True)
            ]
            pages |= dict(zip(asked, await self._pages(calls), strict=True))
            found = sorted((one for page in pages.values() for one in page.items), key=lambda one: one.order)
            end = found[limit - 1].order if len(found) >= limit else None
            # A page that ends before the last of the list may go on with others that belong into it.
            asked = [
                name
                for name, page in pages.items()
                if page.full and len(page.items) < limit and (end is None or page.items[-1].order < end)
            ]
            for name in asked:
                self._wanted[name] = min(limit, 2 * max(_FIRST_PAGE, len(pages[name].items)))
        self._held.difference_update(names)
        self._held |= {name for name, page in pages.items() if page.total}
        self._wanted = {name: size for name, size in self._wanted.items() if name in self._held}
        return found[:limit] if pages else [], sum(page.total for page in pages.values())

    async def holding(self, names: Sequence[str]) -> list[str]:
        """Return the queues that hold suspended jobs; one command tells of hundreds that hold none.

        Not for a cluster, where no command reads several slots.
        """
        keys = {self._reader.keys(name).suspended: name for name in names}
        parts = sliced(list(keys), _EXIST)
        found: list[str] = []
        while parts:
            counts = await self._reader.read([("EXISTS", *part) for part in parts])
            unsure: list[Sequence[str]] = []
            for part, count in zip(parts, counts, strict=True):
                if failed(count) or integer(count) == len(part):
                    found += [keys[key] for key in part]
                elif integer(count):
                    unsure += sliced(part, -(-len(part) // _PARTS))
            parts = unsure
        return found

    async def _pages(self, calls: Sequence[tuple[str, int, str, Sequence[str]]]) -> list[SuspendedPage]:
        replies = await self._reader.call_each(
            "suspended",
            [(self._reader.keys(name).root, (size, whole, *ids)) for name, size, whole, ids in calls],
        )
        if replies is None:
            return list(await asyncio.gather(*(self._plain(*call) for call in calls)))
        return [_page(name, size, reply) for (name, size, _, _), reply in zip(calls, replies, strict=True)]

    async def _plain(self, name: str, limit: int, whole: str, ids: Sequence[str]) -> SuspendedPage:
        """Read a page by plain commands, for users who may not call functions; fingerprints cost whole payloads."""
        keys = self._reader.keys(name)
        members, count = await self._reader.read(
            [("ZRANGE", keys.suspended, 0, limit + _LEFT_OVER - 1, "WITHSCORES"), ("ZCARD", keys.suspended)]
        )
        scored = [(text(member) or "", score) for member, score in pairs(members)]
        facts = await self._reader.read_each(
            [keys.job(job_id) for job_id, _ in scored],
            lambda key: [("HMGET", key, "state", "suspendedAt"), ("HSTRLEN", key, "data")],
        )
        alive: list[SuspendedJob] = []
        for (job_id, score), (fields, length) in zip(scored, facts, strict=True):
            if not failed(fields) and text(fields[0]) == "suspended":
                since = text(fields[1]) or ""
                alive.append(SuspendedJob(name, job_id, _deadline(score), since, integer(length)))
        gone, wanted = len(scored) - len(alive), set(ids)
        items = alive[:limit]
        known = [one for one in items if one.id in wanted]
        read = await asyncio.gather(*(self._fingerprint(one, whole in ("*", one.id)) for one in known))
        seen = dict(zip((one.id for one in known), read, strict=True))
        return SuspendedPage(
            [replace(one, fingerprint=seen.get(one.id)) for one in items],
            max(0, integer(count) - gone),
            len(items) == limit,
        )

    async def _fingerprint(self, one: SuspendedJob, whole: bool) -> Fingerprint:
        keys = self._reader.keys(one.queue)
        fits = whole or one.data_bytes <= FINGERPRINT_BYTES
        fields, stream = await self._reader.read(
            [
                ("HMGET", keys.job(one.id), *REASON_FIELDS, "progress", *(("data",) if fits else ())),
                ("XINFO", "STREAM", keys.jstream(one.id)),
            ]
        )
        values = [*([] if failed(fields) else fields), *[None] * (len(REASON_FIELDS) + 2)]
        count, facts = len(REASON_FIELDS), facts_of(stream)
        return Fingerprint(
            digest(values[count + 1]) if fits else "",
            digest(values[count]),
            "?" if facts is None else facts.text,
            reason_digest(values[:count]),
        )


def facts_of(answer: Any) -> StreamFacts | None:
    """Read the answer of XINFO STREAM; None where the key is no stream or may not be read."""
    try:
        return stream_facts(answer)
    except GlideMQError:
        return None


def digest(value: bytes | None) -> str:
    """Return the SHA-1 of a stored value, as the server function makes it; missing counts as empty."""
    return hashlib.sha1(value or b"").hexdigest()


def reason_digest(values: Sequence[bytes | None]) -> str:
    """Return the SHA-1 of the values of `REASON_FIELDS`, as the server function makes it."""
    return digest(b"".join(b"%d:%b" % (len(value or b""), value or b"") for value in values))


def _deadline(score: Any) -> float:
    found = number(score)
    return NO_DEADLINE if found is None else found


def _page(name: str, size: int, reply: Any) -> SuspendedPage:
    if failed(reply) or text(reply[0]) != "ok":
        return SuspendedPage([], 0, False)
    items = []
    for job_id, score, suspended_at, length, *digests in reply[2:]:
        fingerprint = Fingerprint(*(text(part) or "" for part in digests)) if digests else None
        facts = text(suspended_at) or "", integer(length), fingerprint
        items.append(SuspendedJob(name, text(job_id) or "", _deadline(score), *facts))
    return SuspendedPage(items, integer(reply[1]), len(items) == size)
