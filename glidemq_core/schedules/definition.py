"""What callers ask of a scheduler, checked, and the JSON in which it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..options.fields import (
    Duration,
    Instant,
    instance_of,
    positive_ms,
    refuse,
    some_text,
    text,
    to_epoch_ms,
    whole,
)
from ..options.job import JobTemplate
from ..wire.payload import check_size, encode_data, encode_json
from ..wire.serializer import Serializer
from ..wire.strict_json import compact_json
from .cron import parse_cron, time_zone
from .next_run import first_run

_MODES: Final = ("pattern", "every", "repeat_after_complete")
_LIMIT = whole(1)


@dataclass(frozen=True, slots=True)
class Definition:
    """A scheduler to set, as the wire has it; times and durations are ms."""

    pattern: str | None
    every: int | None
    repeat_after_complete: int | None
    tz: str | None
    start_date: int | None
    end_date: int | None
    limit: int | None
    #: The job to create as JSON; empty for none.
    template: str

    def timing(self) -> str:
        """Return the fields that decide when it runs as JSON, in the peer's order."""
        fields = {
            "pattern": self.pattern,
            "every": self.every,
            "repeatAfterComplete": self.repeat_after_complete,
            "tz": self.tz,
            "startDate": self.start_date,
            "endDate": self.end_date,
        }
        return compact_json({name: value for name, value in fields.items() if value is not None})

    def first_run(self, now_ms: int) -> int:
        """Return when it runs first. Raises InvalidOptionError when that is never."""
        run = first_run(self, now_ms)
        if run is None and self.end_date is not None:
            refuse("end_date", self.end_date, "after the first run", "no run is due before end_date")
        if run is None:
            refuse("pattern", self.pattern, "a pattern that comes", "no run is due within ten years")
        return run


def define(
    *,
    pattern: str | None,
    every: Duration | None,
    repeat_after_complete: Duration | None,
    tz: str | None,
    start_date: Instant | None,
    end_date: Instant | None,
    limit: int | None,
    template: JobTemplate | None,
    serializer: Serializer,
) -> Definition:
    """Check what a caller asks for.

    Raises:
        InvalidOptionError: a value is not allowed, or two do not go together.
        SerializationError, PayloadTooLargeError: the template's data cannot be stored, or not as a job's data.
    """
    modes = dict(zip(_MODES, (pattern, every, repeat_after_complete), strict=True))
    given = [name for name, value in modes.items() if value is not None]
    if len(given) != 1:
        also = f": {' and '.join(given)} do not go together" if given else ""
        refuse(
            given[1] if given else "pattern",
            modes,
            "one of " + ", ".join(_MODES),
            f"a scheduler needs exactly one of {', '.join(_MODES)}{also}",
        )
    if pattern is not None:
        parse_cron(some_text(pattern, "pattern"))
    if tz is not None:
        time_zone(some_text(tz, "tz"))
    start = None if start_date is None else to_epoch_ms(start_date, "start_date")
    end = None if end_date is None else to_epoch_ms(end_date, "end_date")
    if start is not None and end is not None and end < start:
        refuse("end_date", end_date, "start_date or later", "end_date is before start_date")
    return Definition(
        pattern,
        None if every is None else positive_ms(every, "every"),
        None
        if repeat_after_complete is None
        else positive_ms(repeat_after_complete, "repeat_after_complete"),
        tz,
        start,
        end,
        None if limit is None else _LIMIT(limit, "limit"),
        _template(template, serializer),
    )


def _template(template: JobTemplate | None, serializer: Serializer) -> str:
    """Return a template as it is stored: always JSON, whatever the queue's serializer."""
    if template is None:
        return ""
    instance_of(JobTemplate)(template, "template")
    fields: dict[str, Any] = {}
    if template.name is not None:
        fields["name"] = text(template.name, "template.name")
    if template.data is not None:
        check_size(encode_json(template.data, "data"), "data")
        encode_data(template.data, serializer)  # as each job will need it
        fields["data"] = template.data
    if template.options is not None:
        fields["opts"] = template.options.to_json()
    return encode_json(fields, "template")
