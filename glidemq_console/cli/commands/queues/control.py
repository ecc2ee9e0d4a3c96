"""`pause`, `resume`, `clean`, `drain`: switching and sweeping whole queues."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ... import options
from ...option_types import duration
from ...program import command, require
from ...session import Session
from ..jobs.read import one_queue

if TYPE_CHECKING:
    from glidemq_core.records import OperationResult
    from glidemq_core.server.context import QueueContext

Force = Annotated[bool, typer.Option("--force", help="Also a queue that does not exist yet.")]


@command("pause")
async def pause(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    force: Force = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Pause queues: workers start no more of their jobs."""
    from glidemq_core.jobs import admin

    actor = session.actor(by, comment)
    wanted = options.merged(names, queue)
    results = await _switch(session, wanted, force, "pause", lambda scope: admin.pause(scope, actor=actor))
    warnings = [
        text for result in results if result.ok for text in await _deaf_workers(session, result.queue)
    ]
    code = session.results(results, warnings=warnings)
    if not session.json:
        for warning in warnings:
            session.out.note(session.out.safe(warning, 400))
    return code


@command("resume")
async def resume(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    force: Force = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Resume paused queues."""
    from glidemq_core.jobs import admin

    actor = session.actor(by, comment)
    wanted = options.merged(names, queue)
    results = await _switch(session, wanted, force, "resume", lambda scope: admin.resume(scope, actor=actor))
    return session.results(results, warnings=[])


async def _switch(
    session: Session,
    names: tuple[str, ...],
    force: bool,
    action: str,
    change: Callable[[QueueContext], Awaitable[str]],
) -> list[OperationResult]:
    from glidemq_core.records import OperationResult

    require(names, "name at least one queue")
    sources = [await session.queue(name) for name in names]
    results = []
    for source in sources:
        outcome = "not_found"
        if force or await source.exists():
            outcome = await change(await source.scope())
        ok = outcome != "not_found"
        results.append(OperationResult(queue=source.name, action=action, ok=ok, outcome=outcome))
    return results


async def _deaf_workers(session: Session, queue: str) -> list[str]:
    """Warn of workers that do not look at the switch."""
    listed = await (await session.watch()).workers((queue,))
    deaf = sum(1 for worker in listed.workers if worker.language != "python")
    if not deaf:
        return []
    verb = "worker does" if deaf == 1 else "workers do"
    return [f"{queue}: paused, but {deaf} node {verb} not honour it"]


@command("clean")
async def clean(
    session: Session,
    state: Annotated[
        str, typer.Option("--state", "-s", metavar="completed|failed", help="Which finished jobs.")
    ],
    older_than: Annotated[
        int,
        typer.Option("--older-than", metavar="DUR", parser=duration, help="Finished longer ago than this."),
    ],
    queue_name: Annotated[str | None, typer.Argument(metavar="QUEUE", help="The queue.")] = None,
    queue: options.QueueOption = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Jobs at most.")] = 1_000,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Remove finished jobs for good."""
    from glidemq_core.records import OperationResult

    require(state in ("completed", "failed"), f"--state must be completed or failed, not '{state}'")
    name = one_queue(queue_name, queue)
    source = await session.queue(name)
    if not await source.exists():
        return session.results([_no_queue(name, "clean")])
    kind: Literal["completed", "failed"] = "completed" if state == "completed" else "failed"
    session.confirm(f"Remove {state} jobs of queue '{session.out.safe(name)}', at most {limit}?", yes)
    ids = await source.clean(kind, grace=older_than, limit=limit, actor=session.actor(by, comment))
    return session.results(
        [
            OperationResult(
                queue=name, action="clean", ok=True, outcome="cleaned", count=len(ids), ids=tuple(ids)
            )
        ]
    )


@command("drain")
async def drain(
    session: Session,
    queue_name: Annotated[str | None, typer.Argument(metavar="QUEUE", help="The queue.")] = None,
    queue: options.QueueOption = None,
    delayed: Annotated[bool, typer.Option("--delayed", help="Delayed jobs too.")] = False,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Remove all waiting jobs of a queue for good."""
    from glidemq_core.records import OperationResult

    name = one_queue(queue_name, queue)
    source = await session.queue(name)
    if not await source.exists():
        return session.results([_no_queue(name, "drain")])
    kinds = "waiting and delayed" if delayed else "waiting"
    session.confirm(f"Remove all {kinds} jobs of queue '{session.out.safe(name)}'?", yes)
    count = await source.drain(delayed=delayed, actor=session.actor(by, comment))
    result = OperationResult(queue=name, action="drain", ok=True, outcome="drained", count=count)
    return session.results([result])


def _no_queue(name: str, action: str) -> Any:
    from glidemq_core.records import OperationResult

    return OperationResult(queue=name, action=action, ok=False, outcome="not_found")
