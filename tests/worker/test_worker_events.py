"""Handlers that are slower than the work, and errors that repeat while the server is away."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import in_state, quick

from glidemq_core.errors import CallTimeoutError, ServerUnavailableError
from glidemq_core.options.job import NewJob
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker, events


@pytest.fixture(autouse=True)
def fresh_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_log_gate", events.IntervalGate(1.0))


async def _nothing(_: Any) -> None: ...


async def test_events_that_a_slow_handler_cannot_take_are_told_with_their_number(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "_LIMIT", 10)
    go_on, errors, told = asyncio.Event(), list[BaseException](), list[str]()
    await bench.queue.add_bulk([NewJob("n")] * 100)
    worker = quick(_nothing, connection, concurrency=10)
    worker.on("error", errors.append)

    @worker.on("completed")
    async def _(job: Any, _: Any) -> None:
        await go_on.wait()
        told.append(job.id)

    async with worker:
        await eventually(lambda: worker._events._dropped)
        await eventually(lambda: in_state(bench, "100", "completed"))
        await eventually(lambda: not worker.active_jobs)
        go_on.set()
        await eventually(lambda: errors)
    assert len(told) == 11, "one under way, ten that waited"
    assert "89 events were dropped" in str(errors[0])
    assert "89 completed" in caplog.text


async def test_closing_tells_how_many_events_nobody_handled(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "_DRAIN_S", 0.1)
    await bench.queue.add_bulk([NewJob("n")] * 50)
    free = asyncio.Event()
    worker = quick(_nothing, connection, concurrency=10)
    worker.on("completed", lambda *_: free.wait())
    async with worker:
        await eventually(lambda: in_state(bench, "50", "completed"))
        await eventually(lambda: not worker.active_jobs)
    free.set()
    assert "closed: 49 events were dropped, handlers are slower than the work (49 completed)" in caplog.text


async def test_an_outage_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Several workers and all their loops share one line a second."""
    told = [events.WorkerEvents(log_errors=True) for _ in range(3)]
    error = ServerUnavailableError("cannot reach 127.0.0.1:1", address="127.0.0.1:1")
    for _ in range(50):
        for one in told:
            one.emit("error", error)
    assert len(caplog.records) == 1
    events._log_gate._next = 0.0  # a second later
    told[0].emit("error", CallTimeoutError("no answer", command="x", timeout_ms=1))
    assert caplog.messages[1:] == ["CallTimeoutError: no answer (149 more since the last one)"]
    for _ in range(3):
        told[0].emit("error", ValueError("of another kind"))
    assert len(caplog.records) == 5


async def test_a_worker_whose_server_is_gone_says_so_once_a_second(
    server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "glidemq.worker")
    async with connect(server_url) as own:
        call, failed = own.call, 0

        async def away(*_: Any) -> Any:
            nonlocal failed
            failed += 1
            raise ServerUnavailableError("cannot reach it", address="it")

        async with Worker("q", _nothing, own, promotion_interval=5, stalled_interval=1_000):
            own.call = away  # type: ignore[method-assign]
            loop = asyncio.get_running_loop()
            began = loop.time()
            await eventually(lambda: failed > 100)
            lines, passed = len(caplog.records), loop.time() - began
            own.call = call  # type: ignore[method-assign]
    assert lines <= passed + 1
