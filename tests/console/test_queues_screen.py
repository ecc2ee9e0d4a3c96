"""Rows of the overview, read from a real server."""

from __future__ import annotations

from contextlib import AsyncExitStack

from glidemq_console.feed.queue_rows import QueueRows
from glidemq_console.model.snapshot import workers_text
from glidemq_core import Connection, Worker
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
