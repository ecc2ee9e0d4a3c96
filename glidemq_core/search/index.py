"""Search indexes over a queue's jobs, and vector search by the server's module or without one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from weakref import WeakKeyDictionary

from ..errors import IndexNotFoundError, InvalidOptionError, PermissionDeniedError, UnsupportedServerError
from ..jobs.read import load_jobs
from ..jobs.snapshot import JobSnapshot
from ..options.fields import Duration, flag, one_of, refuse, some_text, text, to_ms, whole
from ..records import VectorHit
from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.replies import picked_fields, sliced
from . import exact, module
from .filter import escape_tag, parse_filter
from .hits import Hit, rank
from .schema import Field, NumericField, Schema, TagField, TextField, VectorField
from .vectors import field_name, pack

__all__ = [
    "NumericField",
    "TagField",
    "TextField",
    "VectorField",
    "create_job_index",
    "drop_job_index",
    "escape_tag",
    "vector_search",
]

Engine = Literal["auto", "module", "exact"]

_MAX_K = 10_000
#: How often a module is asked again, each time for twice as many, when hits of other queues may hide the nearest.
_ASK_AGAIN = 5


@dataclass(frozen=True, slots=True)
class Index:
    """An index that was found: `schema` is known of an exact one only."""

    name: str
    field: str
    dimensions: int
    schema: Schema | None


#: Known indexes by queue prefix and vector field; "" notes that the default index was looked up.
_known: WeakKeyDictionary[Connection, dict[tuple[str, str], Index | None]] = WeakKeyDictionary()


async def create_job_index(
    context: QueueContext,
    name: str | None = None,
    *,
    vector_field: VectorField | None = None,
    fields: Sequence[Field] = (),
    create_options: Mapping[str, Any] | None = None,
    engine: Engine = "auto",
) -> None:
    """Create an index over the queue's jobs: `name`, `state`, `timestamp`, `priority`, `fields` and a vector."""
    chosen = index_name(context, name)
    schema = Schema.of(fields, vector_field)
    options = module.create_words(create_options)
    one_of("auto", "module", "exact")(engine, "engine")
    stored, listed = await _look(context, chosen)
    if engine == "module" and listed is None:
        raise UnsupportedServerError(
            f"{context.connection.address} has no search module",
            hint="load Valkey Search, or use engine='auto'",
            feature="search",
            found=None,
            needed="a search module",
        )
    made = stored is None and chosen not in (listed or ())
    by_module = engine != "exact" and listed is not None
    if made and by_module:
        made = await module.create(context, chosen, schema, options)
    elif made:
        made = await exact.create(context, chosen, schema, scan="SKIPINITIALSCAN" not in options)
    if not made:
        message = f"a search index named '{chosen}' exists already"
        refuse("name", chosen, "a name that no index has", message)
    vector = schema.vector
    _remember(context, Index(chosen, vector.name, vector.dimensions, None if by_module else schema))


async def drop_job_index(context: QueueContext, name: str | None = None) -> None:
    """Drop an index; jobs and their vectors stay. Raises IndexNotFoundError."""
    index = await find_index(context, index_name(context, name))
    if index.schema is not None:
        dropped = await exact.drop(context, index.name, index.schema)
    else:
        dropped = await module.drop(context, index.name)
    _known.get(context.connection, {}).pop((context.keys.root, index.field), None)
    if not dropped:
        _refuse_missing(context, index.name)


async def vector_search(
    context: QueueContext,
    embedding: Any,
    *,
    k: int = 10,
    filter: str = "*",
    index_name: str | None = None,
    return_fields: Sequence[str] | None = None,
    score_field: str = "__score",
    search_options: Mapping[str, Any] | None = None,
    rescan: bool = False,
) -> list[VectorHit]:
    """Find the `k` jobs whose vectors are nearest to `embedding`, nearest first."""
    target = pack(embedding)
    count = whole(1, _MAX_K)(k, "k")
    if not text(filter, "filter").strip():
        refuse("filter", filter, "a filter expression or '*'", "filter is empty; '*' means every job")
    field_name(score_field, "score_field")
    names = _names(return_fields)
    offset, limit, timeout_ms = _options(search_options)
    flag(rescan, "rescan")
    index = await find_index(context, _index_name(context, index_name))
    if len(target) != 4 * index.dimensions:
        refuse_length("embedding", embedding, target, index)
    if index.schema is not None:
        where = parse_filter(filter, index.schema.fields)
        if rescan:
            await exact.rescan(context, index.schema)
        hits = await exact.nearest(context, index.schema, target, count, where)
        found = await _with_jobs(context, hits, names)
    else:
        found = await _ask_module(context, index, target, count, filter, score_field, timeout_ms, names)
    return found[offset : None if limit is None else offset + limit]


async def _ask_module(
    context: QueueContext,
    index: Index,
    target: bytes,
    k: int,
    where: str,
    score_field: str,
    timeout_ms: int | None,
    names: Sequence[str] | None,
) -> list[VectorHit]:
    """Ask until `k` jobs of this queue are found, or the index has no more."""
    asked, found = k, []
    for _ in range(1 + _ASK_AGAIN):
        hits, answered = await module.nearest(
            context, index.name, index.field, target, asked, where, score_field, timeout_ms
        )
        found = await _with_jobs(context, sorted(hits, key=rank)[:k], names)
        # A vector without a score (a peer may store NaN) confuses a module's ranking: near ones may be missing.
        confused = any(math.isnan(hit.score) for hit in hits)
        if answered < asked or (len(found) >= k and not confused):
            break
        asked *= 2
    return found


