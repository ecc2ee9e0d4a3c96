"""Following a stream to its end, alone and with many readers on one hub."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from conftest import eventually
from kits.stream import collect, running, set_state, streamed_queue, write  # noqa: F401

from glidemq_core.ai.streams import hub as hub_module
from glidemq_core.ai.streams import tail as tail_module
from glidemq_core.ai.streams.chunks import append_chunk
from glidemq_core.ai.streams.hub import StreamHub
from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    PermissionDeniedError,
    ServerError,
)
from glidemq_core.job import Job
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

# Following ---------------------------------------------------------------------------------------------------


async def test_a_reader_opened_before_the_first_token_gets_all_and_ends_with_the_job(queue: Queue) -> None:
    scope, job_id = await running(queue)
    got: list[str] = []
    reading = asyncio.create_task(collect(queue.stream(job_id), got))

    await write(scope, job_id, "a", "b")
    await eventually(lambda: got == ["a", "b"])
    await write(scope, job_id, "c")
    await set_state(scope, job_id, "completed", "completed")

    assert await reading == ["a", "b", "c"]


async def test_a_reader_opened_after_the_end_gets_every_chunk_once(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await asyncio.gather(*(append_chunk(scope, job_id, {"t": str(n)}) for n in range(1_234)))
    await set_state(scope, job_id, "completed")

    assert await collect(queue.stream(job_id)) == [str(n) for n in range(1_234)]


@pytest.mark.parametrize("state", ["waiting", "delayed", "suspended", "waiting-children"])
async def test_a_job_that_will_run_again_is_followed_on(queue: Queue, state: str) -> None:
    scope, job_id = await running(queue)
    got: list[str] = []
    reading = asyncio.create_task(collect(queue.stream(job_id, block=20), got))
    await write(scope, job_id, "first run")
    await set_state(scope, job_id, state, "suspended")
    await eventually(lambda: got == ["first run"])
    checked = scope.connection.stats.commands
    await eventually(lambda: scope.connection.stats.commands > checked + 3)
    assert not reading.done()

    await write(scope, job_id, "second run")
    await set_state(scope, job_id, "failed", "failed")

    assert await reading == ["first run", "second run"]


async def test_an_end_without_an_event_is_found_by_asking(queue: Queue) -> None:
    scope, job_id = await running(queue)
    reading = asyncio.create_task(collect(queue.stream(job_id, block=20)))
    await write(scope, job_id, "a")
    await set_state(scope, job_id, "completed")

    assert await reading == ["a"]


async def test_removal_ends_the_reader(queue: Queue) -> None:
    scope, job_id = await running(queue)
    got: list[str] = []
    reading = asyncio.create_task(collect(queue.stream(job_id, block=30_000), got))
    await write(scope, job_id, "a")
    await eventually(lambda: got)
    await queue.remove_job(job_id, force=True)

    assert await reading == ["a"]


async def test_retention_takes_stream_and_signals_with_the_job(queue: Queue) -> None:
    async def process(job: Job[Any, Any]) -> None:
        await job.stream_chunk("content", "draft")
        if not job.signals:
            await job.suspend()

    scope = await queue.context()
    job = await queue.add("n", remove_on_complete=True)
    assert job is not None
    assert (await queue.signal(job.id, "go", early=True)).outcome == "kept"

    async def is_gone() -> bool:
        return await queue.get_job(job.id) is None

    async with Worker(queue.name, process, scope.connection):
        await eventually(is_gone)
    assert await scope.connection.command("KEYS", f"*:{job.id}") == []


@pytest.mark.leaves_records
async def test_neither_job_nor_stream_is_an_error_and_a_surviving_stream_is_read(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await write(scope, job_id, "a")
    await scope.connection.command("DEL", scope.keys.job(job_id))

    assert await collect(queue.stream(job_id)) == ["a"]
    for options in ({}, {"follow": False}, {"start": "$"}, {"start": "5-0"}):
        with pytest.raises(JobNotFoundError):
            await collect(queue.stream("999", **options))  # type: ignore[arg-type]


async def test_starts_and_ends_can_be_chosen(queue: Queue) -> None:
    scope, job_id = await running(queue)
    _, second, _ = await write(scope, job_id, "a", "b", "c")

    assert await collect(queue.stream(job_id, start=second, follow=False)) == ["c"]
    assert await collect(queue.stream(job_id, start="$", follow=False)) == []
    await append_chunk(scope, job_id, {"t": "end", "done": "1"})
    await write(scope, job_id, "after")
    assert await collect(queue.stream(job_id, until_done=True)) == ["a", "b", "c", "end"]
    with pytest.raises(InvalidOptionError, match="start"):
        await collect(queue.stream(job_id, start="now"))


async def test_a_cursor_older_than_what_is_left_reads_on_from_there(queue: Queue) -> None:
    scope, job_id = await running(queue)
    first, _, _ = await write(scope, job_id, "a", "b", "c")
    await scope.connection.command("XTRIM", scope.keys.jstream(job_id), "MAXLEN", 1)
    await set_state(scope, job_id, "completed")

    assert await collect(queue.stream(job_id, start=first)) == ["c"]


async def test_a_reader_survives_the_loss_of_every_connection(queue: Queue) -> None:
    scope, job_id = await running(queue)
    got: list[str] = []
    reading = asyncio.create_task(collect(queue.stream(job_id, block=100), got))
    await write(scope, job_id, "a")
    await eventually(lambda: got == ["a"])

    for n in range(3):
        await scope.connection.command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
        await write(scope, job_id, f"after {n}")
        await eventually(lambda n=n: got[-1] == f"after {n}")
    await set_state(scope, job_id, "completed", "completed")

    assert await reading == ["a", "after 0", "after 1", "after 2"]


# The hub -----------------------------------------------------------------------------------------------------


async def test_many_streams_of_many_queues_share_few_connections(connection: Connection) -> None:
    hub = StreamHub(connection)
    jobs = []
    for n in range(30):
        scope = await Queue(f"q{n % 10}", connection).context()
        await connection.command("HSET", scope.keys.job(str(n)), "state", "active")
        jobs.append((scope, str(n)))
    tails = [hub.follow(scope, job_id) for scope, job_id in jobs]
    readings = [asyncio.create_task(collect(tail)) for tail in tails]
    await eventually(lambda: sum(len(reader.tails) for reader in hub.readers) == 30)
    assert len(hub.readers) <= hub_module.MAX_READERS

    for turn in range(5):
        await asyncio.gather(
            *(append_chunk(scope, job_id, {"t": f"{job_id}.{turn}"}) for scope, job_id in jobs)
        )
    for scope, job_id in jobs:
        await set_state(scope, job_id, "completed", "completed")

    assert await asyncio.gather(*readings) == [
        [f"{job_id}.{turn}" for turn in range(5)] for _, job_id in jobs
    ]
    await eventually(lambda: not hub.readers)


async def test_two_readers_of_one_stream_each_get_their_part(queue: Queue) -> None:
    scope, job_id = await running(queue)
    first, _ = await write(scope, job_id, "a", "b")
    one: list[str] = []
    other: list[str] = []
    readings = [
        asyncio.create_task(collect(queue.stream(job_id), one)),
        asyncio.create_task(collect(queue.stream(job_id, start=first), other)),
    ]
    await eventually(lambda: one == ["a", "b"] and other == ["b"])
    await write(scope, job_id, "c")
    await set_state(scope, job_id, "completed", "completed")

    assert await asyncio.gather(*readings) == [["a", "b", "c"], ["b", "c"]]


async def test_a_slow_tail_leaves_its_reader_and_misses_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "BUFFER", 10)
    scope, job_id = await running(queue)
    hub = StreamHub(scope.connection)
    slow, quick = hub.follow(scope, job_id), hub.follow(scope, job_id)
    got: list[str] = []
    reading = asyncio.create_task(collect(quick, got))
    await write(scope, job_id, "0")
    first = await anext(slow)
    pending = asyncio.create_task(slow.read())
    await eventually(lambda: any(slow in reader.tails for reader in hub.readers))
    await write(scope, job_id, "1")
    seen = [first.text, *(chunk.text for chunk in await pending)]

    for n in range(2, 500):
        await append_chunk(scope, job_id, {"t": str(n)})
    await eventually(lambda: len(got) == 500)
    assert not any(slow in reader.tails for reader in hub.readers)
    await set_state(scope, job_id, "completed", "completed")

    assert await collect(slow, seen) == [str(n) for n in range(500)]
    assert await reading == [str(n) for n in range(500)]


async def test_a_spoilt_stream_fails_its_own_reader_only(queue: Queue) -> None:
    scope, job_id = await running(queue)
    _, other = await running(queue)
    await write(scope, other, "a")
    got: list[str] = []
    good = asyncio.create_task(collect(queue.stream(other), got))
    bad = asyncio.create_task(collect(queue.stream(job_id, block=20)))
    await eventually(lambda: got == ["a"])
    await scope.connection.command("SET", scope.keys.jstream(job_id), "no stream")

    with pytest.raises(ServerError):
        await bad
    await write(scope, other, "b")
    await set_state(scope, other, "completed", "completed")
    assert await good == ["a", "b"]


async def test_a_flood_of_events_hides_no_end(queue: Queue) -> None:
    scope, job_id = await running(queue)
    got: list[str] = []
    reading = asyncio.create_task(collect(queue.stream(job_id, block=30_000), got))
    await write(scope, job_id, "a")
    await eventually(lambda: got == ["a"])

    noise = ("XADD", scope.keys.events, "*", "event", "completed", "jobId", "another")
    await scope.connection.pipeline([noise] * 3_000)
    await write(scope, job_id, "b")
    await set_state(scope, job_id, "completed", "completed")
    await scope.connection.pipeline([noise] * 3_000)

    assert await reading == ["a", "b"]


async def test_a_read_only_connection_follows_and_writes_nothing(queue: Queue, server_url: str) -> None:
    scope, job_id = await running(queue)
    await write(scope, job_id, "a")
    async with connect(server_url, read_only=True) as viewer:
        looking = Queue("q", viewer)
        reading = asyncio.create_task(collect(looking.stream(job_id)))
        with pytest.raises(PermissionDeniedError):
            await append_chunk(await looking.context(), job_id, {"t": "no"})
        await set_state(scope, job_id, "completed", "completed")
        assert await reading == ["a"]


async def test_the_shared_hub_goes_when_nobody_reads(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await write(scope, job_id, "a")
    async for chunk in queue.stream(job_id):
        assert chunk.text == "a"
        break
    hubs = hub_module._hubs

    def gone() -> bool:
        gc.collect()
        return id(scope.connection) not in hubs

    await eventually(gone)
