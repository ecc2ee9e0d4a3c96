"""Fixed data of the streams and approvals screens, at the moment of `fixed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_core.options.job import JobRef
from glidemq_core.records import (
    Approval,
    AuditEntry,
    Inbox,
    JobRow,
    Signal,
    StreamChunk,
    ToolCall,
    Usage,
)

from .fixed import LIVE, NOW, NOW_MS, ago, script

DRAFT = (
    "Thanks for your patience. We have refunded 129.00 EUR to the card that you paid with; it takes three to "
    "five days to show up there.\n\nIs there anything else that we can do for you?"
)


def approval(id: str, queue: str, name: str, cost: float, left: timedelta | None, **more: Any) -> Approval:
    """A job that waits, with its deadline so far away."""
    fields: dict[str, Any] = {
        "reason": "awaiting-human-review",
        "suspended_at": ago(minutes=10),
        "timeout_ms": 3_600_000,
        "deadline_at": None if left is None else NOW + left,
        "review_hash": f"hash-{id}",
        "data": {"customer": "C-1042", "amount": 129.0, "note": "wants it back by Friday"},
        "data_bytes": 72,
        "draft": DRAFT,
        "usage": Usage(model="gpt-5.4-nano", total_tokens=310, total_cost=cost, cost_unit="usd"),
    }
    return Approval(queue=queue, id=id, name=name, **(fields | more))


FIRST = approval(
    "48207",
    "moderation",
    "moderate",
    0.001,
    timedelta(minutes=1, seconds=12),
    waiting_behind=1,
    signals=(Signal(name="revise", data={"by": "alice"}, received_at=ago(minutes=20)),),
)
WAITING = (
    FIRST,
    approval("312", "publish", "newsletter", 0.214, timedelta(minutes=3), reason="goes to 48,000 readers"),
    approval(
        "7", "agent", "delete_file", 0.003, timedelta(minutes=51), data={"path": "/srv/reports/2025.csv"}
    ),
    approval("48190", "moderation", "moderate", 0.001, timedelta(hours=2, minutes=5)),
    approval("88", "refund", "over_limit", 0.02, timedelta(days=5)),
    approval("9", "agent", "run_shell", 0.002, None, reason="wants to run a command", draft=None),
)
LONG = replace(
    FIRST,
    draft="\n".join(f"{n}. {DRAFT}" for n in range(1, 30)),
    data={"api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f", **{f"field-{n}": n for n in range(60)}},
)
CHANGED = replace(FIRST, review_hash="hash-later", mark="later", data={**FIRST.data, "amount": 1290.0})
ASKING = replace(
    FIRST,
    name="agent",
    reason="wants to delete and to log in",
    tool_calls=(
        ToolCall(name="delete_file", args='{"path": "/srv/reports/2025.csv", "force": true}', bytes=58),
        ToolCall(name="login", args='{"user": "ops", "password": "correct horse battery"}', bytes=60),
    ),
    chunks={"content": 42, "reasoning": 2_100, "tool_call": 2, "citation": 3},
    progress={"step": "2 of 3", "found": 12},
)
PARTLY = replace(
    FIRST,
    review_hash=None,
    hidden=("draft after 64 kB", "2 earlier tool calls"),
    draft="\n".join(["── payload 72 B ───────────────────", *[""] * 200, "and delete everything"]),
    chunks={"content": 4_000, "reasoning": 2_100},
)
WHOLE = replace(PARTLY, review_hash="hash-whole", hidden=())
UNREADABLE = replace(
    FIRST,
    review_hash=None,
    data=None,
    data_error="data: an integer of more than 4,300 digits",
    raw='{"amount": 1' + "0" * 300 + ', "to": "C-1042"}',
    data_bytes=329,
)
AUDIT = (
    AuditEntry(
        seq=12,
        at=ago(minutes=20),
        by="alice",
        via="console",
        host="laptop",
        action="signal",
        queue="moderation",
        job_ids=("48207",),
        outcome="sent",
        comment="mention how long it takes",
        shown_hash="9f" * 32,
        prev_hash="0" * 64,
        hash="1" * 64,
    ),
)


def inbox(items: Sequence[Approval]) -> Inbox:
    return Inbox(items=tuple(items), total=len(items), complete=True, at=NOW)


def row(id: str, state: str = "active", **more: Any) -> JobRow:
    """A job that streams."""
    fields: dict[str, Any] = {"processed_at": ago(seconds=9), "created_at": ago(seconds=10), "name": "answer"}
    return JobRow(id=id, queue="chat", state=state, **(fields | more))


def chunks(started_s: float, pieces: Sequence[tuple[str, str]], gap_ms: int) -> tuple[StreamChunk, ...]:
    """A stream that began so long ago."""
    begin = NOW_MS - round(started_s * 1_000)
    return tuple(
        StreamChunk(f"{begin + n * gap_ms}-0", {"type": kind, "content": text})
        for n, (kind, text) in enumerate(pieces)
    )


ANSWER = (
    "A message queue lets one part of a system leave work for another. The sender goes on at once; the receiver "
    "takes the work when it has time, and what fails is tried again.\n\n1. Producers add jobs.\n2. Workers take "
    "them.\n3. What fails comes back.\n"
)
WORDS = [word + " " for word in ANSWER.split(" ")]
TOOL = StreamChunk(
    f"{NOW_MS - 8_000}-0", {"type": "tool_call", "name": "search", "args": '{"q":"valkey streams"}'}
)
RUNNING = (
    row("991", model="gpt-5.4", total_tokens=1_204, total_cost=0.018, cost_unit="usd"),
    row("992", model="gpt-5.4-nano"),
    row("993", processed_at=ago(seconds=30)),
    row(
        "990",
        "completed",
        processed_at=ago(seconds=23),
        finished_at=ago(seconds=2),
        total_tokens=1_318,
        total_cost=0.02,
        cost_unit="usd",
    ),
)
REFS = tuple(one.ref for one in RUNNING)
STREAMS = {
    REFS[0]: (
        *chunks(8.59, [("reasoning", "The user wants a short definition first, then an example.")], 20),
        TOOL,
        *chunks(len(WORDS) * 0.02, [("content", word) for word in WORDS], 20),
    ),
    REFS[1]: chunks(2, [("content", word) for word in WORDS[:40]], 50),
    REFS[2]: chunks(8, [("content", word) for word in WORDS[:20]], 100),
    REFS[3]: chunks(22, [("content", word) for word in WORDS * 4], 10),
}


def feed(
    items: Sequence[Approval] = WAITING,
    *,
    running: Sequence[JobRow] = RUNNING,
    base: Snapshot = LIVE,
    later: Callable[[], Sequence[Approval] | None] = lambda: None,
    wholes: Sequence[Approval] = (),
) -> ScriptedFeed:
    """A feed with these jobs waiting and streaming; `later` may replace what waits, `wholes` is read without limit."""

    def answer(wants: Interests) -> Snapshot:
        snapshot = script(base)(wants)
        by_ref = {one.ref: one for one in running}
        changed = later()
        return replace(
            snapshot,
            inbox=inbox(items if changed is None else changed) if wants.inbox else None,
            streams={ref: by_ref.get(ref) for ref in wants.streams},
            running=tuple(one for one in running if one.ref not in wants.streams) if wants.pick else (),
        )

    return ScriptedFeed(
        answer,
        chunks=STREAMS,
        reviews={one.ref: one for one in (LONG, *items)} | {one.ref: one for one in wholes},
        cuts={one.ref: one for one in items},
        audits={FIRST.ref: AUDIT},
    )


__all__ = [
    "ASKING",
    "AUDIT",
    "CHANGED",
    "FIRST",
    "LONG",
    "PARTLY",
    "RUNNING",
    "UNREADABLE",
    "WAITING",
    "WHOLE",
    "JobRef",
    "feed",
]
