"""The page of what `--json` writes: the answer of each command by hand, its objects from the records themselves."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from glidemq_core import records
from glidemq_core.options.job import JobOptions
from glidemq_core.options.types import Fallback, JobRef
from glidemq_core.records.base import _plan
from glidemq_core.schedules.entry import Scheduler

#: Names of objects on the page, and the records they are.
OBJECTS: dict[str, type[Any]] = {
    "Ref": JobRef,
    "Queue": records.QueueSnapshot,
    "Rate": records.Rate,
    "JobRow": records.JobRow,
    "Job": records.JobDetail,
    "Suspend": records.SuspendInfo,
    "Signal": records.Signal,
    "Child": records.Child,
    "Fallback": Fallback,
    "Stream": records.StreamInfo,
    "Usage": records.Usage,
    "Attempt": records.Attempt,
    "ToolCall": records.ToolCall,
    "Approval": records.Approval,
    "Decision": records.Decision,
    "Result": records.OperationResult,
    "Totals": records.FlowUsage,
    "UsageGroup": records.UsageGroup,
    "Budget": records.FlowBudget,
    "TopUp": records.TopUp,
    "Flow": records.Flow,
    "FlowNode": records.FlowNode,
    "Why": records.Why,
    "Blocker": records.Blocker,
    "FailureGroup": records.FailureGroup,
    "Letter": records.DeadLetter,
    "Limits": records.Limits,
    "Concurrency": records.Concurrency,
    "Group": records.Group,
    "Scheduler": Scheduler,
    "Worker": records.WorkerInfo,
    "Running": records.WorkerJob,
    "Event": records.QueueEvent,
    "AuditEntry": records.AuditEntry,
    "AuditCheck": records.AuditCheck,
    "Check": records.Check,
    "Server": records.Server,
}
_NAMES = {kind: name for name, kind in OBJECTS.items()}
#: Objects that begin with the keys of another one.
_BASES = {"Job": "JobRow", "Attempt": "Usage", "Approval": "Suspend"}

#: Commands by what they answer.
ANSWERS = [
    ("queues", "{queues [Queue], complete b, at_ms i}"),
    ("jobs", "{queue s, state s?, jobs [JobRow], total i?, looked i, next s?}"),
    ("job", "{job Job}"),
    ("approvals", "{approvals [Approval], total i, complete b, at_ms i}"),
    ("review", "{approval Approval}"),
    ("approve, reject", "{decisions [Decision]}"),
    ("signal, retry, remove, promote, clean, drain", "{results [Result]}"),
    ("why", "{why Why}"),
    ("failures", "{failures [FailureGroup], jobs_read i, complete b, at_ms i}"),
    ("dlq", "{letters [Letter], total i, looked i}"),
    ("dlq show", "{letter Letter}"),
    ("dlq replay, dlq discard", "{results [Result]}"),
    ("pause, resume", "{results [Result], warnings [s]}"),
    ("flow", "{flow Flow}"),
    ("flows", "{flows [Flow], looked i, complete b, at_ms i}"),
    ("budget", "{budget Budget}"),
    ("budget --add-...", "{top_up TopUp}"),
    ("limits", "{limits [Limits], at_ms i}"),
    ("limits --rpm ...", "{results [Result]}"),
    ("schedulers", "{schedulers [Scheduler], at_ms i}"),
    ("scheduler set", "{scheduler Scheduler}"),
    ("scheduler remove", "{results [Result]}"),
    ("scheduler run", "{job {queue s, id s, created b, outcome s}}"),
    ("workers", "{workers [Worker], stalled [JobRow], complete b, at_ms i}"),
    ("events", "an Event a line"),
    (
        "usage",
        "{from_ms i, to_ms i, bucket_ms i, total Totals, queues {Totals}, minutes [at_ms i and Totals]?, "
        "groups [UsageGroup]?, jobs_read i?, complete b?}",
    ),
    ("audit", "{entries [AuditEntry], chains {s}}"),
    ("audit --verify", "{entries [AuditEntry], chains {s}, checks {AuditCheck}}"),
    ("audit export", "an AuditEntry a line, as it is stored"),
    ("add", "{job {queue s, id s?, created b, outcome s}}"),
    ("add --wait", "{job Job}"),
    ("add --bulk", "{added i, skipped i, failed i, ids [s?]}"),
    ("tail", "{id s, t_ms i, type s, text s, fields {s}} a line"),
    ("server", "{server Server}"),
    ("doctor", "{ok b, checks [Check]}"),
    ("doctor --repair", "{ok b, checks [Check], repairs [Result]}"),
    ("config", "{config {any}, sources {s}, path s}"),
    (
        "demo --headless",
        "{url s, queues [s]}, with `--for` at last "
        "{summary {completed i, failed i, tokens i, suspended i, approved i, rejected i, ok b}}",
    ),
]

INTRODUCTION = """\
One object on one line of stdout; a command that follows writes one a line. Every key is always there. Times are
epoch milliseconds (`at_ms`, `created_ms`), spans milliseconds (`timeout_ms`). What users stored (`data`, `result`,
`progress`) is passed on as it is, but for secrets, which are masked unless `--reveal` is said. Characters that could
control a terminal are escaped as `\\u`.

`s` is text, `i` a whole number, `n` a number, `b` true or false, `any` a user's value, `[X]` a list of X, `{X}` an
object whose values are X; with `?` it may be null, which means: not known, or none."""

STATES = """\
`state` is one of `waiting`, `active`, `delayed`, `prioritized`, `group-waiting`, `waiting-children`, `suspended`,
`completed`, `failed`; `jobs --state stalled` lists active jobs whose heartbeat is overdue. `outcome` says what became
of one thing: of a Decision `sent`, `not_suspended`, `changed`, `not_found`, `not_shown`; of an Attempt `completed`,
`failed`, `suspended`, `delayed`, `lost`; of a Result what the command did, or why it did not.

`tail --json` tells on stderr what else happens, one line each: `{event s, queue s, id s, at_ms i, ...}`, the last with
the event `end` and the `state`."""


def keys_of(name: str) -> dict[str, str]:
    """Keys of an object with their kinds, in the order they are printed."""
    kind = OBJECTS[name]
    if kind is Fallback:
        return {"model": "s", "provider": "s?", "metadata": "any"}
    hints = typing.get_type_hints(kind)
    # What a command adds to the record.
    added = {"masked": "i"} if name == "Approval" else {}
    return {key: _kind(hints[field]) for field, key, _ in _plan(kind)} | added


def object_rows() -> Iterator[tuple[str, str]]:
    """Objects of the page with their keys, without those of the object that they begin with."""
    for name in OBJECTS:
        base = _BASES.get(name)
        keys = keys_of(name)
        own = [f"{key} {kind}" for key, kind in keys.items() if base is None or key not in keys_of(base)]
        yield name, (f"those of {base}, and " if base else "") + f"`{', '.join(own)}`"


_SIMPLE = {str: "s", int: "i", datetime: "i", float: "n", bool: "b", Any: "any", JobOptions: "{any}"}


def _kind(hint: Any) -> str:
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint in _NAMES:
        return _NAMES[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "s"
    if origin in (types.UnionType, typing.Union):
        return _kind(next(one for one in inner if one is not type(None))) + "?"
    if origin is typing.Literal:
        return "s"
    if origin is tuple:
        return f"[{_kind(inner[0])}]"
    if origin is not None and issubclass(origin, Mapping):
        return "{" + _kind(inner[1]) + "}"
    raise TypeError(f"no word for {hint}")
