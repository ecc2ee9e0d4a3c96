"""Reading one flow for its page, with the children that keep parents from ever going on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .store import FlowView

if TYPE_CHECKING:
    from glidemq_core import Connection, Flow, JobRef, Queue
    from glidemq_core.watch import Watch

#: Jobs of a flow that a page reads.
MAX_NODES = 500
#: Parents whose blocking children are looked up in one round.
MAX_BLOCKED = 8
#: States of a child that will not complete by itself; `unknown` is one that was removed.
HOPELESS = ("failed", "unknown")


class FlowReader:
    """Reads a flow, and asks about its blocked parents only when some child looks hopeless."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    async def read(self, watch: Watch, connection: Connection, ref: JobRef) -> FlowView:
        """Read the flow of a job; without one when the job is gone."""
        from glidemq_core.errors import JobNotFoundError

        try:
            flow = await watch.flow(ref.queue, ref.id, max_nodes=MAX_NODES)
        except JobNotFoundError:
            return FlowView(ref=ref, flow=None, at_ms=self._clock())
        blocked = {}
        for parent in suspects(flow):
            if children := await self._blocking(connection, parent):
                blocked[parent] = children
        return FlowView(ref=ref, flow=flow, at_ms=self._clock(), blocked=blocked)

    async def _blocking(self, connection: Connection, parent: JobRef) -> tuple[JobRef, ...]:
        from glidemq_core import Queue
        from glidemq_core.errors import JobNotFoundError

        queue: Queue[Any, Any] = Queue(parent.queue, connection)
        async with queue:
            try:
                return tuple(await queue.get_blocking_children(parent.id))
            except JobNotFoundError:
                return ()


def suspects(flow: Flow) -> Iterable[JobRef]:
    """Parents that wait although one of their children failed or is gone: that child may have been let go."""
    waiting = {node.ref for node in flow.nodes if node.state == "waiting-children"}
    found = dict.fromkeys(
        parent
        for node in flow.nodes
        if node.state in HOPELESS
        for parent in node.parents
        if parent in waiting
    )
    return list(found)[:MAX_BLOCKED]
