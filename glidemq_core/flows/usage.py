"""Usage of a flow: a job and those below it, in any queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ai.usage.ledger import attempts_of, runs_of
from ..ai.usage.totals import UsageSum
from ..records import Attempt, FlowUsage, JobRef, Totals, Usage
from ..records.usage import STORED_USAGE, decode_usage
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.replies import as_text, picked_fields, readable
from .walk import children_of, whole_tree

_PAGE = 1_000


async def get_flow_usage(
    context: QueueContext, job_id: str, *, deep: bool = False, ledger: bool = False
) -> FlowUsage:
    """Sum the usage of a job and its children; see `Queue.get_flow_usage`.

    Children are the members of `deps`, which outlive the parent; of removed children the usage that was kept counts.
    """
    connection, prefix, root = context.connection, context.keys.prefix, JobRef(context.queue, job_id)
    if deep:
        jobs = await whole_tree(connection, prefix, [root])
    else:
        [children] = await children_of(connection, prefix, [root])
        jobs = list(dict.fromkeys([root, *children]))
    total, wasted = UsageSum(), UsageSum()
    await _add_usage(context, jobs, ledger, total, wasted)
    return FlowUsage(**total.totals(), wasted=Totals(**wasted.totals()) if ledger else None)


def _keys(context: QueueContext, ref: JobRef) -> QueueKeys:
    return context.keys if ref.queue == context.queue else QueueKeys(context.keys.prefix, ref.queue)


async def _add_usage(
    context: QueueContext, jobs: Sequence[JobRef], ledger: bool, total: UsageSum, wasted: UsageSum
) -> None:
    for start in range(0, len(jobs), _PAGE):
        part = jobs[start : start + _PAGE]
        commands: list[tuple[str | int, ...]] = [
            ("HMGET", _keys(context, ref).job(ref.id), *STORED_USAGE, "state") for ref in part
        ]
        if ledger:
            commands += [("LRANGE", _keys(context, ref).ledger(ref.id), 0, -1) for ref in part]
        answers = [readable(answer) for answer in await context.connection.pipeline(commands)]
        gone = [place for place in range(len(part)) if not answers[place] or answers[place][-1] is None]
        kept = await context.connection.pipeline(
            [("HMGET", _keys(context, part[at]).kept(part[at].id), *STORED_USAGE, "state") for at in gone]
        )
        for place, answer in zip(gone, kept, strict=True):
            answers[place] = readable(answer)
        for place in range(len(part)):
            values = answers[place]
            *stored, state = values or [None] * (len(STORED_USAGE) + 1)
            latest = decode_usage(picked_fields(STORED_USAGE, stored))
            entries = answers[len(part) + place] if ledger else ()
            total.add_job(_reports(latest, entries))
            wasted.add_job(_wasted(entries, as_text(state)))


def _wasted(entries: Any, state: str) -> list[Attempt]:
    """Return the attempts that failed or were lost."""
    return [run for run in attempts_of(entries or (), state) if run.outcome in ("failed", "lost")]


def _reports(latest: Usage | None, entries: Any) -> list[Usage]:
    """Return the reports of all attempts; the latest one is not in the ledger if a Node worker wrote it."""
    kept = [run.usage for run in runs_of(entries or ()) if run.usage]
    return kept if latest is None or (kept and kept[-1] == latest) else [*kept, latest]
