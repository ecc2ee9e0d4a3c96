"""What can be done with a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...text.format import plural
from ...text.safe import short
from .. import keys, shared
from ..base import Actions, PageContext, Question, Unchanged, on_screen
from ..bulk import in_parts, one_at_a_time, touched
from ..jobs import control as jobs
from .failures import ON_A_HALF, HalfPage

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.records import DeadLetter
    from glidemq_core.server.context import QueueContext


#: Letters whose calls are on their way together.
AT_A_TIME = 25


class Edited(Protocol):
    """A payload that was made of another one."""

    @property
    def value(self) -> Any: ...


class LettersPage(HalfPage, Protocol):
    """The dead letters, as their actions know them."""

    async def edit_payload(self, letter: DeadLetter) -> Edited | str:
        """Let the payload be edited; return it, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class LettersContext(PageContext[LettersPage]):
    """A key pressed on the dead letters; `job` is the one that failed."""

    letter: DeadLetter | None = None

    @property
    def needed_letter(self) -> DeadLetter:
        assert self.letter is not None
        return self.letter


_LIST: Actions[LettersContext] = Actions("deadletters")


def _needs_single(context: LettersContext) -> str | None:
    return one_at_a_time(context, "letter") or _needs_letter(context)


def _needs_letters(context: LettersContext) -> str | None:
    return None if _marked(context) else _needs_letter(context)


def _needs_letter(context: LettersContext) -> str | None:
    if context.letter is None:
        return "no dead letter is selected"
    return None if context.letter.origin is not None else "it does not say which job it came from"


@_LIST("deadletters.open", keys.OPEN, why_not=_needs_letter, footer=10)
def _open(context: LettersContext) -> None:
    """Show the letter alone and whole."""
    context.page.open_selected()


def _marked(context: LettersContext) -> list[DeadLetter]:
    """The marked letters that say where they came from."""
    return [one for one in context.marked if one.origin is not None]


def _queue_of(letter: DeadLetter) -> str:
    assert letter.origin is not None
    return letter.origin.queue


def _told_of(context: LettersContext) -> str:
    marked = _marked(context)
    rest = len(context.marked) - len(marked)
    left = f"{rest:,} of the marked do not say which job they came from and are left out." if rest else ""
    return touched(
        [str(one.origin) for one in marked], [one.failed_reason or "no reason" for one in marked], left
    )


def _ask_replay(context: LettersContext) -> Question:
    if marked := _marked(context):
        return Question(
            title=f"Replay {plural(len(marked), 'marked letter')}?",
            body=f"{_told_of(context)}\n\nTheir jobs are added to their queues again and the letters go. "
            "What is gone or was put back too often is skipped. This cannot be undone.",
            yes=f"Replay {len(marked):,}",
        )
    letter = context.needed_letter
    again = f" It was put back {letter.replays} times before." if letter.replays else ""
    return Question(
        title=f"Replay {context.shown_job}?",
        body=f"{short(letter.failed_reason, 300)}\n\nIts job is added to {context.shown_queue} again and the letter "
        f"goes.{again} This cannot be undone.",
        yes="Replay",
    )


async def _put_back(context: LettersContext, **options: Any) -> str:
    letter = context.needed_letter

    async def replay(queue: Queue[Any, Any], actor: Actor) -> str | None:
        from glidemq_core import deadletters

        context = await queue.context()
        letters = deadletters.letters_at(context, letter.queue)
        return await deadletters.replay_dead_letter(context, letters, letter.id, actor=actor, **options)

    new = await context.change(replay)
    if new is None:
        return Unchanged("the letter is gone: replayed or discarded meanwhile")
    return f"{context.shown_job} runs again as {short(new, 60)}"


