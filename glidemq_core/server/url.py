"""URL and keywords -> `Settings`: where a server is and how to reach it, checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from ..options.fields import Duration, positive_ms, refuse, whole
from ..wire.keys import DEFAULT_PREFIX

Password = str | Callable[[], Awaitable[str]]
Address = tuple[str, int]

EMBEDDED = "embedded:"
DEFAULT_PORT = 6379
READ_FROM = ("primary", "prefer_replica", "az", "az_or_primary")
SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
#: What connections do that say nothing else of themselves.
DEFAULT_ROLE = "client"
PARAMETERS = ("cluster", "prefix", "ca", "cert", "key", "az", "insecure", "read_only")

_FLAGS = {"1": True, "true": True, "0": False, "false": False}
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)?(.*)@", re.IGNORECASE | re.DOTALL)
#: What a client's name on the server may hold, a part of it.
_ROLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARAMETER = re.compile(r"([?&;])([^=?&;]*)=([^&;]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything one client needs; its `repr` holds no secret. Durations are milliseconds."""

    addresses: tuple[Address, ...]
    url: str
    prefix: str = DEFAULT_PREFIX
    tls: bool = False
    cluster: bool = False
    #: Whether the caller said so; else several addresses may also be one server and its replicas.
    cluster_given: bool = False
    username: str | None = None
    password: Password | None = field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    read_from: str = "primary"
    az: str | None = None
    insecure: bool = False
    read_only: bool = False
    max_inflight: int = 1_000
    request_timeout: int = 5_000
    connect_timeout: int = 5_000
    #: What the connection is for; a part of its name on the server.
    role: str = DEFAULT_ROLE
    #: Whether the server lets this user name its connections.
    may_name: bool = True

    @property
    def address(self) -> str:
        """First address as people write it."""
        return format_address(self.addresses[0])

    @property
    def client_name(self) -> str:
        """What `CLIENT LIST` on the server shows of this process and what its connection is for."""
        return f"glidemq-{self.role}-{os.getpid()}"

    async def secret(self) -> str | None:
        """Return the password, asking the caller's function if there is one."""
        return await self.password() if callable(self.password) else self.password


def settings(
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
) -> Settings:
    """Read a server URL and the keywords beside it; a keyword beats the URL.

    Raises:
        InvalidOptionError: something in the URL or a keyword is not allowed; the message holds no password.
    """
    if url is not None and not isinstance(url, str):
        _refuse("url", url, f"the server is named by a URL, not {type(url).__name__}", "valkey://host:port")
    if not url:
        _refuse("url", url, "no server given", "valkey://host:port")
    scheme, user, secret, hosts, query = _split(url)
    addresses = tuple(_address(host) for host in hosts.split(","))
    tls = SCHEMES[scheme]
    asked_cluster = _first(cluster, _flag(query, "cluster"))
    if password is not None and password_file is not None:
        _refuse(
            "password_file", str(password_file), "give a password or a password file, not both", "one of them"
        )
    if password_file is not None:
        password = _read_password(password_file)
    files: dict[str, Any] = _tls_files(tls, query, {"ca": ca, "cert": cert, "key": key})
    zone = _first(az, query.get("az"))
    reading = _checked_reading(read_from or ("az" if zone else "primary"), zone)
    chosen_prefix = _first(prefix, query.get("prefix"))
    return Settings(
        addresses=addresses,
        url=redact(url),
        prefix=DEFAULT_PREFIX if chosen_prefix is None else check_prefix(chosen_prefix),
        tls=tls,
        cluster=len(addresses) > 1 if asked_cluster is None else asked_cluster,
        cluster_given=asked_cluster is not None,
        username=_first(username, user),
        password=_first(password, secret, os.environ.get("GLIDEMQ_PASSWORD") or None),
        **files,
        read_from=reading,
        az=zone,
        insecure=bool(_first(insecure, _flag(query, "insecure"))),
        read_only=bool(_first(read_only, _flag(query, "read_only"))),
        max_inflight=whole(1)(max_inflight, "max_inflight"),
        request_timeout=positive_ms(request_timeout, "request_timeout"),
        connect_timeout=positive_ms(connect_timeout, "connect_timeout"),
        role=check_role(role),
    )


def _tls_files(
    tls: bool, query: dict[str, str], given: dict[str, str | os.PathLike[str] | None]
) -> dict[str, str | None]:
    """Return the paths of TLS files. Raises InvalidOptionError for files without TLS, or one of a pair."""
    files = {name: _file(name, path, query) for name, path in given.items()}
    if any(files.values()) and not tls:
        _refuse("ca", None, "ca, cert and key need TLS", "a URL that begins valkeys:// or rediss://")
    if bool(files["cert"]) != bool(files["key"]):
        _refuse("cert", files["cert"], "cert and key belong together", "both or none")
    return files


def _checked_reading(reading: str, zone: str | None) -> str:
    """Return where to read from. Raises InvalidOptionError for an unknown word, or one that needs a zone."""
    if reading not in READ_FROM:
        _refuse("read_from", reading, f"read_from={reading!r} is unknown", " ".join(READ_FROM))
    if reading.startswith("az") and not zone:
        _refuse("az", None, f"read_from={reading!r} needs an availability zone", "az=NAME")
    return reading


