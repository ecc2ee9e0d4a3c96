"""What failed: failures gathered by cause, and dead letters, the copies that workers leave of exhausted jobs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..options.job import JobRef
from ..wire.strict_json import compact_json
from .base import answer

#: Characters of a message that are looked at.
_LOOKED_AT = 2_000
#: What differs between two messages of one cause. Each part is bounded, so that no text takes long.
_VARYING = re.compile(
    r"""
      (?<!\w)'[^'\n]{0,200}'(?!\w) | "[^"\n]{0,200}" | `[^`\n]{0,200}`
    | \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
    | \b0x[0-9a-f]+\b
    | \b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,64}\b
    | [0-9]+(?:[.,:][0-9]+)*
    """,
    re.VERBOSE | re.IGNORECASE,
)


@answer
class FailureGroup:
    """Failed jobs of a queue with one error.

    Args:
        key: names the group in `retry --group`; the same as long as queue, error type and message pattern are.
        message: text of the error, `#` for what differs from job to job.
        models: jobs by the model that ran last.
        names: jobs by name.
        wasted_cost: what their last attempts reported, in the cost unit of the group's newest job; None if nothing.
        sample: newest members, at most ten.
    """

    key: str
    queue: str
    error_type: str | None
    message: str
    count: int
    first_at: datetime
    last_at: datetime
    models: dict[str, int]
    names: dict[str, int]
    wasted_cost: float | None
    sample: tuple[JobRef, ...]


@answer
class Failures:
    """Groups of failures, the largest first. `complete`: every failure since then was looked at."""

    groups: tuple[FailureGroup, ...]
    jobs_read: int
    complete: bool
    at: datetime


def message_pattern(message: str, job_id: str = "") -> str:
    """Return a message with numbers, hex, UUIDs, quoted parts and the job's id replaced by `#`."""
    text = " ".join(message[:_LOOKED_AT].split())
    if job_id:
        text = re.sub(rf"(?<!\w){re.escape(job_id)}(?!\w)", "#", text)
    return _VARYING.sub("#", text)


def failure_key(queue: str, error_type: str | None, message: str, job_id: str = "") -> str:
    """Return the key of the group of failures that an error belongs to.

    Args:
        queue: queue of the failed job.
        error_type: class name of the error; None where a worker kept none.
        message: the error's text.
        job_id: the job's id, which may stand in the text.
    """
    named = compact_json([queue, error_type, message_pattern(message, job_id)])
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@answer
class DeadLetter:
    """One letter. `queue` and `id` are its own, `origin` is the job that failed.

    Args:
        data: payload of that job when it failed.
        attempts_made: attempts before the last one.
        failed_at: when the letter was written.
        replays: how often its job was put back from a letter.
    """

    queue: str
    id: str
    origin: JobRef | None
    name: str
    data: Any
    failed_reason: str | None
    attempts_made: int
    failed_at: datetime | None
    replays: int = 0

    @property
    def ref(self) -> JobRef:
        """Return the letter's own place."""
        return JobRef(self.queue, self.id)


@answer
class Letters:
    """Dead letters, newest first.

    Args:
        total: jobs in the queues of letters; other jobs that somebody added there are counted too.
        complete: no letter was left out.
    """

    letters: tuple[DeadLetter, ...]
    total: int
    complete: bool
    at: datetime


def envelope(
    origin: JobRef, data: Any, *, failed_reason: str, attempts_made: int, replays: int
) -> dict[str, Any]:
    """Return the payload of a letter, its keys in the order in which peers write them."""
    content: dict[str, Any] = {
        "originalQueue": origin.queue,
        "originalJobId": origin.id,
        "data": data,
        "failedReason": failed_reason,
        "attemptsMade": attempts_made,
    }
    return {**content, "replays": replays} if replays else content


def is_letter(payload: Any) -> bool:
    """Tell whether a payload is that of a letter."""
    return (
        isinstance(payload, Mapping)
        and isinstance(payload.get("originalQueue"), str)
        and isinstance(payload.get("originalJobId"), str)
    )


def count_of_replays(value: Any) -> int:
    """Read a count of replays as stored; 0 for anything that is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def letter_of(ref: JobRef, name: str, content: Any, failed_at: datetime | None) -> DeadLetter | None:
    """Return the letter that a job is by its payload; None for any other job."""
    if not is_letter(content):
        return None
    attempts = content.get("attemptsMade")
    reason = content.get("failedReason")
    return DeadLetter(
        queue=ref.queue,
        id=ref.id,
        origin=JobRef(content["originalQueue"], content["originalJobId"]),
        name=name,
        data=content.get("data"),
        failed_reason=reason if isinstance(reason, str) else None,
        attempts_made=attempts if isinstance(attempts, int) and not isinstance(attempts, bool) else 0,
        failed_at=failed_at,
        replays=count_of_replays(content.get("replays")),
    )
