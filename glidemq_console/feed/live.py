"""The feed on a real server: keeps a connection, reads what the active screen needs, makes the changes asked for."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from glidemq_core.errors import (
    AuthenticationError,
    CallTimeoutError,
    ClosedError,
    GlideMQError,
    PermissionDeniedError,
    ServerUnavailableError,
)

from ..model.snapshot import Interests, JobList, JobsQuery, JobView, Link, LinkState, QueueDetail, Snapshot
from .flow_reader import FlowReader
from .job_pages import JobPager, read_page
from .protocol import Publish
from .queue_detail import read_queue_detail
from .queue_rows import QueueRowsReader
from .stream_finder import StreamFinder

if TYPE_CHECKING:
    from glidemq_core import (
        Actor,
        Approval,
        AuditEntry,
        Connection,
        JobDetail,
        JobPage,
        JobRef,
        Queue,
        StreamChunk,
    )
    from glidemq_core.watch import Watch

    from ..config.console import ConsoleConfig

T = TypeVar("T")

#: Waits before the first, second, ... attempt to reconnect; the last one repeats.
RETRY_DELAYS_MS = (500, 1_000, 2_000, 3_000, 5_000)
#: Live tokens are read no oftener than this, s: about as often as they are drawn.
TOKENS_EVERY_S = 0.08
#: A round that takes longer makes us look whether anybody listens there still.
SILENCE_S = 0.7
#: Two rounds of reading are never closer than this, however often something is asked for.
MIN_ROUND_MS = 100
FOCUS_EVERY_MS = 5_000
SERVER_EVERY_MS = 30_000
#: How often queues on screen are searched for token counters that no worker tells of.
TOKENS_EVERY_MS = 10_000
#: A list of flows hears of those that changed; one flow is read at the usual rate.
FLOWS_EVERY_MS = 2_000
#: Rows whose workers are not known yet, or no longer, are read this often, where a column shows them.
WORKERS_EVERY_MS = 1_000
#: How often the registry of queues is asked, for queues that are new.
KNOWN_EVERY_MS = 3_000
#: Rows read in a round while running streams are sought.
ROWS_FOR_PICKING = 20
#: How often the queues where nobody waited are asked whether somebody does now, a command for hundreds of them.
ASKING_EVERY_MS = 2_000
#: Queues with suspended jobs whose rows are kept fresh while those jobs are listed.
ROWS_WITH_INBOX = 10

#: Errors after which the session is over and a new connection is made.
_SESSION_ERRORS = (ServerUnavailableError, CallTimeoutError, ClosedError, AuthenticationError)


class LiveFeed:
    """A `Feed` on a real server. Constructing it does no I/O and does not import the Valkey client."""

    def __init__(self, config: ConsoleConfig) -> None:
        self._config = config
        self._clock = config.clock
        self._interests = Interests()
        self._wake = asyncio.Event()
        self._live = asyncio.Event()
        self._publish: Publish = lambda _snapshot: None
        self._connection: Connection | None = None
        self._watch: Watch | None = None
        self._rows = QueueRowsReader((), config.clock)
        self._finder = StreamFinder()
        self._flows = FlowReader(config.clock)
        self._pager: JobPager | None = None
        #: When each part of a round is next to be read.
        self._due: dict[object, int] = {}
        self._trouble: str | None = None
        #: What is said about named queues that do not exist.
        self._missing: str | None = None
        self._latest = Snapshot(
            at_ms=self._clock(),
            read_only=config.read_only,
            link=Link(since_ms=self._clock(), address=config.shown_url, is_exposed=config.is_exposed),
        )

    @property
    def latest(self) -> Snapshot:
        return self._latest

    def set_interests(self, interests: Interests) -> None:
        before, self._interests = self._interests, interests
        if before == interests:
            return
        if before.flows != interests.flows:
            self._due.pop("flows", None)
        if (before.streams, before.pick) != (interests.streams, interests.pick):
            self._due.pop("streams", None)
        only_scrolled = _unscrolled(before) == _unscrolled(interests)
        if not only_scrolled or self._pager is None or self._pager.lacks(interests.window):
            self._due.pop("jobs", None)
            self._wake.set()

    def refresh_now(self) -> None:
        self._due.clear()
        self._wake.set()

    # --- the connection ------------------------------------------------------------------------------------

    async def run(self, publish: Publish) -> None:
        self._publish = publish
        failures = 0
        while True:
            try:
                async with AsyncExitStack() as session:
                    await self._serve(await self._open(session))
            except GlideMQError as error:
                failures = 1 if self._live.is_set() else failures + 1
                self._live.clear()
                delay = RETRY_DELAYS_MS[min(failures, len(RETRY_DELAYS_MS)) - 1]
                self._lose(error, delay)
                self._wake.clear()
                await self._pause(delay)

    async def _serve(self, watch: Watch) -> None:
        """Read until the session breaks; raises what broke it."""
        discovery = asyncio.create_task(self._discover(watch))
        try:
            await self._read_rounds(watch)
        finally:
            discovery.cancel()
            await asyncio.gather(discovery, return_exceptions=True)

    async def _open(self, session: AsyncExitStack) -> Watch:
        """Connect. The client library is heavy, so a thread imports it while the first frame is already up."""
        await asyncio.to_thread(importlib.import_module, "glidemq_core.watch")
        from glidemq_core.server.connect import connect
        from glidemq_core.watch import Watch

        config = self._config
        connection = await connect(config.url, prefix=config.prefix, **config.connect_options)
        session.push_async_callback(connection.close)
        watch = await session.enter_async_context(
            Watch(connection, queues=config.queues, only=config.only_queues)
        )
        session.callback(self._leave_session)
        self._connection, self._watch = connection, watch
        return watch

    def _leave_session(self) -> None:
        self._connection = self._watch = None
        self._pager = None
        self._due.clear()

    def _lose(self, error: GlideMQError, delay_ms: int) -> None:
        reason = error.message if error.hint is None else f"{error.message}; {error.hint}"
        retry_at = self._clock() + delay_ms
        self._emit(link=replace(self._latest.link, state=LinkState.LOST, retry_at_ms=retry_at, reason=reason))

    async def _pause(self, delay_ms: int) -> None:
        """Wait, or less when something is asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_ms / 1000):
                await self._wake.wait()

    def _emit(self, **changes: object) -> None:
        self._latest = replace(self._latest, at_ms=self._clock(), **changes)  # type: ignore[arg-type]  # field names are checked by replace
        self._publish(self._latest)

    # --- reading -------------------------------------------------------------------------------------------

    async def _read_rounds(self, watch: Watch) -> None:
        """Read what is due, publish, wait: one round after the other, never two at once."""
        while True:
            self._wake.clear()
            await self._round_or_loss(watch)
            self._live.set()
            await asyncio.sleep(MIN_ROUND_MS / 1000)
            await self._pause(self._config.refresh_ms - MIN_ROUND_MS)

    async def _round_or_loss(self, watch: Watch) -> None:
        """Read one round; a server that nobody answers for any more is told long before calls time out."""
        reading = asyncio.create_task(self._round(watch))
        try:
            while not (await asyncio.wait({reading}, timeout=SILENCE_S))[0]:
                if self._connection is not None and not await self._connection.is_reachable():
                    address = self._config.shown_url
                    raise ServerUnavailableError("the connection to the server was lost", address=address)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _round(self, watch: Watch) -> None:
        wants, rate = self._interests, self._config.refresh_ms
        self._trouble = None
        changes: dict[str, object] = {}
        if self._is_due("server", SERVER_EVERY_MS):
            changes["server"] = await self._try(watch.server())
            changes["permissions"] = await self._try(watch.permissions())
        if self._is_due("known", KNOWN_EVERY_MS):
            self._found(await self._try(self._known(watch)) or ())
        if self._is_due("rows", rate):
            # What is sought among running jobs shows in rows that are fresh, on screen or not.
            sought = self._rows.likely_running(ROWS_FOR_PICKING) if wants.pick else ()
            # Those whose suspended jobs are listed too, so that list and badge count the same.
            inbox = self._latest.inbox if wants.inbox else None
            asked = sorted({one.queue for one in inbox.items})[:ROWS_WITH_INBOX] if inbox is not None else []
            if self._is_due("asking", ASKING_EVERY_MS):
                asked += await self._try(watch.asking(self._rows.quiet())) or []
            await self._try(self._rows.read(watch, _visible(wants).union(sought, asked)))
        if wants.jobs is not None:
            changes["jobs"] = await self._try(self._read_list(wants.jobs, wants.window))
        if wants.job is not None and self._is_due(wants.job, rate):
            changes["job"] = await self._try(self._read_job(watch, wants.job))
        if wants.inbox and self._is_due("inbox", rate):
            changes["inbox"] = await self._try(watch.approvals(shown=wants.inbox_shown))
        if wants.queue_detail is not None and self._is_due(("detail", wants.queue_detail), FOCUS_EVERY_MS):
            changes["queue_detail"] = await self._try(self._read_detail(watch, wants.queue_detail))
        if (wants.streams or wants.pick) and self._is_due("streams", rate):
            changes |= await self._try(self._finder.read(watch, wants, self._rows.rows)) or {}
        if wants.limits is not None:
            changes |= await self._read_limits(watch, wants.limits, wants.rows)
        if wants.flows and self._is_due("flows", max(rate, FLOWS_EVERY_MS)):
            changes["flows"] = await self._try(watch.flows(limit=wants.flows, shown=wants.flows_shown))
        if wants.flow is not None and self._is_due(("flow", wants.flow), rate):
            changes["flow"] = await self._try(self._flows.read(watch, self._session(), wants.flow))
        if await self._try(self._rows.read_histories(watch, wants.rows)):
            self._wake.set()
        if wants.workers and self._is_due("workers", WORKERS_EVERY_MS):
            await self._try(self._rows.read_workers(watch, wants.rows))
        now = self._clock()
        self._due = {part: due for part, due in self._due.items() if due > now - SERVER_EVERY_MS}
        self._emit(
            queues=self._rows.rows,
            read_ms=dict(self._rows.read_ms),
            history=dict(self._rows.history),
            workers=self._rows.workers,
            meters=self._rows.meters.meters(wants.rows, now),
            stats=watch.stats,
            leaves_out_queues=watch.leaves_out_queues,
            has_data=True,
            trouble=self._trouble or self._missing,
            link=replace(
                self._latest.link, state=LinkState.LIVE, since_ms=now, retry_at_ms=None, reason=None
            ),
            **{name: value for name, value in changes.items() if value is not None},
        )

    async def _try(self, reading: Awaitable[T]) -> T | None:
        """Await one part of a round; what is refused or odd becomes a note, only a lost session ends the round."""
        try:
            return await reading
        except _SESSION_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001  # what nobody foresaw in a queue must not take the console down
            self._trouble = _words(error)
            return None

    def _is_due(self, part: object, every_ms: int) -> bool:
        now = self._clock()
        if self._due.get(part, 0) > now + self._config.refresh_ms // 4:
            return False
        self._due[part] = now + every_ms
        return True

    async def _read_jobs(self, query: JobsQuery, cursor: str | None, limit: int) -> JobPage:
        assert self._watch is not None
        row = next((row for row in self._rows.rows if row.name == query.queue), None)
        return await read_page(self._watch, query, row, cursor=cursor, limit=limit)

    async def _read_list(self, query: JobsQuery, window: tuple[int, int]) -> JobList:
        if self._pager is None or self._pager.query != query:
            self._pager = JobPager(query, self._read_jobs)
            self._due.pop("jobs", None)
        if self._is_due("jobs", self._config.refresh_ms):
            await self._pager.refresh(window)
        return self._pager.listing(self._clock())

    async def _read_job(self, watch: Watch, ref: JobRef) -> JobView:
        detail = await watch.job(ref.queue, ref.id)
        return JobView(ref=ref, detail=detail, at_ms=self._clock())

    async def _read_limits(self, watch: Watch, queue: str, rows: Sequence[str]) -> dict[str, object]:
        if self._is_due("tokens", TOKENS_EVERY_MS) and rows:
            await self._try(watch.limits(rows))
        if not self._is_due(("limits", queue), self._config.refresh_ms):
            return {}
        found = await self._try(watch.limits((queue,)))
        return {"limits": found[0] if found else None}

    async def _read_detail(self, watch: Watch, queue: str) -> QueueDetail:
        found = await self._try(watch.workers((queue,)))
        if found is not None:
            self._rows.note_workers(queue, found.workers)
        return await read_queue_detail(watch, queue, found, self._clock())

    async def _discover(self, watch: Watch) -> None:
        """Search all keys for queues, slowly, and again after a while; what hinders it becomes a note."""
        with suppress(*_SESSION_ERRORS):
            while True:
                try:
                    async for step in watch.discover():
                        given = self._config.queues
                        self._found((name for name in step.found if name not in given), step.gone)
                        if step.complete:
                            self._emit(complete=True)
                except _SESSION_ERRORS:
                    raise
                except Exception as error:  # noqa: BLE001  # as above
                    self._emit(trouble=f"the search for queues stopped: {_words(error)}")
                await asyncio.sleep(self._config.rescan_ms / 1000)

    async def _known(self, watch: Watch) -> list[str]:
        """Return the queues that are known; one that was named only counts once it exists."""
        names = await watch.known()
        unsure = [name for name in self._config.queues if name not in self._rows.names]
        missing = set(unsure).difference(await watch.existing(unsure) if unsure else ())
        if missing:
            listed = ", ".join(sorted(missing))
            self._missing = f"no queue {listed} here; it is shown once it exists"
        else:
            self._missing = None
        return [name for name in names if name not in missing]

    def _found(self, names: Iterable[str], gone: Iterable[str] = ()) -> None:
        # A search finds new ones several times a second: they come with the next round, the first ones at once.
        if self._rows.learn(names, gone) and not self._rows.rows:
            self._due.pop("rows", None)
            self._wake.set()

    # --- for one screen or action --------------------------------------------------------------------------

    async def change(self, queue: str, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]]) -> T:
        if self._config.read_only:
            raise PermissionDeniedError("this console is read-only", reason="read_only", command=None)
        from glidemq_core import Actor, Queue

        target: Queue[Any, Any] = Queue(queue, self._session())
        async with target:
            try:
                return await call(target, Actor(by=self._config.user, via="console"))
            finally:
                self.refresh_now()

    async def review(self, ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        from glidemq_core import Queue

        queue: Queue[Any, Any] = Queue(ref.queue, self._session())
        async with queue:
            return await queue.review(ref.id, payload_limit=payload_limit)

    async def audit(self, ref: JobRef) -> Sequence[AuditEntry]:
        self._session()
        assert self._watch is not None
        return await self._watch.audit(ref.queue, job_id=ref.id)

    async def job(self, ref: JobRef, *, payload_limit: int) -> JobDetail | None:
        self._session()
        assert self._watch is not None
        return await self._watch.job(ref.queue, ref.id, payload_limit=payload_limit)

    async def tokens(self, ref: JobRef, *, start: str = "0") -> AsyncIterator[Sequence[StreamChunk]]:
        while True:
            await self._live.wait()
            from glidemq_core import Queue
            from glidemq_core.ai.streams.hub import StreamHub

            try:
                connection = self._session()
                scope = await Queue(ref.queue, connection).scope()
                async with StreamHub.of(connection).follow(
                    scope, ref.id, start=start, min_interval=TOKENS_EVERY_S
                ) as tail:
                    while chunks := await tail.read():
                        start = chunks[-1].id
                        yield chunks
                return
            except _SESSION_ERRORS:
                await asyncio.sleep(RETRY_DELAYS_MS[0] / 1000)

    def _session(self) -> Connection:
        if self._connection is None:
            raise ServerUnavailableError(
                "no connection to the server", address=self._config.shown_url, hint="wait or press r"
            )
        return self._connection


def _unscrolled(wants: Interests) -> Interests:
    """What is needed, wherever it is scrolled to."""
    return replace(wants, window=(0, 0), inbox_shown=(), flows_shown=())


def _words(error: Exception) -> str:
    if isinstance(error, GlideMQError):
        return error.message
    return f"a part of this cannot be read, please report it: {type(error).__name__}: {error}"


def _visible(wants: Interests) -> set[str]:
    """Queues whose rows something on screen shows."""
    others = (
        wants.queue_detail,
        wants.limits,
        wants.jobs and wants.jobs.queue,
        wants.job and wants.job.queue,
    )
    return {*wants.rows, *(name for name in others if name)}
