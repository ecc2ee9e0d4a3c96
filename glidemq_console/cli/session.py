"""What one run of a command has at hand: output, settings, and the connection when it is needed."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..config.settings import Given, Settings, resolve
from .errors import Refusal, UsageProblem
from .output import Output

if TYPE_CHECKING:
    from glidemq_core.errors import CallTimeoutError
    from glidemq_core.options.job import Actor, JobRef
    from glidemq_core.queue import Queue
    from glidemq_core.records import OperationResult, QueueSnapshot
    from glidemq_core.server.connection import Connection
    from glidemq_core.watch import Watch

#: How long a command searches by itself before it says "not complete", s, and how fast.
_SCAN_S = 1.0
_SCAN_CALLS_PER_S = 200
#: Jobs that an error names at most.
_LISTED = 5


class Session:
    """Opened lazily: a command that only prints help or config never imports the Valkey client."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.json = given.json
        self.out = Output(reveal=given.reveal, color=False if given.no_color else None)
        #: The time limit of the command, where it has one.
        self.bound: asyncio.Timeout | None = None
        #: What the connection is for, as its name on the server says.
        self.role = "cli"
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._watch: Watch | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @cached_property
    def settings(self) -> Settings:
        """Options, environment and config file, decided at first use."""
        return resolve(self.given)

    @property
    def address(self) -> str:
        """The server as it may be shown."""
        from glidemq_core.server.url import redact

        return redact(self.settings.url)

    def connect_options(self) -> dict[str, Any]:
        """Keywords for `connect` beside URL and prefix."""
        return self.settings.connect_options

    async def connection(self) -> Connection:
        """Connect at first use; closed with the session."""
        if self._connection is None:
            from glidemq_core.server.connect import connect

            chosen = self.settings
            self._connection = await connect(
                chosen.url, prefix=chosen.prefix, role=self.role, **self.connect_options()
            )
            self._stack.push_async_callback(self._connection.close)
        return self._connection

    async def queue(self, name: str) -> Queue[Any, Any]:
        """Open a queue by name; it need not exist."""
        from glidemq_core.queue import Queue

        return Queue(name, await self.connection())

    async def existing_queue(self, name: str) -> Queue[Any, Any]:
        """Open a queue that must exist."""
        queue = await self.queue(name)
        if not await queue.exists():
            raise await self.no_queue(name)
        return queue

    async def no_queue(self, name: str) -> Exception:
        """Make the error for an unknown queue."""
        from glidemq_core.errors import QueueNotFoundError

        prefix = (await self.connection()).prefix
        return QueueNotFoundError(
            f"queue '{name}' not found on {self.address} (prefix '{prefix}')",
            queue=name,
            prefix=prefix,
            address=self.address,
        )

    def unreadable(self, row: QueueSnapshot) -> str | None:
        """Say which keys of a queue are of foreign types; None: all can be read."""
        if not row.unreadable:
            return None
        keys = ", ".join(row.unreadable)
        return (
            f"queue '{row.name}' on {self.address} cannot be read whole: {keys} "
            "(of the wrong type: see glidemq doctor)"
        )

    async def check_queues(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names given once each; every one of them must exist."""
        wanted = tuple(dict.fromkeys(names))
        for name in wanted:
            await self.existing_queue(name)
        return wanted

    async def watch(self) -> Watch:
        """Open the read-only view of the server, knowing the queues of the config."""
        if self._watch is None:
            from glidemq_core.watch import Watch

            watch = Watch(await self.connection(), queues=self.settings.queues, calls_per_s=_SCAN_CALLS_PER_S)
            self._watch = await self._stack.enter_async_context(watch)
        return self._watch

    async def all_queues(self, *, finish: bool = False) -> tuple[tuple[str, ...], bool]:
        """Return the queues found and whether that is all of them; a large keyspace is only scanned to the end
        when `finish` is asked for."""
        watch = await self.watch()
        names = set(await watch.known())
        complete = False
        with suppress(TimeoutError):
            async with asyncio.timeout(None if finish else _SCAN_S):
                async for step in watch.discover(calls_per_s=_SCAN_CALLS_PER_S):
                    names.update(step.found)
                    names.difference_update(step.gone)
                    complete = step.complete
        return tuple(sorted(names)), complete

    async def chosen_queues(
        self, names: Iterable[str], *, finish: bool | None = None
    ) -> tuple[tuple[str, ...], bool]:
        """Return the queues named on the line, which must exist, else all; says what a cut search may leave out.

        Who offers to `finish` the search says so itself.
        """
        wanted = tuple(names)
        if wanted:
            return await self.check_queues(wanted), True
        found, complete = await self.all_queues(finish=bool(finish))
        if not complete and finish is None:
            self.out.note("the search for queues was cut short: name a queue that is missing here")
        return found, complete

    async def job_ref(self, text: str, queue: str | None = None) -> JobRef:
        """Read `QUEUE:ID`, an id beside `--queue`, or a bare id that one queue only has.

        The job itself need not exist when its queue is named.
        """
        from glidemq_core.options.job import JobRef

        if queue:
            named, colon, job_id = text.rpartition(":")
            if colon and named != queue:
                raise UsageProblem(f"'{text}' is no id of queue '{queue}': name the queue once")
            return JobRef(queue, job_id)
        name, colon, job_id = text.partition(":")
        if colon:
            if not name or not job_id:
                raise UsageProblem(f"'{text}' is not a job: write QUEUE:ID")
            return JobRef(name, job_id)
        return await self._find(text)

    async def job_ref_in(self, text: str, queues: Sequence[str]) -> JobRef:
        """Read the job of `--job` beside queues named on the line, which must not contradict it."""
        ref = await self.job_ref(text, queues[0] if len(queues) == 1 and ":" not in text else None)
        if queues and ref.queue not in queues:
            raise UsageProblem(
                f"--job {ref} is not a job of queue {', '.join(map(repr, queues))}: name one queue"
            )
        return ref

    async def _find(self, job_id: str) -> JobRef:
        watch = await self.watch()
        await self.all_queues()
        found = await watch.find(job_id)
        if not found:
            raise Refusal(f"no known queue on {self.address} has a job '{job_id}'")
        if len(found) > 1:
            listed = ", ".join(f"{ref.queue}:{ref.id}" for ref in found[:_LISTED])
            listed += f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            raise UsageProblem(f"several queues have a job '{job_id}': {listed}; name one of them")
        return found[0]

    async def job_refs(self, texts: Iterable[str], queue: str | None = None) -> list[JobRef]:
        """Read several jobs, each once."""
        return list(dict.fromkeys([await self.job_ref(text, queue) for text in texts]))

    def results(self, results: Sequence[OperationResult], **more: Any) -> int:
        """Write the outcome for each item and return the exit code: 1 if any was refused."""
        if self.json:
            self.out.record({"results": results, **more})
        else:
            for result in results:
                self.out.line(self.result_line(result))
        return 0 if all(result.ok for result in results) else 1

    def result(self, queue: str, action: str, outcome: str, *, ok: bool = True, **more: Any) -> int:
        """Write the one outcome of a command and return the exit code."""
        from glidemq_core.records import OperationResult

        return self.results([OperationResult(queue=queue, action=action, ok=ok, outcome=outcome, **more)])

    def no_such_queue(self, name: str, action: str) -> int:
        """Write that a queue does not exist; returns the exit code."""
        return self.result(name, action, "not_found", ok=False)

    def result_line(self, result: OperationResult, action: str = "") -> str:
        """Return one outcome as a line."""
        name = self.out.safe(result.queue) + (f":{self.out.safe(result.id, 256)}" if result.id else "")
        count = f" {result.count}" if result.count is not None else ""
        message = f" ({self.out.safe(result.message, 300)})" if result.message else ""
        return f"{name} {action}{result.outcome.replace('_', ' ')}{count}{message}"

    async def repeat(self, interval_ms: int | None, once: Callable[[], Awaitable[None]]) -> None:
        """Run `once`, with an interval for ever; on a terminal each round replaces the one before."""
        while True:
            if interval_ms is not None and self.out.stdout_is_tty and not self.json:
                self.out.write(b"\x1b[H\x1b[2J")
            await once()
            if interval_ms is None:
                return
            await asyncio.sleep(interval_ms / 1_000)

    def timed_out(self, command: str, limit_ms: int) -> CallTimeoutError:
        """Make the error for a server that did not answer in time."""
        from glidemq_core.errors import CallTimeoutError

        return CallTimeoutError(
            f"{self.address} did not answer within {limit_ms / 1_000:g} s",
            hint="--timeout DUR waits longer",
            command=command,
            timeout_ms=limit_ms,
        )

    def actor(self, by: str | None, comment: str | None) -> Actor:
        """Who does this, for the audit."""
        from glidemq_core.options.job import Actor

        return Actor(by or self.settings.user, "cli", comment)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask on a terminal before something is destroyed; elsewhere `--yes` has to say so.

        The time limit of the command stands still meanwhile.
        """
        if yes:
            return
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageProblem(f"{question} Nothing was done: say --yes to do it without being asked")
        # Before the question is seen: Ctrl-C may be the answer.
        with self._clock_stopped(), _interruptible():
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
        if answer.strip().lower() not in ("y", "yes"):
            raise Refusal("nothing was done")

    @contextmanager
    def _clock_stopped(self) -> Iterator[None]:
        started = asyncio.get_running_loop().time()
        yield
        if self.bound is not None and (end := self.bound.when()) is not None:
            self.bound.reschedule(end + asyncio.get_running_loop().time() - started)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a wait for the keyboard: the event loop's own handler would only note it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
