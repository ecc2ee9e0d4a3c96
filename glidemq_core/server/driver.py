"""The Valkey client library behind one small face; slow to load, so imported at the first connection."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import glide
from glide import CircuitBreakerError, ClosingError, ConnectionError, TimeoutError
from glide import GlideError as GlideError  # readers of the driver's own client need it

from ..errors import (
    AuditError,
    AuthenticationError,
    CallTimeoutError,
    ClosedError,
    GlideMQError,
    PermissionDeniedError,
    ServerError,
    ServerUnavailableError,
)
from .commands import no_functions_error
from .functions import RELOAD
from .url import Settings

_READ_FROM = {
    "primary": glide.ReadFrom.PRIMARY,
    "prefer_replica": glide.ReadFrom.PREFER_REPLICA,
    "az": glide.ReadFrom.AZ_AFFINITY,
    "az_or_primary": glide.ReadFrom.AZ_AFFINITY_REPLICAS_AND_PRIMARY,
}

#: "An error was signalled by the server: - ResponseError: text"; "WRONGTYPE: text" for other codes.
_SIGNALLED = re.compile(r"(?:signalled by the server\S*\s*-?\s*-\s*)(\w+)\s*:\s*(.*)", re.DOTALL)
_CODED = re.compile(r"^-?([A-Z][A-Z]+):?\s+(.*)", re.DOTALL)
_SCRIPT = re.compile(r"\s*script: (?:\S+, )?on @user_function:\d+\.?")
#: What our functions say of a key before they write.
_FOREIGN = re.compile(r"(.+) is a (\w+), not a (\w+): nothing was changed")
_TRANSIENT = ("LOADING", "BUSYLOADINGERROR", "CLUSTERDOWN", "MASTERDOWN", "MASTERDOWNERROR")
#: A node of a cluster answers so while a slot moves, and the driver has not found its new place.
_MOVING = ("TRYAGAIN", "ASK", "MOVED")
_UNCONNECTED = (
    "connect failed",
    "IoError",
    "FatalSendError",
    "FatalReceiveError",
    "Connection not found",
    "ConnectionNotFoundForRoute",
    "AllConnectionsUnavailable",
    # Of one command in a pipeline over the nodes of a cluster.
    "internal sender",
    "Failed to refresh",
    "Failed to create initial connections",
    # While it looks for the nodes of a cluster anew.
    "Connection in recovery",
    "task was aborted",
    "No responses to aggregate",
    "No address provided",
    "NotAllSlotsCovered",
    "ProtocolDesync",
)

# The driver writes its log to the terminal, where a full-screen program runs; who set it up before keeps it.
with contextlib.suppress(Exception):
    glide.Logger.init(glide.LogLevel.OFF)


async def create(
    settings: Settings, secret: str | None, *, trust_roles: bool = False, resp2: bool = False
) -> Any:
    """Make a client that connects at its first command: making it connected would block the event loop.

    With `trust_roles` the address is taken for the primary without asking, for users who may not run INFO.
    """
    credentials = None
    if secret is not None or settings.username is not None:
        credentials = glide.ServerCredentials(password=secret or "", username=settings.username)
    tls = None
    if settings.tls:
        tls = glide.TlsAdvancedConfiguration(
            root_pem_cacerts=_read(settings.ca),
            client_cert_pem=_read(settings.cert),
            client_key_pem=_read(settings.key),
        )
    common: dict[str, Any] = {
        "addresses": [glide.NodeAddress(host, port) for host, port in settings.addresses],
        "use_tls": settings.tls,
        "credentials": credentials,
        "read_from": _READ_FROM[settings.read_from],
        "client_az": settings.az,
        "request_timeout": settings.request_timeout,
        # Waits of up to 1.6 s between attempts, for ever: a restarted server is found again soon.
        "reconnect_strategy": glide.BackoffStrategy(num_of_retries=5, factor=50, exponent_base=2),
        # Twice what we let through: requests whose caller gave up still count here.
        "inflight_requests_limit": 2 * settings.max_inflight,
        "lazy_connect": True,
        "lib_name": "glidemq",
        "client_name": settings.client_name if settings.may_name else None,
        "protocol": glide.ProtocolVersion.RESP2 if resp2 else glide.ProtocolVersion.RESP3,
    }
    if settings.cluster:
        advanced = glide.AdvancedGlideClusterClientConfiguration(settings.connect_timeout, tls)
        return await glide.GlideClusterClient.create(
            glide.GlideClusterClientConfiguration(**common, advanced_config=advanced)
        )
    mode = glide.NodeDiscoveryMode.STANDARD
    if trust_roles:
        mode = glide.NodeDiscoveryMode.STATIC
    elif settings.read_from != "primary":
        mode = glide.NodeDiscoveryMode.DISCOVER_ALL
    return await glide.GlideClient.create(
        glide.GlideClientConfiguration(
            **common,
            node_discovery_mode=mode,
            advanced_config=glide.AdvancedGlideClientConfiguration(settings.connect_timeout, tls),
        )
    )


def batch(cluster: bool, commands: Sequence[list[str | bytes]]) -> Any:
    """Return a pipeline of commands; in a cluster the driver splits it by slot."""
    made = glide.ClusterBatch(is_atomic=False) if cluster else glide.Batch(is_atomic=False)
    for command in commands:
        made.custom_command(command)
    return made


def everywhere() -> Any:
    """Route of a command that every primary of a cluster must run."""
    return glide.AllPrimaries()


def to_node(host: str, port: int) -> Any:
    """Route of a command that one node of a cluster must run."""
    return glide.ByAddressRoute(host, port)


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


# Its errors: nothing else reads its texts ----------------------------------------------------------------------


def is_missing_function(error: GlideError) -> bool:
    """Tell whether the library has to be loaded."""
    return "function not found" in str(error).lower()


def is_disconnect(error: GlideError) -> bool:
    """Tell whether the connection broke, so that nobody knows how far the request came."""
    return isinstance(error, ConnectionError) or (
        not isinstance(error, TimeoutError) and any(mark in str(error) for mark in _UNCONNECTED)
    )


def is_replica(error: GlideError) -> bool:
    """Tell whether a replica has refused a change: nothing was done."""
    return _signalled(error) in ("READONLY", "READONLYERROR")


def is_moving(error: GlideError) -> bool:
    """Tell whether the slot is on its way to another node: the call was refused before anything was done."""
    return _signalled(error) in _MOVING


def _signalled(error: GlideError) -> str:
    match = _SIGNALLED.search(str(error))
    return match[1].upper() if match else ""


def is_existing_library(error: GlideError) -> bool:
    """Tell whether someone else loaded the library first."""
    return "already exists" in str(error)


def translate(
    error: GlideError,
    command: str,
    *,
    address: str,
    timeout_ms: int,
    username: str | None = None,
    key: str | None = None,
    cluster: bool = False,
) -> GlideMQError:
    """Return our error for one of the driver's; `key` is the key or queue prefix the command was about."""
    text = " ".join(str(error).split())
    if isinstance(error, TimeoutError):
        return CallTimeoutError(
            f"{address} did not answer {command} within {timeout_ms} ms",
            command=command,
            timeout_ms=timeout_ms,
        )
    if "WRONGPASS" in text or "NOAUTH" in text:
        return AuthenticationError(
            f"{address} refuses user '{username or 'default'}'",
            hint="check the user name and the password",
            address=address,
            username=username,
        )
    if isinstance(error, ClosingError):
        return ClosedError("the connection is closed", what="connection")
    if isinstance(error, (ConnectionError, CircuitBreakerError)):
        return ServerUnavailableError(f"the connection to {address} was lost", address=address)
    code, detail = _parse(text)
    if code in ("NOPERM", "PERMISSIONDENIED") or "ACL failure in script" in detail:
        detail = detail.removeprefix("ACL failure in script: ")
        return PermissionDeniedError(
            f"not allowed on {address}: {detail}",
            hint="ask for the ACL rights, or sign in as another user",
            reason="acl",
            command=command,
        )
    if "nflight request" in text:
        return ServerUnavailableError(
            f"{address} does not keep up: too many calls wait for their answers; this one was not sent",
            address=address,
        )
    if any(mark in text for mark in _UNCONNECTED):
        return ServerUnavailableError(f"cannot reach {address}", address=address)
    if code in _TRANSIENT:
        return ServerUnavailableError(f"{address} is not ready: {detail}", address=address)
    if cluster and code in _MOVING:
        whose = f"'{key}'" if key else "this key"
        return ServerUnavailableError(
            f"the slot of {whose} moves to another node of the cluster; nothing was changed",
            hint="try again when the resharding is done",
            address=address,
        )
    if "unknown command" in detail.lower() and command.split()[0] in ("FUNCTION", "FCALL", "FCALL_RO"):
        return no_functions_error(address)
    return _server_error(code, detail, command, address, key)


