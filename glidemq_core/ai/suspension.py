"""Suspending jobs, and the signals that resume them. What an approver sees and decides is in `approvals`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..job import Job
from ..jobs.audit import audit_blob
from ..jobs.read import get_jobs
from ..options.fields import UNSET, Instant, Unset, flag, to_epoch_ms
from ..options.job import Actor
from ..options.types import JobIdLike
from ..records.decoding import SUSPEND_FIELDS, decode_suspend
from ..records.jobs import Approval, Decision, SignalResult, SuspendInfo
from ..server.context import QueueBase, QueueContext
from ..wire.replies import picked_fields
from .approvals import approve, reject
from .reviews import bound_facts, read_payload, review
from .signals import signal_head

#: How long a signal that came before the suspension is kept, ms.
EARLY_TTL_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class SuspendOutcome:
    """How a suspend call went: `suspended`, `resumed` (a kept signal was waiting), `lost` or `not_found`.

    `lost`: this run does not own the job any more; nothing was changed.
    """

    status: str
    suspended_at_ms: int | None = None
    state: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the run has ended by suspension."""
        return self.status in ("suspended", "resumed")


async def suspend(
    scope: QueueContext,
    job_id: str,
    entry_id: str,
    processed_on: str | int,
    reason: str | None,
    timeout_ms: int,
    *,
    ledger_head: str = "",
) -> SuspendOutcome:
    """End a run by suspending its job, in one call that may be repeated.

    Args:
        entry_id: entry of the run, "" for a list-sourced one.
        processed_on: activation stamp of the run.
        timeout_ms: ms until the job fails for good, 0 for none.
        ledger_head: JSON of started, attempt, fallback and worker; "" takes them from the job.
    """
    status, *facts = await scope.call(
        "suspend", job_id, entry_id, processed_on, scope.now_ms(), reason or "", timeout_ms, ledger_head
    )
    outcome = status.decode()
    if outcome == "lost":
        return SuspendOutcome(outcome, state=facts[0].decode("utf-8", "replace"))
    return SuspendOutcome(outcome, int(facts[0]) if facts else None)


async def send_signal(
    scope: QueueContext,
    job_id: str,
    name: str,
    data: Any | Unset = UNSET,
    *,
    early: bool = False,
    expected_suspended_at: Instant | None = None,
    actor: Actor | None = None,
) -> SignalResult:
    """Give a suspended job a signal; see `Queue.signal`."""
    now = scope.now_ms()
    head = signal_head(name, data)
    expected = (
        "" if expected_suspended_at is None else to_epoch_ms(expected_suspended_at, "expected_suspended_at")
    )
    keep = EARLY_TTL_MS if flag(early, "early") else ""
    blob = await audit_blob(scope, actor, "signal", [job_id], now, detail={"signal": name})
    outcome, _, revoked, _ = await scope.call("signal", job_id, head, name, now, expected, keep, blob)
    return SignalResult(outcome=outcome.decode(), revoked=revoked == b"1")


async def deliver_early(scope: QueueContext) -> int:
    """Deliver kept signals to jobs that a peer suspended; returns how many. Part of a worker's tick."""
    return int((await scope.call("deliver_early", scope.now_ms()))[1])


async def get_suspend_info(scope: QueueContext, job_id: str) -> SuspendInfo | None:
    """Read why and until when a job is suspended, with its review hash; None if it is not."""
    values, deadline = await scope.gather(
        ("HMGET", scope.keys.job(job_id), *SUSPEND_FIELDS),
        ("ZSCORE", scope.keys.suspended, job_id),
    )
    info = decode_suspend(picked_fields(SUSPEND_FIELDS, values), deadline)
    bound = None if info is None else await bound_facts(scope, job_id)
    if info is None or bound is None or read_payload(bound.data, scope.serializer).error is not None:
        return info
    return replace(info, review_hash=bound.hash)


class SuspensionCalls(QueueBase):
    """Suspended jobs of a queue: reading, signalling, deciding."""

    async def signal(
        self,
        job_id: JobIdLike,
        name: str,
        data: Any | Unset = UNSET,
        *,
        early: bool = False,
        expected_suspended_at: Instant | None = None,
        actor: Actor | None = None,
    ) -> SignalResult:
        """Give a suspended job a signal, which resumes it. The answer is true only if it was resumed.

        Args:
            data: anything JSON; left out it reads as `""` in the processor, None as null.
            early: keep the signal (7 days) for an unfinished job that is not suspended yet.
            expected_suspended_at: resume only this suspension, else answer `changed`.
        Raises:
            InvalidOptionError: a control character in the name.
            SerializationError: the data is not JSON.
            PayloadTooLargeError: over 1 MiB.
        """
        return await send_signal(
            await self.scope(),
            self._own(job_id),
            name,
            data,
            early=early,
            expected_suspended_at=expected_suspended_at,
            actor=actor,
        )

    async def get_suspend_info(self, job_id: JobIdLike) -> SuspendInfo | None:
        """Read why and until when a job is suspended; None: it is not."""
        return await get_suspend_info(await self.scope(), self._own(job_id))

    async def get_suspended_jobs(
        self, start: int = 0, end: int = -1, *, exclude_data: bool = False
    ) -> list[Job[Any, Any]]:
        """List suspended jobs at places `start`..`end`, soonest deadline first, then those without one."""
        return await get_jobs(await self.scope(), "suspended", start, end, exclude_data=exclude_data)

    async def review(self, job_id: JobIdLike, *, payload_limit: int | None = None) -> Approval:
        """Read what an approver must see of a suspended job, with the hash that binds a decision to it.

        The hash is None where not everything is shown: `hidden` is not empty, the payload is cut or cannot be read.

        Args:
            payload_limit: bytes of stored data above which `data` is left out (`truncated`); of the draft as many
                are shown, and a few tool calls. None reads the whole.
        Raises:
            JobNotFoundError, JobStateError: gone, or not suspended.
        """
        return await review(await self.scope(), self._own(job_id), payload_limit=payload_limit)

    async def approve(
        self,
        job_id: JobIdLike,
        *,
        actor: Actor,
        data: Any | Unset = UNSET,
        comment: str | None = None,
        expect: str | None = None,
        signal: str = "approve",
        expected_suspended_at: Instant | None = None,
        unseen: bool = False,
    ) -> Decision:
        """Approve a suspended job: audit entry and signal in one call. A lost race is an answer, no error.

        Args:
            data: the edited payload for the processor; the job's own data stays.
            expect: review hash of what was shown; the decision counts only if it still fits. None binds to nothing.
            expected_suspended_at: decide only on this suspension, else answer `changed`.
            unseen: note in the audit that it was approved without having been shown whole.
        Raises:
            InvalidOptionError, SerializationError, PayloadTooLargeError.
            AuditError: the audit cannot take the entry; nothing was decided.
        """
        return await approve(
            await self.scope(),
            self._own(job_id),
            actor=actor,
            data=data,
            comment=comment,
            expect=expect,
            signal=signal,
            expected_suspended_at=expected_suspended_at,
            unseen=unseen,
        )

    async def reject(
        self,
        job_id: JobIdLike,
        *,
        actor: Actor,
        reason: str,
        data: Any | Unset = UNSET,
        expect: str | None = None,
        signal: str = "reject",
        expected_suspended_at: Instant | None = None,
    ) -> Decision:
        """Reject a suspended job with a reason; otherwise as `approve`."""
        return await reject(
            await self.scope(),
            self._own(job_id),
            actor=actor,
            reason=reason,
            data=data,
            expect=expect,
            signal=signal,
            expected_suspended_at=expected_suspended_at,
        )
