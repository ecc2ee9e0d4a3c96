"""Acting on many jobs as they were shown: each in the state that was shown, or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ...options.fields import Duration, delay_ms, one_of, whole
from ...options.job import Actor
from ...server.context import QueueContext
from ...server.retry import retry_lost_reply
from ...wire.replies import as_text, as_texts
from ..audit import audit_blob

#: Jobs a server call, so that no call holds the server for long.
PART = 500
#: How long a part whose reply was lost is asked for again, s.
RETRY_S = 10.0

Act = Literal["retry", "promote", "remove"]
#: What the outcome of an act is where it was done.
DONE = {"retry": "retried", "promote": "promoted", "remove": "removed"}


class Shown(NamedTuple):
    """A job and the state in which somebody saw it."""

    id: str
    state: str


@dataclass(frozen=True, slots=True)
class Retimed:
    """What became of a job whose priority or delay was to change; `retime_back` takes it."""

    id: str
    outcome: str
    #: What said when it runs before, and now; empty unless `outcome` is `set`.
    before: str = ""
    now: str = ""


async def act_on_shown(
    context: QueueContext, act: Act, shown: Sequence[Shown], *, actor: Actor | None = None
) -> list[str]:
    """Retry, promote or remove jobs, each only in the state that was shown; active ones are removed too.

    A call does at most 500 jobs, each atomically; a part whose reply was lost is not done twice.

    Returns:
        Outcomes in order: `retried`, `promoted` or `removed`; else `changed` (in another state now), `not_found` or
        `refused` (a record of it is something else).

    Raises:
        ServerUnavailableError, CallTimeoutError: no answer for 10 s; the part may have been done.
    """
    one_of("retry", "promote", "remove")(act, "act")
    words = (str(context.now_ms()), act)
    return [outcome for outcome, _, _ in await _parts(context, "act_on_shown", act, words, shown, actor, {})]


async def retime(
    context: QueueContext,
    shown: Sequence[Shown],
    *,
    priority: int | None = None,
    delay: Duration | None = None,
    actor: Actor | None = None,
) -> list[Retimed]:
    """Change priority and delay of jobs that have not started, each only in the state that was shown.

    Args:
        priority: 1 starts first, 2048 last of those with one, 0 takes it away; None leaves it.
        delay: how long from now they wait (ms, text or timedelta), 0 makes them ready; None leaves it.

    Returns:
        Outcomes in order: `set`, `unchanged`, else `changed` (started or in another state), `parked` (by a budget),
        `out_of_reach` (deep in the backlog), `not_found` or `refused`.

    Raises:
        InvalidOptionError: no such priority or delay.
        ServerUnavailableError, CallTimeoutError: as for `act_on_shown`.
    """
    detail: dict[str, Any] = {}
    if priority is not None:
        detail["priority"] = whole(0, 2048)(priority, "priority")
    if delay is not None:
        detail["delay_ms"] = delay_ms(delay)
    words = (str(context.now_ms()), str(detail.get("priority", "")), str(detail.get("delay_ms", "")))
    answers = await _parts(context, "retime", "retime", words, shown, actor, detail)
    return [Retimed(job.id, *answer) for job, answer in zip(shown, answers, strict=True)]


async def retime_back(
    context: QueueContext, changes: Sequence[Retimed], *, actor: Actor | None = None
) -> list[str]:
    """Give jobs the priority and the due time back that they had before `retime`.

    One that waited goes to the end of those that wait.

    Returns:
        Outcomes in order: `set_back`; else `changed` (begun or changed since), `out_of_reach`, `not_found` or
        `refused`.

    Raises:
        ServerUnavailableError, CallTimeoutError: as for `act_on_shown`.
    """
    rows = [(one.id, one.now, one.before) for one in changes]
    words = (str(context.now_ms()),)
    answers = await _parts(context, "retime_back", "retime_back", words, rows, actor, {})
    return [outcome for outcome, _, _ in answers]


async def _parts(
    context: QueueContext,
    function: str,
    action: str,
    words: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    actor: Actor | None,
    detail: Mapping[str, Any],
) -> list[tuple[str, str, str]]:
    """Call a function for all rows, of which the first word is the id; outcome, text before and text now of each."""
    answers: list[tuple[str, str, str]] = []
    while len(answers) < len(rows):
        part = rows[len(answers) : len(answers) + PART]
        ids = [row[0] for row in part]
        blob = await audit_blob(context, actor, action, ids, context.now_ms(), detail=detail)
        texts = (*words, *(word for row in part for word in row), uuid.uuid4().hex, blob)

        async def call(texts: Sequence[str] = texts) -> Any:
            return await context.call(function, *texts)

        status, *found = await retry_lost_reply(call, RETRY_S)
        assert as_text(status) == "ok"
        told = as_texts(found)
        answers += zip(told[::3], told[1::3], told[2::3], strict=True)
    return answers
