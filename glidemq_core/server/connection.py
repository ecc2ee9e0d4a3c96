"""A server or cluster as the rest of the engine sees it, and how to get there: `connect`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import InvalidOptionError, PermissionDeniedError, ServerError, UnsupportedServerError
from ..options.fields import UNSET, Unset
from ..records.jobs import ServerInfo
from . import functions
from .client import ResilientClient
from .commands import Arg, fcall_words, is_read, name_of, no_functions_error, read_only_error, to_words
from .nodes import Nodes
from .probe import Facts, probe
from .url import EMBEDDED, Password, Settings, settings

if TYPE_CHECKING:
    from .embedded.server import EmbeddedServer

Call = Sequence[Arg]


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Connection:
    """One client of a server or cluster; shared by queues, workers and watchers. Made by `connect`."""

    def __init__(
        self,
        link: ResilientClient,
        chosen: Settings,
        nodes: Nodes,
        facts: Facts,
        *,
        clock: Callable[[], int] = system_clock,
        embedded: EmbeddedServer | None = None,
    ) -> None:
        self.prefix = chosen.prefix
        self.url = chosen.url
        self.is_cluster = chosen.cluster
        self.read_only = chosen.read_only
        self.server = _server_info(facts, chosen)
        #: True when anyone on the way can read along: plain text beyond loopback.
        self.is_exposed = facts.beyond_loopback and not chosen.tls
        #: What this connection and its dedicated ones cost.
        self.stats = link.stats
        #: Clock of every call that writes; replaceable.
        self.now_ms = clock
        self._link = link
        self._settings = chosen
        self._nodes = nodes
        self._facts = facts
        self._embedded = embedded
        self._user: str | Unset | None = UNSET
        self._resp2: Connection | None = None
        self._opening_resp2 = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Connection {self.url}{' closed' if self.closed else ''}>"

    @property
    def client(self) -> Any:
        """The driver's client, for what none of the methods here can do."""
        return self._link.client

    @property
    def address(self) -> str:
        """The server's first address, or that of the primary among several."""
        return self._nodes.address

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._link.closed

    @property
    def functions_available(self) -> bool:
        """Whether this user may call server functions; if not, readers use plain commands."""
        return self._link.functions_available

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
        return await self._link.call(fcall_words("FCALL", function, key, args), key, repeat=False)

    async def read(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our `no-writes` functions; repeated once when the connection breaks."""
        return await self._link.call(fcall_words("FCALL_RO", function, key, args), key, repeat=True)

    async def read_many(self, calls: Sequence[tuple[str, str, *tuple[Arg, ...]]]) -> list[Any]:
        """Make many `read` calls, each (function, key, *args), in one round trip a node.

        An error of one call stands, translated, in its place in the answer.
        """
        words = [fcall_words("FCALL_RO", function, key, args) for function, key, *args in calls]
        return await self._link.read_many(words, [key for _, key, *_ in calls])

    async def command(self, *args: Arg) -> Any:
        """Run one plain command."""
        words = to_words(args)
        self._check_allowed(words)
        return await self._link.send(words)

    async def pipeline(self, commands: Sequence[Call]) -> list[Any]:
        """Run plain commands in one round trip; an error stands, translated, in its place in the answer."""
        sent = [to_words(command) for command in commands]
        for words in sent:
            self._check_allowed(words)
        return await self._link.pipeline(sent)

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
        self._link.trust_roles = not self._facts.may_ask_info
        self._nodes.hear(self._facts.nodes_at)
        self.stats.commands += 3
        self.server = _server_info(self._facts, self._settings)
        return self.server

    async def check_functions(self) -> bool:
        """Find out whether this user can call our functions, loading the library if need be.

        The answer stays in `functions_available`.

        Raises:
            UnsupportedServerError: the server is too old for functions.
        """
        try:
            await self._link.call(fcall_words("FCALL_RO", "version", None, ()), None, repeat=True)
        except PermissionDeniedError:
            self._link.functions_available = False
        except UnsupportedServerError as error:
            error.found = error.found or self.server.version
            raise
        else:
            self._link.functions_available = True
        return self.functions_available

    async def dedicated(self, *, resp2: bool = False) -> Connection:
        """Open another client with the same settings, for blocking reads; the caller closes it.

        A cancelled blocking read still occupies its client: close it instead of using it on.
        """
        link = await self._link.twin(resp2=resp2)
        return Connection(link, self._settings, self._nodes, self._facts, clock=self.now_ms)

    async def resp2(self) -> Connection:
        """Return the client for modules whose RESP3 answers the driver cannot read; it closes with this one."""
        self._link.check_open()
        async with self._opening_resp2:
            if self._resp2 is None:
                self._resp2 = await self.dedicated(resp2=True)
        return self._resp2

    async def close(self) -> None:
        """Close the client; requests on their way end in `ClosedError`. Twice is fine."""
        if self.closed:
            return
        try:
            await self._link.close()
            if self._resp2 is not None:
                await self._resp2.close()
        finally:
            if self._embedded is not None:
                await self._embedded.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check_allowed(self, words: Sequence[str | bytes]) -> None:
        if self.read_only and not is_read(words):
            raise read_only_error(name_of(words))


class Connecting(Coroutine[Any, Any, Connection]):
    """What `connect` returns: await it, or use it with `async with`."""

    def __init__(self, opening: Coroutine[Any, Any, Connection]) -> None:
        self._opening = opening
        self._opened: Connection | None = None

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._opening.__await__()

    def send(self, value: Any) -> Any:
        return self._opening.send(value)

    def throw(self, *error: Any) -> Any:
        return self._opening.throw(*error)

    def close(self) -> None:
        self._opening.close()

    async def __aenter__(self) -> Connection:
        self._opened = await self._opening
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.close()


def connect(
    url: str | None = None,
    *,
    username: str | None = None,
    password: Password | None = None,
    password_file: str | os.PathLike[str] | None = None,
    cluster: bool | None = None,
    prefix: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    read_from: str | None = None,
    az: str | None = None,
    insecure: bool | None = None,
    read_only: bool | None = None,
    max_inflight: int = 1_000,
    request_timeout: int | timedelta = 5_000,
    connect_timeout: int | timedelta = 5_000,
) -> Connecting:
    """Connect to a server, a cluster or an embedded server.

    Used as `await connect(url)` or `async with connect(url) as c`. Keywords beat what
    the URL says. Time-outs are milliseconds or timedeltas.

    Args:
        url: `valkey://[user[:password]@]host[:port]`, `valkeys://` for TLS, `embedded:[NAME|/PATH]`;
            several `host:port,host:port` are seeds of a cluster, or one server and its replicas;
            without it the environment's `GLIDEMQ_URL`.
        password: text, or an async function that is asked at each connect; else `GLIDEMQ_PASSWORD`.
        read_from: `primary`, `prefer_replica`, `az` or `az_or_primary`.
        insecure: allow a password over plain text to a public address.
        read_only: refuse every change before it is sent.
        max_inflight: requests on their way at once; more wait for their turn.

    Raises:
        InvalidOptionError: the URL or a keyword is not allowed.
        ServerUnavailableError, AuthenticationError, PermissionDeniedError, UnsupportedServerError.
        EmbeddedServerError: the embedded server could not start.
    """
    keywords = {
        "username": username,
        "password": password,
        "password_file": password_file,
        "cluster": cluster,
        "prefix": prefix,
        "ca": ca,
        "cert": cert,
        "key": key,
        "read_from": read_from,
        "az": az,
        "insecure": insecure,
        "read_only": read_only,
        "max_inflight": max_inflight,
        "request_timeout": request_timeout,
        "connect_timeout": connect_timeout,
    }
    return Connecting(_connect(url or os.environ.get("GLIDEMQ_URL"), keywords))


async def _connect(url: str | None, keywords: dict[str, Any]) -> Connection:
    if not url:
        raise InvalidOptionError(
            "no server given: pass a URL or set GLIDEMQ_URL",
            option="url",
            value=None,
            allowed="valkey://host:port",
        )
    if not isinstance(url, str) or not url.startswith(EMBEDDED):
        return await _open(settings(url, **keywords))
    from .embedded.server import EmbeddedServer

    server, query = EmbeddedServer.of_url(url)
    given = {
        name: value
        for name, value in keywords.items()
        if name not in ("username", "password", "password_file")
    }
    settings("valkey://localhost" + query, **given)  # what is wrong is told before a file is made
    try:
        await server.start()
        return await _open(replace(settings(server.url + query, **given), url=url), server)
    except BaseException:
        await server.close()
        raise


async def _open(chosen: Settings, embedded: EmbeddedServer | None = None) -> Connection:
    secret = await chosen.secret()
    facts = await probe(chosen, secret)
    if facts.version is not None and not chosen.cluster_given and not facts.is_cluster_node:
        # Several addresses are a cluster's seeds, or one server and its replicas.
        chosen = replace(chosen, cluster=False)
    if chosen.cluster and facts.version is not None and not facts.is_cluster_node:
        raise InvalidOptionError(
            f"{chosen.address} is no cluster: leave out ?cluster=1",
            option="cluster",
            value=True,
            allowed="leave out ?cluster=1",
        )
    if facts.is_cluster_node and not chosen.cluster:
        raise InvalidOptionError(
            f"{chosen.address} is a node of a cluster: add ?cluster=1 to the URL",
            option="cluster",
            value=False,
            allowed="?cluster=1",
        )
    nodes = Nodes(chosen, facts)
    if not chosen.cluster and len(chosen.addresses) > 1:
        await nodes.look()
        facts = await probe(nodes.settings, secret)
    _check_version(nodes.address, facts)
    # In a thread, because loading the driver takes long enough to be seen on a screen.
    driver = await asyncio.to_thread(import_module, f"{__package__}.driver")
    link = await ResilientClient.open(driver, nodes, secret, trust_roles=not facts.may_ask_info)
    connection = Connection(link, chosen, nodes, facts, embedded=embedded)
    try:
        await connection.check_functions()
    except BaseException:
        await link.close()
        raise
    return connection


def _check_version(address: str, facts: Facts) -> None:
    """Refuse a server without functions before the driver, which may not even speak with it."""
    major = (facts.version or "").partition(".")[0]
    if major.isdigit() and int(major) < functions.OLDEST_MAJOR:
        raise no_functions_error(address, facts.version)


def _server_info(facts: Facts, chosen: Settings) -> ServerInfo:
    return ServerInfo(
        version=facts.version or "unknown",
        mode="cluster" if chosen.cluster else "standalone",
        nodes=facts.nodes if chosen.cluster else 1,
        used_memory_bytes=facts.used_memory_bytes,
        latency_ms=facts.latency_ms,
    )
