"""Workers on a real server: who serves what, what a dead one left behind, queues that nobody serves."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import eventually
from kits.hostile import CORPUS, dangerous
from kits.watch import viewer_url
from textual.pilot import Pilot

from glidemq_console.config.console import ConsoleConfig
from glidemq_console.feed.readers.workers import (
    A_ROUND,
    HIDDEN_IDLE,
    IDLE_EVERY_MS,
    SHOWN_EVERY_MS,
    WorkersReader,
)
from glidemq_console.feed.reading import Reading
from glidemq_console.model.snapshot import Interests, JobsQuery
from glidemq_console.screens.jobs.list import JobsScreen
from glidemq_console.screens.workers.screen import WorkersScreen
from glidemq_core import Queue, Worker
from glidemq_core.records import WorkerList
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

from .pilot_kit import app_of, console, text_on

AT = datetime(2026, 3, 14, tzinfo=UTC)


async def leave_stalled(connection: Connection, queue: str, jobs: dict[str, str]) -> None:
    """Leave running jobs behind, as a worker that died has them."""
    keys, beat = QueueKeys("glide", queue), str(connection.now_ms() - 120_000)
    await connection.command("SADD", "glide:queues", queue)
    for job_id, name in jobs.items():
        fields = ["name", name, "state", "active", "opts", "{}", "lastActive", beat, "processedOn", beat]
        await connection.command("HSET", keys.job(job_id), *fields)
        await connection.command("XADD", keys.stream, "*", "jobId", job_id)
    await connection.command("XGROUP", "CREATE", keys.stream, "workers", "0", "MKSTREAM")
    await connection.command("XREADGROUP", "GROUP", "workers", "w", "COUNT", 100, "STREAMS", keys.stream, ">")


async def on_workers(pilot: Pilot[int], kinds: list[tuple[str, str]]) -> WorkersScreen:
    """Open the screen and wait for these rows, each a kind and a queue."""
    await pilot.press("7")
    await eventually(lambda: isinstance(pilot.app.screen, WorkersScreen))
    screen = pilot.app.screen
    assert isinstance(screen, WorkersScreen)
    await eventually(lambda: [(row.kind, row.queue) for row in screen.listed] == kinds)
    await pilot.pause()
    return screen


@pytest.mark.leaves_records
async def test_workers_stalled_jobs_and_unserved_queues_are_listed(
    connection: Connection, server_url: str
) -> None:
    started = asyncio.Event()

    async def hold(_: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    await leave_stalled(connection, "rag", {"dead": "embed", "gone": "embed"})
    await Queue("mail", connection).add("letter", {})
    job = await Queue("chat", connection).add("answer", {})
    assert job is not None
    async with Worker("chat", hold, connection, concurrency=3, stalled_interval=2_000) as worker:
        await started.wait()
        async with console(server_url, (160, 30)) as pilot:
            screen = await on_workers(pilot, [("unserved", "mail"), ("silent", "rag"), ("worker", "chat")])
            await eventually(lambda: screen.listed[2].running)
            await pilot.pause()
            text = text_on(pilot)

            assert "1 job waits · oldest" in text
            assert "nobody takes over · 2 jobs stalled · embed dead 2m" in text
            assert f"answer {job.id} " in text
            assert "1/3" in text
            assert "2 stalled · 1 queue without worker · 1 worker, 1 running" in text
            assert screen.listed[2].worker is not None
            assert screen.listed[2].worker.id == worker.id
        await worker.close(force=True)


@pytest.mark.leaves_records
async def test_a_silent_workers_row_counts_down_to_the_next_sweep(
    connection: Connection, server_url: str
) -> None:
    async def nothing(_: Any) -> None:
        """Never called: what is stalled was read a moment ago, and waits for the next sweep."""

    await leave_stalled(connection, "rag", {"dead": "embed", "gone": "embed"})
    async with (
        Worker("rag", nothing, connection, stalled_interval=30_000),
        console(server_url, (160, 30)) as pilot,
    ):
        screen = await on_workers(pilot, [("silent", "rag"), ("worker", "rag")])
        await eventually(lambda: screen.listed[0].takeover_ms is not None)
        await eventually(lambda: "taken over in 2" in text_on(pilot))

        # The turn ends without a sweep, as where the other worker dies, too.
        await connection.command("DEL", QueueKeys("glide", "rag").turn("stalls"))
        await eventually(lambda: "another takes over · 2 jobs stalled" in text_on(pilot))


@pytest.mark.leaves_records
async def test_enter_lists_the_jobs_that_a_row_tells_of(connection: Connection, server_url: str) -> None:
    await leave_stalled(connection, "rag", {"dead": "embed"})
    await Queue("mail", connection).add("letter", {})
    async with Worker("chat", lambda _: None, connection), console(server_url) as pilot:
        rows = [("unserved", "mail"), ("silent", "rag"), ("worker", "chat")]
        for steps, query in enumerate(
            (
                JobsQuery(queue="mail", state="waiting"),
                JobsQuery(queue="rag", state="stalled"),
                JobsQuery(queue="chat", state="active"),
            )
        ):
            await on_workers(pilot, rows)
            await pilot.press("g", *["j"] * steps, "enter")
            await eventually(
                lambda query=query: isinstance(s := pilot.app.screen, JobsScreen) and s._query == query
            )
            await pilot.press("escape")


@pytest.mark.leaves_records
async def test_the_filter_finds_jobs_and_sorting_keeps_what_is_wrong_on_top(
    connection: Connection, server_url: str
) -> None:
    await leave_stalled(connection, "rag", {"dead": "embed"})
    async with (
        Worker("chat", lambda _: None, connection),
        Worker("mail", lambda _: None, connection),
        console(server_url) as pilot,
    ):
        every = [("silent", "rag"), ("worker", "chat"), ("worker", "mail")]
        screen = await on_workers(pilot, every)
        await pilot.press("S")
        assert [row.queue for row in screen.listed] == ["rag", "mail", "chat"]
        assert app_of(pilot).console_screen.message == "sorted by queue, highest first"  # type: ignore[union-attr]
        await pilot.press("slash", *"embed", "enter")
        await eventually(lambda: [row.queue for row in screen.listed] == ["rag"])
        await pilot.press("escape")
        await eventually(lambda: len(screen.listed) == 3)


@pytest.mark.leaves_records
async def test_who_may_only_read_sees_the_same(connection: Connection, server_url: str) -> None:
    await leave_stalled(connection, "rag", {"dead": "embed"})
    async with Worker("chat", lambda _: None, connection):
        url = await viewer_url(connection, server_url)
        async with console(url) as pilot:
            await on_workers(pilot, [("silent", "rag"), ("worker", "chat")])
            assert app_of(pilot).snapshot.trouble is None


@pytest.mark.leaves_records
@pytest.mark.parametrize("size", [(60, 15), (220, 60)])
async def test_hostile_names_are_inert(
    connection: Connection, server_url: str, size: tuple[int, int]
) -> None:
    texts = [text[:200].encode("utf-8", "replace").decode() or "empty" for text in CORPUS.values()]
    jobs = {f"{number}{text}": text for number, text in enumerate(texts)}
    await leave_stalled(connection, "rag", jobs)
    for text in texts:
        await leave_stalled(connection, text[:100], {"1": text})
        record = {
            "addr": text,
            "pid": 7,
            "startedAt": connection.now_ms(),
            "activeJobs": len(jobs),
            "concurrency": 10,
            "jobs": [{"id": id, "name": name, "startedAt": 0} for id, name in jobs.items()],
        }
        await connection.command("SET", QueueKeys("glide", "rag").worker(text), json.dumps(record))
    async with console(server_url, size, ascii_glyphs=size[0] == 60) as pilot:
        await pilot.press("7")
        await eventually(lambda: isinstance(pilot.app.screen, WorkersScreen))
        screen = pilot.app.screen
        assert isinstance(screen, WorkersScreen)
        await eventually(lambda: sum(row.kind == "worker" for row in screen.listed) == len(texts))
        await eventually(lambda: sum(row.kind == "silent" for row in screen.listed) >= len(texts) - 5)
        await pilot.pause()
        for _ in range(0, len(screen.listed), 10):
            assert dangerous(text_on(pilot)) == []
            await pilot.press("pagedown")
            await pilot.pause()


# --- what is asked of the server ---------------------------------------------------------------------------


async def test_a_thousand_queues_are_asked_by_rounds_and_then_those_on_screen_most() -> None:
    names = [f"q{number:04}" for number in range(1_000)]
    now = 1_000_000
    asked: list[list[str]] = []

    async def workers(chosen: list[str]) -> WorkerList:
        asked.append(chosen)
        return WorkerList(workers=(), stalled=(), complete=True, at=AT)

    reading = Reading(ConsoleConfig(url="valkey://nowhere", clock=lambda: now))
    reading.begin(cast("Connection", None), cast("Watch", SimpleNamespace(workers=workers)))
    reading.rows.learn(names)
    reader = WorkersReader()

    await reader.read_wanted(reading)
    assert asked == []
    reading.wants = Interests(serving=("q0990", "q0995"))
    while len(reading.known.serving) < len(names):
        reading.wake.clear()
        await reader.read_wanted(reading)
        assert reading.wake.is_set() == (len(reading.known.serving) < len(names))
    assert {len(chosen) for chosen in asked} == {A_ROUND}
    assert sorted(name for chosen in asked for name in chosen) == names

    asked.clear()
    now += IDLE_EVERY_MS
    await reader.read_wanted(reading)
    now += SHOWN_EVERY_MS
    await reader.read_wanted(reading)
    assert [chosen[:2] for chosen in asked] == [["q0990", "q0995"]] * 2
    assert [len(chosen) for chosen in asked] == [2 + HIDDEN_IDLE] * 2
