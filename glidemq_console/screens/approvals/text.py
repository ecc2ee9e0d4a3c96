"""What the approvals screen says, as cells and lines of parts: pure functions of the records and the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from ...model.decisions import Pending, round_words, what_changed
from ...model.snapshot import epoch_ms
from ...text import format as fmt
from ...text.differences import MARK_STYLES, value_diff
from ...text.safe import short
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim, hotkey
from ...widgets.wrapped_text import Paragraph
from .card_text import HEAD_REASON, streamed_words

if TYPE_CHECKING:
    from glidemq_core.records import Approval

EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("Nothing waits for you. A processor asks with job.suspend(reason=…).")],
)
_LEVELS = {"ok": "foreground", "warn": "warning", "high": "error", "over": "error", "unknown": "dim"}
#: Cells of the bar of a deadline.
_BAR = 8
#: Lines of the difference that is shown of each part of a job that changed.
CHANGED_LINES = 200


def left_parts(one: Approval, now: int) -> Styled:
    """Time to the deadline, in the colour of its urgency."""
    deadline = epoch_ms(one.deadline_at)
    level = fmt.deadline_level(epoch_ms(one.suspended_at), deadline, now)
    return Styled(fmt.countdown(deadline, now), _LEVELS[level], "bold" if level in ("high", "over") else "")


def deadline_bar(one: Approval, now: int) -> Parts:
    """What is left of the time to decide as a thin bar, a cell an eighth; nothing without a deadline."""
    asked, deadline = epoch_ms(one.suspended_at), epoch_ms(one.deadline_at)
    if asked is None or deadline is None or deadline <= asked:
        return []
    left = max(0, min(_BAR, math.ceil((deadline - now) / (deadline - asked) * _BAR)))
    level = _LEVELS[fmt.deadline_level(asked, deadline, now)]
    return [Styled("━" * left, level), Styled("─" * (_BAR - left), "gauge-empty")]


def held_parts(pending: Pending, now: int, *, sending: bool) -> Styled:
    """What is about to be sent, and when."""
    glyph, token = ("✓", "success") if pending.verb == "approve" else ("✗", "error")
    return Styled(f"{glyph} {'…' if sending else fmt.countdown(pending.due_ms, now)}", token, "bold")


def summary(items: Sequence[Approval], read: int, total: int, now: int) -> Parts:
    """`7 wait for a person · next in 3m 12s`; `read` of them are known, `items` match a filter."""
    if not total:
        return [dim("nothing is waiting for approval")]
    verb = "waits" if total == 1 else "wait"
    words = f"{total:,} {verb} for a person"
    if total > read:
        words = f"the first {read:,} of {total:,}"  # first of all, for a narrow terminal cuts the end
    parts = [Styled(words, "person", "bold")]
    soonest = min((one for one in items if one.deadline_at), key=lambda one: one.deadline_at, default=None)  # type: ignore[arg-type,return-value]  # those without were left out
    if soonest is not None:
        parts += [dim(" · next in "), left_parts(soonest, now)]
    if len(items) < read:
        parts.append(Styled(f" · {len(items):,} match", "warning"))
    return parts


def head(one: Approval, now: int, zone: tzinfo | None) -> list[Parts]:
    """Why it asks, which job it is, until when, what it has cost, what waits behind it."""
    deadline = epoch_ms(one.deadline_at)
    until = [dim("no deadline")]
    if deadline is not None:
        bar = deadline_bar(one, now)
        when = Styled(fmt.moment(deadline, now, zone))
        until = [*bar, Styled(" " if bar else ""), left_parts(one, now), dim(" · decides by "), when]
    since = Styled(fmt.moment(epoch_ms(one.suspended_at), now, zone))
    reason = short(one.reason, HEAD_REASON) or "waits for a signal"
    job = [dim(f"{short(one.queue, 60)} : "), Styled(short(one.id, 60), "", "bold")]
    why = [Styled("◆ ", "person"), Styled(reason, "person", "bold"), Styled("   ")]
    lines: list[Parts] = [
        [*why, *job, Styled(f"  {short(one.name, 60)}")],
        [*until, dim(" · suspended "), since],
    ]
    if spent := spent_parts(one):
        lines.append(spent)
    if one.waiting_behind:
        verb = "waits" if one.waiting_behind == 1 else "wait"
        behind = f"{fmt.plural(one.waiting_behind, 'job')} {verb} behind it"
        flow = f" (budget of {short(str(one.budget), 60)})" if one.budget is not None else ""
        lines.append([Styled(behind, "warning"), dim(flow)])
    lines += [[dim(words)] for words in (round_words(one.signals), streamed_words(one)) if words]
    if one.hidden:
        names = Styled(", ".join(map(short, one.hidden)), "warning")
        lines.append([Styled("hidden here: ", "warning", "bold"), names])
    return lines


def spent_parts(one: Approval) -> Parts:
    """Model, tokens and cost so far."""
    if one.usage is None:
        return []
    words = [short(one.usage.model, 40)] if one.usage.model else []
    if one.usage.total_tokens:
        words.append(f"{fmt.full(one.usage.total_tokens)} tok")
    parts: list[Styled] = [dim(" · ".join(words))] if words else []
    if one.usage.total_cost:
        cost = fmt.money(one.usage.total_cost, short(one.usage.cost_unit, 12) or None)
        parts += [dim(" · " if parts else ""), Styled(cost), dim(" so far")]
    return parts


def changed_words(before: Approval, after: Approval) -> Parts:
    """Name what is not as it was when it was opened."""
    return [
        Styled("changed since you opened it: ", "warning", "bold"),
        Styled(", ".join(what_changed(before, after)), "warning"),
        hotkey("  enter"),
        dim(" when you have looked"),
    ]


def changed_lines(before: Approval, after: Approval) -> list[Paragraph]:
    def parts_of(one: Approval) -> tuple[object, ...]:
        calls = [[call.name, call.args] for call in one.tool_calls]
        return one.name, one.reason or "", one.data, calls, one.draft or "", one.progress, one.raw or ""

    lines: list[Paragraph] = []
    for old, new in zip(parts_of(before), parts_of(after), strict=True):
        for mark, text in value_diff(old, new, most=CHANGED_LINES):
            token = MARK_STYLES[mark]
            lines.append(Paragraph(Styled(text, token), Styled(f"{mark} ", token)))
    return lines


def unseen_words(one: Approval, *, read: bool, reading: bool) -> Parts:
    """Say why a job is not approved: what of it is not on the card, and what shows it.

    Args:
        read: All that can be read of it was read.
        reading: The rest of it is being read.
    """
    if reading:
        return [Styled("the rest of it is being read …", "warning")]
    if read:
        return [Styled("only glidemq approve --unseen approves it", "warning")]
    missing = "its payload cannot be read" if one.data_error is not None else "not all of it is shown"
    return [Styled(missing, "warning"), hotkey("  enter"), Styled(" opens the whole", "foreground")]


def held_words(pending: Pending, now: int, *, sending: bool) -> Parts:
    """The line above the buttons while a decision is held back."""
    doing = "approving" if pending.verb == "approve" else "rejecting"
    if sending:
        return [Styled(f"{doing} …", "warning")]
    token = "success" if pending.verb == "approve" else "error"
    return [
        Styled(f"{doing} in {fmt.countdown(pending.due_ms, now)}", token, "bold"),
        Styled(f"   {key_of(f'approvals.{pending.verb}', pending.verb[0])}", "focus"),
        dim(" sends now   "),
        Styled(key_of("undo", "z"), "focus"),
        dim(" takes back"),
        *([dim(f"   “{short(pending.reason, 200)}”")] if pending.reason else []),
    ]
