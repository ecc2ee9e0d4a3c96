"""Shapes of replies: text, numbers, pairs and hashes of what the server answers, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ServerError
from .numbers import parse_number


def failed(reply: Any) -> bool:
    """Tell whether an answer of a pipeline is an error."""
    return isinstance(reply, Exception)


def readable(reply: Any) -> Any:
    """Return one answer of a pipeline; None where a foreign key, or a stream without our group, stands in the way.

    Raises: any other error that stands in its place.
    """
    if isinstance(reply, ServerError) and reply.code in ("WRONGTYPE", "NOGROUP"):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply


def as_text(stored: bytes | str | None) -> str:
    """Return stored bytes as text, broken UTF-8 marked; missing is ""."""
    if stored is None:
        return ""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "replace")


def as_texts(stored: Iterable[bytes | str] | None) -> list[str]:
    """Return a list of stored bytes as texts; none is empty."""
    return [as_text(item) for item in stored or ()]


def text(value: Any) -> str | None:
    """Read text of whichever form, broken UTF-8 marked; None where it is missing or an error."""
    if value is None or failed(value):
        return None
    return as_text(value) if isinstance(value, (bytes, str)) else str(value)


def number(value: Any) -> float | None:
    """Read a number of whichever form; None where it is missing, not a number or not finite."""
    if isinstance(value, (int, float)):
        return value
    return parse_number(value) if isinstance(value, (bytes, str)) else None


def integer(value: Any, default: int = 0) -> int:
    """Read a whole number; `default` where there is none."""
    found = number(value)
    return default if found is None else int(found)


def items(reply: Any) -> Sequence[Any]:
    """Return the members of a reply that should be a list; none of an error or of anything else."""
    return reply if isinstance(reply, (list, tuple)) else ()


def pairs(reply: Any) -> list[tuple[Any, Any]]:
    """Read a flat list, a list of pairs or a map as pairs; missing and errors are empty."""
    if not reply or failed(reply):
        return []
    if isinstance(reply, Mapping):
        return list(reply.items())
    if isinstance(reply[0], (list, tuple)):
        return [(item[0], item[1]) for item in reply]
    return list(zip(reply[::2], reply[1::2], strict=False))


def entries(reply: Any) -> list[tuple[str, list[tuple[str, str]]]]:
    """Read stream entries as (id, fields in order)."""
    return [
        (text(entry_id) or "", [(text(name) or "", text(value) or "") for name, value in pairs(fields)])
        for entry_id, fields in pairs(reply)
    ]


class _FieldNames(dict[bytes, str]):
    """Field names as text: those of nearly every job are not decoded each time."""

    def __missing__(self, name: bytes | str) -> str:
        return as_text(name)


_FIELD_NAMES = _FieldNames(
    (name.encode(), name)
    for name in """
        id name data opts timestamp attemptsMade delay priority maxAttempts state processedOn lastActive finishedOn
        returnvalue failedReason parentId parentQueue flowToken groupKey orderingSeq cost expireAt lifo schedulerName
        budgetKey progress stalledCount
        """.split()  # noqa: SIM905
)


def hash_fields(reply: Mapping[bytes, bytes] | Sequence[bytes] | None) -> dict[str, bytes]:
    """Turn a hash as the server answers it, a map or a flat list, into field name -> raw value."""
    if not reply:
        return {}
    if isinstance(reply, Mapping):
        return dict(zip(map(_FIELD_NAMES.__getitem__, reply), reply.values(), strict=True))
    return dict(zip(map(_FIELD_NAMES.__getitem__, reply[::2]), reply[1::2], strict=False))


def picked_fields(names: Iterable[str], values: Iterable[bytes | None]) -> dict[str, bytes]:
    """Turn the answer of HMGET into field name -> raw value, missing ones left out."""
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def sliced(replies: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Cut the answers of equal questions into those of each."""
    return [replies[at : at + size] for at in range(0, len(replies), size)]
