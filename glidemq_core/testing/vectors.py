"""Vector search over the jobs of a queue in memory."""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import IndexNotFoundError
from ..options.fields import refuse, whole
from ..search.filter import parse_filter
from ..search.hits import Hit, rank
from ..search.schema import Field, Schema, VectorField
from ..search.vectors import pack
from .entries import Entry


class MemoryIndexes:
    """Search indexes by name."""

    def __init__(self) -> None:
        self._schemas: dict[str, Schema] = {}

    def create(self, name: str, fields: Sequence[Field], vector_field: VectorField | None) -> None:
        """Create an index. Raises InvalidOptionError."""
        schema = Schema.of(fields, vector_field)
        if name in self._schemas:
            message = f"a search index named '{name}' exists already"
            refuse("name", name, "a name that no index has", message)
        self._schemas[name] = schema

    def drop(self, name: str) -> None:
        """Drop an index. Raises IndexNotFoundError."""
        self._schema(name)
        del self._schemas[name]

    def nearest(self, name: str, embedding: Any, k: int, where: str, jobs: Mapping[str, Entry]) -> list[Hit]:
        """Find the `k` nearest among the jobs that pass the filter, nearest first."""
        target, count = pack(embedding), whole(1)(k, "k")
        schema = self._schema(name)
        vector, condition = schema.vector, parse_filter(where, schema.fields)
        if len(target) != vector.bytes:
            refuse("embedding", embedding, f"{vector.dimensions} numbers")
        found = [
            Hit(job_id, distance(vector.distance_metric, entry.fields[vector.name], target))
            for job_id, entry in jobs.items()
            if len(entry.fields.get(vector.name, b"")) == vector.bytes
            if condition.matches({name: entry.fields.get(name) for name in condition.fields})
        ]
        return heapq.nsmallest(count, found, key=rank)

    def _schema(self, name: str) -> Schema:
        if name not in self._schemas:
            raise IndexNotFoundError(f"there is no search index '{name}'", index=name)
        return self._schemas[name]


def distance(metric: str, stored: bytes, target: bytes) -> float:
    """Return the distance of two vectors as a server with a search module tells it; smaller is nearer."""
    ours, wanted = (struct.unpack(f"<{len(part) // 4}f", part) for part in (stored, target))
    if metric == "L2":
        return math.fsum((a - b) ** 2 for a, b in zip(ours, wanted, strict=True))
    product = math.fsum(a * b for a, b in zip(ours, wanted, strict=True))
    if metric == "COSINE":
        length = math.sqrt(math.fsum(a * a for a in ours) * math.fsum(b * b for b in wanted))
        product = product / length if length else math.nan
    return 1 - product
