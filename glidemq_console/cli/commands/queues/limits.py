"""`limits`: what holds queues back, and setting what a queue itself allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ....text.format import UNKNOWN, countdown, full, window
from ... import options
from ...option_types import rate as parse_rate
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.options.job import Actor
    from glidemq_core.records import Group, Limits, Rate

#: Jobs at once beyond this are no cap.
_MOST_JOBS = 1_000_000


@command("limits")
async def limits(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    rpm: Annotated[str | None, option("--rpm", "N/DUR", "Start at most N jobs in this time.")] = None,
    no_rpm: Annotated[bool, Option("--no-rpm", help="Lift the queue's cap on starts.")] = False,
    concurrency: Annotated[
        int | None,
        option("--concurrency", "N", "Run at most N jobs at once; 0: no cap.", min=0, max=_MOST_JOBS),
    ] = None,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Show starts, tokens, jobs at once and ordering groups of queues, or set what one queue allows."""
    require(rpm is None or not no_rpm, "--rpm and --no-rpm exclude each other")
    wanted = options.merged(names, queue)
    if rpm is None and not no_rpm and concurrency is None:
        await _show_all(session, wanted)
        return 0
    require(len(wanted) == 1, "--rpm, --no-rpm and --concurrency need one QUEUE")
    start_cap = None if rpm is None else parse_rate(rpm)
    actor = session.actor(by, comment)
    return await _set(session, wanted[0], start_cap, no_rpm, concurrency, actor)


async def _set(
    session: Session,
    name: str,
    start_cap: tuple[int, int] | None,
    no_rpm: bool,
    concurrency: int | None,
    actor: Actor,
) -> int:
    from glidemq_console.text.audit import concurrency_cap, starts_cap
    from glidemq_core.jobs import admin
    from glidemq_core.options.job import RateLimit
    from glidemq_core.records import OperationResult

    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "limits")
    context = await source.context()
    outcomes = []
    if start_cap is not None or no_rpm:
        limit = RateLimit(*start_cap) if start_cap is not None else None
        outcome = await admin.set_global_rate_limit(context, limit, actor=actor)
        outcomes.append((outcome, starts_cap(*(start_cap or (None, None)))))
    if concurrency is not None:
        outcome = await admin.set_global_concurrency(context, concurrency, actor=actor)
        outcomes.append((outcome, concurrency_cap(concurrency)))
    return session.results(
        [
            OperationResult(queue=name, action="limits", ok=True, outcome=outcome, message=words)
            for outcome, words in outcomes
        ]
    )


async def _show_all(session: Session, wanted: tuple[str, ...]) -> None:
    found, _ = await session.chosen_queues(wanted)
    watch = await session.watch()
    rows = await watch.limits(found)
    at_ms = time.time_ns() // 1_000_000
    out = session.out
    if session.json:
        out.record({"limits": rows, "at_ms": at_ms})
        return
    if not rows:
        out.note(f"no queues on {session.address}")
        return
    headers = ["QUEUE", "STARTS", "RESETS", "TOKENS", "RESETS", "RUNNING", "GROUPS"]
    out.table(headers, [_row(session, one, at_ms) for one in rows])
    for one in rows:
        _show_groups(session, one, at_ms)


def _row(session: Session, one: Limits, at_ms: int) -> list[str]:
    running = full(one.global_concurrency.used)
    if one.global_concurrency.max is not None:
        running += f" of {full(one.global_concurrency.max)}"
    groups = UNKNOWN if one.groups_total is None else full(one.groups_total)
    return [
        session.out.safe(one.queue, 40),
        *_meter(one.rpm, at_ms),
        *_meter(one.tpm, at_ms),
        running,
        groups,
    ]


def _meter(rate: Rate, at_ms: int) -> tuple[str, str]:
    """Used of the cap in its window, and the time to its end."""
    resets = countdown(rate.resets_at, at_ms)
    if rate.used is None and rate.max is None:
        return UNKNOWN, UNKNOWN
    if rate.max is None:
        return f"{full(rate.used)}, cap unknown", resets
    length = f" in {window(rate.window_ms)}" if rate.window_ms else ""
    whose = " (worker)" if rate.source == "worker" else ""
    return f"{full(rate.used)} of {full(rate.max)}{length}{whose}", resets


def _show_groups(session: Session, one: Limits, at_ms: int) -> None:
    out = session.out
    if not one.groups:
        return
    out.line()
    more = (one.groups_total or 0) - len(one.groups)
    out.line(f"ordering groups of {out.safe(one.queue, 40)}{f' ({more} more)' if more > 0 else ''}:")
    headers = ["KEY", "RUNNING", "WAITING", "STARTS", "COST LEFT", "GOES ON IN"]
    out.table(headers, [_group(session, group, at_ms) for group in one.groups], right=["WAITING"])


def _group(session: Session, group: Group, at_ms: int) -> list[str]:
    running = full(group.active) + (f" of {group.max_concurrency}" if group.max_concurrency else "")
    bucket = UNKNOWN if group.capacity is None else f"{full(group.tokens)} of {full(group.capacity)}"
    return [
        session.out.safe(group.key, 40),
        running,
        full(group.waiting),
        UNKNOWN if group.rate is None else _meter(group.rate, at_ms)[0],
        bucket,
        countdown(group.resume_at, at_ms),
    ]
