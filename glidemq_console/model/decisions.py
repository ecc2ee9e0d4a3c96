"""Decisions of a person on suspended jobs: what is held back for a moment, what changed, what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from glidemq_core.options.fields import UNSET, Unset

from ..text import format as fmt
from ..text.safe import short
from .snapshot import epoch_ms

if TYPE_CHECKING:
    from glidemq_core import JobRef
    from glidemq_core.records import Approval, Decision, JobDetail, Signal

Verb = Literal["approve", "reject"]
#: What a decision is called once it is made.
DONE: Mapping[str, str] = {"approve": "approved", "reject": "rejected"}
#: A decision leaves this long before the job's deadline, however much of its undo time is left.
DEADLINE_MARGIN_MS = 1_000
#: The reason that the sweep of overdue suspensions writes.
TIMED_OUT = "Suspend timeout exceeded"


@dataclass(eq=False, slots=True)
class Batch:
    """Decisions made by one key press: their results are one message."""

    size: int
    messages: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0

    def result(self) -> tuple[str, str] | None:
        """Words and colour once every decision of the batch has its answer."""
        if len(self.messages) < self.size:
            return None
        if self.size == 1:
            return self.messages[0]
        others = [words for words, token in self.messages if token != "success"]
        words = f"{self.sent} of {self.size} decisions sent"
        return (words + "".join(f"; {other}" for other in others[:3]), "warning" if others else "success")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pending:
    """A decision inside its undo window, bound to what was shown when it was made."""

    shown: Approval
    verb: Verb
    due_ms: int
    #: How long it is held back in all.
    held_ms: int
    batch: Batch
    comment: str | None = None
    #: Why it is rejected; empty for an approval.
    reason: str = ""
    #: The edited payload, if it was edited.
    data: Any | Unset = UNSET

    @property
    def ref(self) -> JobRef:
        return self.shown.ref

    def left(self, now_ms: int) -> float:
        """The share of its undo time that is left, 1.0 for all of it."""
        return max(0.0, min(1.0, (self.due_ms - now_ms) / self.held_ms)) if self.held_ms else 0.0


def due_at(now_ms: int, undo_ms: int, shown: Approval) -> int:
    """When a decision made now is to be sent: after the undo window, but in time for the deadline."""
    deadline = epoch_ms(shown.deadline_at)
    due = now_ms + undo_ms
    return due if deadline is None else max(now_ms, min(due, deadline - DEADLINE_MARGIN_MS))


def server_of(ref: JobRef) -> str | None:
    """Name of the profile on whose server a job is; None for the server that is shown."""
    server: str | None = getattr(ref, "server", None)
    return server


def name_of(ref: JobRef) -> str:
    """`queue:id`, with the server where that is another one, safe to draw."""
    return short(str(ref), 80)


def taken_back_words(taken: Sequence[Pending]) -> str:
    """Say what became of an act that was taken back, and of what of it was sent already."""
    if len(taken) == 1 and not taken[0].batch.messages:
        return f"{name_of(taken[0].ref)}: taken back, it still waits"
    still = "it still waits" if len(taken) == 1 else "they still wait"
    words = f"{fmt.plural(len(taken), 'decision')} taken back, {still}"
    sent = taken[0].batch.sent
    return words + (f"; {sent} of the same act had been sent" if sent else "")


# --- what changed ------------------------------------------------------------------------------------------


def what_changed(before: Approval, after: Approval) -> list[str]:
    """Name the parts of what was shown that are different now."""

    def parts_of(one: Approval) -> dict[str, object]:
        return {
            "it ran and asks again": one.suspended_at,
            "name": one.name,
            "reason": one.reason,
            "payload": (repr(one.data), one.raw, one.data_bytes),
            "draft": one.draft,
            "tool calls": one.tool_calls,
            "progress": one.progress,
        }

    now = parts_of(after)
    return [name for name, part in parts_of(before).items() if part != now[name]] or [
        "its stream, or what is too long for the list"
    ]


# --- what became of it -------------------------------------------------------------------------------------


def outcome_words(ref: JobRef, decision: Decision, job: JobDetail | None, now_ms: int) -> tuple[str, str]:
    """Say what became of a decision, with the colour to say it in.

    Args:
        ref: What it was made on.
        decision: The engine's answer.
        job: The job as it is now, for a decision that came too late; None when it is gone or could not be read.
        now_ms: Time of telling.
    """
    name = name_of(ref)
    if decision.ok:
        return f"{name} {DONE.get(decision.action, decision.action)}, resumed", "success"
    if decision.outcome == "changed":
        return f"{name} changed since you opened it: nothing was sent, look again", "warning"
    if decision.outcome == "not_found":
        return f"{name} is gone: it was removed, nothing was sent", "warning"
    return f"{name}: {first_words(decision, job, now_ms)}", "warning"


def first_words(decision: Decision, job: JobDetail | None, now_ms: int) -> str:
    """Say who or what was first."""
    if job is not None and job.failed_reason == TIMED_OUT and job.state == "failed":
        ended = epoch_ms(job.finished_at)
        return "too late: timed out" + ("" if ended is None else f" {fmt.age(ended, now_ms)} ago")
    if decision.decided_at is not None:
        who = short(decision.decided_by or "someone", 60)
        did = "decided"
        if job is not None and job.signals:
            did = deed(job.signals[-1])
        ahead = max(0, (epoch_ms(decision.at) or 0) - (epoch_ms(decision.decided_at) or 0))
        when = f"{fmt.duration(ahead)} before you" if ahead >= fmt.SECOND else "just before you"
        return f"{who} {did} it {when}"
    return f"does not wait any more: it is {short(decision.state or 'gone', 30)}"


def gone_words(ref: JobRef, job: JobDetail | None, now_ms: int) -> str:
    """Say why a job that was being read does not wait any more."""
    name = name_of(ref)
    if job is None:
        return f"{name} was removed while you read it"
    if job.state == "failed" and job.failed_reason == TIMED_OUT:
        return f"{name} timed out {fmt.age(epoch_ms(job.finished_at), now_ms)} ago"
    if job.signals:
        last = job.signals[-1]
        age = fmt.age(epoch_ms(last.received_at), now_ms)
        return f"{who_sent(last)} {deed(last)} {name} {age} ago"
    return f"{name} does not wait any more: it is {short(job.state, 30)}"


def deed(signal: Signal) -> str:
    """What a signal did, as a verb in the past."""
    said = signal.data if isinstance(signal.data, dict) else {}
    if said.get("approved") is True or said.get("action") == "approve" or signal.name == "approve":
        return "approved"
    if said.get("approved") is False or said.get("action") == "reject" or signal.name == "reject":
        return "rejected"
    return f"sent {short(signal.name, 40) or 'a signal'} to"


def who_sent(signal: Signal) -> str:
    """Name in a signal, or `someone`."""
    said = signal.data if isinstance(signal.data, dict) else {}
    for key in ("by", "reviewer"):
        if isinstance(said.get(key), str) and said[key]:
            return short(said[key], 60)
    return "someone"


def round_words(signals: Iterable[Signal]) -> str | None:
    """`round 2 · before: alice sent revise to it`, None in the first round."""
    earlier = tuple(signals)
    if not earlier:
        return None
    last = earlier[-1]
    return f"round {len(earlier) + 1} · before: {who_sent(last)} {deed(last)} it"
