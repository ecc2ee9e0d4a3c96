"""Where jobs of a state are kept, each place read in slices that stay in step while it changes.

A slice continues after a *mark*, a JSON value that names the last candidate taken from the place, not only its
index: jobs that come and go meanwhile do not shift the next slice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from glidemq_core.reading.fields import read_fields
from glidemq_core.reading.reader import Reader
from glidemq_core.wire.entry_ids import parse_id
from glidemq_core.wire.keys import QueueKeys
from glidemq_core.wire.replies import entries, failed, integer, number, pairs, text

#: Elements of a list among which the last one taken is looked for again.
_LOOK_BACK = 10_000
Position = Any
Order = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job id found in a place; smaller `order` comes first, `score` is that of a sorted set."""

    id: str
    order: Order
    mark: Position
    score: float | None = None


class IdSource(Protocol):
    """One ordered source of job ids."""

    async def take(self, count: int, after: Position) -> list[Candidate]:
        """Return up to `count` candidates after a mark, None for the first ones. Raises ValueError for a bad mark."""
        ...


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Entries of a stream between two ids (XRANGE bounds)."""

    reader: Reader
    key: str
    low: str
    high: str
    newest: bool

    async def take(self, count: int, after: Position) -> list[Candidate]:
        if after is not None and not (isinstance(after, str) and after.replace("-", "").isdecimal()):
            raise ValueError("stream mark")
        low, high = self.low, self.high
        if after is not None:
            low, high = (low, f"({after}") if self.newest else (f"({after}", high)
        bounds = ("XREVRANGE", self.key, high, low) if self.newest else ("XRANGE", self.key, low, high)
        found = []
        for entry_id, fields in entries(await self.reader.read_one(*bounds, "COUNT", count)):
            ms, seq = parse_id(entry_id)
            sign = -1 if self.newest else 1
            job_id = dict(fields).get("jobId")
            if job_id:
                found.append(Candidate(job_id, (sign * ms, sign * seq), entry_id))
        return found


@dataclass(frozen=True, slots=True)
class ListPlace:
    """A list; `from_head` walks it from its head. Orders are creation times, read from the jobs."""

    reader: Reader
    keys: QueueKeys
    key: str
    from_head: bool
    newest: bool

    async def take(self, count: int, after: Position) -> list[Candidate]:
        taken, start = 0, None
        if after is not None:
            last, taken = str(after[0]), int(after[1])
            rank = 1 if self.from_head else -1
            found = await self.reader.read_one("LPOS", self.key, last, "RANK", rank, "MAXLEN", _LOOK_BACK)
            start = found if isinstance(found, int) else None
        ids = [text(item) or "" for item in await self._slice(count, taken, start)]
        rows = await read_fields(self.reader, self.keys.queue, ids, ("timestamp",))
        sign = -1 if self.newest else 1
        return [
            Candidate(job_id, (sign * integer(row.get("timestamp")), 0), [job_id, taken + i])
            for i, (job_id, row) in enumerate(zip(ids, rows, strict=True), 1)
        ]

    async def _slice(self, count: int, taken: int, last: int | None) -> list[Any]:
        """Elements after index `last`, or without one after the `taken` first ones from our end."""
        if self.from_head:
            first = taken if last is None else last + 1
            found = await self.reader.read_one("LRANGE", self.key, first, first + count - 1)
        elif last is None:
            found = await self.reader.read_one("LRANGE", self.key, -(taken + count), -(taken + 1))
        elif last == 0:
            found = []
        else:
            found = await self.reader.read_one("LRANGE", self.key, max(0, last - count), last - 1)
        if failed(found):
            return []
        return list(found) if self.from_head else list(reversed(found))


@dataclass(frozen=True, slots=True)
class SortedPlace:
    """Members of a sorted set with scores from `low` to `high`; `order` turns a score into the order shown."""

    reader: Reader
    key: str
    down: bool
    low: float | str = "-inf"
    high: float | str = "+inf"
    order: Callable[[float], Order] = lambda score: (score,)

    async def take(self, count: int, after: Position) -> list[Candidate]:
        below, within = await self.reader.read(
            [("ZCOUNT", self.key, "-inf", _under(self.low)), ("ZCOUNT", self.key, self.low, self.high)]
        )
        if failed(below) or failed(within):
            return []
        first, last = integer(below), integer(below) + integer(within) - 1
        if after is not None:
            at = await self._rank(after)
            first, last = (first, min(last, at - 1)) if self.down else (max(first, at), last)
        if self.down:
            first = max(first, last - count + 1)
        else:
            last = min(last, first + count - 1)
        if last < first:
            return []
        found = pairs(await self.reader.read_one("ZRANGE", self.key, first, last, "WITHSCORES"))
        ranked = [
            (first + i, text(member) or "", number(score) or 0.0) for i, (member, score) in enumerate(found)
        ]
        if self.down:
            ranked.reverse()
        sign = -1 if self.down else 1
        return [
            Candidate(
                member.partition("||")[0],
                tuple(sign * part for part in self.order(score)),
                [member, score, rank],
                score,
            )
            for rank, member, score in ranked
        ]

    async def _rank(self, mark: Position) -> int:
        """Rank after the marked member going up, or of it going down; by its score if it is gone."""
        member, score, rank = str(mark[0]), float(mark[1]), int(mark[2])
        at, now, under, upto = await self.reader.read(
            [
                ("ZRANK", self.key, member),
                ("ZSCORE", self.key, member),
                ("ZCOUNT", self.key, "-inf", f"({score:.17g}"),
                ("ZCOUNT", self.key, "-inf", f"{score:.17g}"),
            ]
        )
        if isinstance(at, int) and number(now) == score:
            return at if self.down else at + 1
        return max(integer(under), min(rank, integer(upto)))


@dataclass(frozen=True, slots=True)
class FixedPlace:
    """Ids known from elsewhere, a few at most."""

    ids: tuple[str, ...]

    async def take(self, count: int, after: Position) -> list[Candidate]:
        begin = 0 if after is None else int(after)
        return [Candidate(job_id, (0.0, i), i + 1) for i, job_id in enumerate(self.ids)][
            begin : begin + count
        ]


def _under(score: float | str) -> str:
    return "(-inf" if score == "-inf" else f"({score}"
