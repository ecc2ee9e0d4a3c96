"""Filters of a list of jobs: by name, by values of the payload, by a text in what is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glidemq_core.reading.reader import Reader
from glidemq_core.records import JobRow
from glidemq_core.wire.payload import decode_data
from glidemq_core.wire.replies import failed, integer
from glidemq_core.wire.serializer import JSON_SERIALIZER
from glidemq_core.wire.strict_json import has_values

#: Payloads over so many bytes are not searched.
DATA_BYTES = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Conditions of a listed job; None and empty are no condition."""

    #: Exactly this name.
    name: str | None = None
    #: Top-level values of the payload.
    data: Mapping[str, Any] | None = None
    #: Text in its id, name, model, error or reason of suspension, whatever the case.
    find: str | None = None

    @property
    def has_conditions(self) -> bool:
        """Whether there is any condition."""
        return self.name is not None or bool(self.data) or bool(self.find)

    def fits(self, row: JobRow) -> bool:
        """Tell whether a job meets all conditions but those of its payload."""
        if self.name is not None and row.name != self.name:
            return False
        if not self.find:
            return True
        reason = row.suspend.reason if row.suspend is not None else None
        text = self.find.casefold()
        return any(
            text in (part or "").casefold()
            for part in (row.id, row.name, row.model, row.failed_reason, reason)
        )

    async def data_of(self, reader: Reader, queue: str, ids: Sequence[str]) -> set[str]:
        """Return the ids of jobs whose payload has the wanted values."""
        keys, fit = reader.keys(queue), set[str]()
        sizes = await reader.read([("HSTRLEN", keys.job(job_id), "data") for job_id in ids])
        small = [job_id for job_id, size in zip(ids, sizes, strict=True) if integer(size) <= DATA_BYTES]
        stored = await reader.read([("HGET", keys.job(job_id), "data") for job_id in small])
        for job_id, value in zip(small, stored, strict=True):
            payload = decode_data(None if failed(value) else value, JSON_SERIALIZER).value
            if has_values(payload, self.data or {}):
                fit.add(job_id)
        return fit


EVERY_JOB = JobFilter()
