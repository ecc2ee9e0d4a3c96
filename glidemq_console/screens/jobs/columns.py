"""The columns of the list of jobs: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms, shown_state
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Parts, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.records import JobRow


Of = Column["JobRow"]


def state(row: JobRow, _now: int) -> Parts:
    look = fmt.state_look(shown_state(row))
    return [Styled(f"{look.glyph} ", look.style), Styled(_state_word(row, look.word), look.style)]


def tries(row: JobRow, _now: int) -> Cell:
    made, most = row.attempts_made, row.max_attempts
    return Styled(f"{made}/{most}" if most > 1 else fmt.count(made), "foreground" if made else "dim")


def tokens(row: JobRow, _now: int) -> Cell:
    return Styled(fmt.full(row.total_tokens), "foreground" if row.total_tokens else "dim")


def cost(row: JobRow, _now: int) -> Cell:
    return Styled(fmt.money(row.total_cost), "foreground" if row.total_cost else "dim")


def _state_word(row: JobRow, word: str) -> str:
    if row.parked:
        return "parked"
    return word if word != "unknown" else short(row.state, 18) or word


def ran_ms(row: JobRow, now: int) -> int | None:
    """How long the latest run took or has taken. A failed attempt overwrites its start, so failed jobs say None."""
    started = epoch_ms(row.processed_at)
    if started is None:
        return None
    if row.state == "active":
        return max(0, now - started)
    finished = epoch_ms(row.finished_at)
    return finished - started if finished is not None and finished > started else None


def why_parts(row: JobRow, now: int) -> Parts:
    if row.state == "suspended" and row.suspend is not None:
        deadline = epoch_ms(row.suspend.deadline_at)
        left = "" if deadline is None else f" · {fmt.countdown(deadline, now)} left"
        reason = short(row.suspend.reason or "waits for a signal", 200)
        return [Styled(reason, "person"), dim(left)]
    if row.parked:
        return [Styled("budget ran out; f shows its flow", "state-paused")]
    if row.stalled:
        return [Styled("its worker is silent; another takes it over", "state-stalled")]
    if row.state in ("delayed", "prioritized") and row.due_at is not None:
        due = epoch_ms(row.due_at)
        return [dim(f"in {fmt.countdown(due, now)}"), *_reason(row, "dim")]
    if row.failed_reason:
        return _reason(row, "error" if row.state == "failed" else "dim", lead="")
    return [dim(fmt.UNKNOWN)]


def _reason(row: JobRow, token: str, lead: str = "  ") -> list[Styled]:
    if not row.failed_reason:
        return []
    return [Styled(lead + short(row.failed_reason, 200), token)]


COLUMNS = (
    Of("id", "ID", 10, lambda row, _: Styled(short(row.id, 256))),
    Of("state", "STATE", 18, state, leaves=3),
    Of("name", "NAME", 14, lambda row, _: Styled(short(row.name, 256)), flexible=1),
    Of("age", "AGE", 7, lambda row, now: dim(fmt.passed(age_ms(row.created_at, now))), right=True),
    Of("ran", "RAN", 7, lambda row, now: dim(fmt.took(ran_ms(row, now))), right=True, leaves=2),
    Of("tries", "TRIES", 5, tries, right=True, leaves=1),
    Of(
        "model", "MODEL", 18, lambda row, _: dim(short(row.model, 80) if row.model else fmt.UNKNOWN), leaves=4
    ),
    Of("tokens", "TOKENS", 7, tokens, right=True, leaves=5),
    Of("cost", "COST", 8, cost, right=True, leaves=6),
    Of("why", "WHY", 18, why_parts, flexible=3),
)
