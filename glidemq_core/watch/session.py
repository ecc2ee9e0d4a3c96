"""What an opened Watch remembers between calls."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from glidemq_core.options.fields import queue_name
from glidemq_core.reading.reader import Reader
from glidemq_core.records import Fleet, WatchStats
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext

from .approvals import InboxReader
from .discovery import Discoverer
from .flows.index import FlowIndex
from .flows.read import FlowReader
from .jobs.failures import KnownFailures
from .jobs.letters import KnownLetters
from .jobs.spend import KnownSpending
from .jobs.states import Scanned
from .limits import LimitsReader
from .snapshot import snapshots
from .workers import WorkersReader

#: Over how long the rate of commands is a mean, and how often they are counted for it, s.
_WINDOW_S, _SAMPLE_S = 10.0, 0.5


class WatchSession:
    """One connection, the queues known, and readers of their own memory; arguments as of `Watch`."""

    def __init__(self, connection: Connection, given: Iterable[str], only: bool, calls_per_s: float) -> None:
        self.connection = connection
        self.reader = Reader(connection, connection.prefix, calls_per_s)
        self.queues = Discoverer(self.reader, given, only=only)
        self.workers = WorkersReader(self.reader)
        self.inbox = InboxReader(self.reader)
        self.flow = FlowReader(self.reader)
        self.flows = FlowIndex(self.reader)
        self.limits = LimitsReader(self.reader, self.queues.windows)
        self.scanned = Scanned()
        #: Jobs that have failed or ended, and dead letters, as they were read last.
        self.failed: KnownFailures = {}
        self.letters: KnownLetters = {}
        self.spent: KnownSpending = {}
        #: Times (monotonic s) and how many commands the connection had sent by then.
        self._commands: deque[tuple[float, int]] = deque([(time.monotonic(), connection.stats.commands)])

    def context(self, queue: str) -> QueueContext:
        """Return the context of a queue. Raises InvalidOptionError."""
        return QueueContext(self.connection, self.reader.keys(queue_name(queue, "queue")))

    async def names(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Return some names, or all known ones, each once. Raises InvalidOptionError."""
        if names is None:
            return self.queues.names if self.queues.asked else await self.queues.known()
        return tuple(dict.fromkeys(queue_name(name, "names") for name in names))

    async def snapshot(self, names: Sequence[str]) -> Fleet:
        """Read queues in one pipeline, with the workers counted a short while ago."""
        at = self.reader.now()
        queues = []
        for one in await snapshots(self.reader, names, self.queues.windows):
            workers = self.workers.count(one.name)
            queues.append(one if workers is None else replace(one, workers=workers))
        return Fleet(queues=tuple(queues), complete=self.queues.complete, at=at)

    def stats(self) -> WatchStats:
        """Return the commands a second that the connection and its blocking twins send."""
        now, total = time.monotonic(), self.connection.stats.commands
        while len(self._commands) > 1 and self._commands[1][0] < now - _WINDOW_S:
            self._commands.popleft()
        began, before = self._commands[0]
        if now - self._commands[-1][0] >= _SAMPLE_S:
            self._commands.append((now, total))
        return WatchStats(
            commands_per_s=max(0, total - before) / max(1.0, now - began),
            rtt_ms=self.connection.stats.rtt_ms,
            at=self.reader.now(),
        )
