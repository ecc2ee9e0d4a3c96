"""Token streams: appending and reading, against a real Valkey and the recordings."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.stream import collect, running, streamed_queue  # noqa: F401
from kits.wire import dump, recording, replay

from glidemq_core.ai.streams.chunks import append_chunk
from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    PayloadTooLargeError,
)
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.wire.payload import MAX_PAYLOAD_BYTES

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
