"""Report what a job used, in one call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import timedelta
from functools import reduce
from operator import add
from typing import Any, TypedDict, Unpack

from ...errors import LockBusyError
from ...jobs.active_run import RunCalls
from ...jobs.registry import register_usage
from ...options.fields import Duration, flag, refuse, text, to_ms
from ...options.types import check_names
from ...records import Usage
from ...records.usage import USAGE_FIELDS, event_text, hash_text, usage_json
from ...server.context import QueueContext
from ...wire.numbers import number_text

#: How often a call is tried while a Node client holds the report lock of a job, and the pause between two tries (s):
#: the numbers are Node's.
_LOCK_TRIES = 200
_LOCK_PAUSE = 0.025

#: Attribute of `Usage` by every name that a report may use for it.
_NAMES = (
    {field.wire: field.name for field in USAGE_FIELDS}
    | {field.name: field.name for field in USAGE_FIELDS}
    | {"latency": "latency_ms"}
)
_WIRE = {field.name: field.wire for field in USAGE_FIELDS}


class UsageKeywords(TypedDict, total=False):
    """The keywords of a report: the fields of `Usage`, the latency in ms or as a timedelta."""

    model: str | None
    provider: str | None
    tokens: Mapping[str, float] | None
    total_tokens: float | None
    costs: Mapping[str, float] | None
    total_cost: float | None
    cost_unit: str | None
    latency: Duration | float | None
    cached: bool | None


def _number(value: Any, option: str, message: str) -> int | float:
    """Check that a value is a finite number, at least 0; text and booleans are not numbers."""
    is_valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        is_valid = is_valid and math.isfinite(value) and value >= 0
    except OverflowError:  # an int that no double holds
        is_valid = False
    if not is_valid:
        refuse(option, value, "a finite number, at least 0", message)
    number: int | float = abs(value)  # -0.0 is 0.0
    return number


def _amounts(value: Any, option: str, what: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        refuse(option, value, "a mapping of category to number")
    return {
        text(name, option): _number(n, option, f"{what} for '{name}' must be a finite non-negative number")
        for name, n in value.items()
    }


def _checked_report(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check a report and fill in totals; fields that were not given, or are empty text, are left out.

    Raises:
        InvalidOptionError: a number that is negative, not finite or text; an unknown field.
    """
    report: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _WIRE:
            refuse("usage", name, ", ".join(_WIRE), f"a usage report has no field {name!r}")
        if value is not None and value != "":
            report[name] = value
    for name in ("model", "provider", "cost_unit"):
        if name in report:
            text(report[name], name)
    for kind, total, what in (("tokens", "total_tokens", "Token count"), ("costs", "total_cost", "Cost")):
        if kind in report:
            report[kind] = _amounts(report[kind], kind, what)
            if report[kind] and total not in report:
                # In the order given, without the compensation of `sum`: Node clients add that way.
                report[total] = reduce(add, report[kind].values())
        if total in report:
            message = f"{_WIRE[total]} must be a finite non-negative number"
            report[total] = _number(report[total], total, message)
    if isinstance(latency := report.get("latency_ms"), (timedelta, str)):
        report["latency_ms"] = to_ms(latency, "latency")
    elif latency is not None:
        message = "latencyMs must be a finite non-negative number"
        report["latency_ms"] = _number(latency, "latency", message)
    if "cached" in report:
        flag(report["cached"], "cached")
    return report


def read_report(usage: Usage | Mapping[str, Any] | None, keywords: UsageKeywords) -> dict[str, Any]:
    """Merge a report with the keywords beside it; returns fields of `Usage` with totals, only what was given.

    Raises:
        InvalidOptionError: a number that is negative, not finite or text; an unknown field.
    """
    check_names(UsageKeywords.__annotations__, keywords)
    named: Mapping[str, Any] = keywords
    whole = usage_json(usage) if isinstance(usage, Usage) else {} if usage is None else usage
    if not isinstance(whole, Mapping):
        refuse("usage", usage, "a Usage or a mapping")
    given = {_NAMES.get(name, name): value for name, value in whole.items()}
    given |= {
        _NAMES[name]: named[name] for name in UsageKeywords.__annotations__ if named.get(name) is not None
    }
    return _checked_report(given)


async def report_usage(
    context: QueueContext,
    job_id: str,
    usage: Usage | Mapping[str, Any] | None = None,
    *,
    worker: str | None = None,
    calls: RunCalls | None = None,
    **keywords: Unpack[UsageKeywords],
) -> Usage | None:
    """Replace the usage report of a job, in one call; see `Job.report_usage`.

    Args:
        worker: id of the worker whose run reports, for the ledger.
        calls: calls of the run that reports; they are repeated through an outage.

    Returns:
        The report with totals, None if it is empty.

    Raises:
        InvalidOptionError, JobNotFoundError: nothing was written.
        LockBusyError: a Node client held the report lock for some 5 s.
        JobLostError: the job has ended or runs elsewhere.
    """
    report = read_report(usage, keywords)
    event = ",".join(f'"{_WIRE[name]}":{event_text(value)}' for name, value in report.items())
    columns = [hash_text(report[field.name]) if field.name in report else "" for field in USAGE_FIELDS]
    await _send_report(context, job_id, (*columns, "{" + event + "}", worker or ""), calls)
    return Usage(**report) if report else None


async def _send_report(
    context: QueueContext, job_id: str, words: tuple[str, ...], calls: RunCalls | None
) -> None:
    """Send an encoded report; wait while a Node client holds the report lock."""
    mark = "" if calls is None else calls.next_mark()

    async def send(_repeated: bool = False) -> bytes:
        await register_usage(context)
        for _ in range(_LOCK_TRIES):
            reply = await context.call("report_usage", job_id, context.now_ms(), *words, mark)
            if reply[0] != b"busy":
                break
            await asyncio.sleep(_LOCK_PAUSE)
        return bytes(reply[0])

    status = await (send() if calls is None else calls.repeat(send))
    if status == b"busy":
        lock = context.keys.usage_lock(job_id)
        raise LockBusyError("reportUsage lock timeout; try again", lock=lock)
    if status != b"ok":
        raise context.refusal(job_id, status)


async def report_tokens(
    context: QueueContext, job_id: str, count: float, calls: RunCalls | None = None
) -> None:
    """Report the tokens of a job to the token limiter; the latest call replaces those before.

    Raises:
        InvalidOptionError: negative or not finite.
        JobNotFoundError, JobLostError: nothing was written.
    """
    is_negative = isinstance(count, (int, float)) and not isinstance(count, bool) and count < 0
    rule = "not be negative" if is_negative else "be a finite non-negative number"
    value = _number(count, "count", f"Token count must {rule}")

    async def send(number: str = "") -> None:
        run = calls.processed_on if calls else ""
        [status] = await context.call("report_tokens", job_id, number_text(value), run, number)
        if status not in (b"ok", b"late"):  # late: a later call has replaced it already
            raise context.refusal(job_id, status)

    await (send() if calls is None else calls.replace("tokens", send))
