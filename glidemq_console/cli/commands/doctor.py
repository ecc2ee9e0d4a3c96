"""`doctor`: what may be wrong with the server and its queues, and what mends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .. import options
from ..program import DEFAULT_TIMEOUT_MS, OWN, command
from ..session import Session

if TYPE_CHECKING:
    from glidemq_core.options.job import Actor
    from glidemq_core.records import Check, OperationResult

#: Queues looked at when none is named.
_MOST_QUEUES = 500
_MARKS = {"ok": "✓", "warn": "!", "fail": "✗", "skip": "–"}


@command("doctor", limit=OWN)
async def doctor(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    repair: Annotated[bool, Option("--repair", help="First mend what can be mended.")] = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Check server, permissions, workers and queues; changes nothing without --repair."""
    from glidemq_core import errors
    from glidemq_core.doctor import CHECKS, unreachable

    limit_ms = session.given.timeout or DEFAULT_TIMEOUT_MS
    actor = session.actor(by, comment) if repair else None
    try:
        async with asyncio.timeout(limit_ms / 1_000):
            checks, repairs = await _examine(session, options.merged(names, queue), actor)
    except (errors.InvalidOptionError, errors.QueueNotFoundError):
        raise
    except (TimeoutError, errors.GlideMQError) as error:
        problem = error if isinstance(error, errors.GlideMQError) else session.timed_out("doctor", limit_ms)
        # What is known is written to stdout all the same; the error decides the exit code.
        _show(session, unreachable(problem, CHECKS[1:]), [] if repair else None)
        raise problem from None
    _show(session, checks, repairs)
    return 1 if any(check.status == "fail" for check in checks) else 0


async def _examine(
    session: Session, wanted: tuple[str, ...], actor: Actor | None
) -> tuple[list[Check], list[OperationResult] | None]:
    """Mend in the name of `actor` if there is one, then look."""
    from glidemq_core.doctor import examine
    from glidemq_core.doctor import repair as mend

    connection = await session.connection()
    found, _ = await session.chosen_queues(wanted)
    if not wanted and len(found) > _MOST_QUEUES:
        session.out.note(f"only the first {_MOST_QUEUES} of {len(found)} queues are looked at; name others")
        found = found[:_MOST_QUEUES]
    watch = await session.watch()
    repairs = None if actor is None else await mend(connection, watch, found, actor)
    return await examine(connection, watch, found), repairs


def _show(session: Session, checks: list[Check], repairs: list[OperationResult] | None) -> None:
    out = session.out
    if session.json:
        more = {} if repairs is None else {"repairs": repairs}
        out.record({"ok": all(check.status != "fail" for check in checks), "checks": checks, **more})
        return
    for result in repairs or ():
        out.line(session.result_line(result, f"{result.action.replace('_', ' ')}: "))
    if repairs == []:
        out.line("nothing to repair")
    width = max(len(check.id) for check in checks)
    for check in checks:
        name = check.id.replace("_", " ").ljust(width)
        line = f"{_MARKS[check.status]} {check.status.ljust(4)}  {name}  {out.safe(check.summary, 300)}"
        out.line(out.dim(line) if check.status == "skip" else line)
        for detail in (check.detail or "").splitlines():
            out.line(" " * (width + 10) + out.safe(detail, 300))
        if check.fix:
            out.line(" " * (width + 10) + "fix: " + out.safe(check.fix, 400))
