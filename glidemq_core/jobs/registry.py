"""Registries of queue names, so that consoles need no SCAN: who adds jobs, works or reports usage adds the name."""

from __future__ import annotations

import asyncio
import math
from weakref import WeakKeyDictionary

from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.keys import registry, usage_queues

#: A name is written again after this long (s), in case the server lost it or somebody obliterated the queue.
_AGAIN_S = 300.0

#: When a connection writes to a registry again (loop time, s), by registry and queue.
_due: WeakKeyDictionary[Connection, dict[tuple[str, str], float]] = WeakKeyDictionary()


async def register_queue(context: QueueContext) -> None:
    """Add the queue to the registry of queues."""
    await _register(context, registry(context.keys.prefix))


async def register_usage(context: QueueContext) -> None:
    """Add the queue to the registry of queues with usage."""
    await _register(context, usage_queues(context.keys.prefix))


async def forget_queue(context: QueueContext) -> None:
    """Remove an obliterated queue from the registry; whoever uses it next adds it again."""
    key = registry(context.keys.prefix)
    _due.get(context.connection, {}).pop((key, context.queue), None)
    await context.connection.command("SREM", key, context.queue)


async def _register(context: QueueContext, key: str) -> None:
    due, now = _due.setdefault(context.connection, {}), asyncio.get_running_loop().time()
    if now >= due.get((key, context.queue), -math.inf) and not context.connection.read_only:
        await context.connection.command("SADD", key, context.queue)
        due[key, context.queue] = now + _AGAIN_S
