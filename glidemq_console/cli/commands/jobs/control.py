"""`retry`, `promote`, `remove`: changing single jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ... import options
from ...option_types import some_text
from ...options import option
from ...program import command, require
from ...session import Session
from ..queues.schedulers import warn_of_waiting_schedulers

if TYPE_CHECKING:
    from glidemq_core.options.job import Actor, JobRef
    from glidemq_core.server.context import QueueContext

#: Changes jobs of one queue and returns an outcome for each, in order.
Change = Callable[["QueueContext", Sequence[str]], Awaitable[list[str]]]


@command("retry")
async def retry(
    session: Session,
    names: Annotated[
        list[str] | None, Argument(metavar="JOB", help="Jobs, or QUEUE with --all-failed or --group.")
    ] = None,
    queue: options.JobQueue = None,
    all_failed: Annotated[bool, Option("--all-failed", help="Every failed job of the queue.")] = False,
    group: Annotated[
        str | None, option("--group", "KEY", "Failures of one cause, see `failures`.", some_text)
    ] = None,
    count: Annotated[
        int | None, option("--count", "N", "With --all-failed or --group: at most this many.", min=1)
    ] = None,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Run failed jobs again."""
    from glidemq_core.jobs import control

    actor = session.actor(by, comment)
    require(count is None or all_failed or group, "--count belongs to --all-failed or --group")
    require(not (all_failed and group), "--all-failed and --group exclude each other")
    if group or all_failed:
        wanted = options.merged(names, [queue] if queue else None)
        require(len(wanted) == 1, f"--{'group' if group else 'all-failed'} needs one QUEUE and no jobs")
        if group:
            return await _retry_group(session, wanted[0], group, count, actor)
        return await _retry_all(session, wanted[0], count or 0, actor)
    require(names, "name at least one JOB, or a QUEUE with --all-failed or --group")
    refs = await session.job_refs(names or (), queue)
    return await _each(session, refs, "retry", "retried", partial(control.retry_some, actor=actor))


async def _retry_all(session: Session, name: str, count: int, actor: Actor) -> int:
    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "retry")
    moved = await source.retry_jobs(count, actor=actor)
    return session.result(name, "retry", "retried", count=moved)


async def _retry_group(session: Session, name: str, group: str, count: int | None, actor: Actor) -> int:
    """Retry the failed jobs that belong to a group now; what has changed meanwhile is skipped."""
    from glidemq_core.jobs import control
    from glidemq_core.options.job import JobRef

    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "retry")
    ids = await (await session.watch()).failed_jobs(name, group)
    if not ids:
        return session.result(name, "retry", "not_found", ok=False, message="no failed job of this group")
    chosen = ids[:count]
    outcomes = await control.retry_some(await source.context(), chosen, actor=actor)
    shown = {
        JobRef(name, job_id): "retried" if outcome == "retried" else "skipped"
        for job_id, outcome in zip(chosen, outcomes, strict=True)
    }
    return _show(session, "retry", "retried", shown)


@command("promote")
async def promote(
    session: Session,
    names: options.Jobs,
    queue: options.JobQueue = None,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Make delayed jobs ready now."""
    from glidemq_core.jobs import control

    actor = session.actor(by, comment)
    refs = await session.job_refs(names, queue)
    return await _each(session, refs, "promote", "promoted", partial(control.promote_jobs, actor=actor))


@command("remove")
async def remove(
    session: Session,
    names: options.Jobs,
    queue: options.JobQueue = None,
    force: Annotated[bool, Option("--force", help="Active jobs too.")] = False,
    yes: options.Yes = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Remove jobs for good."""
    from glidemq_core.jobs import control

    actor = session.actor(by, comment)
    refs = await session.job_refs(names, queue)
    for name, ids in _by_queue(refs).items():
        context = await (await session.queue(name)).context()
        await warn_of_waiting_schedulers(session, context, ids)
    listed = ", ".join(session.out.safe(ref, 60) for ref in refs[:5]) + (", ..." if len(refs) > 5 else "")
    session.confirm(f"Remove {len(refs)} job{'s' if len(refs) > 1 else ''} for good: {listed}?", yes)
    change = partial(control.remove_jobs, force=force, actor=actor)
    return await _each(session, refs, "remove", "removed", change)


def _by_queue(refs: Sequence[JobRef]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for ref in refs:
        found.setdefault(ref.queue, []).append(ref.id)
    return found


async def _each(session: Session, refs: Sequence[JobRef], action: str, success: str, change: Change) -> int:
    """Change jobs with one call a queue; the answers come in the order in which the jobs were named."""
    by_queue = _by_queue(refs)
    sources = {name: await session.queue(name) for name in by_queue}
    outcomes: dict[tuple[str, str], str] = {}
    for name, ids in by_queue.items():
        answers = await change(await sources[name].context(), ids)
        outcomes.update({(name, job_id): outcome for job_id, outcome in zip(ids, answers, strict=True)})
    return _show(session, action, success, {ref: outcomes[ref.queue, ref.id] for ref in refs})


def _show(session: Session, action: str, success: str, outcomes: Mapping[JobRef, str]) -> int:
    from glidemq_core.records import OperationResult

    results = [
        OperationResult(queue=ref.queue, id=ref.id, action=action, ok=outcome == success, outcome=outcome)
        for ref, outcome in outcomes.items()
    ]
    return session.results(results)
