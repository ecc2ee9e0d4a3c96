"""Every key name of the wire, and of our own additions: nothing else in the project spells one."""

from __future__ import annotations

from collections.abc import Callable

DEFAULT_PREFIX = "glide"

#: Consumer group that every ordinary worker reads `P:stream` with.
WORKERS_GROUP = "workers"
#: Score in `P:suspended` of a job without a deadline.
NO_DEADLINE = 9_999_999_999_999
#: `P:scheduled` score = priority * PRIORITY_STEP + due time in ms.
PRIORITY_STEP = 2**42

#: Keys any of which makes the queue one that exists.
_SIGNS = "id stream scheduled schedulers completed failed priority lifo suspended meta".split()  # noqa: SIM905
#: Keys without an argument, of the wire and of our own.
_SINGLE = """
    id stream scheduled priority lifo list-active completed failed events meta ordering ratelimited rate dedup
    schedulers suspended limits crew audit outbox outbox-failed early-index list-runs dedup-due ordering-due linking
    flow-parts budgets parked
    """.split()  # noqa: SIM905
_SUFFIXES = {suffix.replace("-", "_"): suffix for suffix in _SINGLE} | {
    "scheduler_lock": "schedulers:lock:__tick__",
    "sweep_lock": "suspended:lock:__sweep__",
}

_GLOB = str.maketrans({c: "\\" + c for c in "\\*?[]"})


def literal(text: str) -> str:
    """Return a text as a part of a pattern that matches only itself."""
    return text.translate(_GLOB)


def registry(prefix: str) -> str:
    """Set of queue names kept by Python producers and workers (ours, outside every hash tag)."""
    return f"{prefix}:queues"


def usage_queues(prefix: str) -> str:
    """Set of queue names that ever reported usage (outside every hash tag)."""
    return f"{prefix}:usage:queues"


def absent(root: str) -> str:
    """Key in a queue's slot that never exists: beside it, a slot on the move refuses the whole call (ours)."""
    return f"{root}:absent"


def discovery_pattern(prefix: str, suffix: str = "*") -> str:
    """SCAN pattern that matches the keys of every queue under a prefix."""
    return f"{literal(prefix)}:{{*}}:{suffix}"


def queue_of(prefix: str, key: str) -> str | None:
    """Return the queue name inside a key, or None when the key is of no queue (flow records, other prefixes)."""
    head = f"{prefix}:{{"
    if not key.startswith(head):
        return None
    name, brace, _ = key[len(head) :].partition("}")
    return name if brace and name and ":" not in name else None


def done_marker(member: str) -> str:
    """Field of a parent's hash that marks a child as done."""
    return f"depdone:{member}"


def split_member(member: str, prefix: str) -> tuple[str, str] | None:
    """Split `<queue prefix>:<id>` (members of deps, parents, parked) into (queue, id) at the last colon."""
    head, colon, job_id = member.rpartition(":")
    opening = f"{prefix}:{{"
    if not colon or not head.startswith(opening) or not head.endswith("}"):
        return None
    return head[len(opening) : -1], job_id


def _key_of(kind: str) -> Callable[[QueueKeys, str | int], str]:
    """Make the method that names the key of one thing of a kind: `keys.job("7")` is `P:job:7`."""
    infix = f":{kind}:"
    return lambda keys, what: f"{keys.root}{infix}{what}"


class QueueKeys:
    """Key names of one queue. `root` is the *queue prefix* `<prefix>:{<queue>}` that also stands inside values."""

    __slots__ = ("prefix", "queue", "root")

    def __init__(self, prefix: str, queue: str) -> None:
        self.prefix = prefix
        self.queue = queue
        self.root = f"{prefix}:{{{queue}}}"

    def __getattr__(self, name: str) -> str:
        """Names without an argument: `keys.stream` is `P:stream`, `keys.list_active` is `P:list-active`."""
        suffix = _SUFFIXES.get(name)
        if suffix is None:
            raise AttributeError(name)
        return f"{self.root}:{suffix}"

    # Of a job, by its id:
    job = _key_of("job")
    log = _key_of("log")
    jstream = _key_of("jstream")
    signals = _key_of("signals")
    deps = _key_of("deps")
    parents = _key_of("parents")
    ledger = _key_of("ledger")
    early = _key_of("early")
    vec = _key_of("vec")
    steps = _key_of("steps")
    kept = _key_of("kept")
    reserved = _key_of("reserved")
    # Of a sweep by its name, while the turn of the worker goes on that made it last:
    turn = _key_of("turn")
    # Of a flow, by the id of its root:
    budget = _key_of("budget")
    budget_parked = _key_of("budget-parked")
    budget_booked = _key_of("budget-booked")
    # Of a worker by its name, an ordering key, a minute (epoch ms), a window, a kind, an index, a field of vectors:
    worker = _key_of("w")
    group = _key_of("group")
    groupq = _key_of("groupq")
    usage = _key_of("usage")
    tpm = _key_of("tpm")
    metrics = _key_of("metrics")
    vindex = _key_of("vindex")
    vectors = _key_of("vectors")

    def usage_lock(self, job_id: str) -> str:
        return f"{self.root}:job:{job_id}:usage-lock"

    def member(self, job_id: str) -> str:
        """The form in which a job of this queue stands in `deps`, `parents` and parked sets."""
        return f"{self.root}:{job_id}"

    def signs(self) -> tuple[str, ...]:
        """Keys any of which makes the queue one that exists."""
        return tuple(f"{self.root}:{suffix}" for suffix in _SIGNS)

    def pattern(self, suffix: str) -> str:
        """SCAN pattern below this queue, its own name taken literally."""
        return f"{literal(self.root)}:{suffix}"
