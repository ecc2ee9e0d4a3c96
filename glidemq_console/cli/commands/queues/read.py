"""`queues`: every queue at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import BadParameter, Option

from ....text.format import age, count
from ...errors import Refusal
from ...options import QueueOption, Queues, Watching, merged, option
from ...program import command, unless
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import Fleet, QueueSnapshot

SORT_KEYS = (
    *("name", "waiting", "active", "delayed", "suspended", "completed", "failed"),
    *("oldest", "rate", "tokens", "cost", "workers"),
)


def _sort_key(text: str) -> str:
    if text not in SORT_KEYS:
        raise BadParameter(f"'{text}' is unknown: use one of {', '.join(SORT_KEYS)}")
    return text


@command("queues", limit=unless("watch"))
async def queues(
    session: Session,
    names: Queues = None,
    queue: QueueOption = None,
    finish: Annotated[bool, Option("--all", help="Search the whole server for queues.")] = False,
    sort: Annotated[str, option("--sort", "KEY", f"Order: {', '.join(SORT_KEYS)}.", _sort_key)] = "name",
    workers: Annotated[bool, Option("--workers", help="Count live workers too.")] = False,
    watch: Watching = None,
) -> None:
    """Show queues: counts, rates, cost."""
    wanted = merged(names, queue)

    found, complete = await session.chosen_queues(wanted, finish=finish)
    view = await session.watch()

    async def once() -> None:
        # The search above is not repeated: what appears later is known by the registry.
        names = wanted or tuple(sorted({*found, *await view.known()}))
        if workers:
            await view.workers(names)  # a snapshot tells what was counted just now
        fleet = await view.snapshot(names)
        _show(session, fleet, complete, sort, workers)
        unreadable = [words for row in fleet.queues if (words := session.unreadable(row))]
        if unreadable and wanted:
            raise Refusal("; ".join(unreadable))
        for words in unreadable:
            session.out.note(session.out.safe(words, 400))

    await session.repeat(watch, once)


def _show(session: Session, fleet: Fleet, complete: bool, sort: str, workers: bool) -> None:
    rows = sorted(fleet.queues, key=lambda row: _order(row, sort))
    if session.json:
        from glidemq_core.records import to_json

        session.out.object({"queues": to_json(rows), "complete": complete, "at_ms": to_json(fleet.at)})
        return
    if not rows:
        session.out.note(
            f"no queues on {session.address}" + ("" if complete else " found yet (--all searches all)")
        )
        return
    from glidemq_console.model.snapshot import delayed_jobs, ready_jobs

    headers = [
        "QUEUE",
        *("WAIT", "RUN", "DELAY", "SUSP", "DONE", "FAIL"),
        "DONE/MIN",
        "TOK/S",
        "COST/H",
        "OLDEST",
    ]
    table = []
    for row in rows:
        name = session.out.safe(row.name, 40) + (" (paused)" if row.paused else "")
        oldest = age(row.oldest_waiting_at, fleet.at)
        # As the console tells them: what has a priority is ready, though the wire counts it as delayed.
        ready, delayed = ready_jobs(row), delayed_jobs(row)
        numbers = (ready, row.active, delayed, row.suspended, row.completed, row.failed)
        figures = [count(number) for number in (*numbers, row.completed_per_min, row.tokens_per_s)]
        cells = [name, *figures, session.out.money(row.cost_per_hour, row.cost_unit), oldest]
        table.append(cells + ([count(row.workers)] if workers else []))
    if workers:
        headers.append("WORKERS")
    session.out.table(headers, table, right=headers[1:])
    if not complete:
        session.out.note("the search for queues was cut short; --all finishes it")


def _order(row: QueueSnapshot, sort: str) -> tuple[Any, ...]:
    """Names rise, numbers fall, unknown last."""
    if sort == "name":
        return (row.name,)
    if sort == "oldest":
        at = row.oldest_waiting_at
        return (at is None, at.timestamp() if at else 0.0, row.name)
    attribute = {"rate": "completed_per_min", "tokens": "tokens_per_s", "cost": "cost_per_hour"}.get(
        sort, sort
    )
    if attribute in ("waiting", "delayed"):
        from glidemq_console.model.snapshot import delayed_jobs, ready_jobs

        value = ready_jobs(row) if attribute == "waiting" else delayed_jobs(row)
    else:
        value = getattr(row, attribute)
    return (value is None, -(value or 0), row.name)
