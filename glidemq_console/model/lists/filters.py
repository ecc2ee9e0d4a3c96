"""What the keys of a filter read of each kind of row: one table for all lists, and what is wrong with a filter.

The engine has the fields of jobs, failures and dead letters; the others are those of the console's own lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from glidemq_core.errors import FilterSyntaxError
from glidemq_core.filters.failures import FAILED_FIELDS, LETTER_FIELDS
from glidemq_core.filters.jobs import JOB_FIELDS, STATES, age_ms
from glidemq_core.filters.language import Expression, Fields, parse_expression

from ..approvals import WaitingJob
from ..flows import FLOW_STATES, filter_state, flow_state, root_of
from ..snapshot import epoch_ms, state_count
from ..workers import WorkerRow
from .events import EventLine
from .queues import QueueLine

if TYPE_CHECKING:
    from glidemq_core.records import Flow, FlowNode, JobRow, Usage, WorkerJob
    from glidemq_core.schedules.entry import Scheduler

    from .cost import SpendRow

_PAUSED: Final = "paused"
#: Kinds of events that peers and we write, `docs/wire.md`.
_KINDS: Final = (
    *("added", "promoted", "active", "completed", "failed", "retrying", "stalled", "expired", "revoked"),
    *("removed", "progress", "usage", "delay-changed", "priority-changed", "waiting-children", "suspended"),
    *("resumed", "paused", "drained", "cleaned", "retried", "group-rate-limited"),
)


# --- queues and limits -------------------------------------------------------------------------------------


def _queue_in(line: QueueLine, states: frozenset[str]) -> bool:
    """Whether a queue holds jobs of a state, or is paused."""
    return any(
        line.queue.paused if state == _PAUSED else bool(state_count(line.queue, state)) for state in states
    )


_QUEUES: Final = Fields[QueueLine](
    what="queues",
    words=lambda line: (line.name,),
    searched=lambda line: (line.name,),
    texts={"name": lambda line: (line.name,)},
    exact={"queue": lambda line: (line.name,)},
    numbers={
        "age": lambda line, now: age_ms(line.queue.oldest_waiting_at, now),
        "cost": lambda line, _: line.queue.cost_per_hour,
        "tokens": lambda line, _: line.queue.tokens_per_s,
    },
    states=(*STATES, _PAUSED),
    in_state=_queue_in,
)


# --- workers -----------------------------------------------------------------------------------------------


def _worker_states(row: WorkerRow) -> frozenset[str]:
    if row.worker is None:
        return frozenset(("unserved" if row.kind == "unserved" else "stalled",))
    states = {"active" if row.worker.active_jobs else "idle"}
    return frozenset(
        states | ({_PAUSED} if row.worker.paused else set()) | ({"stalled"} if row.stalled else set())
    )


def _worker_jobs(row: WorkerRow) -> tuple[WorkerJob | JobRow, ...]:
    return *row.running, *row.stalled


_WORKERS: Final = Fields[WorkerRow](
    what="workers",
    words=lambda row: (
        *(row.queue, row.process, row.language),
        *(text for job in _worker_jobs(row) for text in (job.name, job.id)),
    ),
    searched=lambda row: (row.process, row.queue, *(job.name for job in _worker_jobs(row))),
    texts={"name": lambda row: (row.process,)},
    exact={"queue": lambda row: (row.queue,), "id": lambda row: [job.id for job in _worker_jobs(row)]},
    numbers={"age": lambda row, now: age_ms(row.worker.started_at, now) if row.worker is not None else None},
    states=("active", "idle", "stalled", _PAUSED, "unserved"),
    in_state=lambda row, states: not states.isdisjoint(_worker_states(row)),
)


# --- flows -------------------------------------------------------------------------------------------------


def _of_root(read: Callable[[FlowNode], Any]) -> Callable[[Flow], Any]:
    def value(flow: Flow) -> Any:
        root = root_of(flow)
        return read(root) if root is not None else None

    return value


_root_name = _of_root(lambda root: root.name)
_root_created = _of_root(lambda root: root.created_at)

_FLOWS: Final[Fields[Flow]] = Fields(
    what="flows",
    words=lambda flow: (
        _root_name(flow),
        str(flow.root),
        flow.kind,
        flow_state(flow)[1],
        *_flow_errors(flow),
    ),
    searched=lambda flow: (_root_name(flow), *_flow_errors(flow)),
    texts={
        "name": lambda flow: (_root_name(flow),),
        "model": lambda flow: flow.usage.models,
        "error": lambda flow: _flow_errors(flow),
    },
    exact={"queue": lambda flow: (flow.root.queue,), "id": lambda flow: (flow.root.id,)},
    numbers={
        "age": lambda flow, now: age_ms(_root_created(flow), now),
        "cost": lambda flow, _: flow.usage.total_cost,
        "tokens": lambda flow, _: flow.usage.total_tokens,
    },
    states=FLOW_STATES,
    in_state=lambda flow, states: filter_state(flow) in states,
)


#: Jobs in the tree of a flow.
_NODES: Final[Fields[FlowNode]] = Fields(
    what="jobs of a flow",
    words=lambda node: (node.name, str(node.ref), node.state, node.model, node.failed_reason),
    searched=lambda node: (node.name, node.failed_reason),
    texts={
        "name": lambda node: (node.name,),
        "model": lambda node: (node.model,),
        "error": lambda node: (node.failed_reason,),
    },
    exact={"queue": lambda node: (node.queue,), "id": lambda node: (node.id,)},
    numbers={
        "age": lambda node, now: age_ms(node.created_at, now),
        "cost": lambda node, _: node.total_cost,
        "tokens": lambda node, _: node.total_tokens,
        "tries": lambda node, _: node.attempts_made,
    },
    states=(*STATES, "parked"),
    in_state=lambda node, states: ("parked" if node.parked else node.state) in states,
)


def _flow_errors(flow: Flow) -> list[str]:
    return [node.failed_reason for node in flow.nodes if node.failed_reason and node.state == "failed"]


# --- schedules, events, approvals, cost --------------------------------------------------------------------


def _schedule_states(one: Scheduler) -> frozenset[str]:
    if one.problem is not None:
        return frozenset(("broken",))
    if one.next_at is None:
        return frozenset(("running" if one.repeat_after_complete_ms is not None else "ended",))
    return frozenset(("missed", "due")) if one.missed else frozenset(("due",))


_SCHEDULES: Final[Fields[Scheduler]] = Fields(
    what="schedules",
    words=lambda one: (one.queue, one.name, one.job, one.described),
    searched=lambda one: (one.name, one.job, one.described),
    texts={"name": lambda one: (one.name, one.job)},
    exact={"queue": lambda one: (one.queue,)},
    numbers={"age": lambda one, now: age_ms(one.last_at, now)},
    states=("due", "missed", "running", "ended", "broken"),
    in_state=lambda one, states: not states.isdisjoint(_schedule_states(one)),
)


def _event_age(line: EventLine, now: datetime) -> float:
    return (epoch_ms(now) or 0) - line.at_ms


def _told(line: EventLine, name: str) -> Any:
    """What an event tells under a name: one of usage tells it in the report that it holds."""
    report = line.data.get("data") if line.event == "usage" else None
    return report.get(name) if isinstance(report, dict) and name in report else line.data.get(name)


def _fact(line: EventLine, *names: str) -> tuple[str, ...]:
    return tuple(text for name in names if isinstance(text := _told(line, name), str))


def _amount(line: EventLine, *names: str) -> float | None:
    values = (_told(line, name) for name in names)
    return next((one for one in values if isinstance(one, int | float) and not isinstance(one, bool)), None)


_EVENTS: Final = Fields[EventLine](
    what="events",
    words=lambda line: (line.event, line.queue, line.job_id, *map(str, line.data.values())),
    searched=lambda line: (line.event, *map(str, line.data.values())),
    texts={
        "name": lambda line: _fact(line, "name"),
        "model": lambda line: _fact(line, "model"),
        "error": lambda line: _fact(line, "failed_reason", "error"),
    },
    exact={"queue": lambda line: line.spans or (line.queue,), "id": lambda line: (line.job_id,)},
    numbers={
        "age": _event_age,
        "cost": lambda line, _: _amount(line, "totalCost", "total_cost"),
        "tokens": lambda line, _: _amount(line, "totalTokens", "total_tokens"),
    },
    states=_KINDS,
    in_state=lambda line, states: line.event in states,
)


def _usage(line: WaitingJob, read: Callable[[Usage], Any]) -> Any:
    return read(line.one.usage) if line.one.usage is not None else None


_APPROVALS: Final = Fields[WaitingJob](
    what="approvals",
    words=lambda line: (str(line.one.ref), line.one.name, line.one.reason, line.server),
    searched=lambda line: (line.one.name, line.one.reason),
    texts={
        "name": lambda line: (line.one.name,),
        "model": lambda line: (_usage(line, lambda usage: usage.model),),
    },
    exact={"queue": lambda line: (line.one.queue,), "id": lambda line: (line.one.id,)},
    numbers={
        "age": lambda line, now: age_ms(line.one.suspended_at, now),
        "cost": lambda line, _: _usage(line, lambda usage: usage.total_cost),
        "tokens": lambda line, _: _usage(line, lambda usage: usage.total_tokens),
    },
)

_COST: Final[Fields[SpendRow]] = Fields(
    what="costs",
    words=lambda row: (row.key, *(row.day.models if row.day is not None else ())),
    searched=lambda row: (row.key,),
    texts={
        "name": lambda row: (row.key,),
        "model": lambda row: row.day.models if row.day is not None else (),
    },
    numbers={
        "cost": lambda row, _: row.day.total_cost if row.day is not None else None,
        "tokens": lambda row, _: row.day.total_tokens if row.day is not None else None,
    },
)

#: By the name of the screen, under which the filters of a list are saved.
FIELDS: Final[Mapping[str, Fields[Any]]] = {
    "queues": _QUEUES,
    "jobs": JOB_FIELDS,
    "approvals": _APPROVALS,
    "flows": _FLOWS,
    "flow": _NODES,
    "limits": _QUEUES,
    "workers": _WORKERS,
    "failures": FAILED_FIELDS,
    "letters": LETTER_FIELDS,
    "schedules": _SCHEDULES,
    "events": _EVENTS,
    "cost": _COST,
}


def read_filter(screen: str, text: str) -> Expression[Any]:
    """Read a filter of a list.

    Raises:
        FilterSyntaxError: the text is no filter of such rows; the message says where and what would be one.
    """
    return parse_expression(text, FIELDS[screen])


def problem_of(screen: str, text: str) -> str | None:
    """Say why a text is no filter of a list, and where; None for one that is."""
    try:
        read_filter(screen, text)
    except FilterSyntaxError as error:
        return f"at character {error.at + 1}: {error.problem}"
    return None
