"""Reading jobs: by id, by state, by what is in them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ..errors import SerializationError
from ..options.fields import one_of, refuse, whole
from ..options.job import JobRef
from ..reading.reader import Reader
from ..reading.running import list_runs, pick_list_runs
from ..reading.scan import walk_keys
from ..records.decoding import decode_parents, decode_state
from ..records.outcomes import JobState
from ..server.context import QueueContext
from ..wire.keys import WORKERS_GROUP, QueueKeys, split_member
from ..wire.payload import decode_result
from ..wire.replies import as_text, as_texts, hash_fields, picked_fields, readable
from ..wire.strict_json import has_values
from .deadlines import DEADLINE_FIELDS, sweep_if_overdue
from .snapshot import JobSnapshot

Snapshot = JobSnapshot[Any, Any]

#: Fields of a read without payloads, and those of our own reading.
METADATA_FIELDS = (
    "id",
    "name",
    "opts",
    "timestamp",
    "attemptsMade",
    "state",
    "delay",
    "priority",
    "maxAttempts",
    "processedOn",
    "finishedOn",
    "failedReason",
    "parentId",
    "parentQueue",
    "orderingKey",
    "orderingSeq",
    "groupKey",
    "cost",
    "expireAt",
    "progress",
    "revoked",
    "lastActive",
    "schedulerName",
    "parentIds",
    "parentQueues",
    "suspendReason",
    "suspendedAt",
    "suspendTimeout",
    "signals",
    "tpmTokens",
    "lifo",
    "stalledCount",
    "fallbackIndex",
    "budgetKey",
    "suspendBase",
)

STATES = ("waiting", "active", "delayed", "completed", "failed", "suspended", "prioritized", "group-waiting")

#: States whose places hold more than they should: members of former jobs of the same id stay suspended after an
#: obliterate, entries of jobs that a peer has ended stay pending.
_HASH_DECIDES = frozenset(("active", "suspended"))
_PAGE = 200
_MAX_PENDING = 10_000
#: Jobs of a state that a search looks at before it gives up.
_SEARCH_LIMIT = 10_000


async def get_job(context: QueueContext, job_id: str, *, exclude_data: bool = False) -> Snapshot | None:
    """Read one job; None when there is none. A suspension whose deadline has passed is ended first."""
    [job] = await load_jobs(context, [job_id], exclude_data)
    if job is not None and await sweep_if_overdue(context, *map(job.fields.get, DEADLINE_FIELDS)):
        [job] = await load_jobs(context, [job_id], exclude_data)
    return job


async def current_state(context: QueueContext, job_id: str) -> JobState:
    """Read the state of a job, `unknown` if there is none. A suspension whose deadline has passed is ended first."""
    query = ("HMGET", context.keys.job(job_id), *DEADLINE_FIELDS)
    found = await context.connection.command(*query)
    if await sweep_if_overdue(context, *found):
        found = await context.connection.command(*query)
    return decode_state(found[0])


async def load_jobs(
    context: QueueContext, ids: Sequence[str], exclude_data: bool = False
) -> list[Snapshot | None]:
    """Read jobs by id, None for those that are gone; a job's vectors may be no text."""
    jobs: list[Snapshot | None] = []
    for start in range(0, len(ids), _PAGE):
        part = ids[start : start + _PAGE]
        name, *wanted = ("HMGET", *METADATA_FIELDS) if exclude_data else ("HGETALL",)
        commands = [(name, context.keys.job(job_id), *wanted) for job_id in part]
        for job_id, reply in zip(part, await context.connection.pipeline(commands), strict=True):
            found = readable(reply)
            fields = picked_fields(METADATA_FIELDS, found) if exclude_data and found else hash_fields(found)
            job = JobSnapshot(context, job_id, fields) if fields else None
            if job is not None:
                job._is_slim = exclude_data
            jobs.append(job)
    return jobs


