"""`pause`, `resume`, `clean`, `drain`: switching and sweeping whole queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from ... import options
from ...option_types import duration
from ...options import option
from ...program import command, require
from ...session import Session
from .schedulers import warn_of_waiting_schedulers

if TYPE_CHECKING:
    from glidemq_core.options.job import Actor

Force = Annotated[bool, Option("--force", help="Also a queue that does not exist yet.")]


@command("pause")
async def pause(
    session: Session,
    names: options.SomeQueues = None,
    queue: options.QueueOption = None,
    force: Force = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Pause queues: workers start no more of their jobs."""
    return await _switch(session, "pause", options.merged(names, queue), force, session.actor(by, comment))


@command("resume")
async def resume(
    session: Session,
    names: options.SomeQueues = None,
    queue: options.QueueOption = None,
    force: Force = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Resume paused queues."""
    return await _switch(session, "resume", options.merged(names, queue), force, session.actor(by, comment))


async def _switch(
    session: Session, action: Literal["pause", "resume"], names: tuple[str, ...], force: bool, actor: Actor
) -> int:
    """Pause or resume queues; warns of workers that do not stop."""
    from glidemq_core.jobs import admin
    from glidemq_core.records import OperationResult

    require(names, "name at least one queue")
    switch = admin.pause if action == "pause" else admin.resume
    results, warnings = [], []
    for source in [await session.queue(name) for name in names]:
        outcome = "not_found"
        if force or await source.exists():
            outcome = await switch(await source.context(), actor=actor)
        ok = outcome != "not_found"
        results.append(OperationResult(queue=source.name, action=action, ok=ok, outcome=outcome))
    if action == "pause":
        warnings = [text for one in results if one.ok for text in await _node_workers(session, one.queue)]
    code = session.results(results, warnings=warnings)
    if not session.json:
        for warning in warnings:
            session.out.note(session.out.safe(warning, 400))
    return code


async def _node_workers(session: Session, queue: str) -> list[str]:
    """Warn of node workers, which do not know pausing."""
    listed = await (await session.watch()).workers((queue,))
    others = sum(1 for worker in listed.workers if worker.language != "python")
    if not others:
        return []
    verb = "worker does" if others == 1 else "workers do"
    return [f"{queue}: paused, but {others} node {verb} not honour it"]


@command("clean")
async def clean(
    session: Session,
    state: Annotated[str, option("--state -s", "completed|failed", "Which finished jobs.")],
    older_than: Annotated[int, option("--older-than", "DUR", "Finished longer ago than this.", duration)],
    queue_name: options.Queue = None,
    queue: options.QueueOption = None,
    limit: Annotated[int, option("--limit", "N", "Jobs at most.", min=1)] = 1_000,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Remove finished jobs for good."""
    require(state in ("completed", "failed"), f"--state must be completed or failed, not '{state}'")
    name = options.one_queue(queue_name, queue)
    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "clean")
    kind: Literal["completed", "failed"] = "completed" if state == "completed" else "failed"
    await warn_of_waiting_schedulers(session, await source.context())
    session.confirm(f"Remove {state} jobs of queue '{session.out.safe(name)}', at most {limit}?", yes)
    ids = await source.clean(kind, grace=older_than, limit=limit, actor=session.actor(by, comment))
    return session.result(name, "clean", "cleaned", count=len(ids), ids=tuple(ids))


@command("drain")
async def drain(
    session: Session,
    queue_name: options.Queue = None,
    queue: options.QueueOption = None,
    delayed: Annotated[bool, Option("--delayed", help="Delayed jobs too.")] = False,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Remove all waiting jobs of a queue for good."""
    name = options.one_queue(queue_name, queue)
    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "drain")
    await warn_of_waiting_schedulers(session, await source.context())
    kinds = "waiting and delayed" if delayed else "waiting"
    session.confirm(f"Remove all {kinds} jobs of queue '{session.out.safe(name)}'?", yes)
    count = await source.drain(delayed=delayed, actor=session.actor(by, comment))
    return session.result(name, "drain", "drained", count=count)
