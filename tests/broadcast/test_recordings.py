"""The same runs as a recording's, made by our broadcast: they must leave the same records."""

from __future__ import annotations

from typing import Any

from conftest import eventually
from kits.recording import same, steady_minute  # noqa: F401

from glidemq_core import Broadcast, BroadcastWorker, Connection


async def test_two_subscriptions(connection: Connection) -> None:
    got: list[tuple[str, str, Any]] = []

    def worker(name: str) -> BroadcastWorker[Any, Any]:
        async def process(job: Any) -> int:
            got.append((name, job.name, job.data))
            return 1

        return BroadcastWorker("broadcast", process, connection, subscription=name)

    async with worker("s1"), worker("s2"):
        assert await Broadcast("broadcast", connection).publish("orders.created", {"id": 7}) == "1"
        await eventually(lambda: len(got) == 2)
        await same(connection, "broadcast")
    assert sorted(got) == [("s1", "orders.created", {"id": 7}), ("s2", "orders.created", {"id": 7})]


async def test_a_message_under_way(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.wait_aborted()

    await Broadcast("broadcast_pending", connection).publish("early", {"n": 1})
    worker = BroadcastWorker(
        "broadcast_pending", process, connection, subscription="slow", start_from="0-0", grace=0
    )
    async with worker:
        await eventually(lambda: worker.active_jobs == 1)
        await same(connection, "broadcast_pending")
