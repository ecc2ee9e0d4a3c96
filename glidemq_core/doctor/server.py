"""Checks of the server itself: its version, our functions, this user's rights, encryption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import GlideMQError, UnsupportedServerError
from ..reading.reader import Reader
from ..records import Check
from ..server.connection import Connection
from ..server.functions import LIBRARY
from ..watch import Watch
from .packages import ID as INSTALLATION
from .packages import installation
from .rights import rules


def unreachable(error: GlideMQError, others: Sequence[str]) -> list[Check]:
    """Report a server that cannot be used; the other checks are skipped."""
    if isinstance(error, UnsupportedServerError):
        answers = Check(id="connection", status="ok", summary="the server answers")
        old = Check(id="version", status="fail", summary=error.message, fix=error.hint)
        rest = [id for id in others if id != "version"]
        return [answers, old, *_without_server(rest, "the server is too old")]
    first = Check(id="connection", status="fail", summary=error.message, fix=error.hint)
    return [first, *_without_server(others, "no connection")]


def _without_server(ids: Sequence[str], reason: str) -> Iterator[Check]:
    """Give what can be said without a server, and skip the other checks."""
    for id in ids:
        yield installation() if id == INSTALLATION else Check(id=id, status="skip", summary=reason)


def version(connection: Connection) -> Check:
    """Report the version; a server that is too old is refused while connecting."""
    found = connection.server.version
    if not found[:1].isdigit():
        return Check(id="version", status="skip", summary="this user may not ask for the version")
    nodes = f", cluster of {connection.server.nodes}" if connection.is_cluster else ""
    return Check(id="version", status="ok", summary=f"version {found}{nodes}")


def functions(connection: Connection) -> Check:
    """Check that our functions can be called."""
    if connection.functions_available:
        return Check(id="functions", status="ok", summary=f"library {LIBRARY} is loaded")
    if connection.read_only:
        return Check(
            id="functions", status="skip", summary="read-only: not looked for, reads use plain commands"
        )
    return Check(
        id="functions",
        status="warn",
        summary=f"this user cannot call the functions of library {LIBRARY}",
        detail="reads use plain commands instead; workers and changes do not work",
        fix="grant +fcall +fcall_ro +function|load, or let a user with these rights load the library",
    )


async def permissions(watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    """Check what this user may do."""
    found = await watch.permissions()
    if not found.can_read:
        return Check(
            id="permissions",
            status="fail",
            summary=f"may not read: {found.reason}",
            fix=f"grant {rules('viewer', reader.prefix)}",
        )
    if found.can_write:
        return Check(id="permissions", status="ok", summary="may read and write")
    if reader.connection.read_only:
        return Check(id="permissions", status="ok", summary="may read; read-only mode")
    return Check(
        id="permissions",
        status="warn",
        summary=f"may read, not write: {found.reason}",
        fix=f"enough to read; to add jobs grant {rules('producer', reader.prefix)}; "
        f"to act on them grant {rules('operator', reader.prefix)}",
    )


def exposure(connection: Connection) -> Check:
    """Check whether the connection can be read by others."""
    if connection.is_exposed:
        return Check(
            id="exposure",
            status="warn",
            summary="payloads and password travel in plain text over a network",
            fix="use valkeys:// (TLS)",
        )
    tls = connection.url.startswith("valkeys")
    return Check(
        id="exposure", status="ok", summary="encrypted" if tls else "plain text, but only on this machine"
    )
