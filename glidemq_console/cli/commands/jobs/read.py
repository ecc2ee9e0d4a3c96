"""`jobs` and `job`: the jobs of a queue, and one of them with everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import BadParameter, Option

from ....text.format import UNKNOWN, age, byte_size, clock, count, full, plural, took
from ... import options
from ...errors import Refusal
from ...option_types import job_filter
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import JobDetail, JobPage, JobRow, QueueSnapshot
    from glidemq_core.watch import Watch

STATES = (
    *("waiting", "active", "delayed", "prioritized", "suspended", "waiting-children", "group-waiting"),
    *("completed", "failed", "stalled"),
)
DEFAULT_LOGS = 100


def _state(text: str) -> str:
    name = text.replace("_", "-")
    if name not in STATES:
        raise BadParameter(f"'{text}' is no state: use one of {', '.join(STATES)}")
    return name


@command("jobs")
async def jobs(
    session: Session,
    queue_name: options.Queue = None,
    queue: options.QueueOption = None,
    state: Annotated[str | None, option("--state -s", "STATE", "Only these jobs.", _state)] = None,
    name: Annotated[str | None, option("--name", "TEXT", "Only jobs of this name.")] = None,
    where: Annotated[
        list[str] | None,
        option(
            "--where",
            "EXPR",
            "Only jobs that this filter takes: error:timeout age>1h; @NAME is a saved one.",
            job_filter,
        ),
    ] = None,
    scan: options.Scan = None,
    limit: Annotated[
        int, option("--limit", "N", "Jobs at most, up to 1000; then --cursor.", min=1, max=1_000)
    ] = 50,
    cursor: Annotated[str | None, option("--cursor", "C", "`next` of the page before.")] = None,
    newest: Annotated[bool, Option("--newest", help="Newest first.")] = False,
    oldest: Annotated[bool, Option("--oldest", help="Oldest first.")] = False,
) -> None:
    """List the jobs of a queue; without --state up to the limit of each state."""
    require(not (newest and oldest), "--newest and --oldest exclude each other")
    expression, filtered = " ".join(where or ()), name is not None or bool(where)
    require(cursor is None or state is not None or filtered, "--cursor continues one state: say --state too")
    require(scan is None or filtered, "--scan belongs to --where or --name")
    source = (await session.existing_queue(options.one_queue(queue_name, queue))).name
    watch = await session.watch()
    asked = _Asked(source, state, True if newest else False if oldest else None, limit, cursor)
    page = (
        await _scanned(watch, asked, expression, name, scan)
        if filtered
        else await watch.jobs(source, state, limit=limit, cursor=cursor, newest=asked.newest)
    )
    [snapshot] = (await watch.snapshot((source,))).queues
    unreadable = session.unreadable(snapshot)
    if session.json:
        from glidemq_core.records import to_json

        rows = session.out.masked(to_json(page.rows))
        session.out.object(
            {
                "queue": source,
                "state": state,
                "jobs": rows,
                "total": page.total,
                "looked": page.looked,
                "next": page.next,
            }
        )
    else:
        nothing = f"no {'such ' if filtered else ''}{state + ' ' if state else ''}jobs in {session.out.safe(source)}"
        _show_page(session, page, None if unreadable else nothing, filtered=filtered)
    if state is None and not filtered and not session.json and (cut := _cut_states(page, snapshot, limit)):
        session.out.note(f"{cut}: --limit shows more, --state STATE all")
    if unreadable:
        # What could be read stands on stdout all the same.
        raise Refusal(unreadable)


class _Asked(NamedTuple):
    """Which jobs of a queue are asked for."""

    queue: str
    state: str | None
    newest: bool | None
    limit: int
    cursor: str | None


async def _scanned(watch: Watch, asked: _Asked, where: str, name: str | None, most: int | None) -> JobPage:
    """Go through the jobs until enough match; return those in one page, each once."""
    rows: dict[str, JobRow] = {}
    looked = 0
    pages = watch.scan_jobs(
        asked.queue,
        where,
        state=asked.state,
        newest=asked.newest,
        cursor=asked.cursor,
        limit=asked.limit,
        most=most,
        name=name,
    )
    async for page in pages:
        rows.update((row.id, row) for row in page.rows)
        looked += page.looked
    return replace(page, rows=tuple(rows.values()), looked=looked)


def _show_page(session: Session, page: JobPage, nothing: str | None, *, filtered: bool) -> None:
    """Write the jobs and how to go on, or what to say when there are none."""
    if page.rows:
        show_rows(session, page.rows)
    elif nothing and page.next is None:
        session.out.note(nothing)
    if page.next is not None:
        looked = options.looked_words(len(page.rows), page.looked, page.total)
        found = f"{looked}, further" if filtered else "more"
        session.out.note(f"{found}: --cursor {session.out.safe(page.next, 200)}")


def _cut_states(page: JobPage, snapshot: QueueSnapshot, limit: int) -> str:
    """Tell of which states not all jobs are listed."""
    prioritized = snapshot.prioritized
    totals = {
        "waiting": snapshot.waiting,
        "active": snapshot.active,
        "delayed": None if prioritized is None else snapshot.delayed - prioritized,
        "prioritized": prioritized,
        "group-waiting": snapshot.group_waiting,
        "suspended": snapshot.suspended,
        "completed": snapshot.completed,
        "failed": snapshot.failed,
    }
    listed: Counter[str] = Counter(row.state for row in page.rows)
    words = []
    for state in (name for name in STATES if listed[name] >= limit):
        total = totals.get(state)
        if total is None:
            words.append(f"{state} {listed[state]:,} or more")
        elif total > listed[state]:
            words.append(f"{state} {listed[state]:,} of {total:,}")
    return ", ".join(words)


def _state_word(session: Session, row: JobRow) -> str:
    return "stalled" if row.stalled else session.out.safe(row.state, 20)


def show_rows(session: Session, rows: Any) -> None:
    """Write jobs as a table."""
    out = session.out

    headers = ["ID", "STATE", "NAME", "AGE", "RAN", "TRIES", "MODEL", "TOKENS", "COST", "WHY"]
    table = []
    for row in rows:
        tries = f"{row.attempts_made}/{row.max_attempts}" if row.max_attempts > 1 else str(row.attempts_made)
        why = row.suspend.reason if row.suspend else row.failed_reason if row.state == "failed" else None
        table.append(
            [
                out.safe(row.id, 40),
                _state_word(session, row),
                out.safe(row.name, 30),
                *_times(row),
                tries,
                out.safe(row.model, 24) if row.model else UNKNOWN,
                count(row.total_tokens),
                out.money(row.total_cost, row.cost_unit),
                out.safe(why, 60) if why else UNKNOWN,
            ]
        )
    out.table(headers, table, right=["AGE", "RAN", "TRIES", "TOKENS", "COST"])


def _times(row: JobRow) -> tuple[str, str]:
    """Age since it was added; how long its last run took or has taken."""
    now = datetime.now(UTC)
    added = age(row.created_at, now)
    end = row.finished_at or (now if row.state == "active" else None)
    if row.processed_at is None or end is None:
        return added, UNKNOWN
    return added, took((end - row.processed_at) / timedelta(milliseconds=1))


@command("job")
async def job(
    session: Session,
    name: options.Job,
    queue: options.JobQueue = None,
    logs: Annotated[int, option("--logs", "N", "Latest log lines.", min=0, max=100_000)] = 100,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Show one job: payload, options, attempts, usage, result, logs."""
    ref = await session.job_ref(name, queue)
    detail = await read_job(session, ref.queue, ref.id, logs=logs, max_bytes=max_bytes)
    if session.json:
        session.out.object({"job": job_object(session, detail)})
        if detail.left_out:
            session.out.note(f"left out, too long: {session.out.safe(', '.join(detail.left_out), 400)}")
    else:
        _show(session, detail)


