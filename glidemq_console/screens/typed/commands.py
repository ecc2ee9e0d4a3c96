"""What a line typed after `:` means: the action, what it works on, and what it may be completed to."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from ...actions.base import EVERYWHERE, Action, Context
from ...text.safe import clean, short
from ..registry import commands


def completions(text: str, context: Context) -> list[str]:
    """Whole lines that `text` may become, best first."""
    known = commands()
    name, space, rest = text.lstrip().partition(" ")
    if not space:
        here = {context.page.SCOPE, EVERYWHERE}
        names = [command for command in known if command.startswith(name)]
        return sorted(names, key=lambda command: (known[command].scope not in here, len(command), command))
    action = known.get(name)
    if action is None or action.takes is None:
        return []
    return [f"{name} {word}" for word in action.takes.complete(context) if word.startswith(rest.lstrip())]


def described(line: str, context: Context) -> str:
    """Say what a line does, and to what when nothing more is typed."""
    name, _, rest = line.partition(" ")
    action = commands().get(name)
    if action is None or rest:
        return ""
    kind = action.takes.kind if action.takes is not None else None
    default = {"queue": context.shown_queue if context.queue else "", "job": context.shown_job}.get(
        kind or "", ""
    )
    return action.help + (f"  {default}" if default else "")


def parse(text: str, context: Context) -> tuple[Action[Any], Context] | str:
    """Turn a line into an action and what it works on, or into the reason why it means nothing."""
    name, *words = text.split()
    action = commands().get(name.removeprefix(":"))
    if action is None:
        return f"no command '{short(name, 40)}'; tab completes, ? shows every key"
    if not words:
        return action, context
    # What is named is meant, whatever is marked.
    context = replace(context, words=tuple(words), marked=())
    if action.takes is None:
        more = "; queue NAME opens the jobs of one" if action.command == "jobs" else ""
        return f"'{action.command}' stands alone{more}"
    if action.takes.kind == "text":
        return action, context
    if action.takes.kind == "queue":
        return _at_queue(action, context, " ".join(words))
    return _at_job(action, context, " ".join(words))


def _at_queue(action: Action[Any], context: Context, name: str) -> tuple[Action[Any], Context] | str:
    for queue in context.snapshot.queues:
        if name in (queue.name, clean(queue.name, single_line=True)):
            return action, replace(context, queue=queue.name, job=None, job_state=None, row=None)
    return _unknown_queue(name, context)


def _unknown_queue(name: str, context: Context) -> str:
    """Say that there is no such queue, and what may have been meant."""
    shown = f"no queue '{short(name, 60)}' is known"
    near = get_close_matches(name, [queue.name for queue in context.snapshot.queues], cutoff=0.5)
    if near:
        return f"{shown}; near: {', '.join(short(one, 60) for one in near)}"
    return shown if context.snapshot.complete else f"{shown}; the search for queues goes on"


def _at_job(action: Action[Any], context: Context, text: str) -> tuple[Action[Any], Context] | str:
    from glidemq_core.options.job import JobRef

    queue, colon, job_id = text.rpartition(":")
    if not colon:
        if context.queue is None:
            return "say which queue, as in inference:42"
        queue = context.queue
    elif context.snapshot.queue(queue) is None:
        return _unknown_queue(queue, context)
    ref = JobRef(queue, job_id)
    listing = context.snapshot.jobs
    row = next((row for row in listing.rows if row.ref == ref), None) if listing is not None else None
    state = row.state if row is not None else None
    return action, replace(context, queue=queue, job=ref, job_state=state, row=row)
