"""Workers of many queues: what finding them costs."""

from __future__ import annotations

import json

import pytest
from test_inbox import costs

from glidemq_core.connection import Connection
from glidemq_core.keys import QueueKeys
from glidemq_core.watch import Watch


def registration(pid: int) -> str:
    return json.dumps({"addr": "host", "pid": pid, "startedAt": 1_000, "activeJobs": 0})


@pytest.mark.leaves_records
async def test_one_walk_finds_the_new_workers_of_all_queues(connection: Connection) -> None:
    names = [f"q{number}" for number in range(40)]
    registered = [["SET", QueueKeys("glide", name).worker("worker-1-1"), registration(7)] for name in names]
    await connection.pipeline(registered)

    async with Watch(connection, calls_per_s=5_000) as watch:
        before = (await costs(connection)).get("scan", 0)
        listed = await watch.workers(names)

    assert sorted(worker.queue for worker in listed.workers) == sorted(names)
    assert (await costs(connection))["scan"] - before <= 10


@pytest.mark.leaves_records
async def test_consumers_of_workers_long_gone_are_asked_for_once(connection: Connection) -> None:
    keys = QueueKeys("glide", "q")
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    dead = [f"worker-1-{number:08x}" for number in range(100)]
    await connection.pipeline([["XGROUP", "CREATECONSUMER", keys.stream, "workers", name] for name in dead])
    await connection.command("XGROUP", "CREATECONSUMER", keys.stream, "workers", "worker-2-0")
    await connection.command("SET", keys.worker("worker-2-0"), registration(8))

    async with Watch(connection, calls_per_s=5_000) as watch:
        first = await watch.workers(["q"])
        before = (await costs(connection))["get"]
        second = await watch.workers(["q"])
        asked = (await costs(connection))["get"] - before
        # One comes back: it reads again and is registered.
        await connection.command("SET", keys.worker(dead[3]), registration(9))
        watch_late = connection.now_ms
        connection.now_ms = lambda: watch_late() + 5_000  # type: ignore[method-assign]  # as if it read later
        third = await watch.workers(["q"])

    assert [worker.pid for worker in (*first.workers, *second.workers)] == [8, 8]
    assert asked == 1
    assert sorted(worker.pid for worker in third.workers) == [8, 9]