@_LIST.changes("deadletters.replay", keys.RUN, why_not=_needs_letters, ask=_ask_replay, footer=20)
async def _replay(context: LettersContext) -> str:
    """Put the jobs of the marked letters, else of the selected one, back into their queues."""
    if marked := _marked(context):
        tally = await in_parts(
            context, marked, _replay_each, {"replayed"}, queue_of=_queue_of, doing="replaying"
        )
        return tally.message("letter", "replayed")
    return await _put_back(context)


@_LIST.changes(
    "deadletters.edit", keys.EDIT, title="edit, replay", why_not=_needs_single, prompts=True, footer=25
)
async def _edit(context: LettersContext) -> str:
    """Edit the payload, look at the difference, and put the job back with it."""
    edited = await context.page.edit_payload(context.needed_letter)
    if isinstance(edited, str):
        return Unchanged(edited)
    return await _put_back(context, data=edited.value)


async def _replay_each(queue: Queue[Any, Any], actor: Actor, part: Sequence[DeadLetter]) -> list[str]:
    from glidemq_core.deadletters import replay_dead_letter

    async def replay(context: QueueContext, letters: QueueContext, letter_id: str) -> str:
        new = await replay_dead_letter(context, letters, letter_id, actor=actor)
        return "gone" if new is None else "replayed"

    return await _with_each(queue, part, replay)


async def _discard_each(queue: Queue[Any, Any], actor: Actor, part: Sequence[DeadLetter]) -> list[str]:
    from glidemq_core.deadletters import remove_dead_letter

    async def discard(context: QueueContext, letters: QueueContext, letter_id: str) -> str:
        return "discarded" if await remove_dead_letter(context, letters, letter_id, actor=actor) else "gone"

    return await _with_each(queue, part, discard)


async def _with_each(
    queue: Queue[Any, Any],
    part: Sequence[DeadLetter],
    act: Callable[[QueueContext, QueueContext, str], Awaitable[str]],
) -> list[str]:
    """Do it with each, so many at a time that their calls share round trips."""
    from glidemq_core.deadletters import letters_at
    from glidemq_core.errors import DuplicateJobError, JobStateError

    context = await queue.context()

    async def one(letter: DeadLetter) -> str:
        try:
            return await act(context, letters_at(context, letter.queue), letter.id)
        except (DuplicateJobError, JobStateError):
            return "refused"

    outcomes: list[str] = []
    for start in range(0, len(part), AT_A_TIME):
        outcomes += await asyncio.gather(*map(one, part[start : start + AT_A_TIME]))
    return outcomes


def _ask_discard(context: LettersContext) -> Question:
    if marked := _marked(context):
        return Question(
            title=f"Discard {plural(len(marked), 'marked letter')}?",
            body=f"{_told_of(context)}\n\nThe letters go with their payloads; the failed jobs stay where they are. "
            "This cannot be undone.",
            yes=f"Discard {len(marked):,}",
        )
    return Question(
        title=f"Discard the letter of {context.shown_job}?",
        body="The letter goes with its payload; the failed job stays where it is. This cannot be undone.",
        yes="Discard",
    )


@_LIST.changes("deadletters.discard", keys.REMOVE, why_not=_needs_letters, ask=_ask_discard, footer=28)
async def _discard(context: LettersContext) -> str:
    """Discard the marked letters, else the selected one."""
    if marked := _marked(context):
        tally = await in_parts(context, marked, _discard_each, {"discarded"}, queue_of=_queue_of)
        return tally.message("letter", "discarded")
    letter = context.needed_letter

    async def discard(queue: Queue[Any, Any], actor: Actor) -> bool:
        from glidemq_core import deadletters

        context = await queue.context()
        letters = deadletters.letters_at(context, letter.queue)
        return await deadletters.remove_dead_letter(context, letters, letter.id, actor=actor)

    if await context.change(discard):
        return f"the letter of {context.shown_job} is discarded"
    return Unchanged("the letter was gone already")


_LIST += on_screen("deadletters", (*ON_A_HALF, *shared.MARKS, *jobs.LINKS, *shared.SIBLINGS, shared.hold))
ACTIONS = tuple(_LIST)
