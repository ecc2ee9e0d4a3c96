"""Check of flows: parents that wait for children which will never complete, each with its culprit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..flows.repair import pending_children
from ..jobs.links import OLD_ENOUGH_MS
from ..records.jobs import Check
from ..server.context import QueueContext
from .findings import plural, verdict

if TYPE_CHECKING:
    from ..reading.reader import Reader
    from ..watch import Watch

#: Flows looked at, newest first, and parents whose children are asked after.
_FLOWS = 100
_PARENTS = 100


async def stuck_parents(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find parents that no child will ever release: one failed, is gone, or completed unheard."""
    listed = await watch.flows(names, limit=_FLOWS)
    old = reader.now_ms() - OLD_ENOUGH_MS
    waiting = [node for flow in listed.items for node in flow.nodes if node.state == "waiting-children"]
    found = []
    for node in waiting[:_PARENTS]:
        context = QueueContext(reader.connection, reader.keys(node.queue))
        states = await pending_children(context, node.ref)
        culprits = [
            f"{child} {state or 'is gone'}" for child, state in states.items() if state in ("failed", "")
        ]
        if not culprits and node.created_at is not None and node.created_at.timestamp() * 1_000 < old:
            unheard = [child for child, state in states.items() if state == "completed"]
            if not states or len(unheard) == len(states):
                culprits = [f"{child} completed unheard" for child in unheard] or ["no child any more"]
        if culprits:
            found.append(f"{node.ref} waits for {', '.join(culprits[:3])}")
    return verdict(
        "stuck_parents",
        found,
        good=f"{plural(len(listed.items), 'flow')} looked at, none is stuck",
        bad=f"{plural(len(found), 'parent')} will wait for ever",
        status="fail",
        fix="glidemq retry the failed child; or let the parent go on without it: release it on the flow's page of "
        "the console, or Queue(...).release_parent(id); completed unheard: Queue(...).repair_flow(id)",
    )
