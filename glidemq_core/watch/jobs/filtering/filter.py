"""Filters of a list of jobs: by name, by values of the payload, by a text in what is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar, cast

from glidemq_core.filters.jobs import STALLED, JobExpression
from glidemq_core.filters.language import PayloadTerm
from glidemq_core.reading.reader import Reader
from glidemq_core.records import JobRow
from glidemq_core.records.outcomes import JobState
from glidemq_core.wire.payload import decode_data
from glidemq_core.wire.replies import failed, integer
from glidemq_core.wire.serializer import JSON_SERIALIZER
from glidemq_core.wire.strict_json import has_values

T = TypeVar("T")
#: After how long others may run while jobs are tested, s.
_REST_S = 0.02
#: Payloads over so many bytes are not searched.
DATA_BYTES = 65_536
#: Bytes of payloads that are asked for in one go.
_AT_ONCE = 4_194_304
#: What the clocks of those who add jobs, run them and read them may differ by, ms.
_CLOCKS_MS = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Conditions of a listed job; None and empty are no condition."""

    #: Exactly this name.
    name: str | None = None
    #: Top-level values of the payload.
    data: Mapping[str, Any] | None = None
    #: Text in its id, name, model, error or reason of suspension, whatever the case.
    find: str | None = None

    #: A filter as people type it.
    where: JobExpression | None = None

    @property
    def has_conditions(self) -> bool:
        """Whether there is any condition."""
        by_words = self.where is not None and self.where.has_conditions
        return self.name is not None or bool(self.data) or bool(self.find) or by_words

    def may_be_in(self, state: str) -> bool:
        """Tell whether jobs that a list of a state shows can meet the conditions."""
        states = self.where.states if self.where is not None else None
        if states is None or state in states:
            return True
        # Stalled jobs are active ones.
        return bool(states) and state in ("active", STALLED) and not states.isdisjoint(("active", STALLED))

    def since_ms(self, now_ms: int) -> int | None:
        """Return the moment, epoch ms, since when jobs that match were made; None for any time.

        Clocks differ: what was made a little before may match too.
        """
        youngest_ms = self.where.youngest_ms if self.where is not None else None
        return None if youngest_ms is None else max(0, now_ms - int(youngest_ms) - _CLOCKS_MS)

    def fits(self, row: JobRow, now: datetime, state: str) -> bool:
        """Tell whether a job meets all conditions but those of its payload.

        Args:
            state: that of the list which it stands in; it may say another one of itself while it moves.
        """
        if self.name is not None and row.name != self.name:
            return False
        if self.find and not self._has(row, self.find.casefold()):
            return False
        if self.where is None:
            return True
        if state not in (row.state, STALLED):
            row = replace(row, state=cast(JobState, state))
        return self.where.fits(row, now)

    @staticmethod
    def _has(row: JobRow, text: str) -> bool:
        reason = row.suspend.reason if row.suspend is not None else None
        parts = (row.id, row.name, row.model, row.failed_reason, reason)
        return any(text in (part or "").casefold() for part in parts)

    @property
    def payload(self) -> tuple[PayloadTerm, ...]:
        """Return the conditions of the payload."""
        given = tuple(PayloadTerm(key, value, False) for key, value in (self.data or {}).items())
        return given + (self.where.payload if self.where is not None else ())

    async def data_of(self, reader: Reader, queue: str, ids: Sequence[str]) -> set[str]:
        """Return the ids of jobs whose payload meets the conditions; one that is too long meets none."""
        keys, terms, fit = reader.keys(queue), self.payload, set[str]()
        sizes = await reader.read([("HSTRLEN", keys.job(job_id), "data") for job_id in ids])
        small = [
            (job_id, integer(size))
            for job_id, size in zip(ids, sizes, strict=True)
            if integer(size) <= DATA_BYTES
        ]
        for part in in_parts(small):
            stored = await reader.read([("HGET", keys.job(job_id), "data") for job_id in part])
            for job_id, value in zip(part, stored, strict=True):
                payload = decode_data(None if failed(value) else value, JSON_SERIALIZER).value
                if all(has_values(payload, {term.key: term.value}) != term.negated for term in terms):
                    fit.add(job_id)
        return fit


async def unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """Give items one by one to be tested, and let others run in between: texts of strangers and patterns of people."""
    rested = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - rested > _REST_S:
            await asyncio.sleep(0)
            rested = time.monotonic()


def in_parts(sized: Sequence[tuple[T, int]]) -> Iterator[list[T]]:
    """Split jobs, given with the bytes of their payloads, so that these together stay small."""
    part, size = list[T](), 0
    for one, each in sized:
        if part and size + each > _AT_ONCE:
            yield part
            part, size = [], 0
        part.append(one)
        size += each
    if part:
        yield part


EVERY_JOB = JobFilter()
