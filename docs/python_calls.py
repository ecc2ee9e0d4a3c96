"""What `python.md` says of one call: its docstring as Markdown, each parameter, an example."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent / "python_examples.py"

#: Parameters that mean the same wherever a docstring says no more.
EVERYWHERE = {
    "actor": "who does it, as an `Actor`; with it the audit has an entry",
    "before": "number of an entry, exclusive: only older ones",
    "block": "ms, timedelta or text after which the job's state is asked for when nothing happens",
    "brief": "True leaves out what costs a walk over keys",
    "calls_per_s": "round trips a second at most",
    "chunk": "fields of the entry, names and values text; 1 MiB at most",
    "clear_signals": "True forgets the signals of former suspensions",
    "comment": "a remark for the audit and the processor",
    "content": "the text of the chunk",
    "count": "how many at most; 0 all",
    "cross_slot": "True allows a parent or children in other slots of a cluster; Python workers only",
    "data": "the payload: anything the serializer takes, JSON of 1 MiB at most",
    "duration": "ms, timedelta or text",
    "end": "last place, inclusive; negative: from the end",
    "end_time": "exclusive end, epoch ms or a datetime with a time zone; None: now",
    "event": "name of the event",
    "exclude_data": "True leaves payload and result unread",
    "expect": "hash or record of what was shown: the change is made only if it still holds",
    "expected_suspended_at": "decide only on the suspension of this time",
    "field": "name of the vector field",
    "flow": "the root as a `FlowJob`, its children in it",
    "flow_id": "id of the flow's root: id, `JobRef` or `queue:id`",
    "flows": "roots, each a `FlowJob`",
    "follow": "False ends at the end of what is stored now",
    "force": "True goes on though jobs are running",
    "group": "key of a group of failures",
    "handler": "a function, async or not; None makes a decorator",
    "index_name": "name of the index; None: that of the queue, `<queue>-idx`",
    "job_id": "id of the job: its id, a `JobRef` or `queue:id` of this queue",
    "jobs": "`NewJob`s: name, payload, options",
    "key": "the ordering key",
    "keys_per_call": "keys that one call looks at",
    "kind": "`completed` or `failed`",
    "limit": "how many at most",
    "message": "one line, 64 KiB at most",
    "model": "name of the model",
    "name": "name of the job, the scheduler or the index",
    "names": "names of queues; None: all that are known",
    "nodes": "`DagNode`s that name those they wait for",
    "options": "the same options as one object; a keyword beside it wins",
    "poll_interval": "ms, timedelta or text between two looks where no event wakes the wait",
    "priority": "1 first, 2048 last; 0 none",
    "progress": "a number, or anything of JSON",
    "provider": "name of the provider",
    "queue": "name of the queue",
    "queues": "names of queues; None: all of the prefix",
    "reason": "why, in a few words",
    "refs": "jobs as `JobRef(queue, id)`",
    "reset_fallback": "True begins with the first model again",
    "signal": "name of the signal that the processor sees",
    "start": "first place, or id of an entry (exclusive)",
    "start_time": "inclusive start, epoch ms or a datetime with a time zone",
    "state": "a state of jobs, as `waiting` or `failed`",
    "total_cost": "money in all; None: the sum of `costs`",
    "total_tokens": "tokens in all; None: the sum of `tokens`",
    "type": "kind of the chunk: `content`, `reasoning`, `tool_call`, `done`, or one of your own",
    "until": "epoch ms, or a datetime with a time zone",
    "until_done": "True ends at the first chunk of type `done`",
    "url": "`embedded:`, `embedded:NAME` or `embedded:/PATH`",
    "vector_field": "the field that is searched, as a `VectorField`",
    "window": "ms, timedelta or text back from `end_time`",
}
#: Where one of them means something else.
HERE = {
    "Handlers.on": {"names": "names of jobs"},
    "Queue.search_jobs": {
        "data": "top-level keys and values that the payload must have",
        "name": "name of jobs",
    },
    "Queue.set_global_concurrency": {"limit": "jobs at once in all workers; 0: no limit"},
    "Queue.set_global_rate_limit": {"limit": "starts in a window, as a `RateLimit`"},
    "Broadcast.set_global_rate_limit": {"limit": "starts in a window, as a `RateLimit`; None: no limit"},
    "Job.report_tokens": {"count": "tokens of this run so far"},
    "Job.report_usage": {
        "cached": "whether the answer came from a cache",
        "cost_unit": "what the costs are in, as `usd`",
        "costs": "money by category, as `{'input': 0.001, 'output': 0.002}`",
        "latency": "ms, timedelta or text that the model took",
        "tokens": "tokens by category, as `{'input': 50, 'output': 200}`",
    },
    "Queue.top_up_budget": {
        "add_costs_by": "added to the caps of categories of cost",
        "add_tokens_by": "added to the caps of categories of tokens",
    },
    "Job.step": {"args": "arguments of the function"},
    "Job.remove": {"force": "True removes a running job too"},
    "Worker.pause": {"force": "True does not wait for running jobs"},
    "Queue.add_bulk": {"jobs": "`NewJob`s: name, payload, options"},
}
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):[ ]*(.*)$")
_ITEM = re.compile(r"^((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*): (.+)$")


def parsed(doc: str) -> tuple[str, dict[str, str], str]:
    """Split a docstring: its text as Markdown, what it says of parameters, what is raised."""
    parts: dict[str, list[str]] = {"": []}
    at = ""
    for line in doc.splitlines():
        begun = _SECTION.match(line)
        if begun:
            at = begun[1]
            parts[at] = [begun[2]] if begun[2] else []
        elif at and line and not line.startswith(" "):
            at = ""
            parts[at] += ["", line]
        else:
            parts[at].append(line)
    arguments: dict[str, str] = {}
    for item in _items(parts.get("Args", [])):
        found = _ITEM.match(item)
        if found:
            arguments |= {name.lstrip("*"): found[2] for name in found[1].split(", ")}
    raised = " ".join(_items(parts.get("Raises", [])))
    text = "\n".join(parts[""]).strip()
    for section in ("Returns", "Yields"):
        if section in parts:
            text += f"\n\n{section}: {' '.join(' '.join(parts[section]).split())}"
    return text, arguments, raised


def _items(lines: list[str]) -> list[str]:
    """The items of a section, each on one line."""
    lines = inspect.cleandoc("\n".join(["", *lines])).splitlines()
    found: list[str] = []
    for line in lines:
        if line.startswith(" ") and found:
            found[-1] += " " + line.strip()
        elif line.strip():
            found.append(line.strip())
    return found


def meaning(owner: str, parameter: str, arguments: dict[str, str], text: str) -> str | None:
    """What a parameter means: its docstring's words, its special ones, those of everywhere; None: nothing is said."""
    if parameter in arguments:
        return arguments[parameter]
    special = HERE.get(owner, {}).get(parameter)
    if special or f"`{parameter}`" in text:
        return special or ""  # the text says it
    return EVERYWHERE.get(parameter)