def _parse(text: str) -> tuple[str, str]:
    """Split a reply into its code and the rest."""
    match = _SIGNALLED.search(text) or _CODED.match(text)
    if match is None:
        return "ERR", _SCRIPT.sub("", text)
    code = match[1].upper()
    return ("ERR" if code == "RESPONSEERROR" else code), _SCRIPT.sub("", match[2]).strip()


def _server_error(code: str, detail: str, command: str, address: str, key: str | None) -> ServerError:
    hint = None
    if code == "AUDIT":
        hint = "glidemq doctor QUEUE --repair sets it aside and begins a new one"
        return AuditError(f"the audit on {address}: {detail}", hint=hint, command=command, code=code)
    if code == "WRONGTYPE" and (named := _FOREIGN.match(detail)):
        message = f"{named[1]} on {address} is a {named[2]}, not a {named[3]}: nothing was changed"
        hint = "something else uses this name: move it away"
    elif code == "WRONGTYPE":
        queue = re.search(r"\{([^{}]+)\}$", key or "")
        whose = f"a key of queue '{queue[1]}'" if queue else f"key '{key}'" if key else "a key"
        message = f"{whose} on {address} is of the wrong type: no queue data (WRONGTYPE in {command})"
        hint = f"look at the keys that begin '{key}' and move the foreign one away" if key else None
    elif code == "MOVED":
        message, hint = f"{address} is part of a cluster", "add ?cluster=1 to the URL"
    elif code in ("READONLY", "READONLYERROR"):
        code, message = "READONLY", f"{address} is a replica and takes no changes"
        hint = "connect to the primary"
    elif code == "OOM":
        message, hint = f"{address} is out of memory", "raise maxmemory, or clean old jobs"
    elif "function not found" in detail.lower():
        message = f"the function library on {address} lacks what {command} needs"
        hint = RELOAD
    else:
        message = f"{address} answered {command} with an error: {code} {detail}"
    return ServerError(message, hint=hint, command=command, code=code)
