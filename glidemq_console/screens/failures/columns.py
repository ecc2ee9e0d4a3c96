"""The columns of failures by cause and of dead letters: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.records import DeadLetter, FailureGroup

OfGroup = Column["FailureGroup"]
OfLetter = Column["DeadLetter"]
#: Models that a row names, those with the most jobs.
_MODELS = 3


def error(group: FailureGroup, _now: int) -> Cell:
    """`ProviderError  429 slow down, retry after # ms`."""
    kind, message = short(group.error_type, 60), short(group.message, 400)
    if not kind or message.startswith(kind):
        return Styled(message or fmt.UNKNOWN)
    return [Styled(kind, "error"), Styled(f"  {message}" if message else "")]


def models(group: FailureGroup, _now: int) -> Cell:
    """`gpt-5.4 11  nano 3`."""
    most = sorted(group.models.items(), key=lambda item: (-item[1], item[0]))
    parts = [part for name, jobs in most[:_MODELS] for part in (dim(short(name, 40)), Styled(f" {jobs}  "))]
    return parts or dim(fmt.UNKNOWN)


def wasted(group: FailureGroup, _now: int) -> Cell:
    return Styled(fmt.money(group.wasted_cost), "" if group.wasted_cost else "dim")


COLUMNS = (
    OfGroup("count", "COUNT", 5, lambda one, _: Styled(fmt.count(one.count), "error"), lambda one: one.count,
            right=True),
    OfGroup("queue", "QUEUE", 10, lambda one, _: Styled(short(one.queue)), lambda one: one.queue, rises=True,
            flexible=1),
    OfGroup("error", "ERROR", 24, error, lambda one: (one.error_type or "", one.message), rises=True, flexible=5),
    OfGroup("first", "FIRST", 5, lambda one, now: dim(fmt.rough(age_ms(one.first_at, now))),
            lambda one: -(epoch_ms(one.first_at) or 0), right=True, leaves=3),
    OfGroup("last", "LAST", 5, lambda one, now: Styled(fmt.rough(age_ms(one.last_at, now))),
            lambda one: -(epoch_ms(one.last_at) or 0), rises=True, right=True),
    OfGroup("models", "MODELS", 20, models, leaves=4, flexible=1),
    OfGroup("wasted", "WASTED", 7, wasted, lambda one: one.wasted_cost, right=True, leaves=1),
)  # fmt: skip


def origin(letter: DeadLetter, _now: int) -> Cell:
    """Queue and id of the job that failed."""
    if letter.origin is None:
        return dim(fmt.UNKNOWN)
    return [Styled(f"{short(letter.origin.queue)} ", ""), dim(short(letter.origin.id))]


def replays(letter: DeadLetter, _now: int) -> Cell:
    return Styled(fmt.count(letter.replays), "warning" if letter.replays else "dim")


LETTER_COLUMNS = (
    OfLetter("age", "AGE", 5, lambda one, now: dim(fmt.rough(age_ms(one.failed_at, now))),
             lambda one: -(epoch_ms(one.failed_at) or 0), rises=True, right=True),
    OfLetter("origin", "ORIGIN", 14, origin, lambda one: str(one.origin or ""), rises=True, flexible=1),
    OfLetter("name", "NAME", 10, lambda one, _: Styled(short(one.name)), lambda one: one.name, rises=True,
             flexible=1, leaves=2),
    OfLetter("error", "ERROR", 24, lambda one, _: Styled(short(one.failed_reason, 400) or fmt.UNKNOWN, "error"),
             lambda one: one.failed_reason or "", rises=True, flexible=4),
    OfLetter("tries", "TRIES", 5, lambda one, _: Styled(fmt.count(one.attempts_made + 1)),
             lambda one: one.attempts_made, right=True, leaves=3),
    OfLetter("replays", "REPLAYS", 7, replays, lambda one: one.replays, right=True, leaves=1),
)  # fmt: skip
