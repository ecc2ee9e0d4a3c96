"""`queues`: every queue at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from ...errors import Refusal
from ...options import QueueOption, Queues, Watching, merged, option
from ...program import command, unless
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.records import Fleet

    from ....model.lists.queues import QueueLine
    from ....widgets.lists.columns import Column

#: The order asked for, and the column that sorts so.
SORT_KEYS = {
    "name": "queue",
    "waiting": "wait",
    "active": "run",
    "delayed": "delay",
    "suspended": "asked",
    "completed": "done",
    "failed": "fail",
    "oldest": "oldest",
    "rate": "done/min",
    "tokens": "tok/s",
    "cost": "$/h",
    "workers": "workers",
}
#: Columns behind the name; what the console draws as a sign has a word here.
_SHOWN = ("wait", "run", "delay", "asked", "done", "fail", "done/min", "tok/s", "$/h", "oldest")
_TITLES = {"asked": "SUSP"}


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
    from ....model.lists.queues import QueueLine
    from ....model.snapshot import Snapshot
    from ....widgets.lists.columns import sort_items

    columns = _columns()
    by = columns[SORT_KEYS[sort]]
    named = [QueueLine(row, Snapshot()) for row in sorted(fleet.queues, key=lambda row: row.name)]
    rows = sort_items(named, by, descending=not by.rises)
    if session.json:
        from glidemq_core.records import to_json

        session.out.object(
            {
                "queues": to_json([line.queue for line in rows]),
                "complete": complete,
                "at_ms": to_json(fleet.at),
            }
        )
        return
    if not rows:
        session.out.note(
            f"no queues on {session.address}" + ("" if complete else " found yet (--all searches all)")
        )
        return
    shown = [columns[key] for key in (*_SHOWN, *(("workers",) if workers else ()))]
    headers = [_TITLES.get(column.key, column.title) for column in shown]
    table = []
    for line in rows:
        name = session.out.safe(line.name, 40) + (" (paused)" if line.queue.paused else "")
        table.append([name, *(session.out.cell(column, line, fleet.at) for column in shown)])
    session.out.table(["QUEUE", *headers], table, right=headers)
    if not complete:
        session.out.note("the search for queues was cut short; --all finishes it")


def _columns() -> dict[str, Column[QueueLine]]:
    """The columns of the console, and what only the command tells."""
    from ....model.lists.queues import QueueLine
    from ....screens.queues.columns import COLUMNS
    from ....text.format import count
    from ....widgets.lists.columns import Column

    done = Column[QueueLine](
        "done", "DONE", 6, lambda line, _: count(line.queue.completed), lambda line: line.queue.completed
    )
    return {column.key: column for column in (*COLUMNS, done)}
