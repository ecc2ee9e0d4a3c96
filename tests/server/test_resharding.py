"""Slots that move from node to node while queues are used: nothing is split, lost or doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from conftest import eventually
from kits.cluster import Cluster, running_cluster

from glidemq_core import Connection, NewJob, Queue, Worker, connect, errors
from glidemq_core.server import client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("nodes"), primaries=2) as running:
        yield running


@pytest.fixture
async def connection(nodes: Cluster) -> AsyncIterator[Connection]:
    async with connect(nodes.url()) as opened:
        yield opened


async def test_a_queue_whose_slot_moves_key_by_key_stays_one_queue(
    nodes: Cluster, connection: Connection
) -> None:
    name = nodes.queue_at(0)
    source, target = nodes.primaries
    queue: Queue[Any, Any] = Queue(name, connection)
    ran: Counter[str] = Counter()
    ids: list[str] = []

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(0.002)

    async def add_more(count: int) -> None:
        for number in range(count):
            job = await queue.add("late", number)
            assert job is not None
            ids.append(job.id)

    ids += [job.id for job in await queue.add_bulk([NewJob("early", n) for n in range(300)])]
    async with Worker(name, process, connection, concurrency=5, log_errors=False):
        await eventually(lambda: len(ran) > 20)
        await nodes.open_slot(name, source, target)
        adding = [asyncio.create_task(add_more(10)) for _ in range(5)]
        # Nothing of the queue may come to be on the target but what is moved there.
        for _ in range(5):
            assert await target.ask("CLUSTER", "COUNTKEYSINSLOT", await _slot(target, name)) == 0
            await asyncio.sleep(0.1)
        while await nodes.move_keys(name, source, target, 50):
            pass
        assert await source.ask("CLUSTER", "COUNTKEYSINSLOT", await _slot(source, name)) == 0
        await nodes.close_slot(name, source, target)
        await asyncio.gather(*adding)
        await eventually(lambda: _completed(queue, 350), timeout=30)

    assert sorted(map(int, ids)) == list(range(1, 351))
    again = {job_id for job_id, times in ran.items() if times > 1}
    for job_id in again:
        assert await connection.command("HGET", f"glide:{{{name}}}:job:{job_id}", "stalledCount")
    assert len(ran) == 350


async def test_an_add_to_a_slot_that_never_arrives_ends_with_words_and_writes_nothing(
    nodes: Cluster, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_MOVING_S", 0.0)
    name = next(f"never{n}" for n in range(100) if nodes.owner(f"never{n}") is nodes.primaries[0])
    source, target = nodes.primaries
    await nodes.open_slot(name, source, target)
    try:
        with pytest.raises(
            errors.ServerUnavailableError, match=r"moves to another node.*nothing was changed"
        ):
            await Queue(name, connection).add("n", {})
        for node in (source, target):
            assert await node.ask("CLUSTER", "COUNTKEYSINSLOT", await _slot(node, name)) == 0
    finally:
        for node in (target, source):
            await node.ask("CLUSTER", "SETSLOT", await _slot(node, name), "STABLE")
    assert await Queue[Any, Any](name, connection).add("n", {})


async def test_a_slot_that_moves_as_a_whole_takes_its_queue_along(
    nodes: Cluster, connection: Connection
) -> None:
    name = next(f"whole{n}" for n in range(100) if nodes.owner(f"whole{n}") is nodes.primaries[0])
    source, target = nodes.primaries
    queue: Queue[Any, Any] = Queue(name, connection)
    slot = str(await _slot(source, name))
    added = [job.id for job in await queue.add_bulk([NewJob("early", n) for n in range(200)])]
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1

    async def moved() -> bool:
        return (
            slot
            in str(await target.ask("CLUSTER", "NODES")).partition("myself")[2].partition("\n")[0].split()
        )

    async with Worker(name, process, connection, log_errors=False):
        await source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        while not await moved():
            job = await queue.add("late", {})
            assert job is not None
            added.append(job.id)
        await eventually(lambda: _completed(queue, len(added)), timeout=30)

    assert sorted(map(int, added)) == list(range(1, len(added) + 1))
    assert set(ran.values()) == {1}


async def _slot(node: Any, name: str) -> int:
    return int(await node.ask("CLUSTER", "KEYSLOT", name))


async def _completed(queue: Queue[Any, Any], count: int) -> bool:
    return (await queue.get_job_counts()).completed == count
