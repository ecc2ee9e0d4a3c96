"""Find the jobs of a flow by their links, bounded and safe against cycles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..options.job import JobRef
from ..server.connection import Connection
from ..wire.keys import QueueKeys, split_member
from ..wire.replies import as_text, readable, sliced

#: Jobs of a flow that are looked at, at most.
MAX_JOBS = 100_000
_PAGE = 1_000


async def children_of(connection: Connection, prefix: str, jobs: Sequence[JobRef]) -> list[list[JobRef]]:
    """Read what each job waits for: the members of its `deps`, in order of queue and id."""
    found: list[list[JobRef]] = []
    for part in sliced(jobs, _PAGE):
        commands = [("SMEMBERS", QueueKeys(prefix, ref.queue).deps(ref.id)) for ref in part]
        answers = await connection.pipeline(commands)
        found += [parse_members(readable(members) or (), prefix) for members in answers]
    return found


def parse_members(members: Iterable[bytes | str], prefix: str) -> list[JobRef]:
    """Read members of `deps`, `parents` and parked sets; damaged ones, and those of other prefixes, are left out."""
    places = (split_member(as_text(member), prefix) for member in members)
    return sorted((JobRef(*place) for place in places if place), key=_natural)


async def whole_tree(
    connection: Connection, prefix: str, roots: Iterable[JobRef], limit: int = MAX_JOBS
) -> list[JobRef]:
    """Find the roots and everything below them, each job once, level by level; at most `limit`."""
    seen = dict.fromkeys(roots)
    level = list(seen)
    while level:
        below: list[JobRef] = []
        for children in await children_of(connection, prefix, level):
            for child in children:
                if child not in seen and len(seen) < limit:
                    seen[child] = None
                    below.append(child)
        level = below
    return list(seen)


def by_queue(jobs: Iterable[JobRef]) -> dict[str, list[str]]:
    """Sort jobs into their queues: ids by queue name."""
    found: dict[str, list[str]] = {}
    for ref in jobs:
        found.setdefault(ref.queue, []).append(ref.id)
    return found


def _natural(ref: JobRef) -> tuple[str, int, str]:
    """Order ids by their numbers: 2 before 10."""
    return ref.queue, len(ref.id) if ref.id.isdecimal() else 1_000, ref.id
