"""`events`: what happens in queues, as it happens."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from ....text.format import clock
from ... import options
from ...broken_pipe import reader_gone
from ...errors import UsageProblem
from ...option_types import duration, some_text
from ...options import option
from ...program import command, unless
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import QueueEvent

#: Events printed by --no-follow by default.
DEFAULT_LIMIT = 100
_ENTRY_ID = re.compile(r"\d{13,20}(-\d{1,20})?", re.ASCII)


def _start(text: str) -> str:
    """Turn `--from` into the id after which to read."""
    if text in ("start", "now"):
        return {"start": "0", "now": "$"}[text]
    if _ENTRY_ID.fullmatch(text):
        return text
    try:
        return f"{max(0, time.time_ns() // 1_000_000 - duration(text))}-0"
    except BadParameter:
        raise UsageProblem(f"--from '{text}': say start, now, an entry id, or how long ago (5m)") from None


@command("events", limit=unless("follow"))
async def events(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    start: Annotated[
        str | None, option("--from", "start|now|ID|DUR", "Where to begin; DUR is how long ago.")
    ] = None,
    types: Annotated[list[str] | None, option("--type", "T", "Only such events; may be repeated.")] = None,
    job: Annotated[str | None, option("--job", "JOB", "Only events of this job.", some_text)] = None,
    limit: Annotated[int | None, option("--limit", "N", "Stop after N events.", min=1)] = None,
    follow: Annotated[
        bool, Option("--follow/--no-follow", help="Follow, or print the latest that are there.")
    ] = True,
) -> None:
    """Print events of queues live, one a line."""
    wanted = options.merged(names, queue)
    job_id = None
    if job is not None:
        ref = await session.job_ref_in(job, wanted)
        wanted, job_id = (ref.queue,), ref.id
    found, _ = await session.chosen_queues(wanted)
    chosen = frozenset(types) if types else None

    after = _start(start or "now")

    def fits(event: QueueEvent) -> bool:
        return (chosen is None or event.event in chosen) and (job_id is None or event.job_id == job_id)

    if not follow:
        from glidemq_core.jobs.events.history import events_after, latest_events

        connection = await session.connection()
        if start is None:
            stored = await latest_events(connection, found, limit=limit or DEFAULT_LIMIT, fits=fits)
        else:
            stored = await events_after(connection, found, after, limit=limit, fits=fits)
        for event in stored:
            _print(session, event)
        if not stored and not session.json:
            session.out.note("no such events are kept")
        return
    printed = 0
    watch = await session.watch()
    async with reader_gone():
        async for event in watch.events(wanted or None, start=after, types=tuple(chosen) if chosen else None):
            if fits(event):
                _print(session, event)
                printed += 1
                if printed == limit:
                    return


def _print(session: Session, event: QueueEvent) -> None:
    out = session.out
    if session.json:
        out.record(event)
        return
    import json

    subject = f"{event.queue}:{event.job_id}" if event.job_id else event.queue
    facts = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in event.data.items()
    )
    gap = "(events before this were lost) " if event.gap else ""
    out.line(f"{clock(event.at)}  {out.safe(f'{gap}{event.event} {subject} {facts}'.rstrip(), 400)}")
