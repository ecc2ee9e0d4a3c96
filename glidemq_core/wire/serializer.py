"""How job data and results become text; every side of a queue uses the same serializer."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from typing import Any, Protocol


class Serializer(Protocol):
    """Turns job data and results into text and back; every side of a queue must use the same one."""

    def serialize(self, value: Any) -> str: ...
    def deserialize(self, text: str) -> Any: ...


#: Classes whose text says all, by module and name: who does not use them does not load them.
_AS_TEXT = {("uuid", "UUID"), ("decimal", "Decimal")}


def _plain(value: Any) -> Any:
    """Return an object that JSON does not know as one that it knows.

    Dataclasses and pydantic models become objects, times ISO 8601, enums their values, UUIDs and decimals text: typed
    handlers read them as what they were.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (date, time)):
        return value.isoformat()
    if (type(value).__module__, type(value).__name__) in _AS_TEXT:
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _JsonSerializer:
    """Compact JSON, also of dataclasses and pydantic models; refuses NaN and infinities, which are not JSON."""

    _encode = json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
    ).encode

    def serialize(self, value: Any) -> str:
        return self._encode(value)

    def deserialize(self, text: str) -> Any:
        return json.loads(text)


JSON_SERIALIZER: Serializer = _JsonSerializer()
