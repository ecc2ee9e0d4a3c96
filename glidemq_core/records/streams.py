"""Chunks of token streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ..options.fields import EPOCH, epoch_ms, from_epoch_ms

_TEXT_FIELDS = ("content", "t", "token", "text", "delta")
_TEXT_NAMES = frozenset(_TEXT_FIELDS)


class StreamChunk(Mapping[str, str]):
    """One entry of a job's token stream: a mapping of its fields; a name given twice reads as its last value.

    `id` is the entry id, `pairs` the fields in their order with duplicates.
    """

    __slots__ = ("_fields", "id", "pairs")

    def __init__(self, id: str, fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        self.id = id
        # A list, as a stream is read, is not asked whether it is a mapping: that costs more than the rest.
        if not isinstance(fields, list) and isinstance(fields, Mapping):
            fields = fields.items()
        self.pairs: tuple[tuple[str, str], ...] = tuple(fields)
        self._fields = dict(self.pairs)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"StreamChunk({self.id!r}, {self._fields!r})"

    def __hash__(self) -> int:
        return hash((self.id, self.pairs))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StreamChunk):
            return (self.id, self.pairs) == (other.id, other.pairs)
        return super().__eq__(other)

    @property
    def at(self) -> datetime:
        """When the entry was written, by the server's clock."""
        milliseconds = self.id.partition("-")[0]
        return (from_epoch_ms(int(milliseconds)) if milliseconds.isdecimal() else None) or EPOCH

    @property
    def type(self) -> str:
        """`done`, or its own type (`token` reads as `content`), or `content` if it has text, else `data`."""
        if self._fields.get("done") == "1":
            return "done"
        if kind := self._fields.get("type"):
            return "content" if kind == "token" else kind
        return "data" if _TEXT_NAMES.isdisjoint(self._fields) else "content"

    @property
    def text(self) -> str:
        """The first of the fields content, t, token, text, delta; "" without any."""
        fields = self._fields
        for name in _TEXT_FIELDS:
            if name in fields:
                return fields[name]
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return `{id, t_ms, type, text, fields}`."""
        return {
            "id": self.id,
            "t_ms": epoch_ms(self.at),
            "type": self.type,
            "text": self.text,
            "fields": dict(self._fields),
        }
