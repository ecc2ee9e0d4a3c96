"""Schedulers of a queue, read tolerantly."""

from __future__ import annotations

from typing import Any

from glidemq_core.options.job import JobOptions, JobTemplate
from glidemq_core.reading.reader import Reader
from glidemq_core.records import SchedulerEntry
from glidemq_core.wire.replies import failed, pairs, text
from glidemq_core.wire.strict_json import compact_json, parse_json

_NUMBERS = {
    "every": "every",
    "repeatAfterComplete": "repeat_after_complete",
    "startDate": "start_date",
    "endDate": "end_date",
    "limit": "limit",
    "iterationCount": "iteration_count",
    "lastRun": "last_run",
    "nextRun": "next_run",
}


async def read_schedulers(reader: Reader, queue: str) -> dict[str, SchedulerEntry]:
    """Read the schedulers of a queue by name; what is none is left out."""
    reply = await reader.read_one("HGETALL", reader.keys(queue).schedulers)
    if failed(reply):
        raise reply
    found = {text(name) or "": decode_scheduler(stored) for name, stored in pairs(reply)}
    return {name: entry for name, entry in sorted(found.items()) if entry is not None}


def decode_scheduler(stored: bytes | str) -> SchedulerEntry | None:
    """Read one entry of `P:schedulers`; None for what is not a JSON object."""
    try:
        raw = parse_json(stored)
    except ValueError:
        return None
    if not isinstance(raw, dict):
        return None
    numbers = {
        name: int(raw[wire])
        for wire, name in _NUMBERS.items()
        if isinstance(raw.get(wire), (int, float)) and not isinstance(raw[wire], bool)
    }
    return SchedulerEntry(
        pattern=_words(raw.get("pattern")),
        tz=_words(raw.get("tz")),
        template=_template(raw.get("template")),
        **numbers,
    )


def _template(raw: Any) -> JobTemplate | None:
    if not isinstance(raw, dict):
        return None
    options = raw.get("opts")
    return JobTemplate(
        name=_words(raw.get("name")),
        data=raw.get("data"),
        options=JobOptions.from_wire(compact_json(options)) if isinstance(options, dict) else None,
    )


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) else None
