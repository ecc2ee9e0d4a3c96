"""Who waits for a person, of many queues: only queues where somebody does are asked, and no further than needed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from glidemq_core.ai.rounds import StreamFacts, stream_facts
from glidemq_core.errors import GlideMQError
from glidemq_core.reading.reader import Reader
from glidemq_core.wire.keys import NO_DEADLINE
from glidemq_core.wire.replies import failed, integer, number, pairs, sliced, text

#: Members without a suspended job that plain reads step over.
_LEFT_OVER = 100
#: Members asked of a queue at first; more where its jobs are among the most urgent.
_FIRST_PAGE = 16
#: Keys that one EXISTS looks for, and how many parts those are cut into to find which exist.
_EXIST, _PARTS = 512, 16
#: Payloads up to so many bytes are looked at unasked; the function knows the same number.
LOOK_BYTES = 65_536
#: Small fields that an approver sees or that say where the round begins; the function knows the same.
SAID_FIELDS = ("name", "suspendReason", "suspendTimeout", "processedOn", "roundFrom")


@dataclass(frozen=True, slots=True)
class Look:
    """Prints of what an approver sees; "" of what was too long to look at. `stream` is what the server says of it.

    `said` is the print of its name, its reason and what else is small.
    """

    data: str
    progress: str
    stream: str
    said: str

    def differs(self, other: Look) -> bool:
        """Whether something that was looked at both times is not the same."""
        mine, others = (self.data, self.progress), (other.data, other.progress)
        changed = any(a and b and a != b for a, b in zip(mine, others, strict=True))
        return changed or (self.stream, self.said) != (other.stream, other.said)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A suspended job. `look` is there if it was asked for."""

    queue: str
    id: str
    deadline: float
    suspended_at: str
    data_bytes: int
    look: Look | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.queue, self.id

    @property
    def order(self) -> tuple[float, str, str]:
        return self.deadline, self.queue, self.id


@dataclass(slots=True)
class Page:
    """The most urgent jobs of one queue. `full`: there may be more."""

    items: list[Waiting]
    total: int
    full: bool


class Asking:
    """Finds the most urgent suspended jobs of many queues, knowing how many of each were needed before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._wanted: dict[str, int] = {}
        #: Queues where somebody waited at the last look.
        self._held: set[str] = set()

    async def read(
        self, names: Sequence[str], limit: int, looks: Mapping[str, Sequence[str]], whole: Mapping[str, str]
    ) -> tuple[list[Waiting], int]:
        """Return the first `limit` by deadline, and how many there are.

        Args:
            looks: ids to look at, by queue.
            whole: by queue the one id that is looked at whatever its size, or `*`.
        """
        held = [name for name in names if name in self._held]
        asked = [*held, *await self._holding([name for name in names if name not in self._held])]
        pages: dict[str, Page] = {}
        while asked:
            sizes = [min(limit, self._wanted.get(name, _FIRST_PAGE)) for name in asked]
            calls = [
                (name, size, whole.get(name, ""), looks.get(name, ()))
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

    async def _holding(self, names: Sequence[str]) -> list[str]:
        return list(names) if self._reader.connection.is_cluster else await self.holding(names)

    async def holding(self, names: Sequence[str]) -> list[str]:
        """The queues where somebody may wait: one command tells of hundreds that there nobody does.

        Not for a cluster, where no command asks in several slots.
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

    async def _pages(self, calls: Sequence[tuple[str, int, str, Sequence[str]]]) -> list[Page]:
        replies = await self._reader.call_each(
            "suspended",
            [(self._reader.keys(name).root, (size, whole, *ids)) for name, size, whole, ids in calls],
        )
        if replies is None:
            return list(await asyncio.gather(*(self._plain(*call) for call in calls)))
        return [_page(name, size, reply) for (name, size, _, _), reply in zip(calls, replies, strict=True)]

    async def _plain(self, name: str, limit: int, whole: str, ids: Sequence[str]) -> Page:
        """The same by plain reads; a payload has to come along to see whether it has changed."""
        keys = self._reader.keys(name)
        members, count = await self._reader.read(
            [("ZRANGE", keys.suspended, 0, limit + _LEFT_OVER - 1, "WITHSCORES"), ("ZCARD", keys.suspended)]
        )
        scored = [(text(member) or "", number(score)) for member, score in pairs(members)]
        facts = await self._reader.read(
            [
                command
                for job_id, _ in scored
                for command in (
                    ("HMGET", keys.job(job_id), "state", "suspendedAt"),
                    ("HSTRLEN", keys.job(job_id), "data"),
                )
            ]
        )
        alive: list[Waiting] = []
        for (job_id, score), (fields, length) in zip(scored, sliced(facts, 2), strict=True):
            if not failed(fields) and text(fields[0]) == "suspended":
                due = NO_DEADLINE if score is None else score
                alive.append(Waiting(name, job_id, due, text(fields[1]) or "", integer(length)))
        gone, wanted = len(scored) - len(alive), set(ids)
        items = alive[:limit]
        looked = [one for one in items if one.id in wanted]
        looks = await asyncio.gather(*(self._look(one, whole in ("*", one.id)) for one in looked))
        seen = dict(zip((one.id for one in looked), looks, strict=True))
        return Page(
            [replace(one, look=seen.get(one.id)) for one in items],
            max(0, (0 if failed(count) else integer(count)) - gone),
            len(items) == limit,
        )

    async def _look(self, one: Waiting, whole: bool) -> Look:
        keys = self._reader.keys(one.queue)
        fits = whole or one.data_bytes <= LOOK_BYTES
        fields, stream = await self._reader.read(
            [
                ("HMGET", keys.job(one.id), *SAID_FIELDS, "progress", *(("data",) if fits else ())),
                ("XINFO", "STREAM", keys.jstream(one.id)),
            ]
        )
        values = [*([] if failed(fields) else fields), *[None] * (len(SAID_FIELDS) + 2)]
        count, facts = len(SAID_FIELDS), facts_of(stream)
        return Look(
            digest(values[count + 1]) if fits else "",
            digest(values[count]),
            "?" if facts is None else facts.text,
            said_digest(values[:count]),
        )


def facts_of(answer: Any) -> StreamFacts | None:
    """What the server says of a stream; None where it says that it is none, or will not tell."""
    try:
        return stream_facts(answer)
    except GlideMQError:
        return None


def digest(value: bytes | None) -> str:
    """SHA-1 of a stored value, as a server function makes it; that of a missing one is that of an empty one."""
    return hashlib.sha1(value or b"").hexdigest()


def said_digest(values: Sequence[bytes | None]) -> str:
    """SHA-1 of the values of `SAID_FIELDS`, as a server function makes it."""
    return hashlib.sha1(
        b"".join(b"%d:%b" % (len(value or b""), value or b"") for value in values)
    ).hexdigest()


def _page(name: str, size: int, reply: Any) -> Page:
    if failed(reply) or text(reply[0]) != "ok":
        return Page([], 0, False)
    items = []
    for job_id, score, suspended_at, length, *looked in reply[2:]:
        deadline = number(score)
        items.append(
            Waiting(
                name,
                text(job_id) or "",
                NO_DEADLINE if deadline is None else deadline,
                text(suspended_at) or "",
                integer(length),
                Look(*(text(part) or "" for part in looked)) if looked else None,
            )
        )
    return Page(items, integer(reply[1]), len(items) == size)
