"""Every key name of the wire, and of our own additions: nothing else in the project spells one."""

from __future__ import annotations

DEFAULT_PREFIX = "glide"

#: Consumer group that every ordinary worker reads `P:stream` with.
WORKERS_GROUP = "workers"
#: Score in `P:suspended` of a job without a deadline.
NO_DEADLINE = 9_999_999_999_999
#: `P:scheduled` score = priority * PRIORITY_STEP + due time in ms.
PRIORITY_STEP = 2**42

_GLOB = str.maketrans({c: "\\" + c for c in "\\*?[]"})


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
    return f"{prefix.translate(_GLOB)}:{{*}}:{suffix}"


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


class QueueKeys:
    """Key names of one queue. `root` is the *queue prefix* `<prefix>:{<queue>}` that also stands inside values."""

    __slots__ = ("prefix", "queue", "root")

    def __init__(self, prefix: str, queue: str) -> None:
        self.prefix = prefix
        self.queue = queue
        self.root = f"{prefix}:{{{queue}}}"

    def __getattr__(self, name: str) -> str:
        """Names without an argument: `keys.stream` is `P:stream`, `keys.list_active` is `P:list-active`."""
        suffix = _PLAIN.get(name)
        if suffix is None:
            raise AttributeError(name)
        return f"{self.root}:{suffix}"

    def job(self, job_id: str) -> str:
        return f"{self.root}:job:{job_id}"

    def log(self, job_id: str) -> str:
        return f"{self.root}:log:{job_id}"

    def jstream(self, job_id: str) -> str:
        return f"{self.root}:jstream:{job_id}"

    def signals(self, job_id: str) -> str:
        return f"{self.root}:signals:{job_id}"

    def deps(self, job_id: str) -> str:
        return f"{self.root}:deps:{job_id}"

    def parents(self, job_id: str) -> str:
        return f"{self.root}:parents:{job_id}"

    def ledger(self, job_id: str) -> str:
        return f"{self.root}:ledger:{job_id}"

    def early(self, job_id: str) -> str:
        return f"{self.root}:early:{job_id}"

    def vec(self, job_id: str) -> str:
        return f"{self.root}:vec:{job_id}"

    def usage_lock(self, job_id: str) -> str:
        return f"{self.root}:job:{job_id}:usage-lock"

    def budget(self, flow_id: str) -> str:
        return f"{self.root}:budget:{flow_id}"

    def budget_parked(self, flow_id: str) -> str:
        return f"{self.root}:budget-parked:{flow_id}"

    def budget_booked(self, flow_id: str) -> str:
        return f"{self.root}:budget-booked:{flow_id}"

    def worker(self, consumer: str) -> str:
        return f"{self.root}:w:{consumer}"

    def group(self, key: str) -> str:
        return f"{self.root}:group:{key}"

    def groupq(self, key: str) -> str:
        return f"{self.root}:groupq:{key}"

    def usage(self, minute_ms: int) -> str:
        return f"{self.root}:usage:{minute_ms}"

    def tpm(self, window: int) -> str:
        return f"{self.root}:tpm:{window}"

    def metrics(self, kind: str) -> str:
        return f"{self.root}:metrics:{kind}"

    def kept(self, job_id: str) -> str:
        return f"{self.root}:kept:{job_id}"

    def reserved(self, job_id: str) -> str:
        return f"{self.root}:reserved:{job_id}"

    def vindex(self, name: str) -> str:
        return f"{self.root}:vindex:{name}"

    def vectors(self, field: str) -> str:
        return f"{self.root}:vectors:{field}"

    def member(self, job_id: str) -> str:
        """The form in which a job of this queue stands in `deps`, `parents` and parked sets."""
        return f"{self.root}:{job_id}"

    def signs(self) -> tuple[str, ...]:
        """Keys any of which makes the queue one that exists."""
        return tuple(f"{self.root}:{suffix}" for suffix in _SIGNS)

    def pattern(self, suffix: str) -> str:
        """SCAN pattern below this queue, its own name taken literally."""
        return f"{self.root.translate(_GLOB)}:{suffix}"


_SIGNS = (
    "id",
    "stream",
    "scheduled",
    "schedulers",
    "completed",
    "failed",
    "priority",
    "lifo",
    "suspended",
    "meta",
)

_PLAIN = {
    "id": "id",
    "stream": "stream",
    "scheduled": "scheduled",
    "priority": "priority",
    "lifo": "lifo",
    "list_active": "list-active",
    "completed": "completed",
    "failed": "failed",
    "events": "events",
    "meta": "meta",
    "ordering": "ordering",
    "ratelimited": "ratelimited",
    "rate": "rate",
    "dedup": "dedup",
    "schedulers": "schedulers",
    "scheduler_lock": "schedulers:lock:__tick__",
    "suspended": "suspended",
    "sweep_lock": "suspended:lock:__sweep__",
    # Ours; glide-mq uses none of these suffixes.
    "limits": "limits",
    "crew": "crew",
    "audit": "audit",
    "outbox": "outbox",
    "outbox_failed": "outbox-failed",
    "early_index": "early-index",
    "list_runs": "list-runs",
    "dedup_due": "dedup-due",
    "ordering_due": "ordering-due",
    "linking": "linking",
    "flow_parts": "flow-parts",
}
