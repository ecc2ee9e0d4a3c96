"""Ask an address who is there before the driver does, so that every way to fail has a precise message.

The driver would block the event loop while it connects, and tells a closed port, a wrong protocol and a
wrong password apart only by the text of its error.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from ..errors import AuthenticationError, GlideMQError, PermissionDeniedError, ServerUnavailableError
from ..options.fields import refuse
from .resp import NotValkeyError, ReplyError, RespConnection
from .url import Address, Settings, format_address

AnswerT = TypeVar("AnswerT")

#: A handshake that takes longer makes us look whether the port speaks plain text, in seconds.
_SLOW_HANDSHAKE = 0.5
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the server said about itself; None where its ACL keeps it secret."""

    version: str | None
    is_cluster_node: bool
    nodes: int
    used_memory_bytes: int | None
    latency_ms: float
    may_ask_info: bool
    beyond_loopback: bool
    is_replica: bool
    #: Whether a client may name itself; the driver cannot connect where its name is refused.
    may_name: bool
    #: Nodes of the cluster, as it announces them.
    nodes_at: tuple[Address, ...] = ()


async def probe(settings: Settings, secret: str | None) -> Facts:
    """Try the addresses in their order and return what the first one that answers says.

    Raises:
        ServerUnavailableError: none can be reached, or something else than Valkey listens there.
        AuthenticationError: user name or password refused.
        PermissionDeniedError: the password would travel in plain text over a public network.
        InvalidOptionError: a certificate file cannot be used.
    """
    tls = tls_context(settings) if settings.tls else None
    return await first_reached(settings, lambda address: _probe(address, settings, secret, tls))


async def first_reached(settings: Settings, ask: Callable[[Address], Awaitable[AnswerT]]) -> AnswerT:
    """Ask the addresses in their order; if none can be reached, the first one's ServerUnavailableError is raised."""
    failure: GlideMQError | None = None
    for address in settings.addresses:
        try:
            return await ask(address)
        except ServerUnavailableError as error:
            failure = failure or error
    assert failure is not None
    raise failure


async def probe_each(settings: Settings, secret: str | None) -> dict[Address, Facts | GlideMQError]:
    """Try all addresses at the same time; what each says, or why it says nothing.

    Raises:
        PermissionDeniedError: the password would travel in plain text over a public network.
        InvalidOptionError: a certificate file cannot be used.
    """
    tls = tls_context(settings) if settings.tls else None

    async def one(address: Address) -> Facts | GlideMQError:
        try:
            return await _probe(address, settings, secret, tls)
        except PermissionDeniedError:
            raise
        except GlideMQError as error:
            return error

    found = await asyncio.gather(*(one(address) for address in settings.addresses))
    return dict(zip(settings.addresses, found, strict=True))


async def _probe(
    address: Address, settings: Settings, secret: str | None, tls: ssl.SSLContext | None
) -> Facts:
    try:
        async with asyncio.timeout(settings.connect_timeout / 1_000):
            return await _ask(address, settings, secret, tls)
    except TimeoutError as error:
        if isinstance(error, GlideMQError):
            raise
        message = f"no answer from {format_address(address)} within {settings.connect_timeout} ms"
        raise _unavailable(address, message) from None


async def _ask(address: Address, settings: Settings, secret: str | None, tls: ssl.SSLContext | None) -> Facts:
    async with signed_in(address, settings, secret, tls) as (wire, beyond_loopback):
        may_name = await _name(wire, settings.client_name)
        return await _facts(wire, beyond_loopback=beyond_loopback, may_name=may_name)


@asynccontextmanager
async def signed_in(
    address: Address, settings: Settings, secret: str | None, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[RespConnection, bool]]:
    """Connect without the driver and sign in; gives the connection, and whether it leads beyond loopback.

    Raises:
        GlideMQError: as `probe`; also when the connection breaks meanwhile.
    """
    networks = await _resolve(address)
    if settings.tls is False and secret and not settings.insecure and not all(map(_is_near, networks)):
        raise PermissionDeniedError(
            f"the password would travel to {format_address(address)} in plain text over a public network",
            hint="use valkeys:// (TLS), or allow it with --insecure (insecure=True, ?insecure=1)",
            reason="insecure",
            command=None,
        )
    wire = await _open(address, tls)
    try:
        await _sign_in(wire, address, settings.username, secret)
        yield wire, not all(ip.is_loopback for ip in networks)
    except ReplyError as error:
        raise _unavailable(address, f"{format_address(address)} refuses: {error}") from None
    except NotValkeyError as error:
        raise _stranger(address, error.start, tls) from None
    except ssl.SSLError as error:
        raise _broken_tls(address, error) from error
    except (OSError, EOFError) as error:
        hint = None if tls else "if it speaks TLS, use valkeys:// instead of valkey://"
        message = f"{format_address(address)} closed the connection without an answer"
        raise _unavailable(address, message, hint) from error
    finally:
        await wire.close()


