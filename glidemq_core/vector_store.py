"""Storing the vector of a job, in its record or, safe for glide-mq workers, beside it."""

from __future__ import annotations

import time
import warnings
from typing import Any, Literal
from weakref import WeakKeyDictionary

from .base import Scope
from .connection import Connection
from .job import Job
from .numbers import to_int
from .option_fields import one_of, refuse
from .search import Index, check_length, index_name, refuse_length
from .vectors import pack, vector_name
from .vitals import get_workers

Place = Literal["job", "side"]
OnNodeWorker = Literal["warn", "refuse", "allow"]

#: Looking for workers walks the server's keys: what was found holds for this many times as long as the walk took.
_PATIENCE = 20

_looked: WeakKeyDictionary[Connection, dict[str, tuple[float, bool]]] = WeakKeyDictionary()


async def store_vector(
    scope: Scope,
    job: Job[Any, Any],
    field: str,
    embedding: Any,
    *,
    where: Place = "job",
    on_node_worker: OnNodeWorker = "warn",
    running: bool = False,
) -> None:
    """Store a vector, replacing the former one of that field in either place; `running`: inside its processor.

    Raises:
        InvalidOptionError: also for a field of the job's record, a length other than the index's, and
            `on_node_worker="refuse"` while it applies.
        JobNotFoundError: the job was removed; nothing is stored.
    """
    name, packed = vector_name(field), pack(embedding)
    one_of("job", "side")(where, "where")
    one_of("warn", "refuse", "allow")(on_node_worker, "on_node_worker")
    await check_length(scope, name, embedding, packed)
    endangered = (
        where == "job" and not running and on_node_worker != "allow" and await _has_node_worker(scope)
    )
    default = index_name(scope, None)
    refusing = "1" if endangered and on_node_worker == "refuse" else ""
    status, *reply = await scope.call("vector_store", job.id, name, packed, where, default, refusing)
    if status == b"not_found":
        raise scope.missing(job.id)
    if status == b"dimensions":
        refuse_length("embedding", embedding, packed, Index(default, name, to_int(reply[0]), None))
    danger = (
        f"job '{job.ref}' is {reply[0].decode('utf-8', 'replace')} and a Node worker serves the queue: with a "
        "vector in its record that worker cannot run it; where='side' is safe"
    )
    if status == b"to_run":
        refuse("where", where, "'side', or on_node_worker='allow'", danger)
    if endangered and reply[0] not in (b"completed", b"failed"):
        warnings.warn(danger, RuntimeWarning, stacklevel=3)
    if where == "job":
        job.fields[name] = packed
    else:
        job.fields.pop(name, None)


async def _has_node_worker(scope: Scope) -> bool:
    """Whether a glide-mq worker serves the queue."""
    looked = _looked.setdefault(scope.connection, {})
    until, found = looked.get(scope.keys.root, (0.0, False))
    started = time.monotonic()
    if started >= until:
        found = any(worker.language == "node" for worker in await get_workers(scope))
        ended = time.monotonic()
        looked[scope.keys.root] = (ended + _PATIENCE * (ended - started), found)
    return found
