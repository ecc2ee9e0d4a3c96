"""Following one queue's events: decoding, starting points, filters, gaps, lost connections."""

from __future__ import annotations

import asyncio

import pytest

from glidemq_core.errors import InvalidOptionError, ServerError
from glidemq_core.jobs.events.decode import decode_event
from glidemq_core.jobs.events.queue_events import QueueEvents
from glidemq_core.records import QueueEvent
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import QueueKeys

KEYS = QueueKeys("glide", "q")


async def emit(connection: Connection, entry_id: str, event: str, job_id: str = "1", *fields: str) -> None:
    await connection.command("XADD", KEYS.events, entry_id, "event", event, "jobId", job_id, *fields)


async def take(events: QueueEvents, count: int) -> list[QueueEvent]:
    async with asyncio.timeout(30):
        return [await anext(events) for _ in range(count)]


@pytest.mark.parametrize(
    ("fields", "job_id", "data"),
    [
        (
            {"event": "retrying", "jobId": "7", "failedReason": "429", "attemptsMade": "2", "delay": "1000"},
            "7",
            {"failed_reason": "429", "attempts_made": 2, "delay": 1000},
        ),
        ({"event": "completed", "jobId": "7", "returnvalue": '{"a":1}'}, "7", {"returnvalue": {"a": 1}}),
        ({"event": "completed", "jobId": "7", "returnvalue": "{broken"}, "7", {"returnvalue": "{broken"}),
        ({"event": "progress", "jobId": "7", "data": "42"}, "7", {"data": 42}),
        ({"event": "added", "jobId": "x-1", "name": "12"}, "x-1", {"name": "12"}),
        ({"event": "drained", "jobId": "3"}, None, {"count": 3}),
        ({"event": "resumed", "jobId": "0"}, None, {}),
        ({"event": "resumed", "jobId": "7", "signal": "approve"}, "7", {"signal": "approve"}),
        (
            {"event": "group-rate-limited", "jobId": "", "groupKey": "k", "resumeAt": "5"},
            None,
            {"group_key": "k", "resume_at": 5},
        ),
        ({}, None, {}),
    ],
)
def test_events_decode(fields: dict[str, str], job_id: str | None, data: dict[str, object]) -> None:
    event = decode_event("q", "1795467240172-0", fields.items())
    assert (event.event, event.job_id, event.data) == (fields.get("event", ""), job_id, data)
    assert event.at.isoformat() == "2026-11-23T20:54:00.172000+00:00"


async def test_only_what_happens_after_ready_is_seen(connection: Connection) -> None:
    await emit(connection, "1-0", "added")
    async with QueueEvents("q", connection) as events:
        await events.wait_until_ready()
        await emit(connection, "2-0", "completed", "1", "returnvalue", "null")
        await emit(connection, "3-0", "paused", "0")
        assert [(event.id, event.event) for event in await take(events, 2)] == [
            ("2-0", "completed"),
            ("3-0", "paused"),
        ]


async def test_start_from_the_beginning_or_an_id_with_types(connection: Connection) -> None:
    for number, name in enumerate(("added", "promoted", "completed", "added"), 1):
        await emit(connection, f"{number}-0", name)
    async with QueueEvents("q", connection, last_event_id="0", types=["added"]) as events:
        assert [event.id for event in await take(events, 2)] == ["1-0", "4-0"]
    async with QueueEvents("q", connection, last_event_id="2-0") as events:
        assert [(event.id, event.gap) for event in await take(events, 2)] == [("3-0", False), ("4-0", False)]


async def test_trimmed_entries_are_told_once(connection: Connection) -> None:
    async with QueueEvents("q", connection) as events:
        await events.wait_until_ready()
        await emit(connection, "1-0", "added")
        assert [event.gap for event in await take(events, 1)] == [False]
        for number in range(2, 9):
            await emit(connection, f"{number}-0", "added")
        await connection.command("XTRIM", KEYS.events, "MAXLEN", 2)
        assert [(event.id, event.gap) for event in await take(events, 2)] == [("7-0", True), ("8-0", False)]
        await emit(connection, "9-0", "added")
        await connection.command("XTRIM", KEYS.events, "MAXLEN", 1)
        assert [(event.id, event.gap) for event in await take(events, 1)] == [("9-0", False)]


async def test_trimming_what_was_read_is_no_gap(connection: Connection) -> None:
    async with QueueEvents("q", connection, last_event_id="0") as events:
        for number in range(1, 6):
            await emit(connection, f"{number}-0", "added")
        assert not any(event.gap for event in await take(events, 5))
        await emit(connection, "6-0", "added")
        await connection.command("XTRIM", KEYS.events, "MAXLEN", 1)
        assert not (await take(events, 1))[0].gap


async def test_a_cut_connection_is_taken_up_where_it_broke(connection: Connection) -> None:
    async with QueueEvents("q", connection) as events:
        await events.wait_until_ready()
        await emit(connection, "1-0", "added")
        assert [event.id for event in await take(events, 1)] == ["1-0"]
        waiting = asyncio.create_task(take(events, 2))
        await connection.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await emit(connection, "2-0", "added")
        await emit(connection, "3-0", "added")
        assert [(event.id, event.gap) for event in await waiting] == [("2-0", False), ("3-0", False)]


async def test_closing_ends_a_waiting_iteration(connection: Connection) -> None:
    events = QueueEvents("q", connection)
    await events.wait_until_ready()

    async def collect() -> list[QueueEvent]:
        return [event async for event in events]

    waiting = asyncio.create_task(collect())
    await asyncio.sleep(0)
    await events.close()
    await events.close()
    async with asyncio.timeout(30):
        assert await waiting == []


async def test_what_no_retry_can_mend_is_raised(connection: Connection) -> None:
    await connection.command("SET", KEYS.events, "text")
    async with QueueEvents("q", connection) as events:
        with pytest.raises(ServerError):
            await take(events, 1)
    for refused in ("yesterday", "-1", ""):
        with pytest.raises(InvalidOptionError):
            QueueEvents("q", connection, last_event_id=refused)
    with pytest.raises(InvalidOptionError):
        QueueEvents("q", connection, block_timeout=0)
