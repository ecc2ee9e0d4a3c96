"""`approve`, `reject`, `signal`: answering what waits for a person."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ... import options
from ...errors import UsageProblem
from ...option_types import some_text, standard_input
from ...options import option
from ...program import command, require
from ...session import Session
from .inbox import DEFAULT_BYTES

if TYPE_CHECKING:
    from glidemq_core.options.job import Actor
    from glidemq_core.queue import Queue
    from glidemq_core.records import Decision, JobRef

_HASH = re.compile(r"[0-9a-fA-F]{64}")
ExpectHash = Annotated[
    str | None,
    Option(
        "--expect-hash",
        metavar="HASH",
        parser=some_text,  # an empty one must not let a decision through unchecked
        help="Decide only if the job still has this review hash.",
    ),
]
Decided = Annotated[
    list[str],
    Argument(
        metavar="JOB",
        help="QUEUE:ID, ids with -q, or ids only one queue has; - reads lines of JOB and HASH from standard input.",
    ),
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A job to decide on, and the review hash that it must still have; None: whatever it has."""

    ref: JobRef
    expect: str | None


Decide = Callable[["Queue[Any, Any]", Chosen], Awaitable["Decision"]]


@command("approve")
async def approve(
    session: Session,
    names: Decided,
    queue: options.JobQueue = None,
    data: options.Data = None,
    expect_hash: ExpectHash = None,
    unseen: Annotated[
        bool, Option("--unseen", help="Approve also what is too long to be listed whole, or cannot be read.")
    ] = False,
    signal_name: Annotated[str, option("--signal", "NAME", "Signal sent to the job.", some_text)] = "approve",
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Approve suspended jobs; they go on at once. --data hands the job an edited payload.

    Refused for a job that a list does not show whole: look at it with `glidemq review`, then give its hash.
    """
    require(not (unseen and expect_hash), "--unseen and --expect-hash exclude each other")
    require(not (unseen and "-" in names), "--unseen and the hashes that - reads exclude each other")
    chosen = await _chosen(session, names, queue, expect_hash, data)
    value = options.given_json(data)
    actor = session.actor(by, comment)
    unshown: dict[JobRef, str] = {}

    async def decide(source: Queue[Any, Any], one: Chosen) -> Decision:
        expect = one.expect
        if expect is None and not unseen:
            expect, refused = await _look(source, one.ref, actor, signal_name, unshown)
            if refused is not None:
                return refused
        return await source.approve(
            one.ref.id, actor=actor, data=value, expect=expect, signal=signal_name, unseen=unseen
        )

    return await _decide(session, chosen, decide, unshown)


async def _look(
    source: Queue[Any, Any], ref: JobRef, actor: Actor, signal: str, unshown: dict[JobRef, str]
) -> tuple[str | None, Decision | None]:
    """Read a job as it is listed: its hash, or why it may not be approved like that (in `unshown`, by its ref)."""
    from glidemq_core.ai.approvals import not_shown
    from glidemq_core.errors import JobNotFoundError, JobStateError

    try:
        shown = await source.review(ref.id, payload_limit=DEFAULT_BYTES)
    except (JobNotFoundError, JobStateError):
        return None, None  # the decision itself says what became of it
    if shown.unshown is None:
        return shown.review_hash, None
    unshown[ref] = shown.unshown
    now_ms = (await source.context()).now_ms()
    return None, not_shown(shown, "approve", actor, now_ms, signal)


@command("reject")
async def reject(
    session: Session,
    names: Decided,
    reason: Annotated[str, option("--reason", "TEXT", "Why; the job gets to know it.")],
    queue: options.JobQueue = None,
    data: options.Data = None,
    expect_hash: ExpectHash = None,
    signal_name: Annotated[str, option("--signal", "NAME", "Signal sent to the job.", some_text)] = "reject",
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Reject suspended jobs; they go on with the refusal."""
    require(reason.strip(), "--reason must say why")
    chosen = await _chosen(session, names, queue, expect_hash, data)
    value = options.given_json(data)
    actor = session.actor(by, comment)

    async def decide(source: Queue[Any, Any], one: Chosen) -> Decision:
        return await source.reject(
            one.ref.id, actor=actor, reason=reason, data=value, expect=one.expect, signal=signal_name
        )

    return await _decide(session, chosen, decide, {})


async def _chosen(
    session: Session, names: Sequence[str], queue: str | None, expect_hash: str | None, data: str | None
) -> list[Chosen]:
    """Read which jobs to decide on: those named, or lines of a job and its hash from standard input."""
    if "-" not in names:
        refs = await session.job_refs(names, queue)
        require(expect_hash is None or len(refs) == 1, "--expect-hash belongs to one JOB")
        return [Chosen(ref, expect_hash) for ref in refs]
    require(list(names) == ["-"], "- stands alone: it reads which jobs from standard input")
    require(expect_hash is None, "--expect-hash belongs to one JOB; - reads a hash a line")
    require(data != "-", "- can be read once: give the payload with --data @FILE")
    chosen: dict[JobRef, str] = {}
    for number, line in enumerate(standard_input().splitlines(), 1):
        if not line.strip():
            continue
        job, _, digest = line.strip().replace("\t", " ").rpartition(" ")
        if not job.strip() or not _HASH.fullmatch(digest):
            raise UsageProblem(f"line {number} of standard input is not JOB HASH; nothing was decided")
        ref = await session.job_ref(job.strip(), queue)
        if chosen.setdefault(ref, digest) != digest:
            raise UsageProblem(f"line {number} of standard input names a job again; nothing was decided")
    require(chosen, "standard input names no job")
    return [Chosen(ref, digest) for ref, digest in chosen.items()]


async def _decide(
    session: Session, chosen: Sequence[Chosen], decide: Decide, unshown: dict[JobRef, str]
) -> int:
    decisions: list[Decision] = []
    try:
        for one in chosen:
            decisions.append(await _one(session, one, decide))
    finally:
        # An error at one of several must not hide what was decided before it.
        if decisions:
            _tell(session, chosen, decisions, unshown)
    return 0 if all(decision.ok for decision in decisions) else 1


async def _one(session: Session, one: Chosen, decide: Decide) -> Decision:
    from glidemq_core.errors import CallTimeoutError, ClosedError, ServerUnavailableError

    source = await session.queue(one.ref.queue)
    try:
        return await decide(source, one)
    except (CallTimeoutError, ClosedError, ServerUnavailableError):
        if not session.json:
            ref = session.out.safe(one.ref, 256)
            session.out.note(f"{ref}: no answer, it may have been sent: look with glidemq job {ref}")
        raise


def _tell(
    session: Session, chosen: Sequence[Chosen], decisions: Sequence[Decision], unshown: dict[JobRef, str]
) -> None:
    if session.json:
        session.out.record({"decisions": decisions})
        return
    for one, decision in zip(chosen, decisions, strict=False):
        session.out.line(_told(session, decision, unshown.get(one.ref)))


def _told(session: Session, decision: Decision, unshown: str | None) -> str:
    out = session.out
    ref = f"{out.safe(decision.queue)}:{out.safe(decision.id, 256)}"
    if decision.ok:
        return f"{ref} {'approved' if decision.action == 'approve' else 'rejected'}"
    if decision.outcome == "not_shown":
        look = f"glidemq review {ref}, then --expect-hash HASH (or --unseen)"
        return f"{ref} not approved: {out.safe(unshown or 'not shown whole', 300)}; {look}"
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
    name: options.Job,
    signal_name: Annotated[str, Argument(metavar="NAME", help="Name of the signal.")],
    queue: options.JobQueue = None,
    data: options.Data = None,
    early: Annotated[bool, Option("--early", help="Keep it for a job that is not suspended yet.")] = False,
    by: options.By = None,
    comment: options.Comment = None,
) -> int:
    """Send a signal to a suspended job; it goes on at once."""
    value = options.given_json(data)
    ref = await session.job_ref(name, queue)
    source = await session.queue(ref.queue)
    sent = await source.signal(ref.id, signal_name, value, early=early, actor=session.actor(by, comment))
    ok = sent.outcome in ("resumed", "kept")
    return session.result(ref.queue, "signal", sent.outcome, ok=ok, id=ref.id)
