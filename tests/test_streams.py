"""Token streams: appending, reading, following to the end, against a real Valkey and the recordings."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually
from wire import dump, recording, replay

from glidemq_core import stream_hub, stream_tail
from glidemq_core.base import Scope
from glidemq_core.connection import Connection, connect
from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    ServerError,
)
from glidemq_core.job import Job
from glidemq_core.payload import MAX_PAYLOAD_BYTES
from glidemq_core.queue import Queue
from glidemq_core.records import StreamChunk
from glidemq_core.stream_hub import StreamHub
from glidemq_core.streams import append_chunk
from glidemq_core.worker import Worker


@pytest.fixture
async def queue(connection: Connection) -> AsyncIterator[Queue]:
    opened = Queue("q", connection)
    yield opened
    await StreamHub.of(connection).close()


async def running(queue: Queue) -> tuple[Scope, str]:
    """A job that is active as far as its hash says."""
    scope = await queue.scope()
    job = await queue.add("chat", {})
    assert job is not None
    await set_state(scope, job.id, "active")
    return scope, job.id


async def set_state(scope: Scope, job_id: str, state: str, event: str | None = None) -> None:
    await scope.connection.command("HSET", scope.keys.job(job_id), "state", state)
    if event:
        await scope.connection.command("XADD", scope.keys.events, "*", "event", event, "jobId", job_id)


async def collect(chunks: AsyncIterator[StreamChunk], into: list[str] | None = None) -> list[str]:
    got = [] if into is None else into
    async for chunk in chunks:
        got.append(chunk.text)
    return got


async def write(scope: Scope, job_id: str, *texts: str) -> list[str]:
    return [await append_chunk(scope, job_id, {"t": text}) for text in texts]


# Recordings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["token_stream", "token_stream_live"])
async def test_recorded_streams_read_as_node_reads_them(connection: Connection, name: str) -> None:
    loaded = await replay(connection, name)
    queue = Queue(name, connection)

    everything, *rest = loaded["results"]
    chunks = await queue.read_stream("1")

    assert [{"id": chunk.id, "fields": dict(chunk)} for chunk in chunks] == everything
    if rest:
        after, first = rest
        assert [c.id for c in await queue.read_stream("1", last_id=chunks[1].id)] == [c["id"] for c in after]
        assert [c.id for c in await queue.read_stream("1", count=1)] == [c["id"] for c in first]


@pytest.mark.parametrize("name", ["token_stream", "token_stream_shapes"])
async def test_every_shape_of_chunk_is_written_as_node_writes_it(connection: Connection, name: str) -> None:
    key = f"glide:{{{name}}}:jstream:1"
    entries = recording(name)["keys"][key]["value"]
    queue = Queue(name, connection)
    job = await queue.add("chat", {})
    assert job is not None

    for entry in entries:
        kind, content = entry["fields"].get("type"), entry["fields"].get("content")
        if kind and set(entry["fields"]) <= {"type", "content"}:
            await job.stream_chunk(kind, content)
        else:
            await job.stream(entry["fields"])

    written = (await dump(connection, key))[key]["value"]
    assert [list(e["fields"].items()) for e in written] == [list(e["fields"].items()) for e in entries]


# Writing -----------------------------------------------------------------------------------------------------


async def test_many_chunks_in_flight_keep_their_order_in_few_round_trips(queue: Queue) -> None:
    scope, job_id = await running(queue)
    before = scope.connection.stats.commands

    ids = await asyncio.gather(*(append_chunk(scope, job_id, {"t": str(n)}) for n in range(2_500)))

    assert scope.connection.stats.commands - before < 10
    chunks = await queue.read_stream(job_id, count=5_000)
    assert [chunk.text for chunk in chunks] == [str(n) for n in range(2_500)]
    assert [chunk.id for chunk in chunks] == ids


async def test_each_writer_gets_its_own_error(queue: Queue) -> None:
    scope, job_id = await running(queue)
    chunks: list[Any] = [{"t": "a"}, {}, {"t": "b"}, {"t": 5}, {"t": "c"}]

    answers = await asyncio.gather(*(append_chunk(scope, job_id, c) for c in chunks), return_exceptions=True)

    assert [type(answer) for answer in answers] == [str, InvalidOptionError, str, InvalidOptionError, str]
    assert await collect(queue.stream(job_id, follow=False)) == ["a", "b", "c"]


async def test_chunks_of_a_removed_job_are_refused_and_recreate_nothing(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await queue.remove_job(job_id, force=True)

    answers = await asyncio.gather(
        *(append_chunk(scope, job_id, {"t": "x"}) for _ in range(5)), return_exceptions=True
    )

    assert {type(answer) for answer in answers} == {JobNotFoundError}
    assert await scope.connection.command("EXISTS", scope.keys.jstream(job_id)) == 0


async def test_a_cancelled_writer_does_not_hold_up_the_others(queue: Queue) -> None:
    scope, job_id = await running(queue)
    first = asyncio.create_task(append_chunk(scope, job_id, {"t": "first"}))
    second = asyncio.create_task(append_chunk(scope, job_id, {"t": "second"}))
    third = asyncio.create_task(append_chunk(scope, job_id, {"t": "third"}))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()

    await third

    texts = [chunk.text for chunk in await queue.read_stream(job_id)]
    assert texts[-1] == "third"
    assert "second" not in texts
    await append_chunk(scope, job_id, {"t": "fourth"})


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({}, "Stream chunk must not be empty"),
        (
            {"t": "x" * MAX_PAYLOAD_BYTES},
            f"Stream chunk exceeds maximum size ({MAX_PAYLOAD_BYTES + 1} bytes > 1048576)",
        ),
        ({"t": 5}, "Stream chunk values must be text, not int"),
        ({"t": True}, "Stream chunk values must be text, not bool"),
        ({str(n): "" for n in range(3_501)}, "Stream chunk has too many fields (3501 > 3500)"),
    ],
)
async def test_bad_chunks_are_refused(queue: Queue, chunk: dict[str, Any], message: str) -> None:
    scope, job_id = await running(queue)
    with pytest.raises(InvalidOptionError) as caught:
        await append_chunk(scope, job_id, chunk)
    assert str(caught.value) == message
    assert await scope.connection.command("EXISTS", scope.keys.jstream(job_id)) == 0


async def test_the_size_of_a_chunk_counts_bytes(queue: Queue) -> None:
    scope, job_id = await running(queue)
    half = "ü" * (MAX_PAYLOAD_BYTES // 2)
    with pytest.raises(PayloadTooLargeError) as caught:
        await append_chunk(scope, job_id, {"t": half})
    assert caught.value.size_bytes == MAX_PAYLOAD_BYTES + 1
    await append_chunk(scope, job_id, {"": half})


async def test_a_chunk_of_very_many_fields_and_half_a_surrogate_is_written(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await append_chunk(scope, job_id, {str(n): "" for n in range(3_500)})
    await append_chunk(scope, job_id, {"t": "a\ud83d"})

    wide, broken = await queue.read_stream(job_id)
    assert (len(wide), broken.text) == (3_500, "a?")


# Reading -----------------------------------------------------------------------------------------------------


async def test_cursors_and_counts_of_read_stream(queue: Queue) -> None:
    scope, job_id = await running(queue)
    key = scope.keys.jstream(job_id)
    for entry in ("5-0", "5-1", "6-0"):
        await scope.connection.command("XADD", key, entry, "t", entry)

    async def ids(**options: Any) -> list[str]:
        return [chunk.id for chunk in await queue.read_stream(job_id, **options)]

    assert await ids() == ["5-0", "5-1", "6-0"]
    assert await ids(last_id="") == ["5-0", "5-1", "6-0"]
    assert await ids(last_id="5") == ["5-1", "6-0"]
    assert await ids(last_id="5-1") == ["6-0"]
    assert await ids(last_id="9-9") == []
    assert await ids(last_id="18446744073709551615-18446744073709551615") == []
    assert await ids(count=0) == await ids(count=-1) == []
    assert await ids(block=-5) == ["5-0", "5-1", "6-0"]
    assert await ids(block=50, count=0) == ["5-0", "5-1", "6-0"]
    assert await ids(block=50, last_id="5-1") == ["6-0"]
    assert await ids(block=1, last_id="$") == []
    assert await queue.read_stream("nobody") == await queue.read_stream("nobody", block=1) == []


@pytest.mark.parametrize(
    "options", [{"last_id": "$"}, {"last_id": "x"}, {"last_id": "1-2-3"}, {"last_id": str(2**64)}]
)
async def test_malformed_cursors_are_refused(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="last_id"):
        await queue.read_stream("1", **options)


async def test_a_blocking_read_holds_up_nobody_and_wakes_for_a_chunk(queue: Queue) -> None:
    scope, job_id = await running(queue)
    reading = asyncio.create_task(queue.read_stream(job_id, last_id="$", block=30_000))

    async def woken() -> bool:
        await append_chunk(scope, job_id, {"t": "now"})
        return reading.done()

    await eventually(woken)
    assert (await reading)[0].text == "now"


async def test_repeated_fields_and_broken_text_are_read(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await scope.connection.command("XADD", scope.keys.jstream(job_id), "*", "t", "a", "t", b"\xff")

    [chunk] = await queue.read_stream(job_id)

    assert chunk.pairs == (("t", "a"), ("t", "\ufffd"))
    assert chunk["t"] == "\ufffd"


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

    scope = await queue.scope()
    job = await queue.add("n", remove_on_complete=True)
    assert job is not None
    assert (await queue.signal(job.id, "go", early=True)).outcome == "kept"

    async def is_gone() -> bool:
        return await queue.get_job(job.id) is None

    async with Worker(queue.name, process, scope.connection):
        await eventually(is_gone)
    assert await scope.connection.command("KEYS", f"*:{job.id}") == []


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
        scope = await Queue(f"q{n % 10}", connection).scope()
        await connection.command("HSET", scope.keys.job(str(n)), "state", "active")
        jobs.append((scope, str(n)))
    tails = [hub.follow(scope, job_id) for scope, job_id in jobs]
    readings = [asyncio.create_task(collect(tail)) for tail in tails]
    await eventually(lambda: sum(len(lane.tails) for lane in hub.lanes) == 30)
    assert len(hub.lanes) <= stream_hub.MAX_LANES

    for turn in range(5):
        await asyncio.gather(
            *(append_chunk(scope, job_id, {"t": f"{job_id}.{turn}"}) for scope, job_id in jobs)
        )
    for scope, job_id in jobs:
        await set_state(scope, job_id, "completed", "completed")

    assert await asyncio.gather(*readings) == [
        [f"{job_id}.{turn}" for turn in range(5)] for _, job_id in jobs
    ]
    await eventually(lambda: not hub.lanes)


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


async def test_a_slow_reader_leaves_its_lane_and_misses_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_tail, "BUFFER", 10)
    scope, job_id = await running(queue)
    hub = StreamHub(scope.connection)
    slow, quick = hub.follow(scope, job_id), hub.follow(scope, job_id)
    got: list[str] = []
    reading = asyncio.create_task(collect(quick, got))
    await write(scope, job_id, "0")
    first = await anext(slow)
    pending = asyncio.create_task(slow.read())
    await eventually(lambda: any(slow in lane.tails for lane in hub.lanes))
    await write(scope, job_id, "1")
    seen = [first.text, *(chunk.text for chunk in await pending)]

    for n in range(2, 500):
        await append_chunk(scope, job_id, {"t": str(n)})
    await eventually(lambda: len(got) == 500)
    assert not any(slow in lane.tails for lane in hub.lanes)
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
            await append_chunk(await looking.scope(), job_id, {"t": "no"})
        await set_state(scope, job_id, "completed", "completed")
        assert await reading == ["a"]


async def test_the_shared_hub_goes_when_nobody_reads(queue: Queue) -> None:
    scope, job_id = await running(queue)
    await write(scope, job_id, "a")
    async for chunk in queue.stream(job_id):
        assert chunk.text == "a"
        break
    hubs = stream_hub._hubs

    def gone() -> bool:
        gc.collect()
        return id(scope.connection) not in hubs

    await eventually(gone)
