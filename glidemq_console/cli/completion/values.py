"""What an option or an argument can be: words of ours, and names that the server knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .words import Position

#: How long the server may take, s: whoever waits for a shell types on.
_PATIENCE_S = 1.0
#: Candidates at most, and jobs of one state that are looked at.
_MOST = 200
_RECENT = 30

#: States of the jobs that a command is for; of the others, those that are looked at first.
_STATES = {
    "approve": ("suspended",),
    "reject": ("suspended",),
    "review": ("suspended",),
    "signal": ("suspended",),
    "retry": ("failed",),
    "promote": ("delayed",),
}
_ANY_STATE = ("waiting", "suspended", "failed", "completed", "delayed")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word that may stand at the cursor, and what it means."""

    word: str
    help: str = ""


@dataclass
class Values:
    """Words for the cursor."""

    words: Iterable[Candidate] = ()
    #: Whether the shell may offer files.
    files: bool = False
    #: Whether the word goes on.
    goes_on: bool = False


def values_of(param: Any, start: str, position: Position, before: str = "") -> Values:
    """Return what a parameter can be.

    Args:
        start: what has been typed of it.
        before: what stands before it in the same word (`--state=`).
    """
    metavar = param.metavar or ""
    if metavar in ("FILE", "DIR") or (metavar == "JSON" and start.startswith("@")):
        return Values(files=True)
    by_name = _OPTIONS.get(param.name) if metavar in ("NAME", "KEY") else None
    readers = [by_name] if by_name else [_PARTS[part] for part in metavar.split() if part in _PARTS]
    found = Values([Candidate(word) for word in _choices(param, metavar, position)])
    for read in readers:
        more = read(start, position)
        found = Values([*found.words, *more.words], goes_on=more.goes_on)
    offered = [Candidate(before + one.word, one.help) for one in found.words if one.word.startswith(start)]
    return Values(offered[:_MOST], files=found.files, goes_on=found.goes_on)


def _choices(param: Any, metavar: str, position: Position) -> list[str]:
    """Words among which a parameter chooses: of its type, or as its name in the help lists them."""
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return list(kind)
    first = metavar.partition(" ")[0]
    if (param.nargs == -1 and position.arguments) or not ("|" in first or first.startswith("[")):
        return []
    return [word for word in first.strip("[]").split("|") if word.islower()]


def _queues(start: str, position: Position) -> Values:
    return Values(Candidate(name) for name in _live(position, start, None))


def _jobs(start: str, position: Position) -> Values:
    """`QUEUE:ID`, or ids beside `--queue`; of a queue that is not yet named to the end, its name."""
    queue = position.options.get("queue")
    if queue:
        return Values(map(Candidate, _live(position, start, queue)))
    queue, colon, job_id = start.partition(":")
    if not colon:
        found = _live(position, queue, None)
        if len(found) != 1:
            return Values((Candidate(f"{name}:") for name in found), goes_on=True)
        queue = found[0]
    return Values(Candidate(f"{queue}:{one}") for one in _live(position, job_id, queue))


def _live(position: Position, start: str, queue: str | None) -> list[str]:
    """Ask the server for names of queues, or for ids of a queue; empty when it does not answer soon."""
    from glidemq_core.errors import GlideMQError
    from glidemq_core.reading.names import read_queue_names, read_recent_ids, settings_of_running

    from ...config.settings import Given, resolve

    words = position.options
    files = words.get("password_file")
    given = Given(
        url=words.get("url"),
        prefix=words.get("prefix"),
        profile=words.get("profile"),
        password_file=Path(files) if files else None,
        insecure="insecure" in words,
    )
    chosen = resolve(given)
    keywords = {
        "prefix": chosen.prefix,
        "password_file": chosen.password_file,
        "insecure": chosen.insecure or None,
    }

    async def ask() -> list[str]:
        async with asyncio.timeout(_PATIENCE_S):
            server = await settings_of_running(chosen.url, **keywords)
            if queue is None:
                return await read_queue_names(server, start, _MOST)
            states = _STATES.get(position.command.name, _ANY_STATE)
            return await read_recent_ids(server, queue, states, start, _RECENT)

    try:
        found = asyncio.run(ask())
    except (GlideMQError, OSError):  # a TimeoutError is one
        found = []
    if queue is None:
        found = sorted({*found, *(name for name in chosen.queues if name.startswith(start))})
    return [name for name in found if is_inert(name)]


def is_inert(name: str) -> bool:
    """Whether a name can stand in a command line as it is: names of others are no code for a shell."""
    plain = all(char.isalnum() or char in "_./@%+,-" for char in name)
    return plain and name.isprintable() and name[:1] not in ("-", "%", "+", "") and len(name) <= 200


def _profiles(_: str, __: Position) -> Values:
    from ...config import file

    profiles = file.load(file.config_path()).get("profiles", {})
    return Values(Candidate(name) for name in profiles if is_inert(name))


def _themes(_: str, __: Position) -> Values:
    from glidemq_console.theme.files import load_themes

    return Values(Candidate(name) for name in load_themes().names if is_inert(name))


def _screens(_: str, __: Position) -> Values:
    from glidemq_console.screens.table import SCREENS

    return Values(Candidate(spec.name) for spec in SCREENS)


def _states(_: str, __: Position) -> Values:
    from ..commands.jobs.read import STATES

    return Values(map(Candidate, STATES))


def _sort_keys(_: str, __: Position) -> Values:
    from ..commands.queues.read import SORT_KEYS

    return Values(map(Candidate, SORT_KEYS))


def _config_keys(_: str, __: Position) -> Values:
    from ...config.file import TOP_KEYS

    return Values(map(Candidate, TOP_KEYS))


def _queue_or_job(start: str, position: Position) -> Values:
    return _jobs(start, position) if ":" in start else _queues(start, position)


#: By the name of a parameter in the help.
_PARTS: dict[str, Callable[[str, Position], Values]] = {
    "QUEUE": _queues,
    "JOB": _jobs,
    "JOB|QUEUE": _queue_or_job,
    "QUEUE|LETTER": _queues,
    "STATE": _states,
}
#: By the name of an option where the help says NAME or KEY.
_OPTIONS: dict[str, Callable[[str, Position], Values]] = {
    "queue": _queues,
    "profile": _profiles,
    "theme": _themes,
    "screen": _screens,
    "sort": _sort_keys,
    "key": _config_keys,
}
