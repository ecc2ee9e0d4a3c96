"""What the readers of a round share: the session, what is wanted, what is known, and when each part is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from glidemq_core.errors import (
    AuthenticationError,
    CallTimeoutError,
    ClosedError,
    GlideMQError,
    ServerUnavailableError,
)

from ..model.snapshot import Interests, Link, Snapshot
from .queue_rows import QueueRows

if TYPE_CHECKING:
    from glidemq_core import Connection, Queue
    from glidemq_core.watch import Watch

    from ..config.console import ConsoleConfig

T = TypeVar("T")

#: Errors after which the session is over and a new connection is made.
SESSION_ERRORS = (ServerUnavailableError, CallTimeoutError, ClosedError, AuthenticationError)
#: A part that is not wanted any more is forgotten after this time.
_FORGET_AFTER_MS = 30_000


class Reading:
    """The state of a live feed. A reader looks at `wants`, reads with `watch`, and puts its part into `known`."""

    def __init__(self, config: ConsoleConfig) -> None:
        self.config = config
        self.clock = config.clock
        self.wants = Interests()
        self.rows = QueueRows((), config.clock, config.refresh_ms)
        self.known = Snapshot(
            at_ms=self.clock(),
            read_only=config.read_only,
            link=Link(since_ms=self.clock(), address=config.shown_url, is_exposed=config.is_exposed),
        )
        #: What could not be read in this round.
        self.trouble: str | None = None
        #: What is said about named queues that do not exist.
        self.missing: str | None = None
        #: Set when the next round is not to wait.
        self.wake = asyncio.Event()
        self._session: tuple[Connection, Watch] | None = None
        #: When each part is next to be read.
        self._due: dict[object, int] = {}
        #: What is being read beside the rounds.
        self._beside: set[asyncio.Task[Any]] = set()

    def set_config(self, config: ConsoleConfig) -> None:
        """Read as other settings say from now on."""
        self.config = config
        self.rows.round_ms = config.refresh_ms
        self.wake.set()

    # --- the session ---------------------------------------------------------------------------------------

    def begin(self, connection: Connection, watch: Watch) -> None:
        self._session = connection, watch

    async def end(self) -> None:
        """Take note that the connection is gone: every part is due with the next one."""
        self._session = None
        self._due.clear()
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    @property
    def connection(self) -> Connection:
        """The connection; raises `ServerUnavailableError` when there is none."""
        return self._current()[0]

    def queue(self, name: str) -> Queue[Any, Any]:
        from glidemq_core import Queue

        return Queue(name, self.connection)

    @property
    def watch(self) -> Watch:
        """What reads; raises `ServerUnavailableError` when there is no connection."""
        return self._current()[1]

    def _current(self) -> tuple[Connection, Watch]:
        if self._session is None:
            address = self.config.shown_url
            raise ServerUnavailableError(
                "no connection to the server", address=address, hint="wait or press ^r"
            )
        return self._session

    # --- a round -------------------------------------------------------------------------------------------

    def is_due(self, part: object, every_ms: int | None = None) -> bool:
        """Tell whether a part is to be read now; if so, it is due again after `every_ms`, else at each refresh."""
        now, refresh_ms = self.clock(), self.config.refresh_ms
        if self._due.get(part, 0) > now + refresh_ms // 4:
            return False
        self._due[part] = now + (refresh_ms if every_ms is None else every_ms)
        return True

    def make_due(self, *parts: object) -> None:
        """Read these parts with the next round; without any, all of them."""
        if not parts:
            self._due.clear()
        for part in parts:
            self._due.pop(part, None)

    def forget_old(self) -> None:
        """Forget when parts were due that are not wanted any more."""
        oldest = self.clock() - _FORGET_AFTER_MS
        self._due = {part: due for part, due in self._due.items() if due > oldest}

    def beside(self, part: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Read a part that takes long beside the rounds; the round that follows its end comes at once to take it.

        It ends with the session: a reader finds it cancelled in a later one.
        """
        task = asyncio.create_task(part)
        self._beside.add(task)
        task.add_done_callback(self._read_beside)
        return task

    def _read_beside(self, task: asyncio.Task[Any]) -> None:
        self._beside.discard(task)
        if not task.cancelled():
            # Whoever has left it does not ask for its error.
            task.exception()
        self.wake.set()

    async def attempt(self, reading: Awaitable[T]) -> T | None:
        """Await one part; what is refused or odd becomes a note, only a lost session ends the round."""
        try:
            return await reading
        except SESSION_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001  # an unforeseen error in a queue must not take the console down
            self.trouble = words_of(error)
            return None


#: Reads one part, if it is wanted and due.
Reader = Callable[[Reading], Awaitable[None]]


def words_of(error: Exception) -> str:
    """What is shown of an error in reading."""
    if isinstance(error, GlideMQError):
        return error.message
    return f"a part of this cannot be read, please report it: {type(error).__name__}: {error}"
