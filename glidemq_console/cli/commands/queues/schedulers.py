"""`schedulers`, `scheduler set|remove|run`: what makes jobs by the clock, and changing it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from ....text.format import age, countdown, full
from ... import options
from ...errors import Exit
from ...option_types import instant, json_argument, json_object, positive_duration
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.queue import Queue
    from glidemq_core.schedules.entry import Scheduler
    from glidemq_core.server.context import QueueContext


#: What to do with a scheduler.
Action = StrEnum("Action", ["set", "remove", "run"])


@command("schedulers")
async def schedulers(
    session: Session, names: options.Queues = None, queue: options.QueueOption = None
) -> None:
    """Show schedulers: when they run, how often they did, and runs that nobody made."""
    found, _ = await session.chosen_queues(options.merged(names, queue))
    watch = await session.watch()
    rows = await watch.all_schedulers(found)
    at_ms = time.time_ns() // 1_000_000
    out = session.out
    if session.json:
        out.record({"schedulers": rows, "at_ms": at_ms})
        return
    if not rows:
        out.note(f"no schedulers on {session.address}")
        return
    headers = ["QUEUE", "SCHEDULER", "JOB", "RUNS", "MADE", "LAST", "NEXT", "MISSED"]
    out.table(headers, [_row(session, one, at_ms) for one in rows], right=["MADE", "MISSED"])
    for one in rows:
        if one.problem is not None:
            out.note(out.safe(f"{one.queue}: scheduler '{one.name}' cannot run: {one.problem}", 400))


def _row(session: Session, one: Scheduler, at_ms: int) -> list[str]:
    safe = session.out.safe
    made = full(one.iteration_count) if one.limit is None else f"{one.iteration_count} of {full(one.limit)}"
    waits = one.next_at is None and one.repeat_after_complete_ms is not None
    return [
        safe(one.queue, 40),
        safe(one.name, 40),
        safe(one.job, 40),
        safe(one.described, 80),
        made,
        age(one.last_at, at_ms),
        "when its job ends" if waits else countdown(one.next_at, at_ms),
        full(one.missed) if one.missed else "",
    ]


Cron = Annotated[
    str | None,
    option("--cron", "EXPR", "Minute hour day month weekday (0 is Sunday); day and weekday must both match."),
]
Zone = Annotated[str | None, option("--tz", "TZ", "Time zone of --cron, as Europe/Berlin (UTC).")]
Every = Annotated[int | None, option("--every", "DUR", "At this interval.", positive_duration)]
AfterComplete = Annotated[
    int | None, option("--after-complete", "DUR", "This long after the last job ended.", positive_duration)
]
Start = Annotated[int | None, option("--start", "I", "No run before: ISO 8601 or epoch ms.", instant)]
End = Annotated[int | None, option("--end", "I", "No run after: ISO 8601 or epoch ms.", instant)]
Limit = Annotated[int | None, option("--limit", "N", "Jobs to make in all.", min=1)]
JobName = Annotated[str | None, option("--job", "NAME", "Name of the job to make (the scheduler's).")]
Opts = Annotated[str | None, option("--opts", "JSON", "Its options as stored: attempts, priority, ... (ms).")]


@command("scheduler")
async def scheduler(
    session: Session,
    action: Annotated[
        Action, Argument(help="set creates or changes; run adds a job now.", show_choices=True)
    ],
    queue_name: options.Queue = None,
    name: Annotated[str | None, Argument(metavar="NAME", help="The scheduler.")] = None,
    queue: options.QueueOption = None,
    cron: Cron = None,
    tz: Zone = None,
    every: Every = None,
    after_complete: AfterComplete = None,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    job: JobName = None,
    data: options.Data = None,
    opts: Opts = None,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Set, remove or run a scheduler. Workers of the queue make its jobs."""
    if queue:
        # With -q the only argument left is the name.
        require(name is None or queue_name is None, "name the queue once: as QUEUE or with --queue")
        name, queue_name = name or queue_name, None
    source, actor = await session.queue(options.one_queue(queue_name, queue)), session.actor(by, comment)
    require(name and name.strip(), f"NAME is missing: glidemq scheduler {action} QUEUE NAME")
    name = str(name)
    modes = [value for value in (cron, every, after_complete) if value is not None]
    if action is Action.set:
        require(len(modes) == 1, "say when: one of --cron, --every and --after-complete")
        require(not (data == "-" and opts == "-"), "--data and --opts cannot both read standard input")
        timing = {
            "pattern": cron,
            "every": every,
            "repeat_after_complete": after_complete,
            "tz": tz,
            "start_date": start,
            "end_date": end,
            "limit": limit,
        }
        await _set(source, name, timing, template=_template(job, data, opts), actor=actor)
        return await _show_set(session, source, name)
    others = [value for value in (tz, start, end, limit, job, data, opts) if value is not None]
    require(not modes and not others, f"{action} takes no schedule and no job: leave out the other options")
    if action is Action.run:
        return _show_run(session, source.name, (await source.run_job_scheduler(name, actor=actor)).id)
    quoted = f"'{session.out.safe(name)}' of queue '{session.out.safe(source.name)}'"
    session.confirm(f"Remove scheduler {quoted}? Its jobs stay.", yes)
    return _show_removed(session, source.name, name, await source.remove_job_scheduler(name, actor=actor))