def call_lines(owner: str, called: str, call: Any, parameters: list[str]) -> Iterator[str]:
    """Lines of the page for a call.

    Args:
        owner: name with its class, as `Queue.add`.
        called: how it is written, with its manner and what it returns.
        parameters: names of its parameters.
    """
    text, arguments, raised = parsed(inspect.getdoc(call) or "")
    text = re.sub(r"\n{3,}", "\n\n", text)
    yield from (f"### {owner}", "", f"`{called}`", "", text, "")
    told = [(name, meaning(owner, name, arguments, text)) for name in parameters]
    yield from (f"- `{name}`: {words}" for name, words in told if words)
    if any(words for _, words in told):
        yield ""
    if raised:
        yield from (f"Raises {raised}", "")
    yield from example_lines(owner)


def example_lines(owner: str) -> Iterator[str]:
    """Lines of the example of a call or class, if there is one."""
    example = examples().get(owner)
    if example:
        yield from ("```py", *example, "```", "")


@cache
def examples() -> dict[str, list[str]]:
    """Lines of the example of each call, from the program that runs them all.

    One in a function ends at an empty line, one of a module at the mark `#:`.
    """
    found: dict[str, list[str]] = {}
    owners: list[str] = []
    is_long = False
    for line in EXAMPLES.read_text("utf-8").splitlines():
        begun = re.match(r"( *)#: (.+)$", line)
        if begun:
            is_long, owners = not begun[1], begun[2].split(", ")
            found |= {owner: [] for owner in owners}
        elif line.strip() == "#:" or (not line.strip() and not is_long):
            owners = []
        for owner in owners if not begun else ():
            found[owner].append(line)
    return {owner: inspect.cleandoc("\n".join(["", *lines])).splitlines() for owner, lines in found.items()}
