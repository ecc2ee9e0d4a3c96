"""What a pane of tokens says round them: pure functions of the job, its meter and the time."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING

from ...feed.token_stream import Follower
from ...model.snapshot import epoch_ms, shown_state
from ...text import format as fmt
from ...text.safe import short
from ...widgets.styled import Parts, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.records import JobRow

ENDED = ("completed", "failed")
NOT_KNOWN: tuple[Parts, ...] = ([], [dim(" What streams cannot be known without the server.")])
EMPTY: tuple[Parts, ...] = (
    [],
    [Styled(" No job streams right now.")],
    [],
    [dim(" What runs and streams shows up here by itself.")],
    [Styled(" "), Styled("t", "focus"), dim(" on a job of the jobs screen follows that one.")],
    [dim(" A processor streams with  "), Styled('await job.stream_chunk("content", text)')],
)


def head(
    follower: Follower, row: JobRow | None, now: int, *, lit: bool, width: int
) -> tuple[list[Styled], list[Styled]]:
    """Whose tokens, and how fast they come; what does not fit into `width` leaves."""
    left = [
        Styled("▌" if lit else " ", "focus"),
        Styled(f" {short(str(follower.ref))}", "foreground", "bold" if lit else ""),
    ]
    if row is not None and width >= 50:
        left.append(dim(f"  {short(row.name, 40)}"))
        if row.model and width >= 70:
            left.append(dim(f"  {short(row.model, 40)}"))
    return left, [*_speed(follower, row, now, width), Styled(" ")]


def _speed(follower: Follower, row: JobRow | None, now: int, width: int) -> list[Styled]:
    meter = follower.meter
    if follower.speed is not None and not follower.ended:
        parts = [Styled(f"replay {follower.speed:g}x", "focus")]
    elif follower.paused:
        parts = [Styled("paused", "warning")]
    elif row is not None and row.state == "active" and not follower.ended:
        gap = meter.unusual_gap_ms(now)
        glyph = fmt.state_look("active").glyph
        if gap is not None:
            parts = [Styled(f"no token for {fmt.duration(gap)}", "warning")]
        else:
            parts = [Styled(f"{glyph} ", "state-active"), Styled(f"{fmt.count(meter.rate(now))} tok/s")]
    elif row is not None:
        look = fmt.state_look(shown_state(row))
        word = look.word if look.word != "unknown" else short(row.state, 20)
        parts = [Styled(f"{look.glyph} {word}", look.style)]
    else:
        parts = []
    if row is None:
        return parts
    first = meter.first_after_ms(epoch_ms(row.processed_at))
    if first is not None and width >= 70:
        parts.append(dim(f"  first token {fmt.took(first)}"))
    if width >= 50:
        parts.append(dim(f"  {tokens_words(row, meter.chunks)}"))
    if row.total_cost and width >= 70:
        parts.append(dim(f"  {fmt.money(row.total_cost, short(row.cost_unit, 12) or None)}"))
    return parts


def tokens_words(row: JobRow, chunks: int) -> str:
    """Tokens as reported, else how many chunks came."""
    if row.total_tokens:
        return f"{fmt.full(row.total_tokens)} tok"
    return fmt.plural(chunks, "chunk")


def end(follower: Follower, row: JobRow | None, now: int, zone: tzinfo | None) -> Parts:
    """The last line: how it ended, or what it waits for; empty while tokens may come."""
    if follower.trouble is not None:
        return [Styled("✗ ", "error"), Styled(short(follower.trouble, 200), "error")]
    if row is None:
        if not follower.ended:
            return []
        return [dim(f"removed · {fmt.plural(follower.meter.chunks, 'chunk')} came")]
    look = fmt.state_look(row.state)
    if row.state in ENDED:
        finished, started = epoch_ms(row.finished_at), epoch_ms(row.processed_at)
        words = f"{look.glyph} {look.word} {fmt.moment(finished, now, zone)}"
        parts = [Styled(words, look.style)]
        if row.state == "failed" and row.failed_reason:
            parts += [dim(" · "), Styled(short(row.failed_reason, 200), "error")]
        parts.append(dim(f" · {tokens_words(row, follower.meter.chunks)}"))
        if finished is not None and started is not None and finished > started:
            parts.append(dim(f" in {fmt.took(finished - started)}"))
        return parts
    if row.state == "suspended" and row.suspend is not None:
        deadline = epoch_ms(row.suspend.deadline_at)
        left = "" if deadline is None else f" · {fmt.countdown(deadline, now)} to decide"
        return [
            Styled(f"{look.glyph} {short(row.suspend.reason) or 'waits for a signal'}", "person"),
            dim(left),
        ]
    if row.state == "delayed":
        due = epoch_ms(row.due_at)
        why = f" · {short(row.failed_reason, 120)}" if row.failed_reason else ""
        when = "soon" if due is None else f"in {fmt.countdown(due, now)}"
        return [Styled(f"{look.glyph} runs again {when}", look.style), dim(why)]
    if row.state != "active":
        return [
            Styled(f"{look.glyph} {short(row.state, 20)}", look.style),
            dim(" · tokens come when it runs"),
        ]
    return []
