"""The server function `exchange` as the worker calls it: its words, its reply, and claims whose reply was lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..server.context import QueueContext
from ..wire.replies import as_texts, hash_fields, readable
from .context import SubscriptionOptions, WorkerContext, of_kind
from .execution.outcome import SettleRecord

#: Hashes that one read of lost claims brings: each may hold a payload of a megabyte.
_LOADED = 16


@dataclass(frozen=True, slots=True)
class Claim:
    """A job this worker has just activated."""

    entry: str
    job_id: str
    fields: dict[str, bytes]
    processed_on: str
    #: What the job's budget says: "" run it, "fail", "ask" (out of reach of the claim), "parked" (done already).
    stop: str = ""

    @classmethod
    def of(cls, claimed: Sequence[Any], processed_on: str) -> Claim:
        """Decode a claim of a reply. Raises ValueError for a record that no producer writes."""
        entry, job_id, flat, stop = claimed
        return cls(entry.decode(), job_id.decode(), hash_fields(flat), processed_on, stop.decode())


class ExchangeReply(NamedTuple):
    """What an exchange answers."""

    #: What became of each result: ok, retrying, failed, lost, or unrecorded.
    answers: list[bytes]
    #: Claimed jobs: entry, id, flat hash, what the budget says.
    claims: list[list[Any]]
    #: Why fewer jobs were claimed than wanted, and for how long that lasts, ms.
    reason: str
    wait_ms: int
    #: Whether entries wait in the outbox.
    outbox: bool
    #: Newest entries of stream and events, and when a limited group is due, ms; empty unless something was missing.
    stream_id: str
    events_id: str
    group_due: str
    #: Errors met beside the main business.
    errors: list[str]

    @classmethod
    def of(cls, reply: Sequence[Any]) -> ExchangeReply:
        """Decode a reply."""
        answers, claims, reason, wait_ms, outbox, stream_id, events_id, group_due, *errors = reply
        return cls(
            answers,
            claims,
            reason.decode(),
            int(wait_ms),
            bool(outbox),
            stream_id.decode(),
            events_id.decode(),
            group_due.decode(),
            as_texts(errors),
        )

    def followed_by(self, more: ExchangeReply) -> ExchangeReply:
        """Join the reply of a call with that of the next one."""
        return more._replace(
            answers=[*self.answers, *more.answers],
            outbox=self.outbox or more.outbox,
            errors=[*self.errors, *more.errors],
        )


async def call_exchange(
    context: WorkerContext, stamp: int, records: Iterable[SettleRecord], want: int, *, repeated: bool = False
) -> ExchangeReply:
    """Send results and claim up to `want` jobs.

    Args:
        stamp: time of the call, epoch ms: it marks what the call starts, and makes a repeat recognisable.
        repeated: the reply of an earlier call with this stamp was lost.
    """
    options, limits = context.options, context.limits
    flags = (
        ("e" if options.events else "")
        + ("m" if options.metrics else "")
        + ("t" if limits.shared_tokens else "")
        + ("r" if repeated else "")
    )
    words: list[str | int] = [stamp, context.worker_id, want, flags, *limits.header()]
    for record in records:
        words += (record.head, record.value)
    return ExchangeReply.of(await context.queue.call(*context.of_kind("exchange", *words)))


async def owned(
    queue: QueueContext, consumer: str, stamp: int, subscription: SubscriptionOptions | None = None
) -> list[tuple[str, str]]:
    """Entry and id of every job that is active since `stamp` and held by this consumer, in pages without payloads."""
    found: list[tuple[str, str]] = []
    after, seen = "", 0
    while True:
        following, looked, *pairs = await queue.read(
            *of_kind(subscription, "owned", consumer, stamp, after, seen)
        )
        texts = as_texts(pairs)
        found += zip(texts[::2], texts[1::2], strict=True)
        after, seen = following.decode(), int(looked)
        if not after:
            return found


async def load_claims(context: WorkerContext, found: list[tuple[str, str]], stamp: int) -> list[Claim]:
    """Read the jobs of lost claims, a few at a time; those that have ended meanwhile are left out.

    What their budgets said went with the reply: they have to be asked again.
    """
    queue, claims = context.queue, list[Claim]()
    for start in range(0, len(found), _LOADED):
        part = found[start : start + _LOADED]
        replies = await queue.connection.pipeline([("HGETALL", queue.keys.job(job_id)) for _, job_id in part])
        for (entry, job_id), reply in zip(part, replies, strict=True):
            fields = hash_fields(readable(reply))
            if context.subscription is not None:
                # The hash is shared: it says nothing of this run, but for the message itself.
                attempts = await queue.connection.command(
                    "HGET", context.subscription.counters(queue.keys, job_id), "a"
                )
                if "state" in fields:
                    fields["attemptsMade"] = attempts or b"0"
                    claims.append(Claim(entry, job_id, fields, str(stamp)))
            elif fields.get("state") == b"active" and fields.get("processedOn") == str(stamp).encode():
                claims.append(Claim(entry, job_id, fields, str(stamp), "ask"))
    return claims
