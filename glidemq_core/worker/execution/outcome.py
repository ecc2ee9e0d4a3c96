"""Turn the end of a processor into a settle record for the next exchange."""

from __future__ import annotations

import inspect
import json
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import (
    GlideMQError,
    JobLostError,
    JobRevokedError,
    JobTimeoutError,
    RateLimitError,
    UnrecoverableError,
)
from ...options.fields import to_ms
from ...options.job import Backoff, Duration, Retention
from ...wire import payload
from ...wire.numbers import parse_number
from .error_facts import error_facts
from .run import JobRun

BackoffStrategy = Callable[[int, BaseException], "Duration | Awaitable[Duration]"]

_REASON_CAP = 64 * 1024
#: Fields of a job of which its end takes notice, and what says that the claim saw them.
_MARKS = (("groupKey", "g"), ("parentId", "p"), ("schedulerName", "s"), ("steps", "k"))
_MARKED = [name for name, _ in _MARKS]
#: A due time must stay below the next priority's part of a score.
_LONGEST_BACKOFF_MS = 2**41


@dataclass(slots=True)
class SettleRecord:
    """One finished run on its way to the server: `head` and `stored` are what the exchange function takes."""

    run: JobRun
    head: str
    #: Result as stored, or the reason of the failure.
    stored: bytes
    tokens: int = 0
    result: Any = None
    error: BaseException | None = None
    #: How long a failed attempt ran.
    duration_ms: int = 0
    #: Copy for the dead letter queue, if this is the end.
    letter: bytes = b""


def completed(run: JobRun, result: Any) -> SettleRecord:
    """Build the record of a successful run. Raises SerializationError, PayloadTooLargeError for a bad result."""
    job = run.job
    fields = job.fields
    stored = payload.encode_result(result, job._context.serializer).encode()
    rule = ""
    if fields.get("opts", b"{}") != b"{}":
        rule = retention_rule(job.options.remove_on_complete)
    ledger = ledger_head(run) if run.reported or _has_history(fields) else ""
    tokens, seen = reported_tokens(run), _seen(fields)
    if not (ledger or tokens) and not (rule and seen):
        head = settle_head(run, stored, *([rule] if rule else ["." + seen] if seen else []))
    else:
        head = settle_head(run, stored, "c", "0", "0", rule, "", str(tokens or ""), ledger, seen)
    return SettleRecord(run, head, stored, tokens, result)


async def failed(
    run: JobRun,
    error: BaseException,
    strategies: Mapping[str, BackoffStrategy],
    limiter_ms: int,
    letter_of: Callable[[JobRun, str], bytes],
) -> SettleRecord:
    """Build the record of a failed attempt: reason, attempts allowed, backoff, a dead letter for the last one."""
    job, options = run.job, run.job.options
    reason, allowed, backoff = reason_of(error), options.attempts, 0
    if isinstance(error, UnrecoverableError) or job.discarded:
        allowed = 0
    elif isinstance(error, RateLimitError):
        # Always retries, whatever attempts are left, and consumes one: so on both sides of the wire.
        reason, allowed = "rate limited", job.attempts_made + 2
        backoff = rate_limit_ms(error, limiter_ms)
    elif options.backoff is not None and allowed > job.attempts_made + 1:
        backoff = await backoff_ms(options.backoff, job.attempts_made + 1, error, strategies)
    tokens = reported_tokens(run)
    stored = reason.encode()
    letter = b"" if allowed > job.attempts_made + 1 else letter_of(run, reason)
    head = settle_head(
        run,
        stored,
        "f",
        str(allowed),
        str(backoff),
        retention_rule(options.remove_on_fail),
        "1" if b'"fallbacks"' in job.fields.get("opts", b"") else "",
        str(tokens or ""),
        ledger_head(run, error),
        _seen(job.fields) + (f"d{len(letter)}" if letter else ""),
    )
    ran_ms = max(0, job._context.now_ms() - run.started_ms)
    return SettleRecord(run, head, stored, tokens, error=error, duration_ms=ran_ms, letter=letter)


def settle_head(run: JobRun, stored: bytes, *words: str) -> str:
    """Write the head of a run that has ended, as the exchange function takes it.

    Without words it is that of a plain success, with one that of a success with a retention rule or, behind a dot, with
    what its end has to look at.
    """
    rest = "\x1f".join(words)
    return f"{run.job.id}\x1f{run.entry}\x1f{run.processed_on}\x1f{len(stored)}\x1f{rest}\x1e"


