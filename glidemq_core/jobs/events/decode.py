"""Decode entries of event streams."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ...options.fields import EPOCH, from_epoch_ms, refuse
from ...records import QueueEvent
from ...wire.numbers import parse_number, to_int
from ...wire.payload import decode_progress
from ...wire.replies import as_text
from ...wire.strict_json import parse_json

_ENTRY_ID = re.compile(r"\d{1,20}(-\d{1,20})?", re.ASCII)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Fields that are text whatever they look like.
_TEXTS = frozenset(("name", "failedReason", "signal", "groupKey"))
#: Events about a queue: `jobId` holds how many jobs they concern, or nothing.
_COUNTED = frozenset(("drained", "cleaned", "retried"))


def decode_event(queue: str, entry_id: str, fields: Iterable[tuple[bytes | str, bytes | str]]) -> QueueEvent:
    """Read one entry of an event stream: snake_case keys, numbers and JSON decoded; anything may be missing."""
    found = {as_text(name): as_text(value) for name, value in fields}
    event, job_id = found.pop("event", ""), found.pop("jobId", "")
    data = {_snake(name): _value(event, name, value) for name, value in found.items()}
    if event in _COUNTED:
        data["count"] = to_int(job_id)
        job_id = ""
    elif event in ("paused", "resumed") and "signal" not in found:
        job_id = ""
    return QueueEvent(
        queue=queue,
        id=entry_id,
        at=from_epoch_ms(to_int(entry_id.partition("-")[0])) or EPOCH,
        event=event,
        job_id=job_id or None,
        data=data,
    )


def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _value(event: str, name: str, stored: str) -> Any:
    if name in _TEXTS:
        return stored
    if event == "progress" and name == "data":
        return decode_progress(stored)
    number = parse_number(stored)
    if number is not None:
        return number
    try:
        return parse_json(stored)
    except ValueError:
        return stored


def check_start(value: str, option: str) -> str:
    """Accept `$`, `0` or an entry id. Raises InvalidOptionError."""
    if value != "$" and not (isinstance(value, str) and _ENTRY_ID.fullmatch(value)):
        refuse(option, value, "$, 0 or an entry id like 1795467240172-0")
    return value
