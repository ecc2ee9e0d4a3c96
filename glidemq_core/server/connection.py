"""A server or cluster as the rest of the engine sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Self

from ..errors import GlideMQError, PermissionDeniedError, ServerError, UnsupportedServerError
from ..options.fields import UNSET, Unset
from ..records import ServerInfo
from . import functions
from .client import ResilientClient
from .commands import Arg, fcall_words, is_read, name_of, other_build_error, read_only_error, to_words
from .nodes import Nodes
from .probe import Facts, probe
from .url import Settings

Call = Sequence[Arg]


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Connection:
    """One client of a server or cluster; shared by queues, workers and watchers. Made by `connect`."""

    def __init__(
        self,
        client: ResilientClient,
        chosen: Settings,
        nodes: Nodes,
        facts: Facts,
        *,
        clock: Callable[[], int] = system_clock,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.prefix = chosen.prefix
        self.url = chosen.url
        self.is_cluster = chosen.cluster
        self.read_only = chosen.read_only
        self.server = _server_info(facts, chosen)
        #: True when anyone on the way can read along: plain text beyond loopback.
        self.is_exposed = facts.beyond_loopback and not chosen.tls
        #: What this connection and its dedicated ones cost.
        self.stats = client.stats
        #: Clock of every call that writes; replaceable.
        self.now_ms = clock
        self._client = client
        self._settings = chosen
        self._nodes = nodes
        self._facts = facts
        self._on_close = on_close
        self._user: str | Unset | None = UNSET
        self._resp2: Connection | None = None
        self._opening_resp2 = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Connection {self.url}{' closed' if self.closed else ''}>"

    @property
    def client(self) -> Any:
        """The driver's client, for what none of the methods here can do."""
        return self._client.client

    @property
    def address(self) -> str:
        """The server's first address, or that of the primary among several."""
        return self._nodes.address

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._client.closed

    @property
    def functions_available(self) -> bool:
        """Whether this user may call server functions; if not, readers use plain commands."""
        return self._client.functions_available

    async def is_reachable(self) -> bool:
        """Tell at once whether anybody still listens at the server's addresses; sends no command."""
        return await self._nodes.accept()

    async def call(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our writing functions on the queue with prefix `key`; load the library if it is gone.

        Raises:
            PermissionDeniedError: the connection is read-only (nothing is sent), or the server forbids it.
            CallTimeoutError, ServerUnavailableError: the change may or may not have happened.
        """
        if self.read_only:
            raise read_only_error(function)
        return await self._client.call(fcall_words("FCALL", function, key, args), key, repeat=False)

    async def read(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our `no-writes` functions; repeated once when the connection breaks."""
        return await self._client.call(fcall_words("FCALL_RO", function, key, args), key, repeat=True)

    async def read_many(self, calls: Sequence[tuple[str, str, *tuple[Arg, ...]]]) -> list[Any]:
        """Make many `read` calls, each (function, key, *args), in one round trip a node.

        An error of one call stands, translated, in its place in the answer.
        """
        words = [fcall_words("FCALL_RO", function, key, args) for function, key, *args in calls]
        return await self._client.read_many(words, [key for _, key, *_ in calls])

    async def command(self, *args: Arg) -> Any:
        """Run one plain command."""
        words = to_words(args)
        self._check_allowed(words)
        return await self._client.send(words)

    async def pipeline(self, commands: Sequence[Call]) -> list[Any]:
        """Run plain commands in one round trip; an error stands, translated, in its place in the answer."""
        sent = [to_words(command) for command in commands]
        for words in sent:
            self._check_allowed(words)
        return await self._client.pipeline(sent)

    def server_error(self, function: str, key: str, text: str) -> GlideMQError:
        """Return the error for what a function answers that the server said of a part of its work."""
        return self._client.translated(text, fcall_words("FCALL", function, key, ()), key)

    async def ping(self) -> timedelta:
        """Measure one round trip."""
        started = time.perf_counter()
        await self.command("PING")
        seconds = time.perf_counter() - started
        self.stats.rtt_ms = seconds * 1_000
        return timedelta(seconds=seconds)

    async def user(self) -> str | None:
        """Name of the server's user that this connection signs in as; asked once. None: it may not be asked."""
        if self._user is UNSET:
            try:
                self._user = (await self.command("ACL", "WHOAMI")).decode("utf-8", "replace")
            except (PermissionDeniedError, ServerError):
                self._user = None
        return self._user if isinstance(self._user, str) else None

    async def server_info(self) -> ServerInfo:
        """Ask the server again for what `server` holds, and keep it there."""
        self._facts = await probe(self._nodes.settings, await self._settings.secret())
        self._client.trust_roles = not self._facts.may_ask_info
        self._nodes.update(self._facts.nodes_at)
        self._nodes.may_name = self._facts.may_name
        self.stats.commands += 3
        self.server = _server_info(self._facts, self._settings)
        return self.server

    async def check_functions(self) -> bool:
        """Find out whether this user can call our functions, loading the library if need be.

        The answer stays in `functions_available`.

        Raises:
            UnsupportedServerError: the server is too old for functions.
            ServerError: a library of another build bears our name.
        """
        try:
            found = await self._client.call(fcall_words("FCALL_RO", "version", None, ()), None, repeat=True)
        except PermissionDeniedError:
            self._client.functions_available = False
        except UnsupportedServerError as error:
            error.found = error.found or self.server.version
            raise
        else:
            if found != functions.build().encode():
                raise other_build_error(self.address, found)
            self._client.functions_available = True
        return self.functions_available

    async def dedicated(self, *, role: str | None = None, resp2: bool = False) -> Connection:
        """Open another client with the same settings, for blocking reads; the caller closes it.

        A cancelled blocking read still occupies its client: close it instead of using it on.

        Args:
            role: what it is for, as in `connect`; None takes this connection's.
        """
        client = await self._client.twin(role=role, resp2=resp2)
        return Connection(client, self._settings, self._nodes, self._facts, clock=self.now_ms)

    async def resp2(self) -> Connection:
        """Return the client for modules whose RESP3 answers the driver cannot read; it closes with this one."""
        self._client.check_open()
        async with self._opening_resp2:
            if self._resp2 is None:
                self._resp2 = await self.dedicated(role="search", resp2=True)
        return self._resp2

    async def close(self) -> None:
        """Close the client; requests on their way end in `ClosedError`. Twice is fine."""
        if self.closed:
            return
        try:
            await self._client.close()
            if self._resp2 is not None:
                await self._resp2.close()
        finally:
            if self._on_close is not None:
                await self._on_close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check_allowed(self, words: Sequence[str | bytes]) -> None:
        if self.read_only and not is_read(words):
            raise read_only_error(name_of(words))


def _server_info(facts: Facts, chosen: Settings) -> ServerInfo:
    return ServerInfo(
        version=facts.version or "unknown",
        mode="cluster" if chosen.cluster else "standalone",
        nodes=facts.nodes if chosen.cluster else 1,
        used_memory_bytes=facts.used_memory_bytes,
        latency_ms=facts.latency_ms,
    )
