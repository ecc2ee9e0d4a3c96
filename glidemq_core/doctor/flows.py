"""Check of flows: parents that wait for children that will never complete."""

from __future__ import annotations

from collections.abc import Sequence

from ..flows.repair import pending_children
from ..jobs.links import OLD_ENOUGH_MS
from ..reading.reader import Reader
from ..records import Check
from ..server.context import QueueContext
from ..watch import Watch
from .findings import plural, verdict

#: Flows that are checked, newest first, and parents whose children are read.
_FLOWS = 100
_PARENTS = 100


async def stuck_parents(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find parents that no child will release: one failed, is gone, or completed without telling its parent."""
    listed = await watch.flows(names, limit=_FLOWS)
    old = reader.now_ms() - OLD_ENOUGH_MS
    waiting = [node for flow in listed.items for node in flow.nodes if node.state == "waiting-children"]
    found = []
    for node in waiting[:_PARENTS]:
        context = QueueContext(reader.connection, reader.keys(node.queue))
        states = await pending_children(context, node.ref)
        causes = [
            f"{child} {state or 'is gone'}" for child, state in states.items() if state in ("failed", "")
        ]
        if not causes and node.created_at is not None and node.created_at.timestamp() * 1_000 < old:
            untold = [child for child, state in states.items() if state == "completed"]
            if not states or len(untold) == len(states):
                causes = [f"{child} completed, which its parent does not know" for child in untold] or [
                    "no child"
                ]
        if causes:
            found.append(f"{node.ref} waits for {', '.join(causes[:3])}")
    return verdict(
        "stuck_parents",
        found,
        good=f"{plural(len(listed.items), 'flow')} checked, no parent is stuck",
        bad=f"{plural(len(found), 'parent')} will never be released",
        status="fail",
        fix="glidemq retry the failed child; or release the parent without it, on the flow's page of the console or "
        "by Queue(...).release_parent(id); if a child completed: Queue(...).repair_flow(id)",
    )
