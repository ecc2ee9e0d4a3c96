"""Sources of job ids: streams, lists and sorted sets, each read in slices that stay in step while it changes.

A slice continues after a *position*, a JSON value that names the last job taken from the source, not only its index:
jobs that come and go meanwhile do not shift the next slice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from glidemq_core.reading.reader import Reader, read_fields
from glidemq_core.wire.entry_ids import parse_id
from glidemq_core.wire.replies import as_text, as_texts, entries, failed, integer, items, number, pairs

#: Elements of a list among which the last one taken is looked for again.
_LOOK_BACK = 10_000

Position = Any
Order = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job id found in a source; smaller `order` comes first, `score` is that of a sorted set."""

    id: str
    order: Order
    position: Position
    score: float | None = None


#: Takes up to so many candidates after a position, None for the first ones. A position that no slice has given may
#: raise ValueError, TypeError, IndexError or KeyError.
IdSource = Callable[[int, Position], Awaitable[list[Candidate]]]


def in_order(ids: Sequence[str]) -> IdSource:
    """Give ids that are known from elsewhere, a few at most."""
    candidates = [Candidate(job_id, (0.0, index), index + 1) for index, job_id in enumerate(ids)]

    async def take(count: int, after: Position) -> list[Candidate]:
        begin = int(after or 0)
        return candidates[begin : begin + count]

    return take


def from_stream(reader: Reader, key: str, low: str, high: str, newest: bool) -> IdSource:
    """Give the jobs of a stream's entries between two ids (bounds of XRANGE)."""
    command, sign = ("XREVRANGE", -1) if newest else ("XRANGE", 1)

    async def take(count: int, after: Position) -> list[Candidate]:
        first, last = (high, low) if newest else (low, high)
        if after is not None:
            parse_id(after)
            first = f"({after}"
        found = []
        for entry_id, fields in entries(await reader.read_one(command, key, first, last, "COUNT", count)):
            ms, seq = parse_id(entry_id)
            if job_id := dict(fields).get("jobId"):
                found.append(Candidate(job_id, (sign * ms, sign * seq), entry_id))
        return found

    return take


def from_list(reader: Reader, queue: str, key: str, from_head: bool, newest: bool) -> IdSource:
    """Give the members of a list, from its head or its tail, in the order of their creation times."""

    async def take(count: int, after: Position) -> list[Candidate]:
        last, taken = (None, 0) if after is None else (str(after[0]), int(after[1]))
        index = None
        if last is not None:
            index = await reader.read_one(
                "LPOS", key, last, "RANK", 1 if from_head else -1, "MAXLEN", _LOOK_BACK
            )
        # Where the last one taken is gone, the number of those taken tells where to go on.
        if not isinstance(index, int):
            first, end = (taken, taken + count - 1) if from_head else (-taken - count, -taken - 1)
        elif from_head:
            first, end = index + 1, index + count
        elif index == 0:
            return []
        else:
            first, end = max(0, index - count), index - 1
        ids = as_texts(items(await reader.read_one("LRANGE", key, first, end)))
        if not from_head:
            ids.reverse()
        rows = await read_fields(reader, queue, ids, ("timestamp",))
        sign = -1 if newest else 1
        return [
            Candidate(job_id, (sign * integer(row.get("timestamp")), 0), [job_id, taken + offset])
            for offset, (job_id, row) in enumerate(zip(ids, rows, strict=True), 1)
        ]

    return take


def from_sorted_set(
    reader: Reader,
    key: str,
    newest: bool,
    low: float | str = "-inf",
    high: float | str = "+inf",
    order: Callable[[float], Order] = lambda score: (score,),
) -> IdSource:
    """Give the members with scores from `low` to `high`, up or (`newest`) down.

    Args:
        order: turns a score into the order that is shown.
    """
    within = [("ZCOUNT", key, "-inf", f"({low}"), ("ZCOUNT", key, low, high)]

    async def take(count: int, after: Position) -> list[Candidate]:
        if after is None:
            below, size = await reader.read(within)
        else:
            member, score, rank = str(after[0]), float(after[1]), int(after[2])
            below, size, now_at, now_score, under, upto = await reader.read(
                [
                    *within,
                    ("ZRANK", key, member),
                    ("ZSCORE", key, member),
                    ("ZCOUNT", key, "-inf", f"({score:.17g}"),
                    ("ZCOUNT", key, "-inf", f"{score:.17g}"),
                ]
            )
        if failed(below) or failed(size):
            return []
        first, end = integer(below), integer(below) + integer(size)
        if after is not None:
            if isinstance(now_at, int) and number(now_score) == score:
                at, following = now_at, now_at + 1
            else:
                # It is gone: go on among those of its score, where it stood.
                at = following = max(integer(under), min(rank, integer(upto)))
            first, end = (first, min(end, at)) if newest else (max(first, following), end)
        first, end = (max(first, end - count), end) if newest else (first, min(end, first + count))
        if end <= first:
            return []
        reply = pairs(await reader.read_one("ZRANGE", key, first, end - 1, "WITHSCORES"))
        sign = -1 if newest else 1
        found = []
        for place, (name, value) in enumerate(reply, first):
            text, points = as_text(name), number(value) or 0.0
            shown = tuple(sign * part for part in order(points))
            found.append(Candidate(text.partition("||")[0], shown, [text, points, place], points))
        return found[::-1] if newest else found

    return take
