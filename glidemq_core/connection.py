"""One client of a server or cluster; here alone calls are made, repeated and their errors translated."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import functions
from .commands import Arg, fcall_words, is_read, key_of, name_of, read_only_error, to_words
from .errors import (
    ClosedError,
    GlideMQError,
    InvalidOptionError,
    PermissionDeniedError,
    ServerUnavailableError,
    UnsupportedServerError,
)
from .probe import Facts, probe, reachable
from .records import ServerInfo
from .url import EMBEDDED, Password, Settings, settings

if TYPE_CHECKING:
    from .embedded import EmbeddedServer

Call = Sequence[Arg]


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class ConnectionStats:
    """What a connection and its dedicated ones cost the server so far, and how they fare."""

    commands: int = 0
    rtt_ms: float | None = None
    #: One of the clients lost the server: the next call looks before it waits.
    doubtful: bool = False


class Connection:
    """One client of a server or cluster; shared by queues, workers and watchers. Made by `connect`."""

    def __init__(
        self,
        client: Any,
        driver: Any,
        chosen: Settings,
        facts: Facts,
        *,
        clock: Callable[[], int] = system_clock,
        stats: ConnectionStats | None = None,
        embedded: EmbeddedServer | None = None,
    ) -> None:
        self.client = client
        self.prefix = chosen.prefix
        self.url = chosen.url
        self.address = chosen.address
        self.is_cluster = chosen.cluster
        self.read_only = chosen.read_only
        self.server = _server_info(facts, chosen)
        #: True when anyone on the way can read along: plain text beyond loopback.
        self.is_exposed = facts.beyond_loopback and not chosen.tls
        #: Whether this user may call server functions; if not, readers use plain commands.
        self.functions_available = False
        self.stats = stats or ConnectionStats()
        #: Clock of every call that writes; replaceable.
        self.now_ms = clock
        self._driver = driver
        self._settings = chosen
        self._facts = facts
        self._embedded = embedded
        self._slots = asyncio.Semaphore(chosen.max_inflight)
        self._loading = asyncio.Lock()
        self._loads = 0
        self._closed = False
        self._is_resp2 = False
        self._resp2: Connection | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.url}{' closed' if self._closed else ''}>"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def is_reachable(self) -> bool:
        """Tell at once whether anybody still listens at the server's address; sends no command."""
        return await reachable(self._settings)

    async def call(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our writing functions on the queue with prefix `key`; load the library if it is gone.

        Raises:
            PermissionDeniedError: the connection is read-only (nothing is sent), or the server forbids it.
            CallTimeoutError, ServerUnavailableError: the change may or may not have happened.
        """
        if self.read_only:
            raise read_only_error(function)
        return await self._fcall("FCALL", function, key, args)

    async def read(self, function: str, key: str, *args: Arg) -> Any:
        """Call one of our `no-writes` functions; repeated once when the connection breaks."""
        return await self._fcall("FCALL_RO", function, key, args)

    async def read_many(self, calls: Sequence[tuple[str, str, *tuple[Arg, ...]]]) -> list[Any]:
        """Make many `read` calls, each (function, key, *args), in one round trip a node.

        An error of one call stands, translated, in its place in the answer.
        """
        commands = [fcall_words("FCALL_RO", function, key, args) for function, key, *args in calls]
        loads = self._loads
        answers = await self._exec(commands, repeat=True)
        missing = [i for i, answer in enumerate(answers) if self._is_missing(answer)]
        if missing:
            await self._load(loads)
            again = await self._exec([commands[i] for i in missing], repeat=True)
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        return [
            self._in_place(answer, words, calls[i][1])
            for i, (answer, words) in enumerate(zip(answers, commands, strict=True))
        ]

    async def command(self, *args: Arg) -> Any:
        """Run one plain command."""
        words = to_words(args)
        if self.read_only and not is_read(words):
            raise read_only_error(name_of(words))
        try:
            return await self._send(words)
        except self._driver.GlideError as error:
            raise await self._explained(error, words) from error

    async def pipeline(self, commands: Sequence[Call]) -> list[Any]:
        """Run plain commands in one round trip; an error stands, translated, in its place in the answer."""
        sent = [to_words(command) for command in commands]
        if self.read_only:
            for words in sent:
                if not is_read(words):
                    raise read_only_error(name_of(words))
        answers = await self._exec(sent)
        return [
            self._in_place(answer, words, key_of(words)) for answer, words in zip(answers, sent, strict=True)
        ]

    async def ping(self) -> timedelta:
        """Measure one round trip."""
        started = time.perf_counter()
        await self.command("PING")
        seconds = time.perf_counter() - started
        self.stats.rtt_ms = seconds * 1_000
        return timedelta(seconds=seconds)

    async def server_info(self) -> ServerInfo:
        """Ask the server again for what `server` holds, and keep it there."""
        self._facts = await probe(self._settings, await self._settings.secret())
        self.stats.commands += 3
        self.server = _server_info(self._facts, self._settings)
        return self.server

    async def check_functions(self) -> bool:
        """Find out whether this user can call our functions, loading the library if need be.

        The answer stays in `functions_available`.

        Raises:
            UnsupportedServerError: the server is too old for functions.
        """
        words = fcall_words("FCALL_RO", "version", None, ())
        try:
            await self._repeated(words, repeat=True)
        except self._driver.GlideError as error:
            problem = await self._explained(error, words)
            if isinstance(problem, UnsupportedServerError) and problem.found is None:
                problem.found = self.server.version
            if not isinstance(problem, PermissionDeniedError):
                raise problem from error
            self.functions_available = False
        except PermissionDeniedError:
            self.functions_available = False
        else:
            self.functions_available = True
        return self.functions_available

    async def dedicated(self, *, resp2: bool = False) -> Connection:
        """Open another client with the same settings, for blocking reads; the caller closes it.

        A cancelled blocking read still occupies its client: close it instead of using it on.
        """
        self._check_open()
        client = await self._driver.create(
            self._settings,
            await self._settings.secret(),
            trust_roles=not self._facts.may_ask_info,
            resp2=resp2,
        )
        twin = Connection(
            client, self._driver, self._settings, self._facts, clock=self.now_ms, stats=self.stats
        )
        twin._is_resp2 = resp2
        twin.prefix, twin.url, twin.functions_available = self.prefix, self.url, self.functions_available
        return twin

    async def resp2(self) -> Connection:
        """Return the client for modules whose RESP3 answers the driver cannot read; it closes with this one."""
        self._check_open()
        async with self._loading:
            if self._resp2 is None:
                self._resp2 = await self.dedicated(resp2=True)
        return self._resp2

    async def close(self) -> None:
        """Close the client; requests on their way end in `ClosedError`. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        if self._resp2 is not None:
            await self._resp2.close()
        await self.client.close()
        if self._embedded is not None:
            await self._embedded.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fcall(self, command: str, function: str, key: str, args: Sequence[Arg]) -> Any:
        words = fcall_words(command, function, key, args)
        try:
            return await self._repeated(words, repeat=command == "FCALL_RO")
        except self._driver.GlideError as error:
            raise await self._explained(error, words, key) from error

    async def _repeated(self, words: list[str | bytes], *, repeat: bool) -> Any:
        """Send, and send once more after loading a missing library, or when a read lost its connection."""
        loads = self._loads
        try:
            return await self._send(words)
        except self._driver.GlideError as error:
            if self._driver.is_missing_function(error):
                await self._load(loads)
            elif not (repeat and self._driver.is_disconnect(error)):
                raise
        return await self._send(words)

    async def _send(self, words: list[str | bytes]) -> Any:
        if self._closed or self.stats.doubtful:
            await self._reassure()
        self.stats.commands += 1
        async with self._slots:
            return await self.client.custom_command(words)

    async def _exec(self, commands: Sequence[list[str | bytes]], *, repeat: bool = False) -> list[Any]:
        """Run a pipeline; errors of single commands stand in the answer untranslated."""
        if not commands:
            return []
        if self._closed or self.stats.doubtful:
            await self._reassure()
        self.stats.commands += len(commands)
        started = time.perf_counter()
        try:
            async with self._slots:
                answers = await self.client.exec(
                    self._driver.batch(self.is_cluster, commands), raise_on_error=False
                )
        except self._driver.GlideError as error:
            if repeat and self._driver.is_disconnect(error):
                return await self._exec(commands)
            raise await self._explained(error, commands[0]) from error
        self.stats.rtt_ms = (time.perf_counter() - started) * 1_000
        return list(answers or ())

    async def _load(self, seen: int) -> None:
        """Load the library unless another call did so since `seen`; never replaces one."""
        if self.read_only:
            self.functions_available = False
            raise read_only_error("FUNCTION LOAD")
        async with self._loading:
            if self._loads != seen:
                return
            words: list[str | bytes] = ["FUNCTION", "LOAD", functions.source()]
            try:
                if self.is_cluster:
                    await self.client.custom_command(words, route=self._driver.everywhere())
                else:
                    await self._send(words)
            except self._driver.GlideError as error:
                if not self._driver.is_existing_library(error):
                    problem = await self._explained(error, words)
                    if isinstance(problem, PermissionDeniedError):
                        self.functions_available = False
                    raise problem from error
            self._loads += 1

    async def _reassure(self) -> None:
        """Before a call after trouble: see that somebody is there, instead of waiting for the time-out."""
        self._check_open()
        if not await reachable(self._settings):
            raise ServerUnavailableError(f"cannot reach {self.address}", address=self.address)
        if callable(self._settings.password):
            await self._renew(await self._settings.secret())
        self.stats.doubtful = False

    async def _renew(self, secret: str | None) -> None:
        """Change the client for one with a new password: the driver would try the old one for ever."""
        if secret == getattr(self.client.config.credentials, "password", None):
            return
        stale = self.client
        self.client = await self._driver.create(
            self._settings,
            secret,
            trust_roles=not self._facts.may_ask_info,
            resp2=self._is_resp2,
        )
        await stale.close()

    async def _explained(
        self, error: Exception, words: Sequence[str | bytes], key: str | None = None
    ) -> GlideMQError:
        """Translate an error, and tell a silent server from one that is gone."""
        problem = self._translated(error, words, key)
        if isinstance(problem, (TimeoutError, ServerUnavailableError)):
            self.stats.doubtful = True
            if isinstance(problem, TimeoutError) and not await reachable(self._settings):
                return ServerUnavailableError(
                    f"the connection to {self.address} was lost", address=self.address
                )
        return problem

    def _translated(self, error: Exception, words: Sequence[str | bytes], key: str | None) -> GlideMQError:
        translated: GlideMQError = self._driver.translate(
            error,
            name_of(words),
            address=self.address,
            timeout_ms=self._settings.request_timeout,
            username=self._settings.username,
            key=key if key is not None else key_of(words),
        )
        return translated

    def _in_place(self, answer: Any, words: Sequence[str | bytes], key: str | None) -> Any:
        return self._translated(answer, words, key) if isinstance(answer, self._driver.GlideError) else answer

    def _is_missing(self, answer: Any) -> bool:
        return isinstance(answer, self._driver.GlideError) and self._driver.is_missing_function(answer)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the connection is closed", what="connection")


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
    if not url.startswith(EMBEDDED):
        return await _open(settings(url, **keywords))
    from .embedded import EmbeddedServer

    server, query = EmbeddedServer.of_url(url)
    given = {
        name: value
        for name, value in keywords.items()
        if name not in ("username", "password", "password_file")
    }
    await server.start()
    try:
        return await _open(replace(settings(server.url + query, **given), url=url), server)
    except BaseException:
        await server.close()
        raise


async def _open(chosen: Settings, embedded: EmbeddedServer | None = None) -> Connection:
    secret = await chosen.secret()
    facts = await probe(chosen, secret)
    if chosen.cluster and facts.version is not None and not facts.is_cluster_node:
        raise InvalidOptionError(
            f"{chosen.address} is no cluster: leave out ?cluster=1",
            option="cluster",
            value=True,
            allowed="leave out ?cluster=1",
        )
    _check_version(chosen, facts)
    # In a thread, because loading the driver takes long enough to be seen on a screen.
    driver = await asyncio.to_thread(import_module, f"{__package__}.driver")
    client = await driver.create(chosen, secret, trust_roles=not facts.may_ask_info)
    connection = Connection(client, driver, chosen, facts, embedded=embedded)
    try:
        await connection.check_functions()
    except BaseException:
        await client.close()
        raise
    return connection


def _check_version(chosen: Settings, facts: Facts) -> None:
    """Refuse a server without functions before the driver, which may not even speak with it."""
    major = (facts.version or "").partition(".")[0]
    if major.isdigit() and int(major) < functions.OLDEST_MAJOR:
        raise UnsupportedServerError(
            f"{chosen.address} is version {facts.version}, which has no server functions",
            hint=f"glidemq needs Valkey 7.2 or Redis {functions.OLDEST_MAJOR}.0 and newer",
            feature="functions",
            found=facts.version,
            needed=f"{functions.OLDEST_MAJOR}.0",
        )


def _server_info(facts: Facts, chosen: Settings) -> ServerInfo:
    return ServerInfo(
        version=facts.version or "unknown",
        mode="cluster" if chosen.cluster else "standalone",
        nodes=facts.nodes if chosen.cluster else 1,
        used_memory_bytes=facts.used_memory_bytes,
        latency_ms=facts.latency_ms,
    )
