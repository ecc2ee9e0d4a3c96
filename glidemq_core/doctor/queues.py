"""Checks of queues: types of keys, workers, pause, schedulers, suspended jobs, counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..broadcast.counts import SubscriptionCounts, parse_counts
from ..reading.reader import Reader
from ..records import Check
from ..watch import Watch
from ..wire.keys import NO_DEADLINE
from ..wire.numbers import to_int
from ..wire.replies import failed, integer, number, pairs, text
from .findings import plural, verdict

#: Suspended jobs that are checked at either end of the order; those without a deadline, never swept, come last.
_MEMBERS = 500
#: Schedulers of a queue up to which each is looked at.
_SCHEDULERS = 1_000
#: A deadline that passed longer ago than this should have been swept, ms.
_SWEPT_MS = 60_000
_TYPES = {
    "id": "string",
    "stream": "stream",
    "scheduled": "zset",
    "priority": "list",
    "lifo": "list",
    "list_active": "string",
    "completed": "zset",
    "failed": "zset",
    "events": "stream",
    "meta": "hash",
    "ordering": "hash",
    "ratelimited": "zset",
    "rate": "hash",
    "dedup": "hash",
    "schedulers": "hash",
    "suspended": "zset",
    "limits": "hash",
    "audit": "stream",
    "outbox": "list",
    "outbox_failed": "zset",
    "early_index": "set",
    "list_runs": "zset",
    "parked": "set",
}


async def key_types(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find keys of another type than ours."""
    keys = [(getattr(reader.keys(name), key), kind) for name in names for key, kind in _TYPES.items()]
    answers = await reader.read([("TYPE", key) for key, _ in keys])
    wrong = [
        f"{key} is a {found}, not a {kind}"
        for (key, kind), answer in zip(keys, answers, strict=True)
        if not failed(answer) and (found := text(answer)) not in (kind, "none", None)
    ]
    return verdict(
        "key_types",
        wrong,
        good="all keys have the right type",
        bad=f"{plural(len(wrong), 'key')} of another type",
        status="fail",
        fix="another program uses these names: move its keys, or choose another --prefix for the queues",
    )


