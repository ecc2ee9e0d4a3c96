"""`workers`, `usage`: who works, and what it cost."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Option

from ....text.format import UNKNOWN, clock, count, duration, full
from ... import options
from ...option_types import instant, positive_duration
from ...options import option
from ...program import command, require
from ...session import Session
from ..jobs.read import show_rows

if TYPE_CHECKING:
    from glidemq_core.records import Totals, UsageGroups, UsageSummary, WorkerInfo
    from glidemq_core.records.outcomes import UsageKey

DEFAULT_WINDOW_MS = 3_600_000
#: Models a line names, those with the most jobs.
_MODELS = 4
#: Jobs that have ended which `--by` looks at.
_ENDED = 20_000
#: What usage is added up by.
UsageBy = StrEnum("UsageBy", ["queue", "model", "flow", "job"])


@command("workers")
async def workers(session: Session, names: options.Queues = None, queue: options.QueueOption = None) -> None:
    """Show live workers and what they run, and stalled jobs."""
    found, _ = await session.chosen_queues(options.merged(names, queue))
    listed = await (await session.watch()).workers(found)
    out = session.out
    if session.json:
        from glidemq_core.records import to_json

        out.object(
            {
                "workers": to_json(listed.workers),
                "stalled": out.masked(to_json(listed.stalled)),
                "complete": listed.complete,
                "at_ms": to_json(listed.at),
            }
        )
        return
    if listed.workers:
        rows = [_worker_row(session, worker) for worker in listed.workers]
        headers = ["QUEUE", "WORKER", "HOST", "PID", "UP", "JOBS", "LANGUAGE", "RUNNING"]
        out.table(headers, rows, right=["PID", "UP", "JOBS"])
    else:
        out.note("no live workers")
    if not listed.complete:
        out.note("not all keys were looked at: a node worker that has not asked for a job yet may be missing")
    if listed.stalled:
        out.line()
        out.line("stalled jobs:")
        show_rows(session, listed.stalled)


def _worker_row(session: Session, worker: WorkerInfo) -> list[str]:
    out = session.out
    slots = f"{worker.active_jobs}/{worker.concurrency}" if worker.concurrency else count(worker.active_jobs)
    running = ", ".join(out.safe(job.id, 24) for job in (worker.jobs or ())[:4]) or UNKNOWN
    language = out.safe(worker.language, 12) + (f" {out.safe(worker.version, 16)}" if worker.version else "")
    return [
        out.safe(worker.queue, 40),
        out.safe(worker.id, 40) + (" (paused)" if worker.paused else ""),
        out.safe(worker.host, 30),
        str(worker.pid),
        duration(worker.age_ms),
        slots,
        language,
        running,
    ]


@command("usage")
async def usage(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    window: Annotated[
        int | None, option("--window", "DUR", "The latest so long (1h).", positive_duration)
    ] = None,
    since: Annotated[int | None, option("--since", "I", "From: ISO 8601, epoch ms, or ago.", instant)] = None,
    until: Annotated[int | None, option("--until", "I", "To: ISO 8601, epoch ms, or ago.", instant)] = None,
    by_minute: Annotated[bool, Option("--by-minute", help="Minute by minute too.")] = False,
    by: Annotated[
        UsageBy | None, Option("--by", help="Add up jobs that have ended by this.", show_choices=True)
    ] = None,
    top: Annotated[int, option("--top", "N", "With --by: the N dearest.", min=1, max=10_000)] = 100,
) -> None:
    """Show tokens and cost, in all and by queue, or by model, flow and job."""
    require(by is None or until is None, "--by looks up to now: leave out --until")
    require(
        window is None or since is None or until is None, "--window, --since and --until: two of them at most"
    )
    wanted = await session.check_queues(options.merged(names, queue))
    end_ms = until if until is not None else time.time_ns() // 1_000_000
    if until is None and since is not None and window is not None:
        end_ms = since + window
    start_ms = since if since is not None else end_ms - (window or DEFAULT_WINDOW_MS)
    require(start_ms < end_ms, "the time asked for ends before it begins")
    watch = await session.watch()
    summary = await watch.usage(start_time=start_ms, end_time=end_ms, queues=wanted or None)
    minutes = None
    if by_minute:
        from glidemq_core.ai.usage.summary import get_usage_minutes

        connection = await session.connection()
        minutes = await get_usage_minutes(
            connection, start_time=start_ms, end_time=end_ms, queues=wanted or None
        )
    groups = None
    if by is not None:
        window = max(1, time.time_ns() // 1_000_000 - start_ms)
        found, complete = await session.chosen_queues(wanted)
        # The words of UsageBy are those of UsageKey.
        groups = await watch.usage_by(cast("UsageKey", by.value), found, window=window, limit=_ENDED, top=top)
        groups = replace(groups, complete=groups.complete and complete)
    if session.json:
        session.out.object(_usage_object(summary, minutes, groups))
    elif groups is not None:
        _show_groups(session, groups)
    else:
        _show_usage(session, summary, minutes)


def _usage_object(summary: UsageSummary, minutes: Any, groups: UsageGroups | None) -> dict[str, Any]:
    from glidemq_core.records import Totals, to_json

    total = {key: to_json(getattr(summary, key)) for key in to_json(Totals())}
    return {
        "from_ms": to_json(summary.start_at),
        "to_ms": to_json(summary.end_at),
        "bucket_ms": summary.bucket_ms,
        "total": total,
        "queues": to_json(summary.per_queue),
        "minutes": to_json(minutes),
        "groups": to_json(groups.groups) if groups is not None else None,
        "jobs_read": groups.jobs_read if groups is not None else None,
        "complete": groups.complete if groups is not None else None,
    }


def _show_groups(session: Session, groups: UsageGroups) -> None:
    """Write the groups as the console shows them, the dearest first, and how far it was looked."""
    out = session.out
    if groups.groups:
        rows = [
            [
                *_usage_row(session, out.safe(group.key, 60), group),
                UNKNOWN if group.wasted_cost is None else out.money(group.wasted_cost, group.cost_unit),
            ]
            for group in groups.groups
        ]
        headers = [groups.by.upper(), "JOBS", "TOKENS", "COST", "MODELS", "WASTED"]
        out.table(headers, rows, right=["JOBS", "TOKENS", "COST", "WASTED"])
    else:
        out.note("no job that ended in this time reported usage")
    if not groups.complete:
        out.note(f"looked at the newest {groups.jobs_read:,} jobs that have ended")


def _show_usage(session: Session, summary: UsageSummary, minutes: Any) -> None:
    out = session.out
    headers = ["QUEUE", "JOBS", "TOKENS", "COST", "MODELS"]
    rows = [
        _usage_row(session, out.safe(name, 40), totals) for name, totals in sorted(summary.per_queue.items())
    ]
    if not rows:
        out.note("no usage reported in this time")
        return
    rows.append(_usage_row(session, "all", summary))
    out.table(headers, rows, right=["JOBS", "TOKENS", "COST"])
    if minutes:
        out.line()
        by_minute = [_usage_row(session, clock(minute.at), minute) for minute in minutes]
        out.table(["MINUTE", *headers[1:]], by_minute, right=["JOBS", "TOKENS", "COST"])


def _usage_row(session: Session, label: str, totals: Totals) -> list[str]:
    out = session.out
    by_jobs = sorted(totals.models.items(), key=lambda item: (-item[1], item[0]))
    models = ", ".join(out.safe(f"{name} {number:g}", 40) for name, number in by_jobs[:_MODELS])
    models += f", {len(by_jobs) - _MODELS} more" if len(by_jobs) > _MODELS else ""
    cost = out.money(totals.total_cost, totals.cost_unit)
    return [label, full(totals.job_count), full(totals.total_tokens), cost, models]
