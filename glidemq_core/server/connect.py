"""The way to a server: `connect`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import replace
from importlib import import_module
from types import TracebackType
from typing import Any

from ..options.fields import Duration, refuse
from . import functions
from .client import ResilientClient
from .commands import no_functions_error
from .connection import Connection
from .nodes import Nodes
from .probe import Facts, probe
from .url import DEFAULT_ROLE, EMBEDDED, Password, Settings, settings


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
    request_timeout: Duration = 5_000,
    connect_timeout: Duration = 5_000,
    role: str = DEFAULT_ROLE,
) -> Connecting:
    """Connect to a server, a cluster or an embedded server.

    Used as `await connect(url)` or `async with connect(url) as c`. Keywords beat what
    the URL says. Time-outs are milliseconds, timedeltas or text.

    Args:
        url: `valkey://[user[:password]@]host[:port]`, `valkeys://` for TLS, `embedded:[NAME|/PATH]`;
            several `host:port,host:port` are seeds of a cluster, or one server and its replicas;
            without it the environment's `GLIDEMQ_URL`.
        password: text, or an async function that is asked at each connect; else `GLIDEMQ_PASSWORD`.
        read_from: `primary`, `prefer_replica`, `az` or `az_or_primary`.
        insecure: allow a password over plain text to a public address.
        read_only: refuse every change before it is sent.
        max_inflight: requests on their way at once; more wait for their turn.
        role: what the connection is for; `CLIENT LIST` on the server shows it as `glidemq-<role>-<pid>`, unless
            the user may not run CLIENT SETNAME.

    Raises:
        InvalidOptionError: the URL or a keyword is not allowed.
        ServerUnavailableError, AuthenticationError, PermissionDeniedError, UnsupportedServerError.
        EmbeddedServerError: the embedded server could not start.
    """
    keywords = dict(locals())  # all parameters but the URL
    del keywords["url"]
    return Connecting(_connect(url or os.environ.get("GLIDEMQ_URL"), keywords))


async def _connect(url: str | None, keywords: dict[str, Any]) -> Connection:
    if not url:
        refuse("url", None, "valkey://host:port", "no server given: pass a URL or set GLIDEMQ_URL")
    if isinstance(url, str) and url.startswith(EMBEDDED):
        return await _connect_embedded(url, keywords)
    return await _open(settings(url, **keywords))


async def _connect_embedded(url: str, keywords: dict[str, Any]) -> Connection:
    from .embedded.server import EmbeddedServer  # only those who use one pay for it

    server, query = EmbeddedServer.of_url(url)
    own = ("username", "password", "password_file")
    given = {name: value for name, value in keywords.items() if name not in own}
    settings("valkey://localhost" + query, **given)  # refuse before a file is made
    try:
        await server.start()
        return await _open(replace(settings(server.url + query, **given), url=url), on_close=server.close)
    except BaseException:
        await server.close()
        raise


async def _open(chosen: Settings, on_close: Callable[[], Awaitable[None]] | None = None) -> Connection:
    secret = await chosen.secret()
    facts = await probe(chosen, secret)
    chosen = _checked_mode(chosen, facts)
    nodes = Nodes(chosen, facts)
    if not chosen.cluster and len(chosen.addresses) > 1:
        await nodes.look()
        facts = await probe(nodes.settings, secret)
    _check_version(nodes.address, facts)
    # In a thread, because loading the driver takes long enough to be seen on a screen.
    driver = await asyncio.to_thread(import_module, f"{__package__}.driver")
    client = await ResilientClient.open(driver, nodes, secret, trust_roles=not facts.may_ask_info)
    connection = Connection(client, chosen, nodes, facts, on_close=on_close)
    try:
        await connection.check_functions()
    except BaseException:
        await client.close()
        raise
    return connection


def _checked_mode(chosen: Settings, facts: Facts) -> Settings:
    """Return the settings for a cluster or for one server. Raises InvalidOptionError if the server is the other."""
    if facts.version is not None and not chosen.cluster_given and not facts.is_cluster_node:
        # Several addresses are a cluster's seeds, or one server and its replicas.
        chosen = replace(chosen, cluster=False)
    if chosen.cluster and facts.version is not None and not facts.is_cluster_node:
        refuse(
            "cluster", True, "leave out ?cluster=1", f"{chosen.address} is no cluster: leave out ?cluster=1"
        )
    if facts.is_cluster_node and not chosen.cluster:
        refuse(
            "cluster",
            False,
            "?cluster=1",
            f"{chosen.address} is a node of a cluster: add ?cluster=1 to the URL",
        )
    return chosen


def _check_version(address: str, facts: Facts) -> None:
    """Refuse a server without functions before the driver, which may not even speak with it."""
    major = (facts.version or "").partition(".")[0]
    if major.isdigit() and int(major) < functions.OLDEST_MAJOR:
        raise no_functions_error(address, facts.version)
