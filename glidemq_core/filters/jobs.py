"""Filters of jobs: what each term is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from glidemq_core.records import JobRow

from .language import Expression, Fields, parse_expression

JobExpression = Expression[JobRow]

STALLED: Final = "stalled"
"""What active jobs are listed by whose heartbeat is overdue: no state on the wire."""
STATES: Final = (
    *("waiting", "active", "delayed", "prioritized", "suspended", "waiting-children", "group-waiting"),
    *("completed", "failed", STALLED),
)


def _words(row: JobRow) -> Iterator[str | None]:
    yield from (row.id, row.name, row.model, row.failed_reason)
    yield row.suspend.reason if row.suspend is not None else None


def _in_state(row: JobRow, states: frozenset[str]) -> bool:
    return row.state in states or (row.stalled and STALLED in states)


def age_ms(created_at: datetime | None, now: datetime) -> float | None:
    """Return how long ago something was made, ms."""
    return (now - created_at) / timedelta(milliseconds=1) if created_at is not None else None


JOB_FIELDS: Final = Fields[JobRow](
    what="jobs",
    words=_words,
    searched=lambda row: (row.name, row.failed_reason),
    texts={
        "name": lambda row: (row.name,),
        "model": lambda row: (row.model,),
        "error": lambda row: (row.failed_reason,),
    },
    exact={"queue": lambda row: (row.queue,), "id": lambda row: (row.id,)},
    numbers={
        "age": lambda row, now: age_ms(row.created_at, now),
        "cost": lambda row, _: row.total_cost,
        "tries": lambda row, _: row.attempts_made,
        "tokens": lambda row, _: row.total_tokens,
    },
    states=STATES,
    in_state=_in_state,
    payload=True,
)


def parse_job_filter(text: str) -> JobExpression:
    """Read a filter of jobs.

    Raises:
        FilterSyntaxError: the text is no filter; the message says where and what would be one.
    """
    return parse_expression(text, JOB_FIELDS)
