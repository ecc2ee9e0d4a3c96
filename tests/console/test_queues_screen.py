"""Rows of the overview, read from a real server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from glidemq_console.feed.queue_rows import UNSERVED_A_ROUND, QueueRows
from glidemq_console.model.snapshot import workers_text
from glidemq_core import Connection, Queue, Worker
from glidemq_core.watch import Watch


async def test_the_crews_of_all_rows_are_known_at_once_though_they_never_had_a_job(
    connection: Connection,
) -> None:
    names = [f"q{number}" for number in range(6)]
    async with AsyncExitStack() as stack:
        for name in names[:5]:
            await stack.enter_async_context(Worker(name, lambda job: None, connection))
        watch = await stack.enter_async_context(Watch(connection))
        reader = QueueRows(names, connection.now_ms)
        await reader.read(watch, names)

        await reader.read_workers(watch, names)

        assert [row.workers for row in reader.rows] == [1, 1, 1, 1, 1, 0]
        assert [workers_text(reader.workers[name]) for name in names] == ["1 py"] * 5 + [""]


async def test_a_round_asks_for_the_workers_of_few_queues_that_perhaps_nobody_serves(
    connection: Connection,
) -> None:
    names = [f"q{number:02}" for number in range(40)]
    for name in names:
        async with Queue[Any, Any](name, connection) as queue:
            await queue.add("n", {})
    async with Watch(connection) as watch:
        reader = QueueRows(names, connection.now_ms)
        await reader.read(watch, names)
        assert sorted(reader.idle_with_jobs()) == names
        known = []
        for _ in range(4):
            await reader.read_workers(watch, reader.idle_with_jobs(), UNSERVED_A_ROUND)
            known.append(len(reader.workers))

    assert known == [8, 16, 24, 32]
