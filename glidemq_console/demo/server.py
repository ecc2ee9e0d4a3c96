"""Connect to the server of the demo, emptied first if it is its own, and run the workload on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from glidemq_core import Connection, EmbeddedServer, Queue, connect
from glidemq_core.server.embedded.folder import Folder

from .history import make_history
from .options import DemoOptions
from .pace import World
from .traces import leave_traces
from .traffic import count_outcomes, keep_adding, keep_deciding
from .workloads.agent import Agent
from .workloads.chat import Chat
from .workloads.moderation import Moderation
from .workloads.rag import Rag, RagSteps
from .workloads.research import Research, keep_topping_up
from .workloads.webhooks import Digest, Webhooks
from .workloads.workload import Workload

WORKLOADS: tuple[type[Workload], ...] = (Chat, Moderation, Agent, Rag, RagSteps, Research, Webhooks, Digest)
QUEUES = tuple(workload.queue for workload in WORKLOADS)
#: Queues that are paused when the demo begins.
PAUSED = (Digest.queue,)

#: How long the demo's own server may stay after its last user, ms, and how long to wait until it has stopped, s.
_LINGER_MS = 400
_STOP_S = 2.5
#: What workers get beyond their grace to hand back their jobs, s.
_HAND_BACK_S = 4


class DemoRunsError(Exception):
    """Another demo uses the server already."""


@asynccontextmanager
async def own_server() -> AsyncIterator[str]:
    """Run the demo's own server, for this demo alone; yields its URL. It goes away with its last user.

    Raises:
        DemoRunsError: another demo runs on it.
        EmbeddedServerError: it cannot be started.
    """
    server, _ = EmbeddedServer.of_url(DemoOptions.url)
    server = EmbeddedServer(server.data_dir, linger=_LINGER_MS)
    folder = Folder(server.data_dir)
    folder.create()
    lock = folder.lock("demo")
    if lock is None:
        raise DemoRunsError
    try:
        async with server:
            yield server.url
        with suppress(TimeoutError):  # someone else may go on using it
            async with asyncio.timeout(_STOP_S):
                await server.wait_stopped()
    finally:
        os.close(lock)


@asynccontextmanager
async def demo_connection(
    options: DemoOptions, world: World, *, history: bool = False
) -> AsyncIterator[Connection]:
    """Connect to the server of the demo: its own is emptied and may get a history; another is left as it is."""
    async with AsyncExitStack() as stack:
        url = options.url if options.is_guest else await stack.enter_async_context(own_server())
        connection = await stack.enter_async_context(
            connect(url, prefix=options.key_prefix, role="demo", **options.worker_connect_options)
        )
        if not options.is_guest:
            await connection.command("FLUSHALL")
            await connection.command("FUNCTION", "FLUSH")
            if history:
                busy = [workload(world, connection) for workload in WORKLOADS if workload.queue not in PAUSED]
                await make_history(url, options.key_prefix, busy)
                await leave_traces(url, options.key_prefix)
        yield connection


async def run_workload(
    world: World,
    connection: Connection,
    stop: asyncio.Event,
    *,
    reviewer: bool,
    grace_ms: int,
    on_ready: Callable[[], None],
) -> None:
    """Run the whole workload until `stop`; running jobs get `grace_ms`, then they are handed back.

    Args:
        reviewer: decide on what waits for a person, and top up budgets that have run out.
        on_ready: called once everything runs.
    Raises: what ended a part of the workload before its time, such as a lost server.
    """
    workloads = [workload(world, connection) for workload in WORKLOADS]
    pairs: list[tuple[Workload, Queue[Any, Any]]] = [(w, Queue(w.queue, connection)) for w in workloads]
    workers = [workload.worker(grace_ms) for workload in workloads]
    for _, queue in pairs:
        if queue.name in PAUSED:
            await queue.pause()
    await asyncio.gather(*(workload.prepare(queue) for workload, queue in pairs))
    tasks: list[asyncio.Task[None]] = []
    try:
        for worker in workers:
            count_outcomes(world, worker)
            await worker.start()
        tasks = [asyncio.create_task(keep_adding(w, q)) for w, q in pairs if w.traffic.per_s]
        if reviewer:
            tasks.append(asyncio.create_task(keep_deciding(world, [q for w, q in pairs if w.traffic.asking])))
            tasks += [asyncio.create_task(keep_topping_up(w, q)) for w, q in pairs if isinstance(w, Research)]
        on_ready()
        end = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({end, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        for task in done - {end}:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A server that is gone takes no results: nobody waits for it to take them.
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_ms / 1_000 + _HAND_BACK_S):
                await asyncio.gather(*(worker.close(force=grace_ms == 0) for worker in workers))
