"""Storing the vector of a job, in its record or beside it, where glide-mq's Node workers do not read."""

from __future__ import annotations

import asyncio
import time
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from ..options.fields import one_of, refuse
from ..reading.workers import WorkerFinder, finder_of
from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.numbers import to_int
from .index import Index, check_length, index_name, refuse_length
from .vectors import pack, vector_name

Place = Literal["job", "side"]
OnNodeWorker = Literal["warn", "refuse", "allow"]

#: The search for Node workers walks over the server's keys; its answer stands this many times as long as it took.
_STANDS_TIMES = 20
_NOT_ALL_KEYS = "not all keys have been looked at for workers, the next call goes on"
#: Pages of keys that one call searches; the next call goes on from there.
_PAGES = 500


@dataclass(slots=True)
class _NodeWorkers:
    """Whether Node workers serve a queue, as far as is known."""

    #: None while the search goes on.
    found: bool | None = None
    #: When the answer is to be found anew, monotonic s.
    until: float = 0.0
    #: How long the search has taken so far, s.
    spent: float = 0.0
    begins: bool = True
    searching: asyncio.Lock = field(default_factory=asyncio.Lock)


#: What is known of each connection's queues, by queue prefix.
_known: WeakKeyDictionary[Connection, dict[str, _NodeWorkers]] = WeakKeyDictionary()


async def store_vector(
    context: QueueContext,
    job_id: str,
    field: str,
    embedding: Any,
    *,
    where: Place = "job",
    on_node_worker: OnNodeWorker = "warn",
    running: bool = False,
) -> tuple[str, bytes]:
    """Store a vector, replacing the former one of that field in either place; see `Job.store_vector`.

    Args:
        running: whether the job's own processor stores it.

    Returns:
        The field of the record and what was stored there, or beside it.
    """
    name, packed = vector_name(field), pack(embedding)
    one_of("job", "side")(where, "where")
    one_of("warn", "refuse", "allow")(on_node_worker, "on_node_worker")
    await check_length(context, name, embedding, packed)
    endangered: bool | None = False
    if where == "job" and not running and on_node_worker != "allow":
        endangered = await _has_node_worker(context)
    default = index_name(context, None)
    refusing = "1" if endangered is not False and on_node_worker == "refuse" else ""
    status, *reply = await context.call("vector_store", job_id, name, packed, where, default, refusing)
    if status == b"not_found":
        raise context.missing(job_id)
    if status == b"dimensions":
        refuse_length("embedding", embedding, packed, Index(default, name, to_int(reply[0]), None))
    serves = "a Node worker serves the queue" if endangered else f"nobody knows yet: {_NOT_ALL_KEYS}"
    danger = (
        f"job '{context.queue}:{job_id}' is {reply[0].decode('utf-8', 'replace')} and {serves}: with a "
        "vector in its record a Node worker cannot run it; where='side' is safe"
    )
    if status == b"to_run":
        refuse("where", where, "'side', or on_node_worker='allow'", danger)
    if endangered is not False and reply[0] not in (b"completed", b"failed"):
        warnings.warn(danger, RuntimeWarning, stacklevel=3)
    return name, packed


async def _has_node_worker(context: QueueContext) -> bool | None:
    """Tell whether a Node worker serves the queue; None while the search has not seen all keys."""
    nodes = _known.setdefault(context.connection, {}).setdefault(context.keys.root, _NodeWorkers())
    async with nodes.searching:
        started = time.monotonic()
        if started < nodes.until:
            return nodes.found
        finder = finder_of(context.connection, context.keys.prefix)
        nodes.found = await _lists_node(finder, context) or None
        if nodes.found is None:
            walk = await finder.walk(context.queue, _PAGES, anew=nodes.begins)
            nodes.found = await _lists_node(finder, context) or (False if walk.complete else None)
        nodes.begins = nodes.found is not None
        ended = time.monotonic()
        nodes.spent += ended - started
        if nodes.found is not None:
            nodes.until, nodes.spent = ended + _STANDS_TIMES * nodes.spent, 0.0
        return nodes.found


async def _lists_node(finder: WorkerFinder, context: QueueContext) -> bool:
    return any(worker.language == "node" for worker in await finder.listed(context.queue))