async def _set(source: Queue[Any, Any], name: str, timing: dict[str, Any], **job: Any) -> None:
    """Set a scheduler; what is refused is told by the names of the options."""
    from glidemq_core.errors import InvalidOptionError

    try:
        await source.upsert_job_scheduler(name, **timing, **job)
    except InvalidOptionError as error:
        told = error.message.replace("start_date", "--start").replace("end_date", "--end")
        raise InvalidOptionError(
            told, option=error.option, value=error.value, allowed=error.allowed
        ) from None


def _template(job: str | None, data: str | None, opts: str | None) -> Any:
    from glidemq_core.options.job import JobOptions, JobTemplate

    if job is None and data is None and opts is None:
        return None
    return JobTemplate(
        name=job,
        data=json_argument(data, "--data") if data is not None else None,
        options=JobOptions.from_json(json_object(opts, "--opts")) if opts is not None else None,
    )


async def _show_set(session: Session, source: Queue[Any, Any], name: str) -> int:
    watch = await session.watch()
    found = [one for one in await watch.all_schedulers((source.name,)) if one.name == name]
    if session.json:
        session.out.record({"scheduler": found[0] if found else None})
        return Exit.DONE
    for one in found:
        row = _row(session, one, time.time_ns() // 1_000_000)
        session.out.line(f"{row[0]}: scheduler {row[1]} set: {row[3]}, next in {row[6]}")
    return Exit.DONE


def _show_run(session: Session, queue: str, job_id: str) -> int:
    if session.json:
        job = {"queue": queue, "id": job_id, "created": True, "outcome": "created"}
        session.out.object({"job": job})
    else:
        session.out.line(f"{session.out.safe(queue)}:{session.out.safe(job_id, 256)} created")
    return Exit.DONE


def _show_removed(session: Session, queue: str, name: str, removed: bool) -> int:
    outcome = "removed" if removed else "not_found"
    return session.result(queue, "remove_scheduler", outcome, ok=removed, message=f"scheduler '{name}'")


async def warn_of_waiting_schedulers(
    session: Session, context: QueueContext, job_ids: Sequence[str] | None = None
) -> None:
    """Tell before jobs are removed which schedulers wait for the end of one of them, or of some job of the queue."""
    from glidemq_core.schedules.calls import waiting_schedulers

    for name in await waiting_schedulers(context, job_ids):
        whose = "its job" if job_ids is None else "one of these jobs"
        session.out.note(
            session.out.safe(
                f"warning: scheduler '{name}' of queue '{context.queue}' waits for the end of {whose}: "
                "if that is removed, the next run counts from now",
                400,
            )
        )
