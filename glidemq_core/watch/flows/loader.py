"""Jobs of flows with their links: many of a queue in one call, each read once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from glidemq_core.flows.walk import by_queue, parse_members
from glidemq_core.options.job import JobRef
from glidemq_core.reading.reader import JOBS_PER_CALL, Reader, cut_fields
from glidemq_core.records.decoding import Fields
from glidemq_core.server.commands import Arg
from glidemq_core.wire.keys import done_marker
from glidemq_core.wire.replies import failed, hash_fields, integer, number, pairs, sliced, text

#: Fields that name the parents of a job.
PARENT_FIELDS = ("parentId", "parentQueue", "parentIds", "parentQueues")


@dataclass(frozen=True, slots=True)
class Part:
    """A job of a flow and the jobs it waits for; `has_more`: there are more than `members` lists."""

    fields: dict[str, bytes]
    members: list[JobRef]
    has_more: bool
    #: Score of a delayed job in `P:scheduled`.
    score: float | None
    #: The job was removed; `fields` are those that were kept of it.
    is_gone: bool = False


class FlowLoader:
    """Loads the jobs of some flows; what is asked for at one moment is read together, each job once.

    Args:
        names: fields of each job; those of parents, `state` and `budgetKey` among them.
        members: children that are listed of each job, at most.
        direction: which relatives in the same queue are read along: `up`, `all` or `none`.
    """

    def __init__(self, reader: Reader, names: Sequence[str], members: int, direction: str = "all") -> None:
        self.reader = reader
        self._names = names
        self._members = members
        self._direction = direction
        self._parts: dict[JobRef, Part] = {}
        self._budgets: dict[str, Fields] = {}
        self._missing: dict[JobRef, None] = {}
        self._reading: asyncio.Task[None] | None = None
        self._done: dict[tuple[JobRef, JobRef], bool] = {}

    async def take(self, refs: Iterable[JobRef]) -> dict[JobRef, Part]:
        """Return jobs, reading those that are not known yet."""
        wanted = list(refs)
        missing = [ref for ref in wanted if ref not in self._parts]
        if missing:
            self._missing |= dict.fromkeys(missing)
            if self._reading is None:
                self._reading = asyncio.create_task(self._load())
            await asyncio.shield(self._reading)
        return {ref: self._parts[ref] for ref in wanted}

    async def know(self, refs: Iterable[JobRef]) -> None:
        """Read jobs that will probably be asked for, and no relatives."""
        await self._read(list(dict.fromkeys(refs)), "none")

    async def counted(self, pairs: Iterable[tuple[JobRef, JobRef]]) -> dict[tuple[JobRef, JobRef], bool]:
        """Tell of pairs of a parent and a child whether the parent counts the child as done."""
        wanted, keys = list(pairs), self.reader.keys
        unknown = [pair for pair in wanted if pair not in self._done]
        answers = await self.reader.read(
            ("HEXISTS", keys(parent.queue).job(parent.id), done_marker(keys(child.queue).member(child.id)))
            for parent, child in unknown
        )
        for pair, answer in zip(unknown, answers, strict=True):
            self._done[pair] = not failed(answer) and bool(answer)
        return {pair: self._done[pair] for pair in wanted}

    async def budget(self, key: str) -> Fields:
        """Return the hash of a budget; empty if there is none."""
        if key not in self._budgets:
            stored = await self.reader.read_one("HGETALL", key)
            self._budgets[key] = hash_fields(stored if isinstance(stored, Mapping) else None)
        return self._budgets[key]

    async def _load(self) -> None:
        await asyncio.sleep(0)  # until everyone has asked
        refs, self._missing, self._reading = list(self._missing), {}, None
        await self._read(refs, self._direction)

    async def _read(self, refs: Sequence[JobRef], direction: str) -> None:
        calls = [
            (queue, part) for queue, ids in by_queue(refs).items() for part in sliced(ids, JOBS_PER_CALL)
        ]
        head: tuple[Arg, ...] = (JOBS_PER_CALL, self._members, direction, len(self._names), *self._names)
        replies = await self.reader.call_each(
            "flow", [(self.reader.keys(queue).root, (*head, *ids)) for queue, ids in calls]
        )
        if replies is None:
            await self._plain(refs)
            return
        for (queue, ids), reply in zip(calls, replies, strict=True):
            if failed(reply):
                raise reply
            self._budgets |= {text(key) or "": hash_fields(stored) for key, stored in pairs(reply[1])}
            for job_id, row, members, total, score, gone in reply[2:]:
                known = parse_members(members, self.reader.prefix)
                fields, has_more = cut_fields(self._names, row), integer(total) > len(members)
                part = Part(fields, known, has_more, number(score), gone == 1)
                self._parts[JobRef(queue, text(job_id) or "")] = part
            for job_id in ids:
                # A name that is no text on the server comes back as another.
                self._parts.setdefault(JobRef(queue, job_id), Part({}, [], False, None))

    async def _plain(self, refs: Sequence[JobRef]) -> None:
        """Read the same by plain commands, for users who may not call functions; relatives take calls of their own."""
        answers = await self.reader.read_each(
            refs,
            lambda ref: [
                ("HMGET", self.reader.keys(ref.queue).job(ref.id), *self._names),
                ("SSCAN", self.reader.keys(ref.queue).deps(ref.id), 0, "COUNT", self._members),
            ],
        )
        rows = [cut_fields(self._names, row) for row, _ in answers]
        delayed = [ref for ref, row in zip(refs, rows, strict=True) if row.get("state") == b"delayed"]
        scores = await self.reader.read(
            [("ZSCORE", self.reader.keys(ref.queue).scheduled, ref.id) for ref in delayed]
        )
        due = dict(zip(delayed, scores, strict=True))
        lost = [ref for ref, row in zip(refs, rows, strict=True) if not row]
        left = await self.reader.read(
            [("HMGET", self.reader.keys(ref.queue).kept(ref.id), *self._names) for ref in lost]
        )
        kept = {ref: cut_fields(self._names, row) for ref, row in zip(lost, left, strict=True)}
        for ref, row, (_, page) in zip(refs, rows, answers, strict=True):
            members = [] if failed(page) else parse_members(page[1], self.reader.prefix)
            has_more = not failed(page) and page[0] != b"0"
            found, gone = row or kept.get(ref, {}), not row and bool(kept.get(ref))
            self._parts[ref] = Part(found, members, has_more, number(due.get(ref)), gone)
