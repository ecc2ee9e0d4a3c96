"""Link a new job to a parent in another queue, so that the parent waits for it before it can run.

Where one call reaches both queues (one server, or one slot), the add itself tells the parent. Between slots it takes
several calls, and who makes them may be cancelled, cut off or killed between two. So the child's id is reserved, the
parent's queue notes the link, the add names the parent and is refused without the reservation, and the note goes last.
Whoever finds an old note (`mend_links`) can tell whether the child came, and takes a link back whose child never will.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ...errors import GlideMQError, PermissionDeniedError, ServerError
from ...options.job import Actor, JobRef
from ...server.context import QueueContext
from ...server.slots import slot_of
from ...wire.keys import QueueKeys, split_member
from ...wire.replies import as_text
from ..audit import audit_blob
from ..counts import exists

#: Age of a link from which on whoever made it is taken for gone, ms.
OLD_ENOUGH_MS = 60_000
#: Links looked at in one round.
_PAGE = 100
#: Links that were left in the middle, while somebody looks what became of them.
_LEFT: set[asyncio.Task[None]] = set()


def parent_keys(context: QueueContext, parent: JobRef) -> QueueKeys:
    """Return the keys of the parent's queue."""
    return QueueKeys(context.keys.prefix, parent.queue)


def in_reach(context: QueueContext, keys: QueueKeys) -> bool:
    """Tell whether a call on a queue may touch another's keys: always on one server, in a cluster in the same slot."""
    return keys.root == context.keys.root or slot_of(context.connection, keys) == slot_of(
        context.connection, context.keys
    )


@dataclass(slots=True)
class ChildLink:
    """A child about to be added: its record, and the parent in another slot that waits for it (None: in no other)."""

    context: QueueContext
    record: tuple[str, ...]
    parent: JobRef | None = None
    #: The parent was told, perhaps.
    is_open: bool = False

    async def settle(self, *, came: bool) -> None:
        """Close the link once the child was added or refused; a refused one may have been added by another call."""
        if not self.is_open or self.parent is None:
            return
        if came:
            await settle_link(self.context, self.parent, self.record[0], "came")
        else:
            await _resolve(self.context, self.parent, self.record[0])
        self.is_open = False

    def leave(self) -> None:
        """Find out in the background whether the child was added; if that fails, `mend_links` does it later."""
        if self.is_open and self.parent is not None:
            task = asyncio.create_task(_quietly(self.context, self.parent, self.record[0]))
            _LEFT.add(task)
            task.add_done_callback(_LEFT.discard)


async def link_child(context: QueueContext, parent: JobRef, record: tuple[str, ...]) -> ChildLink:
    """Make a parent wait for a child that does not exist yet, if the add itself cannot; its id is reserved then.

    What a budgeted job starts draws on the same budget. In `record` the id is first, what few jobs have last.
    """
    link = ChildLink(context, record)
    if parent.queue == context.queue:
        return link
    await warn_of_no_queue(context, parent)
    above = parent_keys(context, parent)
    if in_reach(context, above):
        return link
    told = above.member(parent.id)
    status, *rest = await context.call("reserve_child", record[0], context.now_ms(), told)
    if status == b"duplicate":
        # The add will refuse it, and the job of that id may be counted as done already.
        return link
    job_id = rest[0].decode()
    extra = json.loads(record[-1])
    extra["parent"]["reserved"] = told
    link = ChildLink(
        context, (job_id, *record[1:-1], json.dumps(extra, ensure_ascii=False)), parent, is_open=True
    )
    async with unless_left(link):
        budget_key = await register_child(context, parent, job_id)
    if budget_key:
        extra["budget"] = budget_key
        link.record = (*link.record[:-1], json.dumps(extra, ensure_ascii=False))
    return link


@asynccontextmanager
async def unless_left(*links: ChildLink) -> AsyncIterator[None]:
    """Resolve open links when the add they were made for is cancelled or fails."""
    try:
        yield
    except BaseException:
        for link in links:
            link.leave()
        raise


async def register_child(context: QueueContext, parent: JobRef, job_id: str) -> str:
    """Tell a parent in another slot of a child; returns the key of the budget it draws on, "" without."""
    member, now = context.keys.member(job_id), context.now_ms()
    root = parent_keys(context, parent).root
    _, budget_key = await context.connection.call("register_child", root, parent.id, member, now)
    return as_text(budget_key)


async def settle_link(context: QueueContext, parent: JobRef, job_id: str, what: str, blob: str = "") -> None:
    """Forget that a link is being made; with `gone` its parent waits for that child no longer."""
    member = context.keys.member(job_id)
    await context.connection.call(
        "settle_link", parent_keys(context, parent).root, parent.id, member, what, blob
    )


async def _resolve(context: QueueContext, parent: JobRef, job_id: str, actor: Actor | None = None) -> str:
    """Find out whether a child was added and close its link; returns `came`, `gone` or `wait`."""
    told = parent_keys(context, parent).member(parent.id)
    [answer] = await context.call("withdraw_child", job_id, told)
    what = as_text(answer)
    if what != "wait":
        detail = {"child": context.keys.member(job_id)}
        theirs = QueueContext(context.connection, parent_keys(context, parent))
        blob = await audit_blob(theirs, actor, "finish_flows", [parent.id], context.now_ms(), detail=detail)
        await settle_link(context, parent, job_id, what, blob)
    return what


async def _quietly(context: QueueContext, parent: JobRef, job_id: str) -> None:
    with suppress(GlideMQError):
        await _resolve(context, parent, job_id)


async def mend_links(
    context: QueueContext, older_than_ms: int = OLD_ENOUGH_MS, *, actor: Actor | None = None
) -> list[JobRef]:
    """Close links that were interrupted; returns the children that were never added."""
    connection, prefix = context.connection, context.keys.prefix
    oldest = context.now_ms() - older_than_ms
    gone: list[JobRef] = []
    cursor = "0"
    while True:
        reply = await connection.command("HSCAN", context.keys.linking, cursor, "COUNT", _PAGE)
        cursor, flat = as_text(reply[0]), [as_text(word) for word in reply[1]]
        for note, since in zip(flat[::2], flat[1::2], strict=True):
            parent_id, _, member = note.partition(":")
            place = split_member(member, prefix)
            if place is None or int(since) > oldest:
                continue
            child = JobRef(*place)
            below = QueueContext(connection, QueueKeys(prefix, child.queue))
            if await _resolve(below, JobRef(context.queue, parent_id), child.id, actor) == "gone":
                gone.append(child)
        if cursor == "0":
            return gone


async def warn_of_no_queue(context: QueueContext, parent: JobRef) -> None:
    """Warn of a parent in a queue that does not exist: a name misspelt, or a parent that is yet to come.

    The child is added all the same, as by a peer: no parent is looked at.
    """
    above = QueueContext(context.connection, parent_keys(context, parent))
    if await context.connection.command("EXISTS", above.keys.job(parent.id)) or await exists(above):
        return
    warnings.warn(
        f"parent '{parent}': there is no queue '{parent.queue}' so far; its child is added all the same",
        stacklevel=2,
    )


def refused_error(parent: JobRef | None, text: str) -> GlideMQError:
    """Build the error for a parent whose keys the server does not let us write; nothing was added."""
    code = text.partition(" ")[0]
    message = f"parent '{parent}' cannot be told of its child: {text}"
    if code == "NOPERM" or "permission" in text.lower():
        return PermissionDeniedError(
            message, hint="ask for the ACL rights, or sign in as another user", reason="acl", command="add"
        )
    return ServerError(message, command="add", code=code)
