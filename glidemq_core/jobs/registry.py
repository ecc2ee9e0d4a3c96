"""Sets of queue names that lie outside every slot: who adds to a queue, works or reports in it notes its name there."""

from __future__ import annotations

import asyncio
import math
from weakref import WeakKeyDictionary

from ..server.connection import Connection
from ..server.context import QueueContext
from ..wire.keys import registry, usage_queues

#: A name is written again after this long (s), in case the server lost it or somebody obliterated the queue.
_AGAIN_S = 300.0

#: When a connection shall write to a set again, by set and queue.
_due: WeakKeyDictionary[Connection, dict[tuple[str, str], float]] = WeakKeyDictionary()


async def register_queue(context: QueueContext) -> None:
    """Note the queue where consoles look first."""
    await _note(context, registry(context.keys.prefix))


async def register_usage(context: QueueContext) -> None:
    """Note the queue where summaries of usage look."""
    await _note(context, usage_queues(context.keys.prefix))


async def forget_queue(context: QueueContext) -> None:
    """Take a queue that is no more off the list of queues; the next to use it notes it again."""
    key = registry(context.keys.prefix)
    _due.get(context.connection, {}).pop((key, context.queue), None)
    await context.connection.command("SREM", key, context.queue)


async def _note(context: QueueContext, key: str) -> None:
    due, now = _due.setdefault(context.connection, {}), asyncio.get_running_loop().time()
    if now >= due.get((key, context.queue), -math.inf) and not context.connection.read_only:
        await context.connection.command("SADD", key, context.queue)
        due[key, context.queue] = now + _AGAIN_S
