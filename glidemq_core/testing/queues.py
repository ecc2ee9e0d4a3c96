"""A queue in memory, for tests that want neither a server nor time to pass."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal

from ..jobs.snapshot import DataT, ResultT
from ..options.fields import UNSET, Unset
from ..options.types import Actor, JobIdLike, id_in
from ..records import Decision, SignalResult, SuspendInfo
from ..records.decoding import decode_suspend
from ..wire.keys import NO_DEADLINE
from .entries import now_ms
from .jobs import RecordedJob, decision_signal
from .store import JobStore


class TestQueue(JobStore[DataT, ResultT]):
    """The calls of `Queue` that a test of an application needs, on jobs in memory.

    Jobs run in the order in which they were added: `delay`, `priority`, `lifo`, ordering keys, `timeout` and the wait
    of a backoff are accepted and change nothing. There are no flows, budgets, schedulers, limits, audit or dead
    letters: for those, and for whatever happens between processes, use the fixture `glidemq_queue`.

    Args:
        name: as of `Queue`.
        serializer: data and results go through it, as on the wire.
    """

    __test__ = False

    # Suspended jobs ------------------------------------------------------------------------------------------

    async def signal(self, job_id: JobIdLike, name: str, data: Any | Unset = UNSET) -> SignalResult:
        """Send a signal to a suspended job; it goes on."""
        said = "" if data is UNSET else data
        return await self._resume(job_id, {"name": name, "data": said, "receivedAt": now_ms()})

    async def approve(
        self, job_id: JobIdLike, *, actor: Actor, data: Any | Unset = UNSET, comment: str | None = None
    ) -> Decision:
        """Approve a suspended job, with an edited payload if `data` is given."""
        return await self._decide("approve", job_id, actor, data, comment=comment)

    async def reject(
        self, job_id: JobIdLike, *, actor: Actor, reason: str, data: Any | Unset = UNSET
    ) -> Decision:
        """Reject a suspended job."""
        return await self._decide("reject", job_id, actor, data, comment=reason, reason=reason)

    async def get_suspend_info(self, job_id: JobIdLike) -> SuspendInfo | None:
        """Return why and until when a job is suspended; None if it is not."""
        entry = self.entries.get(id_in(self.name, job_id))
        if entry is None or entry.state != "suspended":
            return None
        timeout_ms = int(entry.fields["suspendTimeout"])
        deadline = int(entry.fields["suspendedAt"]) + timeout_ms if timeout_ms else NO_DEADLINE
        return decode_suspend(entry.fields, deadline)

    async def get_suspended_jobs(self, start: int = 0, end: int = -1) -> list[RecordedJob]:
        """Return the suspended jobs, oldest first."""
        return await self.get_jobs("suspended", start, end)

    async def _decide(
        self,
        action: Literal["approve", "reject"],
        job_id: JobIdLike,
        actor: Actor,
        data: Any,
        **more: str | None,
    ) -> Decision:
        found = id_in(self.name, job_id)
        entry, at_ms = self.entries.get(found), now_ms()
        outcome = "not_found"
        if entry is not None:
            signal = decision_signal(action, entry.fields["data"].decode(), data, actor.by, at_ms)
            signal["data"] |= more
            result = await self._resume(found, signal)
            outcome = "sent" if result else result.outcome
            if result and data is not UNSET:
                entry.steps.clear()
        return Decision(
            queue=self.name,
            id=found,
            action=action,
            ok=outcome == "sent",
            outcome=outcome,  # type: ignore[arg-type]  # one of a decision's words
            signal=action,
            by=actor.by,
            at=datetime.fromtimestamp(at_ms / 1_000, UTC),
        )

    async def _resume(self, job_id: JobIdLike, signal: dict[str, Any]) -> SignalResult:
        found = id_in(self.name, job_id)
        entry = self.entries.get(found)
        if entry is None:
            return SignalResult(outcome="not_found")
        if entry.state != "suspended":
            return SignalResult(outcome="not_suspended")
        received = json.loads(entry.fields.get("signals", b"[]"))
        entry.put(signals=json.dumps([*received, signal]))
        await self.put_back(found)
        return SignalResult(outcome="resumed")
