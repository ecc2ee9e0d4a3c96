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


async def register_queue(scope: QueueContext) -> None:
    """Note the queue where consoles look first."""
    await _note(scope, registry(scope.keys.prefix))


async def register_usage(scope: QueueContext) -> None:
    """Note the queue where summaries of usage look."""
    await _note(scope, usage_queues(scope.keys.prefix))


async def forget_queue(scope: QueueContext) -> None:
    """Take a queue that is no more off the list of queues; the next to use it notes it again."""
    key = registry(scope.keys.prefix)
    _due.get(scope.connection, {}).pop((key, scope.queue), None)
    await scope.connection.command("SREM", key, scope.queue)


async def _note(scope: QueueContext, key: str) -> None:
    due, now = _due.setdefault(scope.connection, {}), asyncio.get_running_loop().time()
    if now >= due.get((key, scope.queue), -math.inf) and not scope.connection.read_only:
        await scope.connection.command("SADD", key, scope.queue)
        due[key, scope.queue] = now + _AGAIN_S
