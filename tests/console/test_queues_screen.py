"""Rows of the overview, read from a real server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from conftest import eventually

from glidemq_console.app import ConsoleApp
from glidemq_console.feed.queue_rows import UNSERVED_A_ROUND, QueueRows
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import workers_text
from glidemq_console.screens.queues.screen import QueuesScreen
from glidemq_core import Connection, Queue, Worker
from glidemq_core.watch import Watch

from .fixed import LIVE, QUEUES, config, script
from .pilot_kit import console, text_on


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


async def test_the_list_is_as_high_as_its_rows_and_the_header_adds_them_up() -> None:
    app = ConsoleApp(config(ScriptedFeed(script())))
    async with app.run_test(size=(160, 45)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        await eventually(lambda: screen.lines.total == 4)
        await pilot.pause()

        # A header of two lines, four rows, and one that parts them from the detail; never less than that detail needs.
        assert screen.lines.size.height == 8
        [sums] = [line for line in text_on(pilot).splitlines() if line.split()[:2] == ["4", "queues"]]
        assert sums.split()[2:9] == ["1.3k", "42", "15", "7", "16", "510", "3.9k"]
        grounds = {row.key: row.ground for row in map(screen.lines.row_at, range(4)) if row is not None}
        assert grounds == {
            "inference": "error-background", "moderation": "", "rag-index": "", "webhooks": "warning-background",
        }  # fmt: skip


async def test_the_list_has_its_height_though_its_rows_are_known_before_the_screen_has_a_size(
    connection: Connection, server_url: str
) -> None:
    for number in range(10):
        await Queue[Any, Any](f"queue-{number}", connection).add("n", {})
    async with console(server_url, size=(110, 30)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        await eventually(lambda: screen.lines.total == 10)
        await eventually(lambda: screen.lines.size.height == 13)


async def test_a_refresh_moves_no_line_of_the_screen() -> None:
    known = [LIVE]
    feed = ScriptedFeed(lambda wants: script(known[-1])(wants))
    app = ConsoleApp(config(feed))
    async with app.run_test(size=(160, 45)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, QueuesScreen)
        await eventually(lambda: screen.lines.total == 4)
        await pilot.pause()
        height = screen.lines.size.height

        more = tuple(replace(QUEUES[0], name=f"queue-{number}") for number in range(12))
        known.append(replace(LIVE, queues=(*QUEUES, *more)))
        feed.refresh_now()
        await eventually(lambda: screen.lines.total == 16)
        await pilot.pause()
        assert screen.lines.size.height == height

        await pilot.resize_terminal(160, 46)
        await pilot.pause()
        await eventually(lambda: screen.lines.size.height == 19)
