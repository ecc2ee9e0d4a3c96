"""`retry`, `promote`, `remove`: changing single jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
    from glidemq_core.records import OperationResult
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
    if group:
        wanted = options.merged(names, [queue] if queue else None)
        require(len(wanted) == 1, "--group needs one QUEUE and no jobs")
        return session.results(await _retry_group(session, wanted[0], group, count, actor))
    if all_failed:
        wanted = options.merged(names, [queue] if queue else None)
        require(len(wanted) == 1, "--all-failed needs one QUEUE and no jobs")
        return await _retry_all(session, wanted[0], count or 0, actor)
    require(names, "name at least one JOB, or a QUEUE with --all-failed or --group")
    refs = await session.job_refs(names or (), queue)
    results = await _each(
        session, refs, "retry", "retried", lambda context, ids: control.retry_some(context, ids, actor=actor)
    )
    return session.results(results)


async def _retry_all(session: Session, name: str, count: int, actor: Actor) -> int:
    from glidemq_core.records import OperationResult

    source = await session.queue(name)
    if not await source.exists():
        return session.no_such_queue(name, "retry")
    moved = await source.retry_jobs(count, actor=actor)
    result = OperationResult(queue=name, action="retry", ok=True, outcome="retried", count=moved)
    return session.results([result])


async def _retry_group(
    session: Session, name: str, group: str, count: int | None, actor: Actor
) -> list[OperationResult]:
    """Retry the failed jobs that belong to a group now; what has changed meanwhile is skipped."""
    from glidemq_core.jobs import control
    from glidemq_core.records import OperationResult

    source = await session.existing_queue(name)
    ids = await (await session.watch()).failed_jobs(name, group)
    if not ids:
        return [
            OperationResult(
                queue=name,
                action="retry",
                ok=False,
                outcome="not_found",
                message="no failed job of this group",
            )
        ]
    chosen = ids[:count]
    outcomes = await control.retry_some(await source.context(), chosen, actor=actor)
    return [
        OperationResult(
            queue=name,
            id=job_id,
            action="retry",
            ok=outcome == "retried",
            outcome=outcome if outcome == "retried" else "skipped",
        )
        for job_id, outcome in zip(chosen, outcomes, strict=True)
    ]


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
    results = await _each(
        session,
        refs,
        "promote",
        "promoted",
        lambda context, ids: control.promote_jobs(context, ids, actor=actor),
    )
    return session.results(results)


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
    results = await _each(
        session,
        refs,
        "remove",
        "removed",
        lambda context, ids: control.remove_jobs(context, ids, force=force, actor=actor),
    )
    return session.results(results)


def _by_queue(refs: Sequence[JobRef]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for ref in refs:
        found.setdefault(ref.queue, []).append(ref.id)
    return found


async def _each(
    session: Session, refs: Sequence[JobRef], action: str, success: str, change: Change
) -> list[OperationResult]:
    """Change jobs with one call a queue; the answers come in the order in which the jobs were named."""
    from glidemq_core.records import OperationResult

    by_queue = _by_queue(refs)
    sources = {name: await session.queue(name) for name in by_queue}
    outcomes: dict[tuple[str, str], str] = {}
    for name, ids in by_queue.items():
        answers = await change(await sources[name].context(), ids)
        outcomes.update({(name, job_id): outcome for job_id, outcome in zip(ids, answers, strict=True)})
    return [
        OperationResult(
            queue=ref.queue,
            id=ref.id,
            action=action,
            ok=outcomes[ref.queue, ref.id] == success,
            outcome=outcomes[ref.queue, ref.id],
        )
        for ref in refs
    ]
