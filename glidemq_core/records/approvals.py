"""Suspensions, signals, what an approver sees, and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from ..options.job import JobRef
from .base import answer, python_only
from .flows import Usage
from .outcomes import DecisionAction, DecisionOutcome, SignalOutcome


@answer
class Signal:
    """A signal a suspended job was given; `data` is "" when none was sent."""

    name: str
    data: Any
    received_at: datetime


@answer
class SuspendInfo:
    """Why and until when a job is suspended; reason and timeout only if they belong to this suspension."""

    reason: str | None = None
    suspended_at: datetime
    timeout_ms: int | None = None
    deadline_at: datetime | None = None
    review_hash: str | None = None
    signals: tuple[Signal, ...] = python_only(())


@answer
class ReviewDecision:
    """What a person decided about a job since it was suspended.

    Attributes:
        data: the edited payload, else the job's own.
        review_hash: what the decision was bound to, None if to nothing.
        is_current: False if the job's payload is not what was decided on any more: do not act on it.
    """

    approved: bool
    by: str
    comment: str | None = None
    reason: str | None = None
    data: Any = None
    at: datetime
    review_hash: str | None = None
    is_current: bool


@answer
class ToolCall:
    """A tool that a job asked for in its stream. `bytes` is the size of the whole, `cut`: `args` is not all of it."""

    name: str
    args: str
    bytes: int
    cut: bool = False


@answer
class Approval(SuspendInfo):
    """What an approver must see of a suspended job; draft, tool calls and `chunks` are of the run that suspended.

    `hidden` names in words what a limit kept out, `data_error` says why the payload cannot be read: then `data` is
    None and `raw` its text. Whoever has not been shown all of it has no `review_hash`.
    """

    queue: str
    id: str
    name: str
    data: Any = None
    data_bytes: int = 0
    truncated: bool = False
    draft: str | None = None
    progress: Any = 0
    signals: tuple[Signal, ...] = ()
    usage: Usage | None = None
    budget: JobRef | None = None
    waiting_behind: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    #: Entries of its stream by kind.
    chunks: Mapping[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    data_error: str | None = None
    raw: str | None = None
    #: Tells readings apart: the same as long as nothing that is known of it has changed, cut or not.
    mark: str = python_only("")

    @property
    def unshown(self) -> str | None:
        """What of it is not shown here, in words; None if everything is: only then may it be approved."""
        if self.data_error is not None:
            return "its payload cannot be read"
        parts = [f"its payload of {self.data_bytes} bytes"] if self.truncated else []
        return "not shown: " + ", ".join([*parts, *self.hidden]) if parts or self.hidden else None

    @property
    def ref(self) -> JobRef:
        """The job with its queue."""
        return JobRef(self.queue, self.id)


@answer
class Inbox:
    """Suspended jobs by deadline."""

    items: tuple[Approval, ...]
    total: int
    complete: bool
    at: datetime


@answer
class Decision:
    """How an approval or rejection went; `decided_by` is who was first, if known."""

    queue: str
    id: str
    action: DecisionAction
    ok: bool
    outcome: DecisionOutcome
    signal: str
    by: str
    at: datetime
    review_hash: str | None = None
    state: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    audit_seq: int | None = None


@answer
class SignalResult:
    """How a signal went (`resumed kept changed not_suspended not_found`); true only if the job was resumed.

    Attributes:
        revoked: the job resumes only to fail, because it was revoked meanwhile.
    """

    outcome: SignalOutcome
    revoked: bool = False

    def __bool__(self) -> bool:
        return self.outcome == "resumed"
