"""Usage reports: their fields, declared once, and how job hashes, events and ledgers hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ..wire.numbers import number_text, parse_number
from ..wire.replies import as_text
from ..wire.strict_json import compact_json
from .decoding import Fields, amounts_text, json_amounts, json_number, json_text, optional_text
from .flows import Usage


class _Kind(NamedTuple):
    """How the values of one kind of field are read; what is damaged reads as not reported."""

    from_hash: Callable[[bytes], Any]
    from_json: Callable[[Any], Any]


class UsageField(NamedTuple):
    """A field of a usage report: its attribute of `Usage`, its key in JSON, its field of the job hash."""

    name: str
    wire: str
    stored: str
    kind: _Kind


def _flag_text(stored: bytes) -> bool | None:
    return {"1": True, "0": False}.get(as_text(stored))


def _json_flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_TEXT = _Kind(optional_text, json_text)
_NUMBER = _Kind(parse_number, json_number)
_AMOUNTS = _Kind(amounts_text, json_amounts)
_FLAG = _Kind(_flag_text, _json_flag)

#: In the order in which the server function `report_usage` takes them.
USAGE_FIELDS: Final = tuple(
    UsageField(name, wire, f"usage:{wire}", kind)
    for name, wire, kind in (
        ("model", "model", _TEXT),
        ("provider", "provider", _TEXT),
        ("tokens", "tokens", _AMOUNTS),
        ("total_tokens", "totalTokens", _NUMBER),
        ("costs", "costs", _AMOUNTS),
        ("total_cost", "totalCost", _NUMBER),
        ("cost_unit", "costUnit", _TEXT),
        ("latency_ms", "latencyMs", _NUMBER),
        ("cached", "cached", _FLAG),
    )
)
#: Fields of the job hash that hold its latest report.
STORED_USAGE: Final = tuple(field.stored for field in USAGE_FIELDS)


def decode_usage(fields: Fields) -> Usage | None:
    """Read the latest usage report of a job, None if there is none. Numbers keep their fractions."""
    found = [field for field in USAGE_FIELDS if field.stored in fields]
    return _usage({field.name: field.kind.from_hash(fields[field.stored]) for field in found})


def usage_from_json(report: Any) -> Usage | None:
    """Read a usage report of an event or a ledger (camelCase keys), None if it is empty."""
    if not isinstance(report, Mapping):
        return None
    found = [field for field in USAGE_FIELDS if field.wire in report]
    return _usage({field.name: field.kind.from_json(report[field.wire]) for field in found})


def _usage(values: dict[str, Any]) -> Usage | None:
    if not values:
        return None
    usage = Usage(**values)
    return usage if usage != Usage() else None


def usage_fields(usage: Usage) -> dict[str, bytes]:
    """Return the hash fields of a usage report, without the minute it was booked in."""
    return {field.stored: hash_text(value).encode() for field, value in _reported(usage)}


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return a usage report as events and ledgers hold it (camelCase keys), only what was reported."""
    return {field.wire: value for field, value in _reported(usage)}


def _reported(usage: Usage) -> list[tuple[UsageField, Any]]:
    values = [(field, getattr(usage, field.name)) for field in USAGE_FIELDS]
    return [(field, value) for field, value in values if value is not None and value != {}]


def hash_text(value: Any) -> str:
    """Write the value of a field as job hashes hold it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else event_text(value)


def event_text(value: Any) -> str:
    """Write the value of a field as JSON, numbers without exponent."""
    if isinstance(value, (bool, str)):
        return compact_json(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{compact_json(key)}:{number_text(n)}" for key, n in value.items()) + "}"
    return number_text(value)