async def workers(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find queues with waiting jobs and no worker, and jobs whose heartbeat is overdue.

    Of a broadcast every message that is kept looks like a waiting job: there the subscriptions tell what waits.
    """
    listed, fleet = await watch.workers(names), await watch.snapshot(names)
    served = {worker.queue for worker in listed.workers}
    waiting = {queue.name: queue.waiting for queue in fleet.queues}
    unserved = [name for name in names if waiting.get(name) and name not in served]
    standing = await _subscriptions(reader, unserved)
    found = [
        f"{name}: {plural(waiting[name], 'job')} waiting, no live worker"
        for name in unserved
        if not standing.get(name)
    ]
    found += [
        f"{name}: {plural(left, 'message')} waiting for subscription '{one.name}', no live worker"
        for name in unserved
        for one in standing.get(name, ())
        if (left := one.waiting + one.pending + one.delayed)
    ]
    found += [f"{row.queue}:{row.id} is active, its heartbeat is overdue" for row in listed.stalled]
    return verdict(
        "workers",
        found,
        good=f"{plural(len(listed.workers), 'worker')} alive",
        bad="jobs wait for a worker",
        fix="start workers: glidemq worker MODULE:ATTR; they also requeue jobs whose worker died",
    )


async def _subscriptions(reader: Reader, names: Sequence[str]) -> dict[str, list[SubscriptionCounts]]:
    """Return how the subscriptions of queues stand; empty for those that are no broadcasts."""
    answers = await reader.call_each("broadcast_counts", [(reader.keys(name).root, ()) for name in names])
    rows = zip(names, answers or (), strict=False)
    return {name: parse_counts(answer) for name, answer in rows if answer and not failed(answer)}


async def paused(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find paused queues with Node workers, which do not know the pause."""
    answers = await reader.read([("HGET", reader.keys(name).meta, "paused") for name in names])
    held = [name for name, answer in zip(names, answers, strict=True) if text(answer) == "1"]
    unaware = await _node_workers(watch, held)
    found = [f"{name}: {plural(nodes, 'Node worker')} still start jobs" for name, nodes in unaware.items()]
    return verdict(
        "paused",
        found,
        good=f"{plural(len(held), 'queue')} paused" if held else "no queue is paused",
        bad="paused queues still start jobs: Node workers do not know the pause",
        fix="stop the Node workers, or glidemq limits QUEUE --rpm 1/1d, which they obey",
    )


async def schedulers(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find schedulers that nobody runs: without a worker, overdue in spite of one, or of a timing that is none."""
    answers = await reader.read([("HLEN", reader.keys(name).schedulers) for name in names])
    sizes = {name: integer(answer) for name, answer in zip(names, answers, strict=True)}
    scheduled = [name for name, size in sizes.items() if size]
    staffed = {worker.queue for worker in (await watch.workers(scheduled)).workers}
    found = [
        f"{name}: {plural(sizes[name], 'scheduler')}, no worker" for name in scheduled if name not in staffed
    ]
    looked_at = [name for name in scheduled if sizes[name] <= _SCHEDULERS]
    for one in await watch.all_schedulers(looked_at) if looked_at else ():
        if one.problem is not None:
            found.append(f"{one.queue}: scheduler '{one.name}': {one.problem}")
        elif one.missed and one.queue in staffed:
            overdue = f"{plural(one.missed, 'run')} overdue"
            found.append(f"{one.queue}: scheduler '{one.name}' has {overdue} in spite of a worker")
    return verdict(
        "schedulers",
        found,
        good=f"{plural(len(scheduled), 'queue')} with schedulers, each with a worker"
        if scheduled
        else "no queue has schedulers",
        bad="schedulers that nobody runs",
        fix="start a worker for the queue, or look at its log; glidemq schedulers shows them",
    )


async def suspended(_: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Find members of the suspended set that are no suspended jobs, and deadlines that passed without effect."""
    pages = await reader.read_each(
        [reader.keys(name).suspended for name in names],
        lambda key: [
            ("ZRANGE", key, 0, _MEMBERS - 1, "WITHSCORES"),
            ("ZRANGE", key, -_MEMBERS, -1, "WITHSCORES"),
        ],
    )
    members: dict[tuple[str, str], float] = {}
    for name, (first, last) in zip(names, pages, strict=True):
        for member, score in [*pairs(first), *pairs(last)]:
            members[name, text(member) or ""] = number(score) or 0
    states = await reader.read([("HGET", reader.keys(name).job(job_id), "state") for name, job_id in members])
    orphans, late = [], []
    now = reader.now_ms()
    for ((name, job_id), score), answer in zip(members.items(), states, strict=True):
        state = text(answer)
        if not failed(answer) and state != "suspended":
            orphans.append(f"{name}:{job_id} is {state or 'gone'}, but listed as suspended")
        elif score < NO_DEADLINE and score < now - _SWEPT_MS:
            late.append(f"{name}:{job_id} is past its deadline by {round((now - score) / 1_000)} s")
    if orphans:
        key = reader.keys(orphans[0].partition(":")[0]).suspended
        fix = f"harmless; remove a member with: valkey-cli ZREM '{key}' ID"
    else:
        fix = "only workers fail jobs past their deadline: start one for the queue"
    return verdict(
        "suspended",
        orphans + late,
        good=f"{plural(len(members), 'suspended job')}" if members else "no suspended jobs",
        bad=f"{plural(len(orphans), 'member')} of the suspended set not suspended, {len(late)} past their deadline",
        fix=fix,
    )


async def list_active(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Compare the counter of list-sourced active jobs with our index; a surplus occupies slots for good."""
    first = await _differences(reader, names)
    # Jobs start and end between two reads: only a difference that stays counts.
    second = await _differences(reader, list(first)) if first else {}
    lasting = {name: counts for name, counts in second.items() if counts == first[name]}
    # Node workers keep no index: beside them only a counter that is too low is certainly wrong.
    nodes = await _node_workers(watch, list(lasting))
    found = [
        f"{name}: counted {counter}, but {runs} of Python workers"
        for name, (counter, runs) in lasting.items()
        if counter < runs or not nodes[name]
    ]
    return verdict(
        "list_active",
        found,
        good="counters of active jobs agree",
        bad="counters of active jobs from priority and LIFO lists are wrong",
        fix="a live worker corrects this within minutes; start one if none is alive",
    )


async def _differences(reader: Reader, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    answers = await reader.read_each(
        map(reader.keys, names), lambda keys: [("GET", keys.list_active), ("ZCARD", keys.list_runs)]
    )
    found = {}
    for name, (counter, runs) in zip(names, answers, strict=True):
        if not failed(counter) and not failed(runs) and to_int(counter) != integer(runs):
            found[name] = (to_int(counter), integer(runs))
    return found


async def _node_workers(watch: Watch, names: Sequence[str]) -> Counter[str]:
    """Count the Node workers of some queues."""
    listed = await watch.workers(names)
    return Counter(worker.queue for worker in listed.workers if worker.language != "python")
