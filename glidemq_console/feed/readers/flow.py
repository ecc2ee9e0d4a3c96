"""Reading one flow for its page: which children keep parents from ever going on, why fallbacks fired."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from glidemq_core.errors import JobNotFoundError

from ...model.flows import suspects
from ...model.snapshot import FlowView
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core import Flow, JobRef
    from glidemq_core.watch import Watch

#: Jobs of a flow that a page reads.
MAX_NODES = 500
#: Parents whose blocking children are looked up in one round.
MAX_BLOCKED = 8
#: Jobs whose attempts are looked up in one round, to show why they fell back.
MAX_LEDGERS = 8
#: Reasons remembered.
MAX_REASONS = 2_000


class FlowReader:
    """Reads a flow, and its blocked parents only when some child failed or is gone."""

    def __init__(self) -> None:
        #: Why a job runs on a fallback, by the job and which fallback; "" where no attempt was kept.
        self._reasons: dict[tuple[JobRef, int], str] = {}

    async def read_wanted(self, reading: Reading) -> None:
        ref = reading.wants.flow
        if ref is not None and reading.is_due(("flow", ref)):
            view = await reading.attempt(self._read(reading, ref))
            if view is not None:
                reading.known = replace(reading.known, flow=view)

    async def _read(self, reading: Reading, ref: JobRef) -> FlowView:
        """Read the flow of a job; without one when the job is gone."""
        watch = reading.watch
        try:
            flow = await watch.flow(ref.queue, ref, max_nodes=MAX_NODES)
        except JobNotFoundError:
            return FlowView(ref=ref, flow=None, at_ms=reading.clock())
        blocked = {}
        for parent in suspects(flow)[:MAX_BLOCKED]:
            if children := await _blocking(reading, parent):
                blocked[parent] = children
        reasons = await self._why(watch, flow)
        return FlowView(ref=ref, flow=flow, at_ms=reading.clock(), blocked=blocked, fallbacks=reasons)

    async def _why(self, watch: Watch, flow: Flow) -> dict[JobRef, str]:
        """The error that made the latest fallback of each job fire; read once for each."""
        fallen = {(node.ref, node.fallback_index): node for node in flow.nodes if node.fallback_index}
        for ref, index in [key for key in fallen if key not in self._reasons][:MAX_LEDGERS]:
            entries = await watch.ledger(ref.queue, ref) or []
            errors = [entry.error for entry in entries if entry.fallback_index < index and entry.error]
            if len(self._reasons) >= MAX_REASONS:
                self._reasons.clear()
            self._reasons[ref, index] = errors[-1] if errors else ""
        return {key[0]: self._reasons[key] for key in fallen if self._reasons.get(key)}


async def _blocking(reading: Reading, parent: JobRef) -> tuple[JobRef, ...]:
    with suppress(JobNotFoundError):
        async with reading.queue(parent.queue) as queue:
            return tuple(await queue.get_blocking_children(parent.id))
    return ()
