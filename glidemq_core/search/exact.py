"""Exact vector search on any server: every vector of a field is compared, in pages.

A query costs O(vectors x dimensions) of work and one page of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from ..errors import PermissionDeniedError, UnsupportedServerError
from ..installed import extra
from ..reading.scan import walk_keys
from ..server.context import QueueContext
from .filter import Filter
from .hits import Hit, rank
from .schema import Schema

#: Vectors of a page, and its bytes at most.
_PAGE: Final = 1_000
_PAGE_BYTES: Final = 16 << 20


async def create(context: QueueContext, name: str, schema: Schema, *, scan: bool) -> bool:
    """Record an index; returns False if it exists already.

    Args:
        scan: whether vectors that are already stored are listed first.
    """
    if scan:
        await rescan(context, schema)
    vector = schema.vector
    [status] = await context.call("index_create", name, schema.to_json(), vector.name, vector.dimensions)
    return bool(status == b"ok")


async def drop(context: QueueContext, name: str, schema: Schema) -> bool:
    """Forget an index, and the list of its vectors unless another index needs that; returns False if there is none."""
    shared = False
    async for page in _pages(context, "vindex:*"):
        others = [context.keys.vindex(other) for other in page if other != name]
        named = await context.gather(*(("HGET", key, "field") for key in others))
        shared = shared or schema.vector.name.encode() in named
    [status] = await context.call("index_drop", name, "1" if shared else "")
    return bool(status == b"ok")


async def rescan(context: QueueContext, schema: Schema) -> None:
    """Walk over the records of the queue's jobs, bounded, and list those with a vector of the field."""
    async for page in _pages(context, "job:*"):
        await context.call("vector_note", schema.vector.name, *page)


async def _pages(context: QueueContext, pattern: str) -> AsyncIterator[list[str]]:
    """Yield pages of what follows the colon of `pattern` in the keys that match; warns when the walk ends early."""
    head = pattern.index(":") + 1
    missed = "vectors stored by glide-mq peers may be missing from exact search"
    async for keys in walk_keys(context, pattern, missed=missed):
        yield [key[head:] for key in keys]


async def nearest(context: QueueContext, schema: Schema, target: bytes, k: int, where: Filter) -> list[Hit]:
    """Find the `k` nearest vectors among the jobs that pass the filter, nearest first.

    Raises:
        UnsupportedServerError: numpy is missing.
    """
    numpy = _numpy()
    vector = schema.vector
    page = max(1, min(_PAGE, _PAGE_BYTES // vector.bytes))
    best: dict[str, Hit] = {}
    cursor = b"0"
    while True:
        cursor, gone, ids, vectors, *columns = await context.read(
            "vector_page", vector.name, vector.bytes, cursor, page, *where.fields
        )
        rows = [
            place
            for place, values in enumerate(zip(*columns, strict=True) if columns else [()] * len(ids))
            if where.matches(dict(zip(where.fields, values, strict=True)))
        ]
        if rows:
            chosen = [vectors[row] for row in rows]
            scores = await asyncio.to_thread(_distances, numpy, vector.distance_metric, chosen, target)
            names = (ids[row].decode("utf-8", "surrogateescape") for row in rows)
            _merge(best, zip(names, scores, strict=True), k)
        if gone and not context.connection.read_only:
            with contextlib.suppress(PermissionDeniedError):  # who may only read leaves the list as it is
                await context.call("vector_forget", vector.name, *gone)
        if cursor == b"0":
            return sorted(best.values(), key=rank)


def _merge(best: dict[str, Hit], found: Iterable[tuple[str, float]], k: int) -> None:
    """Keep the `k` best, each job once; a page may show a job that an earlier one has shown."""
    for job_id, score in found:
        hit = Hit(job_id, score)
        if job_id not in best or rank(hit) < rank(best[job_id]):
            best[job_id] = hit
    if len(best) > k:
        kept = heapq.nsmallest(k, best.values(), key=rank)
        best.clear()
        best.update((hit.job_id, hit) for hit in kept)


def _distances(numpy: Any, metric: str, vectors: list[bytes], target: bytes) -> list[float]:
    """Compute distances in float64 from float32 values, so that equal vectors have equal distances."""
    wanted = numpy.frombuffer(target, "<f4").astype("f8")
    rows = numpy.frombuffer(b"".join(vectors), "<f4").astype("f8").reshape(len(vectors), -1)
    with numpy.errstate(all="ignore"):
        if metric == "L2":
            rows -= wanted
            scores = numpy.einsum("ij,ij->i", rows, rows)
        else:
            scores = numpy.einsum("ij,j->i", rows, wanted)
            if metric == "COSINE":
                scores /= numpy.sqrt(numpy.einsum("ij,ij->i", rows, rows) * wanted.dot(wanted))
            numpy.subtract(1.0, scores, out=scores)
    found: list[float] = scores.tolist()
    return found


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise UnsupportedServerError(
            # All of it in the message: as the reason of a failed job it is read without the hint.
            f"vector search needs numpy on a server without a search module: pip install '{extra('search')}'",
            hint="or load a search module into the server",
            feature="search",
            found=None,
            needed="numpy or a search module",
        ) from None
    return numpy