async def read_job(
    session: Session, queue: str, job_id: str, *, logs: int = DEFAULT_LOGS, max_bytes: int | None = None
) -> JobDetail:
    """Read one job with its latest log lines.

    Raises JobNotFoundError.
    """
    limit = {} if max_bytes is None else {"payload_limit": max_bytes}
    detail = await (await session.watch()).job(queue, job_id, **limit)
    if detail is None:
        from glidemq_core.errors import JobNotFoundError

        exists = await (await session.queue(queue)).exists()
        where = "" if exists else f" (no queue '{queue}' on {session.address})"
        raise JobNotFoundError(f"job '{queue}:{job_id}' not found{where}", queue=queue, job_id=job_id)
    if len(detail.logs) != min(logs, detail.logs_total):
        lines = (await (await session.queue(queue)).get_job_logs(job_id, -logs, -1)).logs if logs else ()
        detail = replace(detail, logs=lines)
    return detail


def job_object(session: Session, detail: JobDetail) -> dict[str, Any]:
    """Make the Job object; `masked` counts the secrets that are hidden."""
    from glidemq_console.text.safe import mask
    from glidemq_core.records import to_json

    shown, hidden = mask(to_json(detail), session.out.reveal)
    return {**shown, "masked": 0 if session.out.reveal else hidden}


