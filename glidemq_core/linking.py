"""Children of a running job in another queue: their parent is told to wait for them before they can run."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .base import Scope
from .errors import QueueNotFoundError
from .keys import QueueKeys
from .options import JobRef
from .vitals import exists


@dataclass(frozen=True, slots=True)
class ChildLink:
    """A child about to be added: its record, and the parent elsewhere that waits for it (None: no other queue's)."""

    scope: Scope
    record: tuple[str, ...]
    parent: JobRef | None = None

    async def undo(self) -> None:
        """The child was not added after all: its parent does not wait for it."""
        if self.parent is not None:
            root = QueueKeys(self.scope.keys.prefix, self.parent.queue).root
            member = self.scope.keys.member(self.record[0])
            await self.scope.connection.call("unregister_child", root, self.parent.id, member)


async def link_child(scope: Scope, parent: JobRef, record: tuple[str, ...]) -> ChildLink:
    """Make a parent in another queue wait for a child that does not exist yet; the child gets a reserved id.

    What a budgeted job starts draws on the same budget.

    Args:
        record: arguments of the add function; the id first, what few jobs have last.

    Raises: QueueNotFoundError.
    """
    if parent.queue == scope.queue:
        return ChildLink(scope, record)
    await check_parent_queue(scope, parent)
    job_id = record[0]
    if job_id and await scope.connection.command("EXISTS", scope.keys.job(job_id)):
        # The add will refuse it, and the job of that id may be counted as done already.
        return ChildLink(scope, record)
    job_id = job_id or (await scope.call("reserve_id", scope.now_ms())).decode()
    root = QueueKeys(scope.keys.prefix, parent.queue).root
    member = scope.keys.member(job_id)
    _, budget_key = await scope.connection.call("register_child", root, parent.id, member)
    extra = record[-1]
    if budget_key:
        extra = json.dumps({**json.loads(extra), "budget": budget_key.decode()}, ensure_ascii=False)
    return ChildLink(scope, (job_id, *record[1:-1], extra), parent)


async def check_parent_queue(scope: Scope, parent: JobRef) -> None:
    """Refuse a parent in a queue that does not exist; one that has merely gone is no error, as with Node.

    Raises: QueueNotFoundError.
    """
    above = Scope(scope.connection, QueueKeys(scope.keys.prefix, parent.queue))
    if await scope.connection.command("EXISTS", above.keys.job(parent.id)) or await exists(above):
        return
    raise QueueNotFoundError(
        f"parent '{parent}': there is no queue '{parent.queue}'",
        queue=parent.queue,
        prefix=above.keys.prefix,
        address=scope.connection.address,
    )
