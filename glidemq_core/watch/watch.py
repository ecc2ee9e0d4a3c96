"""Watch: the queues of a server as consoles and dashboards see them, read only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Self

from glidemq_core.ai.streams.chunks import stream
from glidemq_core.ai.usage.ledger import get_ledger
from glidemq_core.ai.usage.summary import get_usage_summary
from glidemq_core.filters.failures import FAILED_FIELDS, parse_letter_filter
from glidemq_core.filters.jobs import JobExpression, parse_job_filter
from glidemq_core.filters.language import parse_expression
from glidemq_core.jobs.audit import get_audit
from glidemq_core.jobs.events.decode import check_start
from glidemq_core.options.fields import Duration, Instant, one_of, queue_name, refuse, some_text, to_ms, whole
from glidemq_core.options.job import JobRef
from glidemq_core.options.types import JobIdLike, read_id
from glidemq_core.reading.counts import read_metrics
from glidemq_core.records import (
    Attempt,
    AuditEntry,
    Discovery,
    Failures,
    Fleet,
    Flow,
    FlowList,
    Inbox,
    JobDetail,
    JobPage,
    JobRow,
    Letters,
    Limits,
    Metrics,
    Permissions,
    QueueEvent,
    RecentEvents,
    ServerInfo,
    StreamChunk,
    UsageGroups,
    UsageSummary,
    WatchStats,
    Why,
    WorkerList,
)
from glidemq_core.records.outcomes import FinalState, UsageKey
from glidemq_core.schedules.entry import Scheduler, SchedulerEntry
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import LazyConnection

from .events import follow_events, read_recent_events
from .jobs.detail import find_job, read_job
from .jobs.failures import members_of, read_failures
from .jobs.filtering.failures import FailureScan
from .jobs.filtering.filter import JobFilter
from .jobs.filtering.letters import LetterScan
from .jobs.filtering.scan import JobScan, scan_jobs
from .jobs.letters import read_letters
from .jobs.listing import list_jobs
from .jobs.rows import have_streamed, read_rows
from .jobs.spend import read_usage_groups
from .jobs.why import read_why
from .permissions import read_permissions
from .schedules import list_schedulers, read_schedulers
from .session import WatchSession


class Watch:
    """Looks at the queues of one server or cluster and never writes. Needs read rights only.

    Args:
        connection: a URL, a shared Connection, or None for `GLIDEMQ_URL`; opened at first use.
        queues: names that are known from the start and never forgotten.
        only: whether no other queue is searched for.
        calls_per_s: round trips a second at most; what was saved may be spent in a burst of one second's worth.
    """

    def __init__(
        self,
        connection: str | Connection | None = None,
        *,
        queues: Iterable[str] = (),
        only: bool = False,
        calls_per_s: float = 20,
    ) -> None:
        if isinstance(calls_per_s, bool) or not isinstance(calls_per_s, (int, float)) or not calls_per_s > 0:
            refuse("calls_per_s", calls_per_s, "more than 0")
        self._lazy = LazyConnection(connection, None, "watch", "this Watch is closed", "watch")
        self._given = tuple(queue_name(name, "queues") for name in queues)
        self._only = only
        self._calls_per_s = calls_per_s
        self._session: WatchSession | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection if this object opened it; twice is fine."""
        self._session = None
        await self._lazy.close()

    async def _open(self) -> WatchSession:
        connection = await self._lazy.get()
        if self._session is None:
            self._session = WatchSession(connection, self._given, self._only, self._calls_per_s)
        return self._session

    # Which queues ----------------------------------------------------------------------------------------------

    async def known(self) -> tuple[str, ...]:
        """Return the queues given, registered and found so far, by name."""
        return await (await self._open()).queues.known()

    async def existing(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those of some names that are queues here. Raises InvalidOptionError."""
        session = await self._open()
        return tuple(await session.queues.existing(await session.names(names)))

    async def discover(
        self, *, calls_per_s: float = 5, keys_per_call: int = 1_000
    ) -> AsyncIterator[Discovery]:
        """Search all keys once, slowly; the first step holds the known queues, the last those that are gone.

        Raises InvalidOptionError.
        """
        session = await self._open()
        async for step in session.queues.discover(calls_per_s=calls_per_s, keys_per_call=keys_per_call):
            yield step

    async def snapshot(self, names: Sequence[str] | None = None) -> Fleet:
        """Read queues (all known without `names`) in one pipeline, whatever the number of their jobs.

        `unreadable` of a queue names its keys of other types than ours.
        """
        session = await self._open()
        return await session.snapshot(await session.names(names))

    # Jobs ------------------------------------------------------------------------------------------------------

    async def jobs(
        self,
        queue: str,
        state: str | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
        newest: bool | None = None,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        find: str | None = None,
        where: str | JobExpression | None = None,
    ) -> JobPage:
        """List jobs of a state without payloads; without a state up to `limit` of each.

        Args:
            cursor: `next` of the page before.
            newest: order; by default the soonest first for delayed, prioritized and suspended jobs, else the
                newest first.
            name: only jobs of exactly this name.
            data: only jobs whose payload has these top-level values (payloads over 64 KiB are not searched).
            find: only jobs whose id, name, model, error or reason of suspension contains this, whatever the case.
            where: only jobs that this filter takes, see `docs/filters.md`.

        With a filter a page examines a thousand jobs at most: it may be short and still have a `next`. `looked` says
        how many it examined. `total` counts the state without the filter; None where that is expensive.

        Raises InvalidOptionError.
        """
        session = await self._open()
        return await list_jobs(
            session.reader,
            session.scanned,
            queue_name(queue, "queue"),
            state,
            limit=limit,
            cursor=cursor,
            newest=newest,
            wanted=JobFilter(name=name, data=data, find=find, where=_expression(where)),
        )

    async def scan_jobs(
        self,
        queue: str,
        where: str | JobExpression,
        *,
        state: str | None = None,
        newest: bool | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        most: int | None = None,
        pages_per_s: float | None = None,
        name: str | None = None,
    ) -> AsyncIterator[JobPage]:
        """Go through all jobs of a queue for those that a filter takes; read 500 at a time, small fields only.

        Each page holds what matched among the jobs that it looked at (`looked`, of `total`), and `next` where a later
        scan with the same arguments goes on, None at the end. A job that moves meanwhile may come twice or not at all.

        Args:
            where: see `docs/filters.md`; states that it names, and ages where a set is scored by time, select on the
                server.
            state: only jobs of this state; without it the states follow one another, work first, then what is done.
            newest: order within a state; by default that of `jobs`.
            cursor: `next` of the page to go on after.
            limit: jobs that match, at most.
            most: jobs that are looked at, at most.
            pages_per_s: pages a second at most.
            name: only jobs of exactly this name.

        Raises InvalidOptionError.
        """
        session = await self._open()
        wanted = JobFilter(name=name, where=_expression(where))
        chosen = queue_name(queue, "queue")
        scan = JobScan(session.reader, session.scanned, chosen, state, wanted, newest=newest, cursor=cursor)
        async for page in scan_jobs(scan, limit=limit, most=most, pages_per_s=pages_per_s):
            yield page

    async def job(self, queue: str, job_id: JobIdLike, *, payload_limit: int = 65_536) -> JobDetail | None:
        """Read everything about one job; None if there is no such job.

        Data and result over `payload_limit` bytes are left out. Raises InvalidOptionError.
        """
        whole(0)(payload_limit, "payload_limit")
        reader = (await self._open()).reader
        job = read_id(queue_name(queue, "queue"), job_id)
        return await read_job(reader, queue, job, payload_limit=payload_limit)

    async def rows(self, refs: Iterable[JobRef]) -> dict[JobRef, JobRow | None]:
        """Read jobs as a list shows them; None for one that is gone."""
        return await read_rows((await self._open()).reader, refs)

    async def streaming(self, refs: Sequence[JobRef]) -> set[JobRef]:
        """Tell which jobs have written to their token stream."""
        return await have_streamed((await self._open()).reader, refs)

    async def find(self, job_id: str) -> list[JobRef]:
        """Ask all known queues for a job of this id."""
        session = await self._open()
        return await find_job(session.reader, await session.names(None), some_text(job_id, "job_id"))

    async def approvals(
        self,
        names: Sequence[str] | None = None,
        *,
        limit: int = 500,
        payload_limit: int = 4_096,
        shown: Sequence[JobRef] | None = None,
    ) -> Inbox:
        """Read the suspended jobs of queues (all known without `names`), soonest deadline first.

        Payloads over `payload_limit` bytes are left out, drafts cut there.

        Args:
            shown: for a caller who repeats the call, the jobs on screen, the opened one first: only their payload,
                progress and stream are checked for changes (payloads over 64 KiB of the opened one only), and a
                bounded number of new jobs is read a call, those on screen first.

        Raises InvalidOptionError.
        """
        session = await self._open()
        chosen = await session.names(names)
        items, total = await session.inbox.read(chosen, limit=limit, payload_limit=payload_limit, shown=shown)
        complete = names is not None or session.queues.complete
        return Inbox(items=items, total=total, complete=complete, at=session.reader.now())

    async def asking(self, names: Sequence[str]) -> list[str]:
        """Return those of many queues that may hold suspended jobs, by one command for hundreds of them.

        Returns none in a cluster, where one command cannot read several queues.
        """
        return await (await self._open()).inbox.asking(names)

    async def workers(self, names: Sequence[str] | None = None, *, brief: bool = False) -> WorkerList:
        """Read live workers, and active jobs whose heartbeat is overdue.

        Briefly, which costs a few commands a queue: only workers that have taken a job before, and no jobs.
        """
        session = await self._open()
        return await session.workers.read(await session.names(names), brief=brief)

    async def why(self, queue: str, job_id: JobIdLike | None = None) -> Why:
        """Tell why a job is not running, or without `job_id` what holds back the queue as a whole.

        Raises JobNotFoundError, InvalidOptionError.
        """
        return await read_why(await self._open(), queue_name(queue, "queue"), job_id)

    async def failures(
        self,
        names: Sequence[str] | None = None,
        *,
        since: Duration = 3_600_000,
        limit: int = 200,
        where: str | None = None,
    ) -> Failures:
        """Gather failed jobs of queues (all known without `names`) by cause; the largest group first.

        At most the newest `limit` that failed within `since` are read.

        Args:
            where: only jobs that this filter takes, see `docs/filters.md`; without states and payloads.

        Raises InvalidOptionError.
        """
        session = await self._open()
        since_ms, chosen = to_ms(since, "since"), await session.names(names)
        taken = parse_expression(where, FAILED_FIELDS) if where else None
        found = await read_failures(session.reader, chosen, since_ms, limit, session.failed, taken)
        return replace(found, complete=found.complete and (names is not None or session.queues.complete))

    async def scan_failures(
        self, where: str, names: Sequence[str] | None = None, *, since: Duration = 3_600_000
    ) -> FailureScan:
        """Look for the failed jobs of queues (all known without `names`) that a filter takes, however many there are.

        Nothing is read yet: each `look()` of the answer looks at 500 jobs more, the newest first, while it `has_more`;
        `failures` is what was found, by cause, and `refresh(names)` brings that up to date.

        Args:
            where: the filter, see `docs/filters.md`; without states and payloads.
            since: how far back to look.

        Raises InvalidOptionError.
        """
        session = await self._open()
        chosen, wanted = await session.names(names), parse_expression(where, FAILED_FIELDS)
        return FailureScan(session.reader, chosen, to_ms(since, "since"), wanted)

    async def failed_jobs(self, queue: str, group: str, *, limit: int = 10_000) -> list[str]:
        """Return ids of the failed jobs of a group among the newest `limit` of a queue. Raises InvalidOptionError."""
        session = await self._open()
        most, name = whole(1)(limit, "limit"), queue_name(queue, "queue")
        return await members_of(session.reader, name, group, most, session.failed)

    async def letters(self, names: Sequence[str] | None = None, *, limit: int = 200) -> Letters:
        """Read the newest dead letters of queues (all known without `names`), at most `limit`.

        The queues of letters are those that workers and queues named on the server. Raises InvalidOptionError.
        """
        session = await self._open()
        found = await read_letters(session.reader, await session.names(names), limit, session.letters)
        return replace(found, complete=found.complete and (names is not None or session.queues.complete))

    async def scan_letters(self, where: str, names: Sequence[str] | None = None) -> LetterScan:
        """Look for the dead letters of queues (all known without `names`) that a filter takes, however many there are.

        Nothing is read yet: each `look()` of the answer looks at 500 letters more, the newest first, while it
        `has_more`; `letters` is what was found, and `refresh()` brings that up to date.

        Args:
            where: the filter, see `docs/filters.md`; a payload is that of the job that failed.

        Raises InvalidOptionError.
        """
        session = await self._open()
        return LetterScan(session.reader, await session.names(names), parse_letter_filter(where))

    async def limits(self, names: Sequence[str] | None = None) -> tuple[Limits, ...]:
        """Read used and allowed starts and tokens, jobs at once and ordering groups of queues."""
        session = await self._open()
        return await session.limits.read(await session.names(names))

    async def flow(self, queue: str, job_id: JobIdLike, *, max_nodes: int = 1_000) -> Flow:
        """Read the flow a job belongs to: up to the root and down again, with usage and budget.

        Jobs beyond `max_nodes` are left out, and `truncated` is set. Removed jobs that are still waited for have
        state `unknown`. Raises JobNotFoundError, InvalidOptionError.
        """
        whole(1, 100_000)(max_nodes, "max_nodes")
        session = await self._open()
        start = JobRef(queue, some_text(read_id(queue_name(queue, "queue"), job_id), "job_id"))
        return await session.flow.read(start, max_nodes)

    async def flows(
        self,
        names: Sequence[str] | None = None,
        *,
        limit: int = 100,
        shown: Collection[JobRef] | None = None,
    ) -> FlowList:
        """List flows by their roots, those that go on first, then those that ended, each newest first.

        Recent ones are there at once, others as a slow search finds them. Each flow is read up to 200 jobs.

        Args:
            shown: for a caller who repeats the call, roots of the flows on screen: only those are read again, and
                a bounded number of new flows a call.

        Raises InvalidOptionError.
        """
        whole(1, 10_000)(limit, "limit")
        session = await self._open()
        items, complete = await session.flows.read(await session.names(names), limit, shown)
        return FlowList(items=tuple(items), complete=complete, at=session.reader.now())

    # What happens ----------------------------------------------------------------------------------------------

    async def events(
        self, names: Sequence[str] | None = None, *, start: str = "$", types: Iterable[str] | None = None
    ) -> AsyncIterator[QueueEvent]:
        """Follow the events of queues; without `names` of all known ones, those found later too.

        One blocking read serves all queues of a server. Lost connections are waited for; `gap` marks that
        events were trimmed unread.

        Args:
            start: `$` new events, `0` all that are kept, or an entry id (exclusive).
            types: only events of these names.
        Raises:
            InvalidOptionError: a malformed id.
        """
        session = await self._open()
        check_start(start, "start")
        chosen = await session.names(names)
        followed = chosen if names is not None else None
        async with aclosing(
            follow_events(session.reader, session.queues, followed, start=start, types=types)
        ) as events:
            async for event in events:
                yield event

    async def recent_events(
        self, names: Sequence[str], *, seen: Mapping[str, str] | None = None, limit: int = 50
    ) -> RecentEvents:
        """Read the newest events of queues, at most `limit` each, in one pipeline whatever their rate.

        Args:
            seen: of each queue the id of the newest event that is known; only later ones are read.

        Raises InvalidOptionError.
        """
        session = await self._open()
        chosen = await session.names(names)
        return await read_recent_events(session.reader, chosen, seen or {}, whole(1)(limit, "limit"))

    async def metrics(self, queue: str, kind: FinalState, *, minutes: int = 60) -> Metrics:
        """Read jobs per minute of the last `minutes`, oldest first. Raises InvalidOptionError."""
        return await read_metrics((await self._open()).reader, queue_name(queue, "queue"), kind, minutes)

    async def usage(
        self,
        *,
        window: Duration = 3_600_000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        queues: Iterable[str] | None = None,
    ) -> UsageSummary:
        """Sum reported usage, as `Queue.get_usage_summary`. Raises InvalidOptionError."""
        session = await self._open()
        return await get_usage_summary(
            session.connection, window=window, start_time=start_time, end_time=end_time, queues=queues
        )

    async def usage_by(
        self,
        by: UsageKey,
        names: Sequence[str] | None = None,
        *,
        window: Duration = 3_600_000,
        limit: int = 2_000,
        top: int = 100,
    ) -> UsageGroups:
        """Add up what jobs that ended within `window` have spent, of queues (all known without `names`).

        Removed jobs and those that still run are not counted; `usage` counts them, by queue alone.

        Args:
            by: `queue`, `model`, `flow` (its root) or `job`.
            limit: jobs that are looked at, the newest.
            top: groups that are returned, the dearest.

        Raises InvalidOptionError.
        """
        one_of("queue", "model", "flow", "job")(by, "by")
        session = await self._open()
        found = await read_usage_groups(
            session.reader,
            await session.names(names),
            by,
            since_ms=session.reader.now_ms() - to_ms(window, "window"),
            limit=whole(1)(limit, "limit"),
            top=whole(1)(top, "top"),
            known=session.spent,
        )
        return replace(found, complete=found.complete and (names is not None or session.queues.complete))

    async def schedulers(self, queue: str) -> dict[str, SchedulerEntry]:
        """Read the schedulers of a queue by name; what is none is left out."""
        return await read_schedulers((await self._open()).reader, queue_name(queue, "queue"))

    async def all_schedulers(self, names: Sequence[str] | None = None) -> tuple[Scheduler, ...]:
        """Read the schedulers of many queues, of all known ones without `names`, by queue and name."""
        return await list_schedulers(await self._open(), names)

    async def ledger(self, queue: str, job_id: JobIdLike) -> list[Attempt] | None:
        """Read what each attempt spent and how it ended; None if nothing was kept."""
        return await get_ledger((await self._open()).context(queue), read_id(queue, job_id))

    async def audit(
        self, queue: str, *, limit: int = 100, before: int | None = None, job_id: JobIdLike | None = None
    ) -> list[AuditEntry]:
        """Read who changed what, newest first. Raises InvalidOptionError."""
        job = None if job_id is None else read_id(queue, job_id)
        return await get_audit((await self._open()).context(queue), limit=limit, before=before, job_id=job)

    async def stream(
        self,
        queue: str,
        job_id: JobIdLike,
        *,
        start: str = "0",
        follow: bool = True,
        until_done: bool = False,
        block: Duration = 5_000,
    ) -> AsyncGenerator[StreamChunk, None]:
        """Yield the chunks of a job's stream, as `Queue.stream`."""
        context, job = (await self._open()).context(queue), read_id(queue, job_id)
        async with aclosing(
            stream(context, job, start=start, follow=follow, until_done=until_done, block=block)
        ) as chunks:
            async for chunk in chunks:
                yield chunk

    # Where -----------------------------------------------------------------------------------------------------

    async def server(self) -> ServerInfo:
        """Ask the server who it is, how much memory it uses and how far away it is."""
        session = await self._open()
        return replace(await session.connection.server_info(), at=session.reader.now())

    async def permissions(self) -> Permissions:
        """Ask what this user may do here. Tries no write."""
        session = await self._open()
        names = session.queues.names
        return await read_permissions(session.reader, names[0] if names else "queue")

    @property
    def leaves_out_queues(self) -> bool:
        """Whether more queues were found than are kept (10,000): name those that matter."""
        return self._session is not None and self._session.queues.left_out

    @property
    def stats(self) -> WatchStats:
        """What this connection costs the server: commands a second over ten seconds, latest round trip."""
        return WatchStats() if self._session is None else self._session.stats()


def _expression(where: str | JobExpression | None) -> JobExpression | None:
    """Read a filter that is given as text. Raises FilterSyntaxError."""
    return parse_job_filter(where) if isinstance(where, str) else where
