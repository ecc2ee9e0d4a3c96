"""Nodes of a cluster that die for good, the one seed among them: work goes on with the others."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.cluster import Cluster, Node, running_cluster

from glidemq_core import Connection, Queue, QueueEvents, Worker, connect, errors
from glidemq_core.server import functions, nodes
from glidemq_core.watch import Watch

FAILOVER = ("--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path, primaries=3, replicas=3, options=FAILOVER) as running:
        yield running


async def test_work_goes_on_when_the_only_seed_dies(cluster: Cluster) -> None:
    seed = cluster.nodes[0]
    names = [cluster.queue_at(number) for number in range(3)]
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[str(job.ref)] += 1

    async with connect(cluster.url(seed), request_timeout=2_000) as opened:
        queues = [Queue[Any, Any](name, opened) for name in names]
        workers = [Worker(name, process, opened, log_errors=False, block_timeout=500) for name in names]
        for worker in workers:
            await worker.start()
        for queue in queues:
            await queue.add("before", {})
        await eventually(lambda: len(ran) == 3)
        for queue in queues:
            await eventually(lambda queue=queue: _all_done(queue))
        await eventually(lambda: _same_offset(seed, cluster.replicas[0]))

        seed.kill()
        await eventually(lambda: _others_answer(opened, names), timeout=20)
        added = [await eventually(lambda queue=queue: _add(queue), timeout=20) for queue in queues]
        for job in added:
            await eventually(lambda job=job: _completed(job), timeout=20)

        # So does what is opened only now, and what looks at the server.
        assert await opened.is_reachable()
        assert (await opened.server_info()).nodes == 6
        async with QueueEvents(names[0], opened) as events:
            hearing = asyncio.ensure_future(anext(events))
            while not hearing.done():
                await _add(queues[0])
            assert hearing.result().queue == names[0]
        async with Watch(opened) as watch:
            assert len((await watch.snapshot(names)).queues) == 3
        for worker in workers:
            await worker.close()
    assert set(ran.values()) == {1}


async def test_nodes_that_came_later_are_heard_of(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(cluster.url(cluster.nodes[0])) as opened:
        assert len(opened._nodes.settings.addresses) == 6
        opened._nodes._others = ()  # as if they had joined since
        monkeypatch.setattr(nodes, "_KNOWN_S", 0.0)

        async def heard() -> bool:
            await opened.ping()
            return len(opened._nodes.settings.addresses) == 6

        assert await eventually(heard)


async def _others_answer(connection: Connection, names: list[str]) -> bool:
    """Whether one read of all queues brings the answers of those whose node lives; the dead node costs its own only."""
    library = functions.build().encode()
    try:
        dead, *others = await connection.read_many([("version", f"glide:{{{name}}}") for name in names])
    except errors.CallTimeoutError:  # the driver may spend one whole call on looking for the dead node
        return False
    assert dead == library or isinstance(dead, errors.ServerUnavailableError)
    return others == [library] * 2


async def _all_done(queue: Queue[Any, Any]) -> bool:
    return (await queue.get_job_counts()).completed == 1


async def _same_offset(*pair: Node) -> bool:
    said = [await node.ask("INFO", "replication") for node in pair]
    return len({re.search(r"master_repl_offset:(\d+)", text)[1] for text in said}) == 1  # type: ignore[index]


async def _add(queue: Queue[Any, Any]) -> Any:
    try:
        return await queue.add("n", {})
    except errors.GlideMQError:
        return None


async def _completed(job: Any) -> bool:
    try:
        return bool(await job.is_completed())
    except errors.GlideMQError:
        return False
