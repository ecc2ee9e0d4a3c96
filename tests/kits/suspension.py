"""Suspended jobs as tests need them, without a worker around them."""

from __future__ import annotations

import contextlib
from typing import Any

from glidemq_core.ai.suspension import suspend
from glidemq_core.errors import ServerError
from glidemq_core.queue import Queue
from glidemq_core.server.context import QueueContext


async def activated(queue: Queue, name: str = "moderate", **options: Any) -> tuple[str, str, str]:
    """Add a job and start it as a worker of any kind does: entry pending, hash active."""
    scope = await queue.context()
    job = await queue.add(name, {"draft": "hello"}, **options)
    assert job is not None
    return job.id, *(await activate(scope, job.id))


async def activate(scope: QueueContext, job_id: str) -> tuple[str, str]:
    keys, connection = scope.keys, scope.connection
    with contextlib.suppress(ServerError):  # it exists
        await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    reply = await connection.command(
        "XREADGROUP", "GROUP", "workers", "worker-1-00000000", "COUNT", 1, "STREAMS", keys.stream, ">"
    )
    [entry] = next(iter(reply.values()))
    now = str(scope.now_ms())
    fields = ("state", "active", "processedOn", now, "lastActive", now)
    await connection.command("HSET", keys.job(job_id), *fields)
    return entry.decode(), now


async def suspended(
    queue: Queue, *, reason: str | None = "review", timeout: int = 0, **options: Any
) -> tuple[str, str, str]:
    job_id, entry, started = await activated(queue, **options)
    assert (
        await suspend(await queue.context(), job_id, entry, started, reason, timeout)
    ).status == "suspended"
    return job_id, entry, started


async def field(queue: Queue, job_id: str, name: str) -> str | None:
    scope = await queue.context()
    value = await scope.connection.command("HGET", scope.keys.job(job_id), name)
    return None if value is None else value.decode()


async def signal_list(queue: Queue, job_id: str) -> list[str]:
    scope = await queue.context()
    return [
        item.decode() for item in await scope.connection.command("LRANGE", scope.keys.signals(job_id), 0, -1)
    ]
