"""The driver's errors -> ours: the one place that reads its texts."""

from __future__ import annotations

import re

from glide import (
    CircuitBreakerError,
    ClosingError,
    ConnectionError,
    GlideError,
    TimeoutError,
)

from ...errors import (
    AuditError,
    AuthenticationError,
    CallTimeoutError,
    ClosedError,
    GlideMQError,
    PermissionDeniedError,
    ServerError,
    ServerUnavailableError,
)
from ..commands import no_functions_error

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
    match = _SIGNALLED.search(str(error))
    return match is not None and match[1].upper() in ("READONLY", "READONLYERROR")


def is_moving(error: GlideError) -> bool:
    """Tell whether the slot is on its way to another node: the call was refused before anything was done."""
    match = _SIGNALLED.search(str(error))
    return match is not None and match[1].upper() in _MOVING


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
        hint = "FUNCTION DELETE it on the server: it is loaded again at the next call"
    else:
        message = f"{address} answered {command} with an error: {code} {detail}"
    return ServerError(message, hint=hint, command=command, code=code)
