"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from typer import Argument, Option

from .errors import UsageProblem
from .option_types import json_argument, positive_duration, some_text


def option(
    flags: str, metavar: str, help: str, parser: Callable[[str], Any] | None = None, **bounds: Any
) -> Any:
    """Declare an option with a value; `parser` reads it, `min` and `max` are its bounds."""
    return Option(*flags.split(), metavar=metavar, help=help, parser=parser, **bounds)


Queue = Annotated[str | None, Argument(metavar="QUEUE", help="The queue.")]
Queues = Annotated[list[str] | None, Argument(metavar="QUEUE", help="Queues; none: all.")]
SomeQueues = Annotated[list[str] | None, Argument(metavar="QUEUE", help="Queues, one at least.")]
QueueOption = Annotated[list[str] | None, option("--queue -q", "NAME", "A queue, instead of the argument.")]
JobQueue = Annotated[
    str | None, option("--queue -q", "NAME", "Queue of the job; JOB is then its id.", some_text)
]
Job = Annotated[str, Argument(metavar="JOB", help="QUEUE:ID, an id with -q, or an id only one queue has.")]
Jobs = Annotated[list[str], Argument(metavar="JOB", help="QUEUE:ID, ids with -q, or ids only one queue has.")]
By = Annotated[str | None, option("--by", "NAME", "Who does this, for the audit.", some_text)]
Comment = Annotated[str | None, option("--comment", "TEXT", "Why, for the audit.")]
Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]
Watching = Annotated[int | None, option("--watch", "DUR", "Repeat at this interval.", positive_duration)]
Data = Annotated[str | None, option("--data", "JSON", "JSON text, @FILE, or - for standard input.")]
MaxBytes = Annotated[
    int | None, option("--max-bytes", "N", "Payload shown at most, bytes.", min=0, max=16_777_216)
]

Scan = Annotated[int | None, option("--scan", "N", "How many a filter looks at, at most.", min=1)]


def looked_words(matches: int, looked: int, total: int | None) -> str:
    """Say how far a filter looked: `12 match, looked at 20,000 of 1,000,000`."""
    of = f" of {max(total, looked):,}" if total is not None else ""
    return f"{matches:,} match, looked at {looked:,}{of}"


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
