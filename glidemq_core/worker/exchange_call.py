"""The server function `exchange` as the worker calls it: its words, its reply, and claims whose reply was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ServerError
from ..jobs.adding.records import BATCH, BATCH_BYTES
from ..options.worker import WorkerOptions
from ..server.context import QueueContext
from ..server.functions import RELOAD
from ..wire.replies import as_texts, hash_fields, readable
from .context import SubscriptionOptions, WorkerContext, of_kind
from .execution.outcome import SettleRecord
from .rate_limits import WorkerLimits

#: Hashes that one read of lost claims brings: each may hold a payload of a megabyte.
_LOADED = 16
#: Words of a claimed job that has the fields of every job and never ran: what is not the same of all such jobs.
_FRESH_WORDS = 9
#: What such a job has beside them, by its kind; these words stand first.
_FRESH_KINDS: dict[bytes, tuple[str, ...]] = {
    b"f": (),
    b"g": ("groupKey", "orderingSeq"),
    b"p": ("parentId", "parentQueue"),
    b"t": ("parentId", "parentQueue", "flowToken"),
}


#: Bytes of results that a call carries at first and at least, and how long one should take at most: slower ones carry
#: less, quick ones more, s.
_FIRST_BYTES = 500_000
_LEAST_BYTES = 64_000
_SLOW_S = 1.0


class CallSize:
    """How much a call may carry: what the connection carries in good time."""

    def __init__(self) -> None:
        self._most_bytes = _FIRST_BYTES

    def fitting(self, finished: Sequence[SettleRecord]) -> int:
        """How many of the finished runs the next call carries."""
        size = 0
        for number, record in enumerate(finished[:BATCH]):
            size += len(record.stored) + len(record.letter)
            if number and size > self._most_bytes:
                return number
        return min(len(finished), BATCH)

    def adapt(self, took_s: float) -> None:
        """Note how long a call has taken, s."""
        if took_s > _SLOW_S:
            self._most_bytes = max(_LEAST_BYTES, self._most_bytes // 2)
        elif took_s < _SLOW_S / 4:
            self._most_bytes = min(BATCH_BYTES, self._most_bytes * 2)


class UnexpectedReplyError(ServerError):
    """What the server answered is no answer of our function."""


class Claim(NamedTuple):
    """A job this worker has just activated."""

    entry: str
    job_id: str
    fields: dict[str, bytes]
    processed_on: str
    #: What the job's budget says: "" run it, "fail", "ask" (out of reach of the claim), "parked" (done already).
    stop: str = ""


class ExchangeReply(NamedTuple):
    """What an exchange answers."""

    #: What became of each result: ok, retrying, failed, lost, or unrecorded.
    answers: list[bytes]
    claims: list[Claim]
    #: Entry and id of claimed jobs that have to be read: one of their fields looks like several.
    unread: list[tuple[str, str]]
    #: Errors met beside the main business.
    errors: list[str]
    #: Why fewer jobs were claimed than wanted, and for how long that lasts, ms.
    reason: str = ""
    wait_ms: int = 0
    #: Whether entries wait in the outbox.
    outbox: bool = False
    #: Newest entries of stream and events, and when a limited group is due, ms; empty unless something was missing.
    stream_id: str = ""
    events_id: str = ""
    group_due: str = ""

    @classmethod
    def of(cls, reply: Sequence[Any], sent: int, stamp: int) -> ExchangeReply:
        """Decode a reply.

        Args:
            sent: how many results the call carried.
            stamp: its time, epoch ms.
        Raises: ValueError, TypeError, AttributeError if it is no reply of the function.
        """
        answers, packed, *rest = reply
        found = cls(answers or [b"ok"] * sent, [], [], [])
        if len(found.answers) != sent:
            raise ValueError(f"{len(found.answers)} answers to {sent} results")
        found._unpack(packed, str(stamp))
        return found._with_rest(*rest) if rest else found

    def _with_rest(
        self,
        reason: bytes,
        wait_ms: int,
        outbox: int,
        stream_id: bytes,
        events_id: bytes,
        group_due: bytes,
        *errors: bytes,
    ) -> ExchangeReply:
        """Add what stands behind the claims if there is anything to say."""
        return self._replace(
            reason=reason.decode(),
            wait_ms=int(wait_ms),
            outbox=bool(outbox),
            stream_id=stream_id.decode(),
            events_id=events_id.decode(),
            group_due=group_due.decode(),
            errors=[*as_texts(errors), *self.errors],
        )

    def _unpack(self, packed: Sequence[bytes], stamp: str) -> None:
        """Read claimed jobs; one odd record (an id that is no text) must not cost the others."""
        for text, data in zip(packed[::2], packed[1::2], strict=True):
            words = text.split(b"\x1f")
            more = _FRESH_KINDS.get(words[-1])
            fresh = more is not None
            try:
                job_id, entry = words[-3 if fresh else -4].decode(), words[-2 if fresh else -3].decode()
            except UnicodeDecodeError as defect:
                self.errors.append(f"ERR a claimed job cannot be read: {defect}")
                continue
            if len(words) != (int(words[-1]) if more is None else _FRESH_WORDS + len(more)):
                self.unread.append((entry, job_id))
            elif more is not None:
                fields = _fresh_fields(words[len(more) :], data)
                fields.update(zip(more, words, strict=False))
                self.claims.append(Claim(entry, job_id, fields, stamp))
            else:
                fields = hash_fields(words[:-4])
                if "data" in fields:
                    fields["data"] = data
                self.claims.append(Claim(entry, job_id, fields, stamp, words[-2].decode()))

    def followed_by(self, more: ExchangeReply) -> ExchangeReply:
        """Join the reply of a call with that of the next one."""
        return more._replace(
            answers=[*self.answers, *more.answers],
            outbox=self.outbox or more.outbox,
            errors=[*self.errors, *more.errors],
        )


def _fresh_fields(words: Sequence[bytes], data: bytes) -> dict[str, bytes]:
    """Fields of a job that has just been claimed for the first time, in the order in which they are stored."""
    name, opts, timestamp, delay, priority, attempts, job_id, _, _ = words
    return {
        "id": job_id,
        "name": name,
        "data": data,
        "opts": opts,
        "timestamp": timestamp,
        "attemptsMade": b"0",
        "delay": delay,
        "priority": priority,
        "maxAttempts": attempts,
        "state": b"active",
    }


def exchange_settings(options: WorkerOptions, limits: WorkerLimits) -> str:
    """Write what the headers of all exchanges of a worker say: its flags and limits."""
    flags = (
        ("e" if options.events else "")
        + ("m" if options.metrics else "")
        + ("t" if limits.shared_tokens else "")
    )
    return exchange_header(flags, *limits.header())


def exchange_header(*words: str | int) -> str:
    """Write the first argument of an exchange: each argument of a call costs the driver more than its text."""
    return "\x1f".join(map(str, words))


async def call_exchange(
    context: WorkerContext,
    settings: str,
    stamp: int,
    records: Sequence[SettleRecord],
    want: int,
    *,
    repeated: bool = False,
) -> ExchangeReply:
    """Send results and claim up to `want` jobs.

    Args:
        settings: what `exchange_settings` says of this worker.
        stamp: time of the call, epoch ms: it marks what the call starts, and makes a repeat recognisable.
        repeated: the reply of an earlier call with this stamp was lost.
    Raises: GlideMQError, of which UnexpectedReplyError says as little as a lost reply of what was done.
    """
    if repeated:
        settings = settings.replace("\x1f", "r\x1f", 1)
    words: list[str | bytes] = [exchange_header(stamp, context.worker_id, want, settings)]
    if records:
        words.append("".join([record.head for record in records]))
        words.append(b"".join([text for record in records for text in (record.stored, record.letter)]))
    answer = await context.queue.call(*context.of_kind("exchange", *words))
    try:
        reply = ExchangeReply.of(answer, len(records), stamp)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UnexpectedReplyError(
            f"queue '{context.queue.queue}': the server's function library answers in another way than this release: "
            f"{type(error).__name__}: {error}",
            hint=RELOAD,
            command="FCALL",
            code="ERR",
        ) from error
    if reply.unread:
        reply.claims.extend(await load_claims(context, reply.unread, stamp))
    return reply


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
