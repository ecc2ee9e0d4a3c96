"""Checks of a server and its queues by bounded reads, each finding with its remedy; and the repairs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ..errors import GlideMQError, PermissionDeniedError
from ..options.job import Actor
from ..reading.reader import Reader
from ..records import Check, OperationResult
from ..server.connection import Connection
from ..watch import Watch
from .audits import audits, restart_audits
from .findings import result
from .flows import finish_flows, stuck_parents, unfinished_flows
from .lost import lost_jobs, requeue_lost
from .ordering import free_slots, ordering_keys, ordering_slots
from .outbox import outbox, retry_letters
from .packages import installation
from .queues import key_types, list_active, paused, schedulers, suspended, workers
from .server import exposure, functions, permissions, unreachable, version

__all__ = ["CHECKS", "examine", "repair", "unreachable"]

#: Round trips a second that an examination takes at most.
_CALLS_PER_S = 200
_Checking = Callable[[Watch, Reader, Sequence[str]], Awaitable[Check]]
_QUEUES: dict[str, _Checking] = {
    "key_types": key_types,
    "workers": workers,
    "paused": paused,
    "schedulers": schedulers,
    "suspended": suspended,
    "stuck_parents": stuck_parents,
    "unfinished_flows": unfinished_flows,
    "ordering_keys": ordering_keys,
    "ordering_slots": ordering_slots,
    "lost_jobs": lost_jobs,
    "list_active": list_active,
    "outbox": outbox,
    "audit": audits,
}
_Repairing = Callable[[Watch, Reader, Sequence[str], Actor], Awaitable[list[OperationResult]]]
#: Repairs in their order: each is audited, so audits come first; a lost job that runs again may hold a slot.
_REPAIRS: dict[str, _Repairing] = {
    "restart_audit": restart_audits,
    "finish_flows": finish_flows,
    "requeue_lost": requeue_lost,
    "free_slots": free_slots,
    "retry_letters": retry_letters,
}
#: Ids of all checks in their order.
CHECKS = ("connection", "version", "functions", "permissions", "exposure", "installation", *_QUEUES)


async def examine(connection: Connection, watch: Watch, names: Sequence[str]) -> list[Check]:
    """Examine a server and some of its queues; changes nothing.

    A check that this user may not make is skipped.
    """
    reader = Reader(connection, connection.prefix, _CALLS_PER_S)
    rtt_ms = (await connection.ping()).total_seconds() * 1_000
    checks = [
        Check(id="connection", status="ok", summary=f"{connection.address} answers within {rtt_ms:.1f} ms"),
        version(connection),
        functions(connection),
    ]
    asked = {"permissions": permissions, **_QUEUES}
    found = await asyncio.gather(*(_check(id, check, watch, reader, names) for id, check in asked.items()))
    return [*checks, found[0], exposure(connection), installation(), *found[1:]]


async def repair(
    connection: Connection, watch: Watch, names: Sequence[str], actor: Actor
) -> list[OperationResult]:
    """Repair in some queues what the checks find and needs no choice; each change is audited.

    Every repair checks again in the server whether what was found still holds: it may be repeated at any time.
    """
    reader = Reader(connection, connection.prefix, _CALLS_PER_S)
    results: list[OperationResult] = []
    for action, repairing in _REPAIRS.items():
        try:
            results += await repairing(watch, reader, names, actor)
        except PermissionDeniedError:
            raise
        except GlideMQError as error:
            # Damage that prevents one repair must not prevent the others.
            results += [result(action, name, "failed", ok=False, message=error.message) for name in names]
    return results


async def _check(id: str, check: _Checking, watch: Watch, reader: Reader, names: Sequence[str]) -> Check:
    if id in _QUEUES and not names:
        return Check(id=id, status="skip", summary="no queues")
    try:
        return await check(watch, reader, names)
    except PermissionDeniedError as error:
        return Check(id=id, status="skip", summary=f"not allowed: {error.message}", fix=error.hint)
    except GlideMQError as error:
        # Damage that prevents one check must not hide what the others find.
        return Check(id=id, status="fail", summary=f"could not be checked: {error.message}", fix=error.hint)
