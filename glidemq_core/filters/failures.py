"""Filters of failed jobs and of dead letters: what each term is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from glidemq_core.options.job import JobRef
from glidemq_core.records.failures import DeadLetter, failure_key
from glidemq_core.wire.strict_json import has_values

from .jobs import age_ms
from .language import Expression, Fields, parse_expression


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A failed job as far as gathering by cause and filters need it."""

    ref: JobRef
    failed_ms: int
    name: str
    error_type: str | None
    message: str
    model: str | None
    cost: float | None
    cost_unit: str | None
    created_at: datetime | None
    attempts_made: int
    total_tokens: float | None

    @property
    def key(self) -> str:
        """Key of its group."""
        return failure_key(self.ref.queue, self.error_type, self.message, self.ref.id)


FAILED_FIELDS: Final = Fields[FailedJob](
    what="failures",
    words=lambda job: (job.ref.queue, job.ref.id, job.name, job.model, job.error_type, job.message),
    searched=lambda job: (job.name, job.error_type, job.message),
    texts={
        "name": lambda job: (job.name,),
        "model": lambda job: (job.model,),
        "error": lambda job: (job.error_type, job.message),
    },
    exact={"queue": lambda job: (job.ref.queue,), "id": lambda job: (job.ref.id,)},
    numbers={
        "age": lambda job, now: age_ms(job.created_at, now),
        "cost": lambda job, _: job.cost,
        "tries": lambda job, _: job.attempts_made,
        "tokens": lambda job, _: job.total_tokens,
    },
)

#: `queue` is that of the failed job or that of the letter, and so is `id`; `age` is that of the letter.
LETTER_FIELDS: Final = Fields[DeadLetter](
    what="dead letters",
    words=lambda letter: (str(letter.origin or ""), str(letter.ref), letter.name, letter.failed_reason),
    searched=lambda letter: (letter.name, letter.failed_reason),
    texts={
        "name": lambda letter: (letter.name,),
        "error": lambda letter: (letter.failed_reason,),
    },
    exact={
        "queue": lambda letter: (letter.queue, letter.origin.queue if letter.origin is not None else None),
        "id": lambda letter: (letter.id, letter.origin.id if letter.origin is not None else None),
    },
    numbers={
        "age": lambda letter, now: age_ms(letter.failed_at, now),
        "tries": lambda letter, _: letter.attempts_made + 1,
    },
    payload=True,
)


def parse_letter_filter(text: str) -> Expression[DeadLetter]:
    """Read a filter of dead letters.

    Raises:
        FilterSyntaxError: the text is no filter; the message says where and what would be one.
    """
    return parse_expression(text, LETTER_FIELDS)


def letter_fits(where: Expression[DeadLetter], letter: DeadLetter, now: datetime) -> bool:
    """Tell whether a letter meets every term, those about the payload of its job too."""
    return where.fits(letter, now) and all(
        has_values(letter.data, {term.key: term.value}) != term.negated for term in where.payload
    )
