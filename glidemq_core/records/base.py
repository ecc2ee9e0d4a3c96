"""How records are declared, and the one way from a record to the JSON that `--json` prints."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar, dataclass_transform

from ..options.fields import epoch_ms
from ..options.job import Fallback

RecordT = TypeVar("RecordT")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def answer(cls: type[RecordT]) -> type[RecordT]:
    """Make a class a record: frozen, keyword-only."""
    return dataclass(frozen=True, kw_only=True)(cls)


def python_only(default: Any) -> Any:
    """Declare a field that Python callers see and JSON does not have."""
    return field(default=default, metadata={"json": False})


def to_json(value: Any) -> Any:
    """Turn a record, or anything made of records, into JSON values; every key is always present.

    Users' own values (fields typed `Any`) pass through unchanged.
    """
    if isinstance(value, datetime):
        return epoch_ms(value)
    if isinstance(value, Fallback):
        return {"model": value.model, "provider": value.provider, "metadata": value.metadata}
    own = getattr(value, "to_json", None)
    if own is not None and not isinstance(value, type):
        return own()
    if is_dataclass(value) and not isinstance(value, type):
        return {
            key: getattr(value, name) if users_own else to_json(getattr(value, name))
            for name, key, users_own in _plan(type(value))
        }
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


@functools.cache
def _plan(cls: type[Any]) -> tuple[tuple[str, str, bool], ...]:
    """Field, JSON key and whether its values are the users' own, for each field that JSON has."""
    hints = typing.get_type_hints(cls)
    return tuple(
        (f.name, _key(f.name, hints[f.name]), hints[f.name] in (Any, Mapping[str, Any]))
        for f in fields(cls)
        if f.metadata.get("json", True)
    )


def _key(name: str, hint: Any) -> str:
    """`x_at` and `at` become `x_ms` and `at_ms` if they hold times."""
    if hint is datetime or datetime in typing.get_args(hint):
        return "at_ms" if name == "at" else name.removesuffix("_at") + "_ms"
    return "opts" if name == "options" else name
