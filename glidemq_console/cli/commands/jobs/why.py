"""`why`: why a job is not running, or what holds a queue back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ... import options
from ...program import command
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core import Blocker


@command("why")
async def why(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="JOB|QUEUE", help="A job as QUEUE:ID, or a queue.")],
    queue: options.JobQueue = None,
) -> None:
    """Tell why a job is not running, or what holds a queue back, the most decisive cause first."""
    out, watch = session.out, await session.watch()
    if queue is None and ":" not in name:
        await session.existing_queue(name)
        found = await watch.why(name)
    else:
        ref = await session.job_ref(name, queue)
        found = await watch.why(ref.queue, ref.id)
    if session.json:
        out.record({"why": found})
        return
    state = f" is {out.safe(found.state)}" if found.state else ""
    out.line(f"{out.safe(found.job or found.queue, 256)}{state}")
    for blocker in found.blockers:
        _show(session, blocker)
    if not found.blockers:
        out.line("nothing holds it back")


def _show(session: Session, blocker: Blocker) -> None:
    from glidemq_console.text.format import age, countdown

    out, now_ms = session.out, time.time() * 1_000
    times = []
    if blocker.since_at is not None:
        times.append(f"since {age(blocker.since_at.timestamp() * 1_000, now_ms)}")
    if blocker.clears_at is not None:
        times.append(f"clears in {countdown(blocker.clears_at.timestamp() * 1_000, now_ms)}")
    when = f" ({', '.join(times)})" if times else ""
    out.line(f"  {blocker.kind.replace('_', ' ')}: {out.safe(blocker.summary, 300)}{when}")
    if blocker.command is not None:
        out.line(f"      {out.safe(blocker.command, 200)}")
