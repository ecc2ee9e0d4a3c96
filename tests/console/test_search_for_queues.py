"""The search for queues goes on when one of its calls was not answered, however well everything else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually

from glidemq_console.feed import live
from glidemq_core import Queue
from glidemq_core.errors import CallTimeoutError
from glidemq_core.records import Discovery
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

from .pilot_kit import app_of, console


async def test_a_call_of_the_search_without_an_answer_ends_neither_search_nor_session(
    connection: Connection, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SEARCH_AGAIN_S", 0.1)
    discover, calls = Watch.discover, 0

    async def unanswered_once(watch: Watch, **options: Any) -> AsyncIterator[Discovery]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise CallTimeoutError("no answer in time", command="SCAN", timeout_ms=1)
        async for step in discover(watch, **options):
            yield step

    monkeypatch.setattr(Watch, "discover", unanswered_once)
    async with Queue[Any, Any]("hidden", connection) as queue:
        await queue.add("answer", {})
        # Only the search can find it: peers register no queues.
        await connection.command("DEL", "glide:queues")
        async with console(server_url) as pilot:
            await eventually(lambda: app_of(pilot).snapshot.queue("hidden") is not None)
            await eventually(lambda: app_of(pilot).snapshot.complete)
            assert calls == 2
