"""Usage of a flow: a job and those below it, in any queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ai.usage.ledger import attempts_of, runs_of
from ..ai.usage.summary import UsageSum
from ..records import FlowUsage, JobRef, Totals, Usage
from ..records.usage import STORED_USAGE, decode_usage
from ..server.context import QueueContext
from ..wire.keys import QueueKeys
from ..wire.replies import as_text, picked_fields, readable, sliced
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


async def _add_usage(
    context: QueueContext, jobs: Sequence[JobRef], ledger: bool, total: UsageSum, wasted: UsageSum
) -> None:
    fields = (*STORED_USAGE, "state")
    for part in sliced(jobs, _PAGE):
        keys = [QueueKeys(context.keys.prefix, ref.queue) for ref in part]
        commands: list[tuple[str | int, ...]] = [
            ("HMGET", mine.job(ref.id), *fields) for mine, ref in zip(keys, part, strict=True)
        ]
        if ledger:
            commands += [("LRANGE", mine.ledger(ref.id), 0, -1) for mine, ref in zip(keys, part, strict=True)]
        answers = [readable(answer) for answer in await context.connection.pipeline(commands)]
        gone = [place for place in range(len(part)) if not answers[place] or answers[place][-1] is None]
        kept = await context.connection.pipeline(
            [("HMGET", keys[place].kept(part[place].id), *fields) for place in gone]
        )
        for place, answer in zip(gone, kept, strict=True):
            answers[place] = readable(answer)
        for place in range(len(part)):
            *stored, state = answers[place] or [None] * len(fields)
            latest = decode_usage(picked_fields(STORED_USAGE, stored))
            entries = (answers[len(part) + place] if ledger else None) or ()
            total.add_job(_reports(latest, entries))
            attempts = attempts_of(entries, as_text(state))
            wasted.add_job(attempt for attempt in attempts if attempt.outcome in ("failed", "lost"))


def _reports(latest: Usage | None, entries: Any) -> list[Usage]:
    """Return the reports of all attempts; the latest one is not in the ledger if a Node worker wrote it."""
    kept = [run.usage for run in runs_of(entries) if run.usage]
    return kept if latest is None or (kept and kept[-1] == latest) else [*kept, latest]