async def _with_jobs(
    context: QueueContext, hits: Sequence[Hit], names: Sequence[str] | None
) -> list[VectorHit]:
    """Read the jobs; those that are gone are left out."""
    ids = [hit.job_id for hit in hits]
    jobs = await (load_jobs(context, ids) if names is None else _load_fields(context, ids, names))
    found = zip(hits, jobs, strict=True)
    return [VectorHit(job=job, score=hit.score) for hit, job in found if job is not None]


async def _load_fields(
    context: QueueContext, ids: Sequence[str], names: Sequence[str]
) -> list[JobSnapshot[Any, Any] | None]:
    keys = [context.keys.job(job_id) for job_id in ids]
    commands = [command for key in keys for command in (("EXISTS", key), ("HMGET", key, *names))]
    replies = await context.gather(*commands) if commands else []
    return [
        JobSnapshot(context, job_id, picked_fields(names, values)) if exists else None
        for job_id, (exists, values) in zip(ids, sliced(replies, 2), strict=True)
    ]


async def find_index(context: QueueContext, name: str) -> Index:
    """Look up an index over this queue with a vector. Raises IndexNotFoundError."""
    stored, listed = await _look(context, name)
    index = None
    if stored is not None:
        schema = Schema.from_json(stored, name)
        index = Index(name, schema.vector.name, schema.vector.dimensions, schema)
    elif name in (listed or ()):
        described = await module.describe(context, name)
        index = Index(name, *described, None) if described is not None else None
    if index is None:
        _refuse_missing(context, name)
    _remember(context, index)
    return index


async def index_for(context: QueueContext, field: str) -> Index | None:
    """Return the index of a vector field, as far as this process knows.

    If none is known, the queue's default index is looked up, once a connection.
    """
    known = _known.setdefault(context.connection, {})
    if (context.keys.root, field) not in known and (context.keys.root, "") not in known:
        known[context.keys.root, ""] = None
        try:
            await find_index(context, _index_name(context, None))
        except IndexNotFoundError:
            return None
    return known.get((context.keys.root, field))


async def check_length(context: QueueContext, field: str, embedding: Any, packed: bytes) -> None:
    """Refuse a vector that the field's index would leave out. Raises InvalidOptionError."""
    index = await index_for(context, field)
    if index is None or len(packed) == 4 * index.dimensions:
        return
    _known[context.connection].pop((context.keys.root, field), None)  # it may have been made anew since
    try:
        index = await find_index(context, index.name)
    except IndexNotFoundError:
        return
    if index.field == field and len(packed) != 4 * index.dimensions:
        refuse_length("embedding", embedding, packed, index)


def refuse_length(option: str, embedding: Any, packed: bytes, index: Index) -> NoReturn:
    """Raise the InvalidOptionError for a vector whose length is not that of the index."""
    raise InvalidOptionError(
        f"{option} has {len(packed) // 4} numbers; index '{index.name}' has {index.dimensions} dimensions",
        option=option,
        value=embedding,
        allowed=f"{index.dimensions} numbers",
    )


def index_name(context: QueueContext, name: str | None) -> str:
    """Return the name of an index, the queue's default without one. Raises InvalidOptionError."""
    if name is None:
        return f"{context.queue}-idx"
    if len(some_text(name, "name")) > 256 or any(c < " " or c == "\x7f" for c in name):
        refuse("name", name, "1 to 256 characters, no control characters")
    return name


_index_name = index_name  # the parameter of `vector_search` hides it


async def _look(context: QueueContext, name: str) -> tuple[bytes | None, set[str] | None]:
    """Read an exact index's schema, and the names of the module's indexes (None: the server has no module)."""
    stored, listed = await context.connection.pipeline(
        [("HGET", context.keys.vindex(name), "schema"), ("FT._LIST",)]
    )
    if isinstance(stored, Exception):
        raise stored
    if module.is_missing_module(listed) or isinstance(listed, PermissionDeniedError):
        return stored, None
    if isinstance(listed, Exception):
        raise listed
    return stored, {item.decode("utf-8", "replace") for item in listed}


def _remember(context: QueueContext, index: Index) -> None:
    _known.setdefault(context.connection, {})[context.keys.root, index.field] = index


def _refuse_missing(context: QueueContext, name: str) -> NoReturn:
    raise IndexNotFoundError(
        f"no search index '{name}' over queue '{context.queue}'",
        hint="create_job_index() makes one",
        index=name,
    )


def _names(return_fields: Sequence[str] | None) -> list[str] | None:
    if return_fields is None:
        return None
    if isinstance(return_fields, str) or not isinstance(return_fields, Sequence) or not return_fields:
        refuse("return_fields", return_fields, "a list of fields of the job's record, not empty")
    return [some_text(name, "return_fields") for name in return_fields]


def _options(given: Mapping[str, Any] | None) -> tuple[int, int | None, int | None]:
    """Read `search_options`: offset and count of the hits to return, time-out in ms."""
    if given is None:
        return 0, None, None
    if not isinstance(given, Mapping) or set(given) - {"limit", "timeout"}:
        refuse("search_options", given, "a map with any of limit {offset, count} and timeout (ms)")
    offset, limit = 0, None
    if "limit" in given:
        window = given["limit"]
        if not isinstance(window, Mapping) or set(window) != {"offset", "count"}:
            refuse("limit", window, "a map of offset and count")
        offset, limit = whole(0)(window["offset"], "offset"), whole(0)(window["count"], "count")
    timeout: Duration | None = given.get("timeout")
    return offset, limit, None if timeout is None else to_ms(timeout, "timeout")
