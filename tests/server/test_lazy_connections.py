"""Objects that open their connection at first use: one is opened, and none is left when they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually
from kits.watch import viewer_url

from glidemq_core.ai.streams.hub import StreamHub
from glidemq_core.errors import ClosedError, PermissionDeniedError
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.jobs.events.feed import EventFeed
from glidemq_core.queue import Queue
from glidemq_core.server import context
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Every connection that an object opens for itself."""
    made: list[Connection] = []

    async def noted(*args: Any, **keywords: Any) -> Connection:
        connection = await connect(*args, **keywords)
        made.append(connection)
        return connection

    monkeypatch.setattr(context, "connect", noted)
    return made


Use = Callable[[Any], Any]
OBJECTS: dict[str, tuple[Callable[[str], Any], Use]] = {
    "queue": (lambda url: Queue("q", url), lambda queue: queue.exists()),
    "producer": (FlowProducer, lambda producer: producer.add_dag([])),
    "watch": (Watch, lambda watch: watch.known()),
}


@pytest.mark.parametrize("kind", OBJECTS)
async def test_many_first_uses_open_one_connection(
    kind: str, server_url: str, connection: Connection, opened: list[Connection]
) -> None:
    make, use = OBJECTS[kind]
    made = make(server_url)

    await asyncio.gather(*(use(made) for _ in range(5)))
    await made.close()

    assert [one.closed for one in opened] == [True]
    with pytest.raises(ClosedError):
        await use(made)


@pytest.mark.parametrize("kind", OBJECTS)
async def test_closing_while_it_opens_leaves_no_connection(
    kind: str, server_url: str, connection: Connection, opened: list[Connection]
) -> None:
    make, use = OBJECTS[kind]
    made = make(server_url)
    using = asyncio.ensure_future(use(made))
    await asyncio.sleep(0)

    await made.close()

    with pytest.raises(ClosedError):
        await using
    assert all(one.closed for one in opened)


async def test_a_queue_names_its_connection(server_url: str, connection: Connection) -> None:
    assert Queue("q", connection).connection is connection
    queue = Queue("q", server_url)
    assert queue.connection is None
    async with queue:
        assert queue.connection is not None
        assert not queue.connection.closed
    assert queue.connection is None


async def test_a_queue_that_may_not_be_set_up_says_so_each_time(
    server_url: str, connection: Connection, opened: list[Connection]
) -> None:
    """Its dead letter queue is noted at the first use, which this user may not."""
    queue = Queue("q", await viewer_url(connection, server_url), dead_letter_queue="dead")

    for _ in range(2):
        with pytest.raises(PermissionDeniedError):
            await queue.exists()

    assert [one.closed for one in opened] == [True, True]


async def test_a_closed_feed_does_not_connect_again(connection: Connection) -> None:
    feed = EventFeed(connection, "glide", lambda: ("q",))
    await feed.open()
    await feed.close()

    with pytest.raises(ClosedError):
        await feed.read()

    assert feed._own is None


@pytest.mark.parametrize("of", ["queue", "watch"])
async def test_who_stops_reading_a_stream_leaves_its_reader_at_once(connection: Connection, of: str) -> None:
    queue = Queue("q", connection)
    job = await queue.add("chat")
    assert job is not None
    await job.stream({"t": "a"})
    chunks = queue.stream(job.id) if of == "queue" else Watch(connection).stream("q", job.id)
    hub = StreamHub.of(connection)
    assert (await anext(chunks))["t"] == "a"
    coming = asyncio.ensure_future(anext(chunks))
    await eventually(lambda: any(reader.tails for reader in hub.readers))
    await job.stream({"t": "b"})
    assert (await coming)["t"] == "b"
    assert any(reader.tails for reader in hub.readers)

    await chunks.aclose()

    assert not any(reader.tails for reader in hub.readers)
