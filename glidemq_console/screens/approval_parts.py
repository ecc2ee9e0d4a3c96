"""What the approvals screen says, as cells and lines of parts: pure functions of the records and the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from .. import format as fmt
from ..decisions import Pending, name_of, round_words, what_changed
from ..differences import MARK_TOKENS, value_diff
from ..safe import clean, json_line, mask, masked_text, short
from ..store import epoch_ms
from ..widgets.columns import Column
from ..widgets.ink import Cell, Ink, Parts

if TYPE_CHECKING:
    from glidemq_core.records import Approval, ToolCall

COLUMNS = (
    Column(key="in", title="IN", width=8),
    Column(key="queue", title="QUEUE", width=11, flexible=True),
    Column(key="what", title="WHAT", width=12, flexible=True, sortable=False),
    Column(key="why", title="WHY", width=20, flexible=3, leaves=2, sortable=False),
    Column(key="waits", title="WAITS", width=7, right=True, leaves=3),
    Column(key="cost", title="COST", width=7, right=True, leaves=1),
)
EMPTY: tuple[Parts, ...] = (
    [],
    [Ink("Nothing waits for you. A processor asks with job.suspend(reason=…).")],
)
_LEVELS = {"ok": "foreground", "warn": "warning", "high": "error", "over": "error", "unknown": "dim"}
#: Lines of a difference in the head of the card.
_DIFF = 8


def left_parts(one: Approval, now: int) -> Ink:
    """Time to the deadline, in the colour of its urgency."""
    deadline = epoch_ms(one.deadline_at)
    level = fmt.deadline_level(epoch_ms(one.suspended_at), deadline, now)
    return Ink(fmt.countdown(deadline, now), _LEVELS[level], "bold" if level in ("high", "over") else "")


def held_parts(pending: Pending, now: int, *, sending: bool) -> Ink:
    """What is about to be sent, and when."""
    glyph, token = ("✓", "success") if pending.verb == "approve" else ("✗", "error")
    return Ink(f"{glyph} {'…' if sending else fmt.countdown(pending.due_ms, now)}", token, "bold")


def cells(one: Approval, pending: Pending | None, now: int, *, sending: bool) -> dict[str, Cell]:
    """The cells of one job that waits."""
    cost = one.usage.total_cost if one.usage is not None else None
    look = "dim" if pending is not None else "foreground"
    return {
        "in": held_parts(pending, now, sending=sending) if pending is not None else left_parts(one, now),
        "queue": Ink(short(one.queue), look),
        "what": Ink(short(one.name), look),
        "why": Ink(short(one.reason) or "waits for a signal", "dim"),
        "waits": Ink(fmt.age(epoch_ms(one.suspended_at), now), "dim"),
        "cost": Ink(fmt.money(cost), "foreground" if cost else "dim"),
    }


def summary(items: Sequence[Approval], read: int, total: int, now: int) -> Parts:
    """`7 wait for a person · next in 3m 12s`; `read` of them are known, `items` match a filter."""
    if not total:
        return [Ink("nobody is asked", "dim")]
    verb = "waits" if total == 1 else "wait"
    words = f"{total:,} {verb} for a person"
    if total > read:
        words = f"the first {read:,} of {total:,}"  # first of all, for a narrow terminal cuts the end
    parts = [Ink(words, "person", "bold")]
    soonest = min((one for one in items if one.deadline_at), key=lambda one: one.deadline_at, default=None)  # type: ignore[arg-type,return-value]  # those without were left out
    if soonest is not None:
        parts += [Ink(" · next in ", "dim"), left_parts(soonest, now)]
    if len(items) < read:
        parts.append(Ink(f" · {len(items):,} match", "warning"))
    return parts


def head(one: Approval, now: int, zone: tzinfo | None) -> list[Parts]:
    """Which job, why, until when, what it has cost, what waits behind it."""
    asked, deadline = epoch_ms(one.suspended_at), epoch_ms(one.deadline_at)
    lines: list[Parts] = [
        [
            Ink(short(one.queue, 60), "dim"),
            Ink(" : ", "dim"),
            Ink(short(one.id, 60), "", "bold"),
            Ink(f"  {short(one.name, 60)}"),
        ],
        [Ink("◆ ", "person"), Ink(short(one.reason, 400) or "waits for a signal", "person")],
        [
            Ink("suspended ", "dim"),
            Ink(fmt.moment(asked, now, zone)),
            *(
                [Ink(" · no deadline", "dim")]
                if deadline is None
                else [
                    Ink(" · decides by ", "dim"),
                    Ink(fmt.moment(deadline, now, zone)),
                    Ink(" · ", "dim"),
                    left_parts(one, now),
                ]
            ),
        ],
    ]
    spent = spent_parts(one)
    if spent:
        lines.append(spent)
    if one.waiting_behind:
        verb = "waits" if one.waiting_behind == 1 else "wait"
        behind = f"{fmt.plural(one.waiting_behind, 'job')} {verb} behind it"
        flow = f" (budget of {short(str(one.budget), 60)})" if one.budget is not None else ""
        lines.append([Ink(behind, "warning"), Ink(flow, "dim")])
    before = round_words(one.signals)
    if before is not None:
        lines.append([Ink(before, "dim")])
    return lines


def spent_parts(one: Approval) -> Parts:
    """Model, tokens and cost so far."""
    if one.usage is None:
        return []
    words = [short(one.usage.model, 40)] if one.usage.model else []
    if one.usage.total_tokens:
        words.append(f"{fmt.full(one.usage.total_tokens)} tok")
    parts: list[Ink] = [Ink(" · ".join(words), "dim")] if words else []
    if one.usage.total_cost:
        cost = fmt.money(one.usage.total_cost, short(one.usage.cost_unit, 12) or None)
        parts += [Ink(" · " if parts else "", "dim"), Ink(cost), Ink(" so far", "dim")]
    return parts


def changed_lines(before: Approval, after: Approval) -> list[Parts]:
    """What is not as it was when it was opened."""
    lines: list[Parts] = [
        [
            Ink("changed since you opened it: ", "warning", "bold"),
            Ink(", ".join(what_changed(before, after)), "warning"),
        ]
    ]
    difference = []
    for old, new in ((before.data, after.data), (before.draft or "", after.draft or "")):
        difference += value_diff(old, new)
    lines += [[Ink(f"  {mark} {text}", MARK_TOKENS[mark])] for mark, text in difference[:_DIFF]]
    if len(difference) > _DIFF:
        lines.append([Ink(f"    … {fmt.plural(len(difference) - _DIFF, 'line')} more", "dim")])
    lines.append([Ink("enter", "focus", "bold"), Ink(" when you have looked at it", "dim")])
    return lines


def reported(one: Approval) -> tuple[str, list[Ink]]:
    """Title and paragraphs of what the job put before the approver: its draft, the tools it asks for, its progress."""
    calls = [Ink(f"» {call_text(call)}") for call in one.tool_calls]
    if one.draft:
        draft = Ink(clean(one.draft, limit=256 * 1024, line_limit=256 * 1024, max_lines=100_000))
        return "draft", [draft, *calls]
    if calls:
        return "asks for", calls
    if one.progress in (0, None, "", {}, []):
        return "draft", [Ink("it streamed nothing since it started", "dim")]
    if isinstance(one.progress, (int, float)):
        percent = f"{one.progress:g} %" if 0 <= one.progress <= 100 else f"{one.progress:g}"
        return "draft", [Ink(f"it streamed nothing since it started · progress {percent}", "dim")]
    shown = mask(one.progress)[0]
    text = shown if isinstance(shown, str) else json_line(shown, indent=2)
    return "reported", [Ink(clean(text, limit=256 * 1024))]


def call_text(call: ToolCall) -> str:
    """What a tool call asks for, secrets masked where they can be told."""
    cut = " …" if call.cut else ""
    return clean(masked_text(f"{call.name} {call.args}{cut}".strip()), limit=16 * 1024)


def undo_parts(pending: Pending, held: int, now: int) -> Parts:
    """What the status line says while decisions are held back: what is about to happen, and how to stop it."""
    doing = "approving" if pending.verb == "approve" else "rejecting"
    rest = f" and {held - 1} more" if held > 1 else ""
    return [
        Ink(f"{doing} {name_of(pending.ref)} in {fmt.countdown(pending.due_ms, now)}{rest}", "warning"),
        Ink("  z", "focus", "bold"),
        Ink(" undo"),
    ]


def held_words(pending: Pending, now: int, *, sending: bool) -> Parts:
    """The line above the buttons while a decision is held back."""
    doing = "approving" if pending.verb == "approve" else "rejecting"
    if sending:
        return [Ink(f"{doing} …", "warning")]
    token = "success" if pending.verb == "approve" else "error"
    return [
        Ink(f"{doing} in {fmt.countdown(pending.due_ms, now)}", token, "bold"),
        Ink("   enter", "focus"),
        Ink(" sends now   ", "dim"),
        Ink("z", "focus"),
        Ink(" takes back", "dim"),
        *([Ink(f"   “{short(pending.reason, 200)}”", "dim")] if pending.reason else []),
    ]
