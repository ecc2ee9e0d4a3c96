"""Keys and fields that nobody will ever remove: what a test may not leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import valkey

#: Kinds of keys that go with a job: `P:<kind>:<id>`.
_OF_A_JOB = frozenset(
    {"job", "log", "deps", "parents", "jstream", "signals", "ledger", "early", "vec", "steps"}
)
#: Kinds of keys that go with a flow: `P:<kind>:<id of its root>`.
_OF_A_FLOW = frozenset({"budget", "budget-parked"})
#: What belongs to the queue as such: one key each, or one a name that somebody gave (`vindex:<name>`).
_OF_A_QUEUE = frozenset(
    {
        "audit",
        "audit-aside",
        "completed",
        "dedup",
        "dedup-due",
        "early-index",
        "events",
        "failed",
        "flow-parts",
        "id",
        "lifo",
        "linking",
        "list-active",
        "list-runs",
        "meta",
        "metrics",
        "ordering",
        "ordering-due",
        "outbox",
        "outbox-failed",
        "priority",
        "rate",
        "ratelimited",
        "scheduled",
        "schedulers",
        "stream",
        "suspended",
        "vectors",
        "vindex",
    }
)
# What Node 0.15.4 leaves for ever by its own rules is no leak of ours: `dedup` and `ordering` fields and `group` hashes
# of its own adds (records.md 3.2), hashes without a state that it wrote to after a removal (records.md 4.6), and what
# its retention leaves of a job (lifecycle.md 9). Tests that play Node or a stranger are marked `leaves_records`.
_ENDED = (None, "completed", "failed")


class Keyspace:
    """What the nodes of a server hold: its keys, types and expiries are read once, values when asked for."""

    def __init__(self, nodes: Sequence[valkey.Valkey]) -> None:
        self._home: dict[str, valkey.Valkey] = {}
        self.types: dict[str, str] = {}
        #: Keys without an expiry.
        self.lasting: set[str] = set()
        for node in nodes:
            self._scan(node)
        self.keys = sorted(self._home)

    def _scan(self, node: valkey.Valkey) -> None:
        names = list(node.scan_iter(count=10_000))
        with node.pipeline(transaction=False) as ask:
            for name in names:
                ask.pttl(name).type(name)
            answers = ask.execute()
        for name, ttl, kind in zip(names, answers[::2], answers[1::2], strict=True):
            key = _text(name)
            self._home[key], self.types[key] = node, _text(kind)
            if ttl == -1:
                self.lasting.add(key)

    def hash(self, key: str) -> dict[str, str]:
        if self.types.get(key) != "hash":
            return {}
        return {_text(name): _text(value) for name, value in self._home[key].hgetall(key).items()}

    def members(self, key: str) -> list[str]:
        kind = self.types.get(key)
        found: Any = []
        if kind == "set":
            found = self._home[key].smembers(key)
        elif kind == "zset":
            found = self._home[key].zrange(key, 0, -1)
        return [_text(one) for one in found]

    def items(self, key: str) -> list[str]:
        if self.types.get(key) != "list":
            return []
        return [_text(one) for one in self._home[key].lrange(key, 0, -1)]

    def entries(self, key: str) -> list[dict[str, str]]:
        if self.types.get(key) != "stream":
            return []
        found = self._home[key].xrange(key)
        return [{_text(name): _text(value) for name, value in fields.items()} for _, fields in found]

    def text(self, key: str) -> str | None:
        return _text(self._home[key].get(key)) if self.types.get(key) == "string" else None

    def length(self, key: str) -> int:
        kind = self.types.get(key)
        if kind == "list":
            return int(self._home[key].llen(key))
        return int(self._home[key].xlen(key)) if kind == "stream" else 0

    def pending(self, key: str) -> int:
        """Entries of a queue's stream that workers hold."""
        if self.types.get(key) != "stream":
            return 0
        return sum(int(group["pending"]) for group in self._home[key].xinfo_groups(key))

    def of_jobs(self, root: str, name: str) -> dict[str, str | None]:
        """One field of every job of a queue, None where a hash does not have it; not of what subscriptions count."""
        head = f"{root}:job:"
        ids = [
            key[len(head) :]
            for key in self.keys
            if key.startswith(head) and self.types[key] == "hash" and ":sub:" not in key
        ]
        if not ids:
            return {}
        with self._home[head + ids[0]].pipeline(transaction=False) as ask:
            for job_id in ids:
                ask.hget(head + job_id, name)
            values = ask.execute()
        return {job_id: value and _text(value) for job_id, value in zip(ids, values, strict=True)}

    def leaks(self) -> list[str]:
        """Name every key, field and member that has neither an owner nor an expiry."""
        roots = {key[: key.index("}") + 1] for key in self.keys if re.match(r"[^{}]*:\{[^{}]*\}:", key)}
        return [leak for root in sorted(roots) for leak in _of_queue(self, root)]


def _of_queue(space: Keyspace, root: str) -> Iterator[str]:
    states = space.of_jobs(root, "state")
    keyed = set(space.of_jobs(root, "groupKey").values())
    keyed |= set(space.members(f"{root}:ordering-due"))
    for key in space.keys:
        if not key.startswith(f"{root}:") or key not in space.lasting:
            continue
        kind, _, name = key[len(root) + 1 :].partition(":")
        if kind in _OF_A_JOB and name and name not in states:
            yield f"{key}: its job is gone"
        elif kind in ("group", "groupq") and name not in keyed:
            yield f"{key}: no job has this key"
        elif kind in _OF_A_FLOW and states.get(name) in _ENDED:
            yield f"{key}: its flow has ended"
        elif kind == "flow-jobs" and name not in space.hash(f"{root}:flow-parts"):
            yield f"{key}: its flow is not being made"
        elif kind not in _OF_A_JOB | _OF_A_FLOW | _OF_A_QUEUE | {"group", "groupq", "flow-jobs"}:
            yield f"{key}: has neither an owner nor an expiry"
    yield from _fields(space, root, states, keyed)


def _fields(
    space: Keyspace, root: str, states: dict[str, str | None], keyed: set[str | None]
) -> Iterator[str]:
    alive = {job_id for job_id, state in states.items() if state not in _ENDED}
    for name in space.hash(f"{root}:ordering").keys() - keyed:
        yield f"{root}:ordering {name}: no job has this key"
    due = set(space.members(f"{root}:dedup-due"))
    for name, record in space.hash(f"{root}:dedup").items():
        if record.partition(":")[0] not in alive and name not in due:
            yield f"{root}:dedup {name}: its job has ended"
    for kind in ("list-runs", "suspended", "early-index", "scheduled"):
        for member in space.members(f"{root}:{kind}"):
            if member.partition("||")[0] not in alive:
                yield f"{root}:{kind} {member}: its job is gone or has ended"
    for kind in ("completed", "failed"):
        for job_id in space.members(f"{root}:{kind}"):
            if job_id not in states:
                yield f"{root}:{kind} {job_id}: its job is gone"
    for job_id, state in states.items():
        if state is None:
            yield f"{root}:job:{job_id}: a record without a state"
    for key in space.keys:
        if key.startswith(f"{root}:budget:"):
            yield from (
                f"{key} {name}: a mark without end" for name in space.hash(key) if name[:7] == "booked:"
            )


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
