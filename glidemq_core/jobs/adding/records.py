"""A job to add, as the add function of the server takes it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ...options.fields import depth_of_caller, refuse
from ...options.job import JobOptions, Ordering, millitokens
from ...options.types import none_given
from ...server.context import QueueContext
from ...wire import payload
from .links import in_reach, parent_keys

#: Jobs a server call: large enough to be fast, small enough not to hold the server for long.
BATCH = 250
BATCH_BYTES = 4_000_000

#: A job as words: id, name, data, opts, delay, priority, attempts, lifo, and what few jobs have.
Record = tuple[str, ...]

#: What follows id, name and data in the record of a job without options.
PLAIN = ("{}", "0", "0", "0", "", "")


def encode_job(
    context: QueueContext, name: str, data: Any, options: JobOptions, *, compression: str = "none"
) -> Record:
    """Turn one job into the arguments of the add function."""
    if not isinstance(name, str) or not _is_utf8(name):
        refuse("name", name, "text that UTF-8 can carry")
    encoded = payload.encode_data(data, context.serializer, compression=compression)
    if none_given(options) and not options.extra:
        return ("", name, encoded, *PLAIN)
    _warn_of_idle_fallbacks(options)
    return (
        options.job_id or "",
        name,
        encoded,
        options.to_wire(),
        str(options.delay),
        str(options.priority),
        str(options.attempts),
        "1" if options.lifo else "",
        _extra(context, options),
    )


def _warn_of_idle_fallbacks(options: JobOptions) -> None:
    steps = len(options.fallbacks or ())
    if not steps or 1 < options.attempts <= steps + 1:
        return
    if options.attempts <= 1:
        why = f"fallbacks without attempts never act: attempts={steps + 1} walks all of them"
    else:
        why = (
            f"attempts={options.attempts} is more than {steps + 1}, what a chain of {steps} needs: attempts from "
            f"number {steps + 2} on run without a fallback, that is with the first model again"
        )
    warnings.warn(why, RuntimeWarning, stacklevel=depth_of_caller())


def _is_utf8(text: str) -> bool:
    """Tell whether a text can be stored; half a surrogate pair cannot."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _extra(context: QueueContext, options: JobOptions) -> str:
    """What few jobs have, as the add function reads it."""
    extra: dict[str, Any] = {}
    if options.ordering is not None:
        extra["ordering"] = ordering_spec(options.ordering, millitokens)
    if options.cost:
        extra["cost"] = millitokens(options.cost)
    if options.ttl:
        extra["ttl"] = options.ttl
    dedup = options.deduplication
    if dedup is not None:
        extra["dedup"] = {"id": dedup.id, "mode": dedup.mode, "ttl": dedup.ttl or 0}
    if options.parent is not None:
        parent = options.parent
        extra["parent"] = {"id": parent.id, "queue": parent.queue}
        above = parent_keys(context, parent)
        if in_reach(context, above):
            extra["parent"]["root"] = above.root
    return json.dumps(extra, ensure_ascii=False) if extra else ""


def ordering_spec(ordering: Ordering, milli: Callable[[float], int]) -> dict[str, Any]:
    """Return the settings of a group as the server reads them; `milli` turns tokens into thousandths."""
    spec: dict[str, Any] = {"key": ordering.key, "concurrency": max(1, ordering.concurrency)}
    if ordering.rate_limit is not None:
        spec["rate"] = [ordering.rate_limit.max, ordering.rate_limit.duration]
    if ordering.token_bucket is not None:
        bucket = ordering.token_bucket
        spec["bucket"] = [milli(bucket.capacity), milli(bucket.refill_rate)]
    return spec


def is_plain(record: Record) -> bool:
    """Whether there is nothing to decide about a job: no option, no id of its own."""
    return not record[0] and record[3:] == PLAIN


async def add_records(
    context: QueueContext, now_ms: int, events: bool, records: Sequence[Record]
) -> list[list[bytes]]:
    """Send encoded jobs in one call, in order.

    Returns:
        One answer a job, as `add` and `add_plain` of the server give them. Fewer than jobs if one without options could
        not be added: neither that one nor those behind it were.
    """
    head = (now_ms, "1" if events else "")
    if all(map(is_plain, records)):
        words = [word.encode() for record in records for word in record[1:3]]
        lengths = ",".join([str(len(word)) for word in words])
        ids: bytes = await context.call("add_plain", *head, len(records), lengths, b"".join(words))
        return [[b"ok", job_id] for job_id in ids.split(b",")]
    packed = [(name, data, json.dumps([job_id, *rest])) for job_id, name, data, *rest in records]
    answers: list[list[bytes]] = await context.call("add", *head, *(word for job in packed for word in job))
    return answers
