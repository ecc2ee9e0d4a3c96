"""What the console knows now: plain frozen data from the feed, and pure functions that sort, filter and sum it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from glidemq_core.records import (
        Flow,
        FlowList,
        FlowNode,
        Inbox,
        JobDetail,
        JobRef,
        JobRow,
        Limits,
        Permissions,
        QueueSnapshot,
        ServerInfo,
        WatchStats,
        WorkerInfo,
    )
    from glidemq_core.records.outcomes import UsageKey

    from .limits import QueueMeters
    from .lists.cost import SpendView
    from .lists.elsewhere import Elsewhere
    from .lists.events import EventsView
    from .lists.failures import FailuresView, LettersView
    from .lists.schedules import SchedulesView
    from .workers import QueueWorkers

T = TypeVar("T")

#: An answer older than this many refreshes and a little makes the data stale.
STALE_AFTER_REFRESHES, STALE_GRACE_MS = 2, 500
#: Minutes of history that sparklines and plots show.
HISTORY_MINUTES = 60


class LinkState(StrEnum):
    """How the console stands to the server."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The connection as part of the model."""

    state: LinkState = LinkState.CONNECTING
    since_ms: int = 0
    #: When the next attempt is made, while lost.
    retry_at_ms: int | None = None
    #: Why it was lost, one sentence for a person, no secrets.
    reason: str | None = None
    #: Where to, without a password.
    address: str = ""
    #: A plain connection beyond loopback.
    is_exposed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsQuery:
    """Which jobs a list shows. `newest` None is the natural order of the state."""

    queue: str
    #: None: the first jobs of every state but completed.
    state: str | None = None
    #: A filter, see `docs/filters.md`.
    find: str | None = None
    #: Only failures of one cause, see `FailureGroup.key`.
    group: str | None = None
    #: Of that cause only jobs of these ids, those that a filter of failures takes; None for all.
    members: tuple[str, ...] | None = None
    newest: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Interests:
    """What the active screen needs; nothing else is fetched."""

    #: Rows of queues that are on screen.
    rows: tuple[str, ...] = ()
    #: The queue whose detail pane is open.
    queue_detail: str | None = None
    jobs: JobsQuery | None = None
    #: How often it was asked to look further for what its filter takes.
    further: int = 0
    #: First and last visible row of the job list.
    window: tuple[int, int] = (0, 50)
    job: JobRef | None = None
    inbox: bool = False
    #: Listed jobs that are on screen, the opened one first: those are looked at for changes.
    inbox_shown: tuple[JobRef, ...] = ()
    #: Whether the jobs that wait on the servers of other profiles are listed too.
    everywhere: bool = False
    #: Those of these servers to which decisions are still to be sent: their connections stay.
    deciding: frozenset[str] = frozenset()
    #: Whether the workers of the rows are shown.
    workers: bool = False
    #: Queues on screen in a list of all workers; None where there is no such list.
    serving: tuple[str, ...] | None = None
    #: How far back failures are listed, ms; None where there is no such list.
    failures: int | None = None
    #: Whether dead letters are listed.
    letters: bool = False
    #: The filters of failures and of dead letters, see `docs/filters.md`; empty for all.
    failures_where: str = ""
    letters_where: str = ""
    #: Whether the schedulers of all queues are listed.
    schedules: bool = False
    #: Whether what happens is shown.
    events: bool = False
    #: How spending is added up where it is shown.
    cost: UsageKey | None = None
    #: Jobs whose tokens are on screen.
    streams: tuple[JobRef, ...] = ()
    #: How many running jobs that stream are sought.
    pick: int = 0
    #: The queue whose limits and groups are shown.
    limits: str | None = None
    #: How many flows are listed.
    flows: int = 0
    #: Roots of the listed flows that are on screen: only those are kept fresh.
    flows_shown: tuple[JobRef, ...] = ()
    #: A job whose whole flow is shown.
    flow: JobRef | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MinuteSeries:
    """One value a minute, oldest first; None where nothing was measured."""

    end_ms: int
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueDetail:
    """What the detail pane of one queue says beyond its row."""

    queue: str
    at_ms: int
    completed: MinuteSeries
    failed: MinuteSeries
    run_ms: MinuteSeries
    #: Reasons of the latest failures with their number, most frequent first.
    errors: tuple[tuple[str, int], ...] = ()
    #: How many failures those reasons were counted from.
    errors_of: int = 0
    longest_active_ms: int | None = None
    workers: tuple[WorkerInfo, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobList:
    """The part of a job list that has been loaded."""

    query: JobsQuery
    rows: tuple[JobRow, ...]
    total: int | None
    has_more: bool
    at_ms: int
    #: With a filter: how many jobs were looked at, and whether more are looked at without being asked for.
    looked: int | None = None
    is_searching: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """The job page: `detail` is None when no such job exists (any more)."""

    ref: JobRef
    detail: JobDetail | None
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowView:
    """A flow from one of its jobs: `flow` is None when that job is gone."""

    ref: JobRef
    flow: Flow | None
    at_ms: int
    #: Parents that cannot go on, with the children that keep them.
    blocked: Mapping[JobRef, tuple[JobRef, ...]] = field(default_factory=dict)
    #: The error that made the fallback of a job fire, where attempts were kept.
    fallbacks: Mapping[JobRef, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything known at one moment; every refresh makes a new one."""

    at_ms: int = 0
    link: Link = field(default_factory=Link)
    server: ServerInfo | None = None
    permissions: Permissions | None = None
    stats: WatchStats | None = None
    read_only: bool = False
    #: What could not be read in the latest round, though the connection stands.
    trouble: str | None = None
    #: Every queue that was read, by name, and how many are known.
    queues: tuple[QueueSnapshot, ...] = ()
    queues_known: int = 0
    #: When each row was read.
    read_ms: Mapping[str, int] = field(default_factory=dict)
    #: Jobs done a minute, for sparklines.
    history: Mapping[str, MinuteSeries] = field(default_factory=dict)
    #: Workers by queue, for those that were read lately.
    workers: Mapping[str, tuple[WorkerInfo, ...]] = field(default_factory=dict)
    #: Who serves each queue, for those that were asked while all workers are listed.
    serving: Mapping[str, QueueWorkers] = field(default_factory=dict)
    #: The search for queues has seen every key.
    complete: bool = False
    #: There are more queues than are looked at.
    leaves_out_queues: bool = False
    #: At least one answer has come.
    has_data: bool = False
    queue_detail: QueueDetail | None = None
    jobs: JobList | None = None
    job: JobView | None = None
    inbox: Inbox | None = None
    #: The servers of other profiles while their approvals are listed.
    elsewhere: Elsewhere | None = None
    #: The followed jobs as they are; None for one that is gone.
    streams: Mapping[JobRef, JobRow | None] = field(default_factory=dict)
    #: Running jobs that stream and are not followed yet.
    running: tuple[JobRow, ...] = ()
    #: Limits of the queue that is wanted, with its groups.
    limits: Limits | None = None
    #: Starts and tokens over time, of queues that have either.
    meters: Mapping[str, QueueMeters] = field(default_factory=dict)
    flows: FlowList | None = None
    flow: FlowView | None = None
    failures: FailuresView | None = None
    letters: LettersView | None = None
    #: Every scheduler of every known queue, by queue and name.
    schedules: SchedulesView | None = None
    events: EventsView | None = None
    cost: SpendView | None = None

    @property
    def approvals(self) -> int | None:
        """Jobs of all known queues that wait for a person; None before the first answer."""
        if not self.has_data:
            return None
        return sum(queue.suspended or 0 for queue in self.queues)

    def queue(self, name: str) -> QueueSnapshot | None:
        return next((queue for queue in self.queues if queue.name == name), None)

    def detail_of(self, name: str | None) -> QueueDetail | None:
        """The detail of a queue, if it is the one that was read."""
        detail = self.queue_detail
        return detail if detail is not None and detail.queue == name else None

    def why_not_write(self) -> str | None:
        """Say why no mutation is possible now, or None."""
        if self.read_only:
            return "this console is read-only (--read-only)"
        if self.link.state is LinkState.LOST:
            return "no connection to the server"
        if not self.has_data:
            return "not connected yet"
        if self.permissions is not None and not self.permissions.can_write:
            why = self.permissions.reason
            return "this user may only read" + (f": {why}" if why else "")
        return None


def settle_link(link: Link, now_ms: int, refresh_ms: int) -> Link:
    """Turn a live link whose last answer is old into a stale one; `since_ms` of a live link is that answer."""
    if (
        link.state is LinkState.LIVE
        and now_ms - link.since_ms > STALE_AFTER_REFRESHES * refresh_ms + STALE_GRACE_MS
    ):
        return replace(link, state=LinkState.STALE)
    return link


def epoch_ms(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


def age_ms(at: datetime | None, now_ms: int) -> int | None:
    """Milliseconds since `at`, never negative."""
    then = epoch_ms(at)
    return None if then is None else max(0, now_ms - then)


# --- queues ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sorting:
    """A column and a direction."""

    column: str = "queue"
    descending: bool = False


def ready_jobs(queue: QueueSnapshot) -> int | None:
    """How many jobs would start as soon as a worker has room: those in line and those with a priority."""
    return None if queue.waiting is None else queue.waiting + (queue.prioritized or 0)


def delayed_jobs(queue: QueueSnapshot) -> int | None:
    """How many jobs wait for their time. On the wire those with a priority count as delayed too."""
    return None if queue.delayed is None else max(0, queue.delayed - (queue.prioritized or 0))


def state_count(queue: QueueSnapshot, state: str | None) -> int | None:
    """How many jobs of a queue are in a state, None where that is not known; without a state all but completed."""
    if state is None:
        known = (queue.waiting, queue.active, queue.delayed, queue.suspended, queue.failed)
        more = (queue.waiting_children, queue.group_waiting)
        return None if None in known else sum(number or 0 for number in (*known, *more))
    if state == "delayed":
        return delayed_jobs(queue)
    count: int | None = getattr(queue, state.replace("-", "_"), None)
    return count


def shown_state(job: JobRow | FlowNode) -> str:
    """The state a job is shown in: `parked` where its budget holds it, `stalled` where its worker is silent."""
    if job.parked:
        return "parked"
    return "stalled" if job.stalled else job.state


# --- selection ---------------------------------------------------------------------------------------------


def index_of_key(keys: Sequence[T], key: T | None, last_index: int = 0) -> int:
    """Find the row of `key`; when it is gone, the row that took its place."""
    if key is not None:
        with suppress(ValueError):
            return keys.index(key)
    return max(0, min(last_index, len(keys) - 1))


# --- sums --------------------------------------------------------------------------------------------------


def error_groups(rows: Iterable[JobRow]) -> tuple[tuple[tuple[str, int], ...], int]:
    """Count failed rows by the head of their reason, most frequent first; also return how many were counted."""
    reasons = [error_head(row.failed_reason) for row in rows]
    return tuple(Counter(reasons).most_common(6)), len(reasons)


def error_head(reason: str | None) -> str:
    """First line of a reason, shortened to what groups errors of the same kind."""
    first = (reason or "").strip().split("\n", 1)[0].strip()
    return first[:60] or "no reason given"


def worker_languages(workers: Iterable[WorkerInfo]) -> dict[str, int]:
    return dict(Counter(worker.language for worker in workers))


def workers_text(workers: Iterable[WorkerInfo]) -> str:
    """`4 py 2 node`, or an empty string."""
    languages = worker_languages(workers)
    short = {"python": "py"}
    return " ".join(
        f"{count} {short.get(name, name)}" for name, count in sorted(languages.items(), reverse=True)
    )


def pause_note(workers: Iterable[WorkerInfo]) -> str | None:
    """Say which attached workers ignore the pause flag."""
    nodes = worker_languages(workers).get("node", 0)
    if not nodes:
        return None
    return f"{nodes} node worker{'s' if nodes > 1 else ''} {'do' if nodes > 1 else 'does'} not honour it"


def minute_series(
    points: Iterable[tuple[int, float | None]], end_ms: int, minutes: int = HISTORY_MINUTES
) -> MinuteSeries:
    """Lay sparse (epoch ms, value) points on whole minutes ending with the last full one; gaps are None."""
    last = end_ms // 60_000 - 1
    values: list[float | None] = [None] * minutes
    for at_ms, value in points:
        index = minutes - 1 - (last - at_ms // 60_000)
        if 0 <= index < minutes:
            values[index] = value
    return MinuteSeries(end_ms=(last + 1) * 60_000, values=tuple(values))