def _seen(fields: Mapping[str, bytes]) -> str:
    """What a run knows of its job that its end has to look at.

    An ordering key (`g`), a parent (`p`), a scheduler that waits for it (`s`), steps that were kept (`k`).
    """
    if fields.keys().isdisjoint(_MARKED):  # nearly always: asked at every end
        return ""
    return "".join([mark for name, mark in _MARKS if name in fields])


def rate_limit_ms(error: RateLimitError, limiter_ms: int) -> int:
    """Milliseconds that a provider's limit asks to wait: what the error says, else the limiter's window, else 1000."""
    said = error.delay_ms
    if isinstance(said, (int, float)) and 0 <= said < _LONGEST_BACKOFF_MS:
        return math.ceil(said)
    return limiter_ms or 1_000


def reported_tokens(run: JobRun) -> int:
    """Tokens this run reported, rounded up: what the token limits count, whatever became of the run."""
    if not run.reported:
        return 0
    usage = run.job.usage
    total = usage.total_tokens if usage is not None and usage.total_tokens is not None else 0
    return math.ceil(max(total, parse_number(run.job.fields.get("tpmTokens")) or 0))


def reason_of(error: BaseException) -> str:
    """Text stored as `failedReason`: the error's message, or its class when it has none."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a foreign exception may fail at anything, also at naming itself
        text = ""
    text = text or type(error).__name__
    if isinstance(error, SystemExit) and text.isdigit():
        text = f"SystemExit: {text}"  # a bare number would say nothing
    return text.encode("utf-8", "replace").decode("utf-8")[:_REASON_CAP]


def abort_error(run: JobRun) -> GlideMQError:
    """Error of a run that was stopped from outside."""
    if run.abort_reason == "timeout":
        return JobTimeoutError("Job timeout exceeded", job_id=run.job.id)
    return JobRevokedError("revoked", job_id=run.job.id)


def lost_error(run: JobRun) -> JobLostError:
    """Error of a run that does not own its job any more."""
    job = run.job
    return JobLostError(
        f"job '{job.ref}' is not owned by this run any more; its outcome was not recorded",
        queue=job.queue,
        job_id=job.id,
    )


async def backoff_ms(
    backoff: Backoff, failures: int, error: BaseException, strategies: Mapping[str, BackoffStrategy]
) -> int:
    """Milliseconds to wait after the `failures`-th failed attempt; a registered strategy wins over a built-in name."""
    strategy = strategies.get(backoff.type)
    if strategy is not None:
        answer = strategy(failures, error)
        wait = float(to_ms(await answer if inspect.isawaitable(answer) else answer, "backoff"))
    elif backoff.type == "exponential":
        wait = float(backoff.delay) * 2.0 ** min(failures - 1, 60)
    else:
        wait = float(backoff.delay)
    if backoff.jitter and backoff.jitter > 0:
        wait += random.random() * backoff.jitter * wait
    return int(min(round(wait), _LONGEST_BACKOFF_MS))


def retention_rule(value: bool | int | Retention | None) -> str:
    """Retention as the settle function reads it: "" keep, "all", "n:<count>", "a:<age s>:<count>"."""
    if value is None or value is False:
        return ""
    if value is True:
        return "all"
    if isinstance(value, Retention):
        age, count = value.age_seconds or 0, value.count or 0
        return f"a:{age}:{count}" if age or count else ""
    return f"n:{value}" if value > 0 else ""


def ledger_head(run: JobRun, error: BaseException | None = None) -> str:
    """Who ran which attempt, and what it failed with, for the ledger entry of its end."""
    job = run.job
    facts = {
        "started": run.started_ms,
        "attempt": job.attempts_made,
        "fallback": job.fallback_index,
        "worker": run.worker,
    }
    return json.dumps(facts if error is None else facts | error_facts(error), separators=(",", ":"))


def _has_history(fields: dict[str, bytes]) -> bool:
    """Whether an earlier run of the job may have left a ledger."""
    return fields.get("attemptsMade", b"0") != b"0" or "suspendedAt" in fields or "usage:bucketTs" in fields