def redact(url: str) -> str:
    """Return the URL without its password; where an `@` is in doubt, too much goes rather than too little.

    Without a scheme nobody can tell a user name from a password: all before the last `@` goes. Of parameters that
    no URL has, such as `password`, only the name stays.
    """
    if url.startswith(EMBEDDED):
        return url

    def shorten(match: re.Match[str]) -> str:
        if match[1] is None:
            return ""
        user = match[2].partition(":")[0]
        return f"{match[1]}{user}@" if user and not re.search(r"[/?#@]", user) else match[1]

    def hide(match: re.Match[str]) -> str:
        return match[0] if match[2] in PARAMETERS else f"{match[1]}{match[2]}=•••"

    return _PARAMETER.sub(hide, _USERINFO.sub(shorten, url))


def format_address(address: Address) -> str:
    """`host:port`, with brackets round an IPv6 address."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_prefix(prefix: str) -> str:
    """Return a key prefix that cannot be mistaken for a hash tag.

    Raises:
        InvalidOptionError: it is empty, too long or holds braces, blanks or control characters.
    """
    if (
        not isinstance(prefix, str)
        or not 1 <= len(prefix) <= 256
        or re.search(r"[{}\s\x00-\x1f\x7f]", prefix)
    ):
        _refuse(
            "prefix", prefix, f"prefix {prefix!r} is not allowed", "1 to 256 characters, no braces, no blanks"
        )
    return prefix


def check_role(role: str) -> str:
    """Return what a connection is for. Raises InvalidOptionError for what no client's name may hold."""
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        _refuse("role", role, f"role {role!r} is not allowed", "1 to 64 of the characters A-Z a-z 0-9 _ . -")
    return role


def _split(url: str) -> tuple[str, str | None, str | None, str, dict[str, str]]:
    """Return scheme, user, password, hosts and parameters; no message echoes what may be a password."""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in SCHEMES:
        given = scheme if mark and re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", scheme) else None
        _refuse(
            "url",
            redact(url) if given else None,
            f"unknown URL scheme '{given}'" if given else "this is no server URL",
            "valkey://host:port, valkeys://host:port (TLS), redis://, rediss:// or embedded:",
        )
    if "#" in rest:
        _refuse("url", None, "the URL holds a '#'", "no fragment; write # in a password as %23")
    authority, _, query = rest.partition("?")
    authority, slash, path = authority.partition("/")
    if "@" in path or "@" in query:
        _refuse(
            "url",
            None,
            "the URL holds an '@' after its host",
            "special characters of a user name or password as %2F (/), %3F (?), %23 (#), %40 (@)",
        )
    if path not in ("", "0"):
        _refuse(
            "url", redact(url), f"database '{slash}{path}' is not available: queues live in database 0", "/0"
        )
    userinfo, _, hosts = authority.rpartition("@")
    user, _, secret = userinfo.partition(":")
    return scheme, unquote(user) or None, unquote(secret) or None, hosts, _query(query)


def _query(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in PARAMETERS:
            _refuse("url", name, f"unknown URL parameter '{name}'", " ".join(PARAMETERS))
        if name in found:
            _refuse("url", name, f"URL parameter '{name}' is there twice", "each once")
        found[name] = value
    return found


def _address(text: str) -> Address:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.%a-z]+\]|[^:\[\]\s@/]*)(?::(\d{0,5}))?", text)
    host = match[1].strip("[]") if match else ""
    if match is None or not host:
        _refuse(
            "url",
            None,
            "the URL names no host",
            "valkey://host:port, IPv6 in brackets, seeds as host:port,host:port",
        )
    port = int(match[2]) if match[2] else DEFAULT_PORT
    if not 1 <= port <= 65_535:
        _refuse("url", port, f"port {port} is out of range", "1 to 65535")
    return unquote(host), port


def _flag(query: dict[str, str], name: str) -> bool | None:
    value = query.get(name)
    if value is None:
        return None
    if value.lower() not in _FLAGS:
        _refuse(name, value, f"URL parameter {name}={value!r} is not allowed", "1 or 0")
    return _FLAGS[value.lower()]


def _file(name: str, given: str | os.PathLike[str] | None, query: dict[str, str]) -> str | None:
    path = os.fspath(given) if given is not None else query.get(name)
    if path is None:
        return None
    path = os.path.expanduser(path)
    if not Path(path).is_file():
        _refuse(name, path, f"{name} file '{path}' does not exist", "a PEM file")
    return path


def _read_password(path: str | os.PathLike[str]) -> str:
    try:
        text = Path(os.path.expanduser(path)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        _refuse("password_file", str(path), f"cannot read password file '{path}': {why}", "a readable file")
    secret = text.rstrip("\r\n")
    if not secret:
        _refuse("password_file", str(path), f"password file '{path}' is empty", "the password on one line")
    return secret


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _refuse(option: str, value: Any, message: str, allowed: str) -> NoReturn:
    refuse(option, value, allowed, f"{message}; allowed: {allowed}")
