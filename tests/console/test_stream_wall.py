"""The wall gives its panes to what streams, and says so when one has to go."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually

from glidemq_console.screens.streams import screen as screen_module
from glidemq_console.screens.streams.screen import MOST
from glidemq_core import JobRef, NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

from .test_streams_screen import screen_of, slots, streams, talking

pytestmark = pytest.mark.usefixtures("connection")


async def test_a_suspended_stream_makes_room_for_one_that_streams(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_module, "LINGER_MS", 0)

    async def ask(job: Any) -> None:
        await job.stream_chunk("content", "may I?")
        await job.suspend(reason="ask")

    async with Queue("asks", server_url) as queue, streams(server_url) as pilot:
        screen_of(pilot)._wall = 1
        async with Worker("asks", ask, server_url):
            job = await queue.add("ask", {})
            assert job is not None
            screen_of(pilot).run_worker(screen_of(pilot)._follow(job.ref))
            await eventually(lambda: slots(pilot) and slots(pilot)[0].row is not None)
            await eventually(lambda: slots(pilot)[0].row.state == "suspended")  # type: ignore[union-attr]

            async with talking(server_url) as (_, [running]):
                await eventually(lambda: [slot.ref for slot in slots(pilot)] == [running.ref])


async def test_a_tenth_stream_says_whose_pane_it_takes(connection: Connection, server_url: str) -> None:
    async with Queue("chat", connection) as queue, streams(server_url) as pilot:
        jobs = await queue.add_bulk([NewJob("answer", n) for n in range(MOST + 1)])
        for job in jobs:
            screen_of(pilot).open(JobRef("chat", job.id))
            await eventually(lambda job=job: any(slot.ref == job.ref for slot in slots(pilot)))

        assert len(slots(pilot)) == MOST
        told = screen_of(pilot).message
        assert told is not None
        assert "9 panes at most: that of chat:" in told
