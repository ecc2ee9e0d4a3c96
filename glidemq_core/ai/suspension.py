"""Suspend jobs, and send the signals that resume them. Reviews and decisions are in `reviews` and `approvals`."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import Any, cast

from ..jobs.audit import audit_blob
from ..jobs.deadlines import DEADLINE_FIELDS, sweep_if_overdue
from ..options.fields import UNSET, Instant, Unset, flag, refuse, text, to_epoch_ms
from ..options.job import Actor
from ..records import SignalResult, SuspendInfo
from ..records.decoding import SUSPEND_FIELDS, decode_suspend
from ..records.outcomes import SignalOutcome, SuspendStatus
from ..server.context import QueueContext
from ..wire.payload import MAX_PAYLOAD_BYTES, encode_json, refuse_size
from ..wire.replies import as_text, picked_fields
from .reviews import bound_facts, read_payload

#: How long a signal that came before the suspension is kept, ms.
EARLY_TTL_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class SuspendOutcome:
    """How a suspend call went; `suspended_at_ms` only of a run that ended by it, `state` only of a lost run's job."""

    status: SuspendStatus
    suspended_at_ms: int | None = None
    state: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the run has ended by suspension."""
        return self.status in ("suspended", "resumed")


async def suspend(
    context: QueueContext,
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
    status, *facts = await context.call(
        "suspend", job_id, entry_id, processed_on, context.now_ms(), reason or "", timeout_ms, ledger_head
    )
    if status == b"lost":
        return SuspendOutcome("lost", state=as_text(facts[0]))
    known = cast(SuspendStatus, status.decode())  # what the function answers
    return SuspendOutcome(known, int(facts[0]) if facts else None)


async def send_signal(
    context: QueueContext,
    job_id: str,
    name: str,
    data: Any | Unset = UNSET,
    *,
    early: bool = False,
    expected_suspended_at: Instant | None = None,
    actor: Actor | None = None,
) -> SignalResult:
    """Send a signal to a suspended job; see `Queue.signal`."""
    now = context.now_ms()
    head = signal_head(name, data)
    expected = expected_ms(expected_suspended_at)
    keep = EARLY_TTL_MS if flag(early, "early") else ""
    blob = await audit_blob(context, actor, "signal", [job_id], now, detail={"signal": name})
    outcome, _, revoked, _ = await context.call("signal", job_id, head, name, now, expected, keep, blob)
    known = cast(SignalOutcome, outcome.decode())  # what the function answers
    return SignalResult(outcome=known, revoked=revoked == b"1")


async def deliver_early(context: QueueContext) -> int:
    """Deliver kept signals to jobs that a Node worker suspended; returns how many. Called by a worker's maintenance."""
    return int((await context.call("deliver_early", context.now_ms()))[1])


async def get_suspend_info(context: QueueContext, job_id: str) -> SuspendInfo | None:
    """Read why and until when a job is suspended, with its review hash; None if it is not, or no longer."""
    values, deadline = await context.gather(
        ("HMGET", context.keys.job(job_id), *SUSPEND_FIELDS),
        ("ZSCORE", context.keys.suspended, job_id),
    )
    fields = picked_fields(SUSPEND_FIELDS, values)
    if await sweep_if_overdue(context, *map(fields.get, DEADLINE_FIELDS)):
        return await get_suspend_info(context, job_id)
    info = decode_suspend(fields, deadline)
    bound = None if info is None else await bound_facts(context, job_id)
    if info is None or bound is None or read_payload(bound.data, context.serializer).error is not None:
        return info
    return replace(info, review_hash=bound.hash)


def expected_ms(expected_suspended_at: Instant | None) -> int | str:
    """Return when a suspension must have begun for a signal to count, epoch ms; "" for any time."""
    if expected_suspended_at is None:
        return ""
    return to_epoch_ms(expected_suspended_at, "expected_suspended_at")


def signal_name(name: Any) -> str:
    """Check the name of a signal: text without control characters; it may be empty."""
    if any(unicodedata.category(c) == "Cc" for c in text(name, "name")):
        refuse("name", name, "text without control characters")
    return str(name)


def signal_head(name: str, data: Any) -> str:
    """Encode a signal up to the value of `receivedAt`, which the server function appends.

    It is stored as JSON whose `data` is a string that holds JSON text, "" if there is none.

    Raises:
        InvalidOptionError: a control character in the name.
        SerializationError: the data is not JSON.
        PayloadTooLargeError: name and data together over 1 MiB.
    """
    encoded = "" if data is UNSET else encode_json(data, "signal data")
    size = len(signal_name(name).encode()) + len(encoded.encode())
    if size > MAX_PAYLOAD_BYTES:
        refuse_size("signal", size, option="data")
    pair = encode_json({"name": name, "data": encoded}, "signal")
    return pair[:-1] + ',"receivedAt":'