async def get_jobs(
    context: QueueContext, state: str, start: int = 0, end: int = -1, *, exclude_data: bool = False
) -> list[Snapshot]:
    """Read the jobs of a state; see `Queue.get_jobs`. Jobs that are gone are left out.

    `waiting` and `active` walk the stream as glide-mq does: `waiting` includes what workers are running of it and
    leaves out the two lists.
    """
    one_of(*STATES)(state, "state")
    whole(0)(start, "start")
    if isinstance(end, bool) or not isinstance(end, int):
        refuse("end", end, "a whole number")
    ids = await _ids(context, state, start, end)
    jobs = await load_jobs(context, ids, exclude_data)
    return [job for job in jobs if job is not None and _matches(job, state, None, None)]


async def _ids(context: QueueContext, state: str, start: int, end: int) -> list[str]:
    if 0 <= end < start:
        return []
    keys, connection = context.keys, context.connection
    if state == "waiting":
        return await _stream_ids(context, start, end)
    if state == "active":
        ids = await _active_ids(context)
        return ids[start:] if end < 0 else ids[start : end + 1]
    if state == "prioritized":
        reply = await context.read("list_prioritized", _SEARCH_LIMIT if end < 0 else end + 1)
        return as_texts(reply[1:])[start:]
    if state == "group-waiting":
        return (await _parked_ids(context, _SEARCH_LIMIT if end < 0 else end + 1))[start:]
    key = {"delayed": keys.scheduled, "suspended": keys.suspended}.get(state) or f"{keys.root}:{state}"
    return as_texts(await connection.command("ZRANGE", key, start, max(end, -1)))


async def _parked_ids(context: QueueContext, limit: int) -> list[str]:
    """Ids of parked jobs, at most `limit`; of very many ordering keys a page a call, all of them if need be."""
    ids: list[str] = []
    cursor = "0"
    while len(ids) < limit:
        at, *page = await context.read("list_group_waiting", limit - len(ids), cursor)
        ids += as_texts(page)
        cursor = at.decode()
        if cursor == "0":
            break
    return ids


async def _stream_ids(context: QueueContext, start: int, end: int) -> list[str]:
    """Job ids of the entries `start`..`end` of the stream."""
    ids: list[str] = []
    seen, cursor = 0, "-"
    while end < 0 or seen <= end:
        count = 1000 if end < 0 else min(1000, end + 1 - seen)
        command = ("XRANGE", context.keys.stream, cursor, "+", "COUNT", count)
        page = await context.connection.command(*command) or {}
        for place, pairs in enumerate(page.values(), seen):
            job_id = _job_id(pairs)
            if place >= start and job_id is not None:
                ids.append(job_id)
        seen += len(page)
        if len(page) < count:
            break
        cursor = "(" + list(page)[-1].decode()
    return ids


def _job_id(pairs: Any) -> str | None:
    return next((as_text(value) for name, value in pairs or () if name == b"jobId"), None)


async def _active_ids(context: QueueContext) -> list[str]:
    """Running jobs: those with a pending entry, then those that came from a list.

    Both only make a job a candidate, its own state decides: a peer that ended a job, or has read its entry ahead, may
    leave the entry pending for a while.
    """
    reader = Reader.of(context, strict=True)

    async def search() -> list[str]:
        pages = [page async for page in _scan_jobs(context)]
        return [job_id for page in pages for job_id in await pick_list_runs(reader, context.queue, page)]

    pending, (listed, _) = await asyncio.gather(
        _pending_ids(reader, context.keys.stream), list_runs(reader, context.queue, search)
    )
    ids = list(dict.fromkeys([*pending, *listed]))
    states = await reader.read([("HGET", context.keys.job(job_id), "state") for job_id in ids])
    return [job_id for job_id, state in zip(ids, states, strict=True) if state == b"active"]


async def _pending_ids(reader: Reader, stream: str) -> list[str]:
    """Job ids of the entries that workers have read and not settled."""
    pending = await reader.read_one("XPENDING", stream, WORKERS_GROUP, "-", "+", _MAX_PENDING)
    found = await reader.read([("XRANGE", stream, item[0], item[0]) for item in pending or ()])
    return [
        job_id
        for reply in found
        for fields in (reply or {}).values()
        if (job_id := _job_id(fields)) is not None
    ]


async def _scan_jobs(context: QueueContext) -> AsyncIterator[list[str]]:
    """Ids of all job hashes, in pages without order; bounded, with a warning."""
    async for keys in walk_keys(context, "job:*", missed="jobs may be missing from what was found"):
        ids = [key[4:] for key in keys if ":" not in key[4:]]
        if ids:
            yield ids