def _show(session: Session, detail: JobDetail) -> None:
    out = session.out
    added, ran = _times(detail)
    pairs: list[tuple[str, str]] = [
        ("job", f"{out.safe(detail.queue)}:{out.safe(detail.id, 256)}"),
        ("name", out.safe(detail.name)),
        ("state", _state_word(session, detail)),
        ("added", f"{clock(detail.created_at)} ({added} ago)"),
        ("started", clock(detail.processed_at)),
        ("finished", f"{clock(detail.finished_at)} (ran {ran})" if detail.finished_at else UNKNOWN),
        ("attempts", f"{detail.attempts_made} of {max(1, detail.max_attempts)}"),
        ("priority", str(detail.priority)),
    ]
    if detail.due_at is not None:
        pairs.append(("due", clock(detail.due_at)))
    if detail.failed_reason:
        pairs.append(("failed", out.safe(detail.failed_reason, 400)))
    if detail.suspend is not None:
        until = (
            f", until {clock(detail.suspend.deadline_at)}" if detail.suspend.deadline_at else ", no deadline"
        )
        pairs.append(("suspended", f"{out.safe(detail.suspend.reason or 'no reason given', 200)}{until}"))
        pairs.append(("review", out.safe(f"glidemq review {detail.ref}", 200)))
    if detail.usage is not None:
        used = f"{full(detail.usage.total_tokens)} tokens, "
        used += out.money(detail.usage.total_cost, detail.usage.cost_unit)
        pairs.append(("usage", f"{out.safe(detail.usage.model or 'model unknown', 60)}, {used}"))
    if detail.parent is not None:
        pairs.append(("parent", out.safe(detail.parent, 300)))
    if detail.children_total:
        listed = ", ".join(f"{child.queue}:{child.id} {child.state}" for child in detail.children)
        pairs.append(("children", f"{detail.children_total}: {out.safe(listed, 400)}"))
    if detail.progress not in (0, None):
        pairs.append(("progress", out.pretty(detail.progress)))
    pairs += [
        (f"signal {clock(s.received_at)}", f"{out.safe(s.name)} {out.pretty(s.data)}") for s in detail.signals
    ]
    pairs += _attempts(session, detail)
    pairs.append(("options", out.pretty(detail.options.to_json())))
    if detail.left_out:
        pairs.append(("left out", out.safe(", ".join(detail.left_out), 400)))
    if detail.truncated:
        shown = f"{byte_size(detail.data_bytes)}, too large to show: --max-bytes {detail.data_bytes} shows it"
        pairs.append(("data", shown))
    else:
        pairs.append(("data", out.safe(detail.data_error) if detail.data_error else out.pretty(detail.data)))
    if detail.state == "completed":
        pairs.append(("result", out.pretty(detail.result)))
    if detail.stream.entries:
        pairs.append(("stream", f"{plural(detail.stream.entries, 'chunk')}: glidemq tail shows them"))
    if detail.logs_total:
        lines = "\n".join(out.safe(line, 400) for line in detail.logs)
        pairs.append((f"logs {len(detail.logs)}/{detail.logs_total}", lines or UNKNOWN))
    out.fields(pairs)


def _attempts(session: Session, detail: JobDetail) -> Iterator[tuple[str, str]]:
    """Yield a line an attempt, and the latest traceback."""
    out = session.out
    for run in detail.ledger or ():
        kind = f" {out.safe(run.error_type, 80)}:" if run.error_type else ""
        words = f"{run.outcome} {out.safe(run.model or '', 40)}{kind} {out.safe(run.error or '', 200)}"
        yield f"attempt {run.attempt}", words.strip()
    if trace := next((run.trace for run in reversed(detail.ledger or ()) if run.trace), None):
        yield "traceback", "\n".join(out.safe(line, 300) for line in trace.splitlines())
