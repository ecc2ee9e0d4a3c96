"""Repair flows: parents that wait for children whose end was not recorded, or that will never complete."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from ..errors import JobNotFoundError, JobStateError
from ..jobs.adding.links import OLD_ENOUGH_MS, mend_links
from ..jobs.audit import audit_blob
from ..options.fields import Duration, refuse, to_ms
from ..options.job import Actor, JobRef
from ..server.context import QueueContext
from ..wire.keys import QueueKeys, done_marker
from ..wire.numbers import to_int
from ..wire.replies import as_text, sliced
from .walk import parse_members, whole_tree

#: Children that are read in one round trip, and counted by one call.
_PAGE, _COUNTED = 1_000, 100


async def repair_flow(
    context: QueueContext, job_id: str, *, older_than: Duration = OLD_ENOUGH_MS, actor: Actor | None = None
) -> list[JobRef]:
    """Record completed children with waiting parents that were not informed; see `Queue.repair_flow`."""
    oldest = context.now_ms() - to_ms(older_than, "older_than")
    prefix, connection = context.keys.prefix, context.connection
    counted: list[JobRef] = []
    tree = await whole_tree(connection, prefix, [JobRef(context.queue, job_id)])
    for queue in dict.fromkeys(ref.queue for ref in tree):
        await mend_links(QueueContext(connection, QueueKeys(prefix, queue)), to_ms(older_than, "older_than"))
    # Bottom up: releasing a parent does not change what its own parents wait for.
    for parent in reversed(tree):
        keys = QueueKeys(prefix, parent.queue)
        state, created = await connection.command("HMGET", keys.job(parent.id), "state", "timestamp")
        if state != b"waiting-children" or to_int(created) > oldest:
            continue
        states = await pending_children(context, parent)
        done = [child for child, state in states.items() if state == "completed"]
        with suppress(JobStateError, JobNotFoundError):  # released or removed meanwhile
            counted += await _count(context, parent, done, "repair_flow", actor)
    return list(dict.fromkeys(counted))  # a shared child is counted by each of its parents


async def release_parent(
    context: QueueContext,
    job_id: str,
    *,
    children: Iterable[JobRef] | None = None,
    actor: Actor | None = None,
) -> list[JobRef]:
    """Release a parent from children that failed or are gone; see `Queue.release_parent`."""
    parent = JobRef(context.queue, job_id)
    states = await pending_children(context, parent)
    ended = [child for child, state in states.items() if state in ("failed", "completed", "")]
    if children is not None:
        chosen = list(children)
        for child in chosen:
            if child not in states:
                refuse("children", child, "children it waits for", f"'{parent}' does not wait for '{child}'")
            if child not in ended:
                message = f"child '{child}' is {states[child]} and may still complete"
                refuse("children", child, "children that failed or are gone", message)
        ended = chosen
    return await _count(context, parent, ended, "release_parent", actor)


async def blocking_children(context: QueueContext, job_id: str) -> list[JobRef]:
    """Find the children that a job waits for in vain: failed or gone, they will not complete by themselves."""
    states = await pending_children(context, JobRef(context.queue, job_id))
    return [child for child, state in states.items() if state in ("failed", "")]


async def pending_children(context: QueueContext, parent: JobRef) -> dict[JobRef, str]:
    """Read the states of the children a job still waits for; "" for one whose record is gone."""
    connection, prefix = context.connection, context.keys.prefix
    keys = QueueKeys(prefix, parent.queue)
    members = parse_members(await connection.command("SMEMBERS", keys.deps(parent.id)) or (), prefix)
    found: dict[JobRef, str] = {}
    for part in sliced(members, _PAGE):
        fields = [done_marker(QueueKeys(prefix, child.queue).member(child.id)) for child in part]
        markers = await connection.command("HMGET", keys.job(parent.id), *fields)
        pending = [child for child, marker in zip(part, markers, strict=True) if marker is None]
        states = await context.gather(
            *(("HGET", QueueKeys(prefix, child.queue).job(child.id), "state") for child in pending)
        )
        found |= {child: as_text(state) for child, state in zip(pending, states, strict=True)}
    return found


async def _count(
    context: QueueContext, parent: JobRef, children: Iterable[JobRef], action: str, actor: Actor | None
) -> list[JobRef]:
    """Count children as done on their parent, some of them a call; each call has its audit entry.

    Raises:
        JobNotFoundError, JobStateError.
    """
    prefix = context.keys.prefix
    keys = QueueKeys(prefix, parent.queue)
    members = [QueueKeys(prefix, child.queue).member(child.id) for child in children]
    counted: list[JobRef] = []
    for part in sliced(members, _COUNTED) or [[]]:
        detail = {"children": part}
        blob = await audit_blob(context, actor, action, [parent.id], context.now_ms(), detail=detail)
        status, *rest = await context.connection.call("release_parent", keys.root, parent.id, blob, *part)
        if status == b"not_found":
            raise QueueContext(context.connection, keys).missing(parent.id)
        if status == b"not_waiting":
            state = as_text(rest[0])
            raise JobStateError(
                f"job '{parent}' is {state}, it does not wait for children",
                queue=parent.queue,
                job_id=parent.id,
                operation=action,
                state=state,
                needed="waiting-children",
            )
        counted += parse_members([member for member in rest if member != b"released"], prefix)
    return sorted(counted)