async def search_jobs(
    context: QueueContext,
    *,
    state: str | None = None,
    name: str | None = None,
    data: Mapping[str, Any] | None = None,
    limit: int = 100,
    exclude_data: bool = False,
) -> list[Snapshot]:
    """Find jobs that fit all that is given; see `Queue.search_jobs`.

    Looks at 10000 jobs of the state, or walks a bounded number of keys without one; a RuntimeWarning says that there
    are more.
    """
    if state is not None:
        one_of(*STATES)(state, "state")
    if name is not None and not isinstance(name, str):
        refuse("name", name, "text")
    if data is not None and not isinstance(data, Mapping):
        refuse("data", data, "a map of top-level keys to values")
    whole(1)(limit, "limit")
    found: list[Snapshot] = []
    async for ids in _candidates(context, state):
        for job in await load_jobs(context, ids, exclude_data and not data):
            if job is not None and _matches(job, state, name, data):
                found.append(without_data(context, job) if exclude_data and data else job)
                if len(found) == limit:
                    return found
    return found


def without_data(context: QueueContext, job: Snapshot) -> Snapshot:
    """Return a job without its payload and its result."""
    fields = {key: value for key, value in job.fields.items() if key not in ("data", "returnvalue")}
    slim = JobSnapshot(context, job.id, fields)
    slim._is_slim = True
    return slim


async def _candidates(context: QueueContext, state: str | None) -> AsyncIterator[list[str]]:
    if state is None:
        async for page in _scan_jobs(context):
            yield page
        return
    if state == "active":
        ids = await _active_ids(context)
        yield ids[:_SEARCH_LIMIT]
        beyond = ids[_SEARCH_LIMIT:]
    else:
        for start in range(0, _SEARCH_LIMIT, _PAGE):
            ids = await _ids(context, state, start, start + _PAGE - 1)
            if not ids:
                return
            yield ids
        beyond = await _ids(context, state, _SEARCH_LIMIT, _SEARCH_LIMIT)
    if beyond:
        warnings.warn(
            f"only {_SEARCH_LIMIT} jobs of '{context.queue}' that are {state} were looked at: there are more",
            RuntimeWarning,
            stacklevel=2,
        )


def _matches(job: Snapshot, state: str | None, name: str | None, data: Mapping[str, Any] | None) -> bool:
    return (
        (state not in _HASH_DECIDES or job.state == state)
        and name in (None, job.name)
        and (not data or has_values(job.data, data))
    )


async def get_children_values(context: QueueContext, job_id: str) -> dict[str, Any]:
    """Read the results of a job's completed children, keyed `<prefix>:{queue}:id`; others are left out.

    Raises: SerializationError when a result cannot be decoded.
    """
    connection, prefix = context.connection, context.keys.prefix
    members = sorted(as_text(m) for m in await connection.command("SMEMBERS", context.keys.deps(job_id)))
    places = [(member, split_member(member, prefix)) for member in members]
    known = [(member, place) for member, place in places if place is not None]
    answers = await connection.pipeline(
        [("HGET", QueueKeys(prefix, queue).job(child), "returnvalue") for _, (queue, child) in known]
    )
    values: dict[str, Any] = {}
    for (member, (_, child)), answer in zip(known, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            continue
        decoded = decode_result(answer, context.serializer)
        if decoded.error:
            raise SerializationError(
                f"result of child '{member}': {decoded.error}", what="result", job_id=child
            )
        values[member] = decoded.value
    return values


async def get_parents(context: QueueContext, job_id: str, known: Mapping[str, bytes]) -> list[JobRef]:
    """Read who waits for a job: the members of its parents set, else the parents that its record names.

    Args:
        known: fields of its record as the caller has them, for a job that is gone.
    """
    members = await context.connection.command("SMEMBERS", context.keys.parents(job_id))
    places = [split_member(as_text(member), context.keys.prefix) for member in members or ()]
    found = sorted(JobRef(*place) for place in places if place is not None)
    if found:
        return found
    fields = hash_fields(await context.connection.command("HGETALL", context.keys.job(job_id)))
    return list(decode_parents(fields or known))
