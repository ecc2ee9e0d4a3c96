"""`approvals`, `approve`, `reject`, `signal`: what waits for a person, and answering it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import parameters
from .program import command, require, unless
from .repeat import repeat
from .session import Session
from .values import some_text

if TYPE_CHECKING:
    from glidemq_core.records import Decision, Inbox, JobRef

#: Bytes up to which payloads and drafts are listed.
DEFAULT_BYTES = 4_096

ExpectHash = Annotated[
    str | None,
    typer.Option(
        "--expect-hash",
        metavar="HASH",
        parser=some_text,  # an empty one must not let a decision through unchecked
        help="Decide only if the job still has this review hash.",
    ),
]


@command("approvals", limit=unless("watch"))
async def approvals(
    session: Session,
    names: parameters.Queues = None,
    queue: parameters.QueueOption = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="Jobs at most.")
    ] = 500,
    max_bytes: parameters.MaxBytes = None,
    watch: parameters.Watching = None,
) -> int:
    """List the jobs that wait for a person, the most urgent first."""
    wanted = parameters.merged(names, queue)
    found, complete = await session.chosen_queues(wanted)
    view = await session.watch()
    cut = DEFAULT_BYTES if max_bytes is None else max_bytes

    async def once() -> None:
        known = wanted or tuple(sorted({*found, *await view.known()}))
        _show(session, await view.approvals(known, limit=limit, payload_limit=cut), complete)

    return await repeat(session, watch, once)


def _show(session: Session, inbox: Inbox, complete: bool) -> None:
    from glidemq_core.records import to_json

    out = session.out
    if session.json:
        shown = out.masked(to_json(inbox.items))
        whole = complete and inbox.complete
        out.object({"approvals": shown, "total": inbox.total, "complete": whole, "at_ms": to_json(inbox.at)})
        return
    if not inbox.items:
        out.note("nothing waits for approval")
        return
    from glidemq_console.format import UNKNOWN, age, count, countdown, money
    from glidemq_core.option_fields import epoch_ms

    now_ms = epoch_ms(inbox.at)
    rows = []
    for item in inbox.items:
        usage = item.usage
        cost = money(usage.total_cost, usage.cost_unit and out.safe(usage.cost_unit, 8)) if usage else UNKNOWN
        draft = item.draft if item.draft is not None else _payload(out.masked(item.data))
        rows.append(
            [
                out.safe(f"{item.queue}:{item.id}", 48),
                out.safe(item.name, 24),
                countdown(epoch_ms(item.deadline_at) if item.deadline_at else None, now_ms),
                age(epoch_ms(item.suspended_at), now_ms),
                out.safe(item.reason or UNKNOWN, 32),
                cost,
                count(item.waiting_behind),
                out.safe(" ".join(draft.split()), 48),
            ]
        )
    headers = ["JOB", "NAME", "LEFT", "WAITED", "REASON", "COST", "BEHIND", "DRAFT"]
    out.table(headers, rows, right=["LEFT", "WAITED", "COST", "BEHIND"])
    if inbox.total > len(inbox.items):
        out.note(f"{len(inbox.items)} of {inbox.total}; --limit shows more")


def _payload(data: Any) -> str:
    if data is None or isinstance(data, str):
        return data or ""
    return json.dumps(data, ensure_ascii=False, default=str)


@command("approve")
async def approve(
    session: Session,
    names: parameters.Jobs,
    queue: parameters.JobQueue = None,
    data: parameters.Data = None,
    expect_hash: ExpectHash = None,
    signal_name: Annotated[
        str, typer.Option("--signal", metavar="NAME", parser=some_text, help="Signal sent to the job.")
    ] = "approve",
    by: parameters.By = None,
    comment: parameters.Comment = None,
) -> int:
    """Approve suspended jobs; they go on at once. --data hands the job an edited payload."""
    value = parameters.given_json(data)
    actor = session.actor(by, comment)

    async def decide(source: Any, ref: JobRef) -> Decision:
        decision: Decision = await source.approve(
            ref.id, actor=actor, data=value, comment=comment, expect=expect_hash, signal=signal_name
        )
        return decision

    return await _decide(session, await session.job_refs(names, queue), expect_hash, decide)


@command("reject")
async def reject(
    session: Session,
    names: parameters.Jobs,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the job gets to know it.")],
    queue: parameters.JobQueue = None,
    data: parameters.Data = None,
    expect_hash: ExpectHash = None,
    signal_name: Annotated[
        str, typer.Option("--signal", metavar="NAME", parser=some_text, help="Signal sent to the job.")
    ] = "reject",
    by: parameters.By = None,
    comment: parameters.Comment = None,
) -> int:
    """Reject suspended jobs; they go on with the refusal."""
    require(reason.strip(), "--reason must say why")
    value = parameters.given_json(data)
    actor = session.actor(by, comment)

    async def decide(source: Any, ref: JobRef) -> Decision:
        decision: Decision = await source.reject(
            ref.id, actor=actor, reason=reason, data=value, expect=expect_hash, signal=signal_name
        )
        return decision

    return await _decide(session, await session.job_refs(names, queue), expect_hash, decide)


async def _decide(
    session: Session, refs: list[JobRef], expect_hash: str | None, decide: Callable[[Any, JobRef], Any]
) -> int:
    require(expect_hash is None or len(refs) == 1, "--expect-hash belongs to one JOB")
    decisions: list[Decision] = [await decide(await session.queue(ref.queue), ref) for ref in refs]
    if session.json:
        session.out.record({"decisions": decisions})
    else:
        for decision in decisions:
            session.out.line(_told(session, decision))
    return 0 if all(decision.ok for decision in decisions) else 1


def _told(session: Session, decision: Decision) -> str:
    out = session.out
    ref = f"{out.safe(decision.queue)}:{out.safe(decision.id, 256)}"
    if decision.ok:
        return f"{ref} {'approved' if decision.action == 'approve' else 'rejected'}"
    words = {
        "not_suspended": "not suspended any more",
        "changed": "changed since it was shown: look at it again",
        "not_found": "not found",
    }.get(decision.outcome, out.safe(decision.outcome))
    if decision.state and decision.outcome == "not_suspended":
        words += f", it is {out.safe(decision.state, 20)}"
    if decision.decided_by:
        words += f"; decided by {out.safe(decision.decided_by, 60)}"
    return f"{ref} {words}"


@command("signal")
async def signal(
    session: Session,
    name: parameters.Job,
    signal_name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.")],
    queue: parameters.JobQueue = None,
    data: parameters.Data = None,
    early: Annotated[
        bool, typer.Option("--early", help="Keep it for a job that is not suspended yet.")
    ] = False,
    by: parameters.By = None,
    comment: parameters.Comment = None,
) -> int:
    """Send a signal to a suspended job; it goes on at once."""
    from glidemq_core.records import OperationResult

    value = parameters.given_json(data)
    ref = await session.job_ref(name, queue)
    source = await session.queue(ref.queue)
    sent = await source.signal(ref.id, signal_name, value, early=early, actor=session.actor(by, comment))
    ok = sent.outcome in ("resumed", "kept")
    result = OperationResult(queue=ref.queue, id=ref.id, action="signal", ok=ok, outcome=sent.outcome)
    return session.results([result])
