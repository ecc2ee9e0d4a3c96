"""Options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

from .errors import UsageProblem
from .option_types import json_argument, positive_duration, some_text

Queue = Annotated[str | None, typer.Argument(metavar="QUEUE", help="The queue.")]
Queues = Annotated[list[str] | None, typer.Argument(metavar="QUEUE", help="Queues; none: all.")]
QueueOption = Annotated[
    list[str] | None, typer.Option("--queue", "-q", metavar="NAME", help="A queue, instead of the argument.")
]
JobQueue = Annotated[
    str | None,
    typer.Option(
        "--queue", "-q", metavar="NAME", parser=some_text, help="Queue of the job; JOB is then its id."
    ),
]
Job = Annotated[
    str, typer.Argument(metavar="JOB", help="QUEUE:ID, an id with -q, or an id only one queue has.")
]
Jobs = Annotated[
    list[str], typer.Argument(metavar="JOB", help="QUEUE:ID, ids with -q, or ids only one queue has.")
]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", parser=some_text, help="Who does this, for the audit."),
]
Comment = Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="Why, for the audit.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Watching = Annotated[
    int | None,
    typer.Option("--watch", metavar="DUR", parser=positive_duration, help="Repeat at this interval."),
]
Data = Annotated[
    str | None, typer.Option("--data", metavar="JSON", help="JSON text, @FILE, or - for standard input.")
]
MaxBytes = Annotated[
    int | None,
    typer.Option("--max-bytes", metavar="N", min=0, max=16_777_216, help="Payload shown at most, bytes."),
]


def merged(names: list[str] | None, more: list[str] | None) -> tuple[str, ...]:
    """Join arguments with `-q`, each name once."""
    return tuple(dict.fromkeys([*(names or ()), *(more or ())]))


def one_queue(argument: str | None, option: list[str] | None) -> str:
    """Return the one queue named as argument or with `-q`."""
    names = merged([argument] if argument is not None else None, option)
    if len(names) != 1:
        raise UsageProblem("name one queue: as the argument QUEUE or with --queue")
    return names[0]


def given_json(text: str | None) -> object:
    """Read a JSON option; `UNSET` when it was not given."""
    from glidemq_core.options.fields import UNSET

    return UNSET if text is None else json_argument(text, "--data")
