"""The columns of the list of jobs: one line each."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms, shown_state
from ...text import format as fmt
from ...text.safe import short
from ...text.shown_keys import key_of
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
    return word if word != "unknown" else short(row.state, 18) or word


def ran_ms(row: JobRow, now: float) -> float | None:
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
        return [Styled(f"budget ran out; {key_of('jobs.flow', 'f')} shows its flow", "state-paused")]
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


def failed_ms(row: JobRow) -> int | None:
    return epoch_ms(row.finished_at) if row.state == "failed" else None


def finished_ms(row: JobRow) -> int | None:
    return epoch_ms(row.finished_at) if row.state == "completed" else None


def _reason_key(row: JobRow) -> str | None:
    asked = row.suspend.reason if row.suspend is not None else None
    return (asked or row.failed_reason or "").lower() or None


def _age_key(row: JobRow) -> int | None:
    """Longer ago is more."""
    at = epoch_ms(row.created_at)
    return None if at is None else -at


COLUMNS = (
    Of("id", "ID", 10, lambda row, _: Styled(short(row.id, 256)), lambda row: (len(row.id), row.id), rises=True),
    Of("state", "STATE", 18, state, shown_state, rises=True, leaves=3),
    Of("name", "NAME", 14, lambda row, _: Styled(short(row.name, 256)), lambda row: row.name, rises=True, flexible=1),
    Of("age", "AGE", 7, lambda row, now: dim(fmt.passed(age_ms(row.created_at, now))), _age_key, right=True),
    Of("failed-at", "FAILED AT", 12, lambda row, now: dim(fmt.stamp(failed_ms(row), now)), failed_ms, right=True,
       leaves=4, gives_way="empty"),
    Of("finished", "FINISHED", 12, lambda row, now: dim(fmt.stamp(finished_ms(row), now)), finished_ms, right=True,
       leaves=4, gives_way="empty"),
    Of("ran", "RAN", 7, lambda row, now: dim(fmt.took(ran_ms(row, now))), lambda row: ran_ms(row, time() * 1000),
       right=True, leaves=2, gives_way="empty"),
    Of("tries", "TRIES", 5, tries, lambda row: row.attempts_made, right=True, leaves=1, gives_way="empty"),
    Of("model", "MODEL", 18, lambda row, _: dim(short(row.model, 80) if row.model else fmt.UNKNOWN),
       lambda row: row.model, rises=True, leaves=5, gives_way="empty"),
    Of("tokens", "TOKENS", 7, tokens, lambda row: row.total_tokens, right=True, leaves=6, gives_way="empty"),
    Of("cost", "COST", 8, cost, lambda row: row.total_cost, right=True, leaves=7, gives_way="empty"),
    Of("why", "WHY", 18, why_parts, _reason_key, rises=True, flexible=3),
)  # fmt: skip