async def _resolve(address: Address) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    host, port = address
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise _unavailable(address, f"host '{host}' is not known", "check the name in the URL") from error
    parsed = (ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return [getattr(ip, "ipv4_mapped", None) or ip for ip in parsed]


def _is_near(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Loopback, RFC 1918, ULA or link-local."""
    return ip.is_loopback or any(ip.version == net.version and ip in net for net in _PRIVATE)


async def _open(address: Address, tls: ssl.SSLContext | None) -> RespConnection:
    host, port = address
    opening = asyncio.ensure_future(RespConnection.open(host, port, tls=tls, name=host))
    try:
        if tls is not None:
            await asyncio.wait([opening], timeout=_SLOW_HANDSHAKE)
            if not opening.done() and await _speaks_plain(address):
                raise _no_tls(address)
        return await opening
    except ssl.SSLError as error:
        if not isinstance(error, ssl.SSLCertVerificationError) and await _speaks_plain(address):
            raise _no_tls(address) from error
        raise _broken_tls(address, error) from error
    except ConnectionRefusedError as error:
        raise _unavailable(
            address,
            f"nothing listens on {format_address(address)}",
            "is the server running, is the port right?",
        ) from error
    except OSError as error:
        if tls is not None and await _speaks_plain(address):
            raise _no_tls(address) from error
        why = error.strerror or str(error) or type(error).__name__
        raise _unavailable(address, f"cannot reach {format_address(address)}: {why}") from error
    finally:
        opening.cancel()


async def _speaks_plain(address: Address) -> bool:
    try:
        async with asyncio.timeout(1):
            wire = await RespConnection.open(*address)
            try:
                await wire.ask("PING")
            finally:
                await wire.close()
    except ReplyError:
        return True
    except (OSError, EOFError, TimeoutError, NotValkeyError):
        return False
    return True


async def _sign_in(wire: RespConnection, address: Address, username: str | None, secret: str | None) -> None:
    where = format_address(address)

    def refused(what: str, hint: str) -> AuthenticationError:
        return AuthenticationError(f"{where} {what}", hint=hint, address=where, username=username)

    if secret is not None or username is not None:
        try:
            await wire.ask("AUTH", *([username] if username else []), secret or "")
        except ReplyError as error:
            if error.code == "WRONGPASS":
                raise refused(
                    f"refuses the password of user '{username or 'default'}'",
                    "check the user name and the password",
                ) from None
            if "without any password configured" in str(error):
                raise refused(
                    "has no password, but one was given",
                    "leave the password out (GLIDEMQ_PASSWORD too), or name a user",
                ) from None
            raise
    try:
        await wire.ask("PING")
    except ReplyError as error:
        if error.code == "NOAUTH":
            raise refused(
                "asks for a password",
                "set GLIDEMQ_PASSWORD, use --password-file, or put it into the URL",
            ) from None
        if error.code != "NOPERM":
            raise


async def _name(wire: RespConnection, name: str) -> bool:
    """Give the connection its name; False if this user may not, or the server knows no names."""
    try:
        await wire.ask("CLIENT", "SETNAME", name)
    except ReplyError:
        return False
    return True


async def _facts(wire: RespConnection, *, beyond_loopback: bool, may_name: bool) -> Facts:
    started = time.perf_counter()
    info: dict[str, str] = {}
    may_ask = True
    try:
        answer = await wire.ask("INFO")
        info = dict(line.split(":", 1) for line in str(answer).splitlines() if ":" in line)
    except ReplyError as error:
        if error.code != "NOPERM":
            raise
        may_ask = False
        info = await _greeting(wire)
    latency = (time.perf_counter() - started) * 1_000
    nodes = 1
    nodes_at: tuple[Address, ...] = ()
    clustered = info.get("cluster_enabled") == "1"
    if clustered:
        with suppress(ReplyError):
            nodes_at = parse_slots(await wire.ask("CLUSTER", "SLOTS"))
        with suppress(ReplyError):
            cluster = str(await wire.ask("CLUSTER", "INFO"))
            nodes = next(
                (int(x[20:]) for x in cluster.splitlines() if x.startswith("cluster_known_nodes:")), 1
            )
    memory = info.get("used_memory", "")
    return Facts(
        version=info.get("valkey_version") or info.get("redis_version"),
        is_cluster_node=clustered,
        nodes=nodes,
        used_memory_bytes=int(memory) if memory.isdigit() else None,
        latency_ms=latency,
        may_ask_info=may_ask,
        beyond_loopback=beyond_loopback,
        is_replica=info.get("role") in ("slave", "replica"),
        may_name=may_name,
        nodes_at=nodes_at,
    )


async def _greeting(wire: RespConnection) -> dict[str, str]:
    """Role, version and mode of a server for users who may not run INFO, under INFO's names."""
    try:
        reply = await wire.ask("HELLO", "2")
    except ReplyError:
        return {}
    words = reply if isinstance(reply, list) else []
    said = {str(name): str(value) for name, value in zip(words[::2], words[1::2], strict=False)}
    known = {"role": said.get("role"), "redis_version": said.get("version")}
    return {name: value for name, value in known.items() if value} | {
        "cluster_enabled": "1" if said.get("mode") == "cluster" else "0"
    }


def parse_slots(reply: object) -> tuple[Address, ...]:
    """Addresses of the nodes in a reply to CLUSTER SLOTS; nodes that announce none are left out."""
    found: dict[Address, None] = {}
    for entry in reply if isinstance(reply, list) else ():
        for node in entry[2:] if isinstance(entry, list) else ():
            if isinstance(node, list) and len(node) > 1 and isinstance(node[1], int):
                host = node[0].decode("utf-8", "replace") if isinstance(node[0], bytes) else node[0]
                if isinstance(host, str) and host not in ("", "?"):
                    found[host, node[1]] = None
    return tuple(found)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Read the certificates of settings. Raises InvalidOptionError."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError):
        refuse(
            "ca", settings.ca, "certificates in PEM form", f"ca file '{settings.ca}' holds no certificates"
        )
    if settings.cert and settings.key:
        try:
            # An encrypted key would make OpenSSL ask on the terminal.
            context.load_cert_chain(settings.cert, settings.key, password=lambda: b"")
        except (OSError, ssl.SSLError, ValueError):
            refuse(
                "cert",
                settings.cert,
                "a certificate and its unencrypted key in PEM form",
                f"'{settings.cert}' and '{settings.key}' are not a certificate and its unencrypted key",
            )
    return context


def _unavailable(address: Address, message: str, hint: str | None = None) -> ServerUnavailableError:
    return ServerUnavailableError(message, hint=hint, address=format_address(address))


def _no_tls(address: Address) -> ServerUnavailableError:
    return _unavailable(
        address,
        f"{format_address(address)} does not speak TLS",
        "use valkey:// instead of valkeys://, or the server's TLS port",
    )


def _broken_tls(address: Address, error: ssl.SSLError) -> ServerUnavailableError:
    where = format_address(address)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unavailable(
            address,
            f"the certificate of {where} is not trusted: {error.verify_message}",
            "name its authority with ?ca=FILE",
        )
    reason = (error.reason or "the handshake failed").replace("_", " ").lower()
    if "certificate required" in reason or "handshake failure" in reason:
        return _unavailable(
            address, f"{where} refuses TLS: {reason}", "a client certificate: ?cert=FILE&key=FILE"
        )
    return _unavailable(address, f"no TLS with {where}: {reason}")


def _stranger(address: Address, start: bytes, tls: ssl.SSLContext | None) -> ServerUnavailableError:
    where = format_address(address)
    if tls is None and start[:2] in (b"\x15\x03", b"\x16\x03"):
        return _unavailable(address, f"{where} speaks TLS", "use valkeys:// instead of valkey://")
    return _unavailable(address, f"what answers on {where} is no Valkey server", "check host and port")
