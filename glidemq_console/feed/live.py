"""The feed on a real server: keeps a connection, reads what the active screen needs, makes the changes."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from glidemq_core.errors import GlideMQError, PermissionDeniedError, ServerUnavailableError

from ..model.decisions import server_of
from ..model.snapshot import Interests, JobsQuery, LinkState, Snapshot
from .elsewhere import FarFeeds
from .protocol import Publish, ServerFeed
from .readers.job_pages import JobListReader, matching
from .readers.queues import learn
from .readers.table import INBOX_READERS, readers
from .reading import SESSION_ERRORS, Reading, words_of

if TYPE_CHECKING:
    from glidemq_core import Actor, Approval, AuditEntry, JobDetail, JobRef, Queue, StreamChunk
    from glidemq_core.records import JobRow, Why
    from glidemq_core.watch import Watch

    from ..config.console import ConsoleConfig

T = TypeVar("T")

#: Waits before the first, second, ... attempt to reconnect; the last one repeats.
RETRY_DELAYS_MS = (500, 1_000, 2_000, 3_000, 5_000)
#: Live tokens are read no oftener than this, s: about as often as they are drawn.
TOKENS_EVERY_S = 0.08
#: After a call that was not answered the search for queues begins anew in so many seconds.
SEARCH_AGAIN_S = 2.0
#: A round that takes longer is followed by a check whether the server can be reached.
SILENCE_S = 0.7
#: Two rounds of reading are never closer than this, however much is to be read at once.
MIN_ROUND_MS = 100


class LiveFeed:
    """A `Feed` on a real server. Constructing it does no I/O and does not import the Valkey client."""

    def __init__(self, config: ConsoleConfig, *, inbox_only: bool = False) -> None:
        """Make a feed; with `inbox_only` it reads what waits for a person and nothing else."""
        self._config = config
        self._reading = Reading(config)
        self._job_list = JobListReader()
        self._readers = INBOX_READERS if inbox_only else readers(self._job_list)
        self._far = FarFeeds(
            config, lambda other: LiveFeed(other, inbox_only=True), lambda: self._emit(self._reading.known)
        )
        self._live = asyncio.Event()
        self._publish: Publish = lambda _snapshot: None

    @property
    def latest(self) -> Snapshot:
        return self._reading.known

    def set_interests(self, interests: Interests) -> None:
        reading = self._reading
        before, reading.wants = reading.wants, interests
        if before == interests:
            return
        self._far.want(interests)
        if before.flows != interests.flows:
            reading.make_due("flows")
        if (before.streams, before.pick) != (interests.streams, interests.pick):
            reading.make_due("streams")
        if _unscrolled(before) != _unscrolled(interests) or self._job_list.lacks(interests.window):
            reading.make_due("jobs")
            reading.wake.set()

    def set_refresh(self, refresh_ms: int) -> None:
        if refresh_ms != self._config.refresh_ms:
            self._config = replace(self._config, refresh_ms=refresh_ms)
            self._reading.set_config(self._config)

    def refresh_now(self) -> None:
        self._read_again()
        self._far.refresh_now()

    def _read_again(self) -> None:
        self._reading.make_due()
        self._reading.wake.set()

    def of(self, ref: JobRef) -> ServerFeed:
        server = server_of(ref)
        return self if server is None else self._far.of(server)

    # --- the connection ------------------------------------------------------------------------------------

    async def run(self, publish: Publish) -> None:
        self._publish = publish
        try:
            await self._run()
        finally:
            await self._far.close()

    async def _run(self) -> None:
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
                self._reading.wake.clear()
                await self._pause(delay)

    async def _serve(self, watch: Watch) -> None:
        """Read until the session breaks; raises what broke it."""
        discovery = asyncio.create_task(self._discover(watch))
        try:
            await self._read_rounds()
        finally:
            discovery.cancel()
            await asyncio.gather(discovery, return_exceptions=True)

    async def _open(self, session: AsyncExitStack) -> Watch:
        """Connect. The client library is heavy, so a thread imports it while the first frame is already up."""
        await asyncio.to_thread(importlib.import_module, "glidemq_core.watch")
        from glidemq_core.server.connect import connect
        from glidemq_core.watch import Watch

        config = self._config
        connection = await connect(config.url, prefix=config.prefix, role="console", **config.connect_options)
        session.push_async_callback(connection.close)
        watch = await session.enter_async_context(
            Watch(connection, queues=config.queues, only=config.only_queues)
        )
        session.push_async_callback(self._reading.end)
        self._reading.begin(connection, watch)
        return watch

    def _lose(self, error: GlideMQError, delay_ms: int) -> None:
        reason = error.message if error.hint is None else f"{error.message}; {error.hint}"
        retry_at = self._reading.clock() + delay_ms
        known = self._reading.known
        link = replace(known.link, state=LinkState.LOST, retry_at_ms=retry_at, reason=reason)
        self._emit(replace(known, link=link))

    async def _pause(self, delay_ms: int) -> None:
        """Wait, or less when something is to be read at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_ms / 1000):
                await self._reading.wake.wait()

    def _emit(self, known: Snapshot) -> None:
        self._reading.known = replace(known, at_ms=self._reading.clock(), elsewhere=self._far.known)
        self._publish(self._reading.known)

    # --- reading -------------------------------------------------------------------------------------------

    async def _read_rounds(self) -> None:
        """Read what is due, publish, wait: one round after the other, never two at once."""
        while True:
            self._reading.wake.clear()
            await self._round_or_loss()
            self._live.set()
            await asyncio.sleep(MIN_ROUND_MS / 1000)
            await self._pause(self._config.refresh_ms - MIN_ROUND_MS)

    async def _round_or_loss(self) -> None:
        """Read one round; a lost connection ends it long before calls time out."""
        connection = self._reading.connection
        reading = asyncio.create_task(self._round())
        try:
            while not (await asyncio.wait({reading}, timeout=SILENCE_S))[0]:
                if not await connection.is_reachable():
                    address = self._config.shown_url
                    raise ServerUnavailableError("the connection to the server was lost", address=address)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _round(self) -> None:
        reading = self._reading
        reading.trouble = None
        for read in self._readers:
            await read(reading)
        reading.forget_old()
        link = reading.known.link
        self._emit(
            replace(
                reading.known,
                stats=reading.watch.stats,
                has_data=True,
                trouble=reading.trouble or reading.missing,
                link=replace(
                    link, state=LinkState.LIVE, since_ms=reading.clock(), retry_at_ms=None, reason=None
                ),
            )
        )

    async def _discover(self, watch: Watch) -> None:
        """Search all keys for queues, slowly, and again after a while; what hinders it becomes a note."""
        while True:
            pause = self._config.rescan_ms / 1000
            try:
                async for step in watch.discover():
                    given = self._config.queues
                    learn(self._reading, (name for name in step.found if name not in given), step.gone)
                    if step.complete:
                        self._emit(replace(self._reading.known, complete=True))
            except SESSION_ERRORS:
                # If the session is over, the rounds end it. Where only one call was not answered they go on, and
                # without the search they would never read a queue that nobody registered.
                pause = SEARCH_AGAIN_S
            except Exception as error:  # noqa: BLE001  # as above
                note = f"the search for queues stopped: {words_of(error)}"
                self._emit(replace(self._reading.known, trouble=note))
            await asyncio.sleep(pause)

    # --- for one screen or action --------------------------------------------------------------------------

    async def change(self, queue: str, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]]) -> T:
        if self._config.read_only:
            raise PermissionDeniedError("this console is read-only", reason="read_only", command=None)
        from glidemq_core import Actor

        async with self._reading.queue(queue) as target:
            try:
                return await call(target, Actor(by=self._config.user, via="console"))
            finally:
                self._read_again()

    async def review(self, ref: JobRef, *, payload_limit: int | None = None) -> Approval:
        async with self._reading.queue(ref.queue) as queue:
            return await queue.review(ref.id, payload_limit=payload_limit)

    async def why(self, queue: str, job_id: str | None = None) -> Why:
        return await self._reading.watch.why(queue, job_id)

    async def failed_jobs(self, queue: str, group: str) -> Sequence[str]:
        return await self._reading.watch.failed_jobs(queue, group)

    async def matching_jobs(self, query: JobsQuery) -> AsyncIterator[Sequence[JobRow]]:
        row = next((row for row in self._reading.rows.rows if row.name == query.queue), None)
        async for rows in matching(self._reading.watch, query, row):
            yield rows

    async def audit(self, queue: str, job_id: str | None = None) -> Sequence[AuditEntry]:
        from glidemq_core import JobRef

        # Not the id alone: one with a colon would be read as that of another queue.
        job = None if job_id is None else JobRef(queue, job_id)
        return await self._reading.watch.audit(queue, job_id=job)

    async def job(self, ref: JobRef, *, payload_limit: int) -> JobDetail | None:
        return await self._reading.watch.job(ref.queue, ref, payload_limit=payload_limit)

    async def tokens(self, ref: JobRef, *, start: str = "0") -> AsyncIterator[Sequence[StreamChunk]]:
        while True:
            await self._live.wait()
            from glidemq_core.ai.streams.hub import StreamHub

            try:
                context = await self._reading.queue(ref.queue).context()
                async with StreamHub.of(self._reading.connection).follow(
                    context, ref.id, start=start, min_interval=TOKENS_EVERY_S
                ) as tail:
                    while chunks := await tail.read():
                        start = chunks[-1].id
                        yield chunks
                return
            except SESSION_ERRORS:
                await asyncio.sleep(RETRY_DELAYS_MS[0] / 1000)


def _unscrolled(wants: Interests) -> Interests:
    """What is needed, wherever it is scrolled to."""
    return replace(wants, window=(0, 0), inbox_shown=(), flows_shown=())
