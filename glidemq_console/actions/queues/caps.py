"""Setting the caps of queues, and taking that back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...text.format import plural, window
from ...text.safe import short
from ..base import Context
from ..bulk import Tally, in_parts

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor

#: A queue, what its caps were, and what they were set to.
Set = tuple[str, Mapping[str, str], Mapping[str, str]]


def rate_values(most: tuple[int, int] | None) -> dict[str, str]:
    """The stored fields of a cap on starts in a window of ms; None lifts it."""
    starts, duration = map(str, most) if most is not None else ("", "")
    return {"rateLimitMax": starts, "rateLimitDuration": duration}


def rate_words(most: tuple[int, int] | None) -> str:
    return f"at most {most[0]:,} starts in {window(most[1])}" if most else "no cap on starts any more"


def slot_values(most: int) -> dict[str, str]:
    """The stored field of a cap on jobs at once; 0 lifts it."""
    return {"globalConcurrency": str(most)}


def slot_words(most: int) -> str:
    return f"at most {most:,} jobs at once" if most else "no cap on jobs at once any more"


async def set_caps(context: Context, names: Sequence[str], values: Mapping[str, str]) -> Tally[str]:
    """Set caps of queues, all fields or none of each; undo gives back what they were."""
    changed: list[Set] = []

    async def change(queue: Queue[Any, Any], actor: Actor, part: Sequence[str]) -> list[str]:
        from glidemq_core.jobs.admin import set_limits

        was = await set_limits(await queue.context(), values, actor=actor)
        changed.extend((name, was or {}, values) for name in part)
        return ["set"] * len(part)

    tally = await in_parts(context, names, change, {"set"}, queue_of=str)
    if changed:
        which = short(changed[0][0], 40) if len(changed) == 1 else plural(len(changed), "queue")
        take_back = partial(_give_back, replace(context, marked=()), changed)
        context.console.undo.note(f"caps of {which}", context.console.now_ms(), take_back)
    return tally


async def _give_back(context: Context, changed: Sequence[Set]) -> str:
    """Give queues the caps that they had, where nobody has set others since."""

    async def back(queue: Queue[Any, Any], actor: Actor, part: Sequence[Set]) -> list[str]:
        from glidemq_core.jobs.admin import set_limits

        where = await queue.context()
        done = [await set_limits(where, was, values, actor=actor) for _, was, values in part]
        return ["set" if one is not None else "changed" for one in done]

    tally = await in_parts(context, changed, back, {"set"}, queue_of=lambda one: one[0])
    return tally.message("queue", "with the caps from before")
