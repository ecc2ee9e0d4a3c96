"""The job that a scheduler creates, worked out from its stored entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..jobs.adding.records import Record
from ..options.job import JobOptions
from ..wire.payload import encode_data
from ..wire.serializer import Serializer
from ..wire.strict_json import compact_json


@dataclass(frozen=True, slots=True)
class TemplateJob:
    """A job to add: its record as the add function takes it, and the options that take effect."""

    record: Record
    options: JobOptions

    def words(self) -> tuple[str, str, str]:
        """Return name, data and packed options, arguments of server functions."""
        job_id, name, data, *rest = self.record
        return name, data, json.dumps([job_id, *rest])


def template_job(
    serializer: Serializer, scheduler: str, raw: dict[str, Any], *, waited_for: bool
) -> TemplateJob:
    """Build the job of an entry. Of its stored options only priority, attempts, ttl and lifo take effect.

    Args:
        raw: the decoded entry.
        waited_for: the scheduler's next run counts from this job's end.

    Raises:
        SerializationError, PayloadTooLargeError: the data cannot be stored.
    """
    template = raw.get("template")
    template = template if isinstance(template, dict) else {}
    name, data, opts = (template.get(field) for field in ("name", "data", "opts"))
    stored = compact_json(opts) if isinstance(opts, dict) else "{}"
    asked = JobOptions.from_wire(stored)
    options = JobOptions(
        priority=asked.priority or None,
        attempts=asked.attempts or None,
        ttl=asked.ttl or None,
        lifo=asked.lifo or None,
    )
    extra: dict[str, Any] = {"ttl": options.ttl} if options.ttl else {}
    if waited_for:
        extra["scheduler"] = scheduler
    record = (
        "",
        name if isinstance(name, str) and name else scheduler,
        "{}" if data is None else encode_data(data, serializer),
        stored,
        "0",
        str(options.priority),
        str(options.attempts),
        "1" if options.lifo else "",
        json.dumps(extra, ensure_ascii=False) if extra else "",
    )
    return TemplateJob(record, options)
