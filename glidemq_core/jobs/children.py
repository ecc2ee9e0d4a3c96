"""What a job knows of its parents and children."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import SerializationError
from ..options.job import JobRef
from ..records.decoding import decode_parents
from ..server.context import QueueContext
from ..wire.keys import QueueKeys, split_member
from ..wire.payload import decode_result
from ..wire.replies import as_text, hash_fields

if TYPE_CHECKING:
    from ..job import Job


async def get_children_values(scope: QueueContext, job_id: str) -> dict[str, Any]:
    """Read the results of a job's completed children, keyed `<prefix>:{queue}:id`; others are left out.

    Raises: SerializationError when a result cannot be decoded.
    """
    connection, prefix = scope.connection, scope.keys.prefix
    members = sorted(as_text(m) for m in await connection.command("SMEMBERS", scope.keys.deps(job_id)))
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
        decoded = decode_result(answer, scope.serializer)
        if decoded.error:
            raise SerializationError(
                f"result of child '{member}': {decoded.error}", what="result", job_id=child
            )
        values[member] = decoded.value
    return values


async def get_parents(scope: QueueContext, job: Job[Any, Any]) -> list[JobRef]:
    """Read who waits for a job: the members of its parents set, else the parent its record names."""
    members = await scope.connection.command("SMEMBERS", scope.keys.parents(job.id))
    places = [split_member(as_text(member), scope.keys.prefix) for member in members or ()]
    found = sorted(JobRef(*place) for place in places if place is not None)
    if found:
        return found
    fields = hash_fields(await scope.connection.command("HGETALL", scope.keys.job(job.id)))
    return list(decode_parents(fields or job.fields))
