"""JSON as Node reads and writes it: compact, no NaN, no infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def compact_json(value: Any) -> str:
    """Write compact JSON that UTF-8 can always carry.

    Raises:
        TypeError, ValueError, RecursionError: the value is not JSON.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, legal as an escape only
        return json.dumps(value, separators=(",", ":"))
    return text


def parse_json(text: str | bytes) -> Any:
    """Read JSON strictly; a number too large for a double reads as None, as Node would write it again.

    Raises:
        ValueError: not JSON, or nested beyond reason.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _loads(text, _finite_or_none)


def parse_for_show(text: str, depth: int) -> Any:
    """Read JSON that is to be shown as it is: strictly, every number, and nested at most `depth` levels.

    Raises:
        ValueError: not JSON, or it cannot be shown as what it is.
    """
    value = _loads(text, _finite)
    # No more levels than brackets: the usual text is not walked through.
    if text.count("[") + text.count("{") > depth:
        _refuse_deep(value, depth)
    return value


def _refuse_deep(value: Any, depth: int) -> None:
    level = [value]
    for _ in range(depth + 1):
        nested = [item for item in level if isinstance(item, (dict, list))]
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if not nested:
            return
    raise ValueError(f"nested more than {depth} levels deep")


def same_json(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1, 1.0 is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def has_values(payload: Any, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a payload is an object with these top-level values, compared as JSON does."""
    return isinstance(payload, Mapping) and all(
        key in payload and same_json(payload[key], value) for key, value in wanted.items()
    )


def _loads(text: str, parse_float: Callable[[str], float | None]) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=parse_float)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite_or_none(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond any number")
    return number
