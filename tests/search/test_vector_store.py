"""Storing vectors: the same bytes as glide-mq, safe for its workers, nothing written that is no vector."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy
import pytest
from conftest import eventually
from kits.searching import NODE, document, found, ids, packed
from kits.wire import assert_same_records, dump, replay

from glidemq_core import (
    Connection,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    Queue,
    VectorField,
    Worker,
    connect,
)


async def test_beside_the_record_the_job_stays_text(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        job = await document(queue, [9, 9])

        await job.store_vector("embedding", [-1, 0.3], where="side")

        record = await searched.command("HGETALL", f"glide:{{docs}}:job:{job.id}")
        assert record
        assert all(value.decode() is not None for value in record.values())
        assert b"embedding" not in record
        assert "embedding" not in job.fields
        assert await searched.command("HGETALL", f"glide:{{docs}}:vec:{job.id}") == {
            b"embedding": packed(-1, 0.3)
        }
        assert await found(queue, [-1, 0.3]) == [(job.id, 0)]
        assert await ids(queue, [-1, 0.3], filter="@name:{document}") == []
        await job.remove()
        assert await searched.command("EXISTS", f"glide:{{docs}}:vec:{job.id}") == 0


async def test_a_job_with_both_vectors_is_one_hit(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        job = await document(queue, [5, 0])
        await searched.command("HSET", f"glide:{{docs}}:vec:{job.id}", "embedding", packed(1, 0))

        assert await found(queue, [0, 0]) == [(job.id, 1)]


async def test_the_recording_is_read_and_found(searched: Connection) -> None:
    await replay(searched, "vector_stored")
    async with Queue[Any, Any]("vector_stored", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 3))

        hits = await eventually(lambda: queue.vector_search([0.25, -1, 3.5]))

        assert [(hit.job.id, hit.job.data) for hit in hits] == [("1", {"title": "Queue Fundamentals"})]
        assert hits[0].score == pytest.approx(0, abs=1e-6)
        assert hits[0].job.fields["embedding"] == packed(0.25, -1, 3.5)


async def test_the_recording_is_written_the_same(connection: Connection) -> None:
    recorded = await replay(connection, "vector_stored")
    await connection.command("FLUSHALL")
    async with Queue[Any, Any]("vector_stored", connection) as queue:
        job = await queue.add("document", {"title": "Queue Fundamentals"})
        assert job is not None
        await job.store_vector("embedding", [0.25, -1, 3.5])

    assert_same_records(recorded, await dump(connection, "glide:{vector_stored}:*"))


@pytest.mark.leaves_records
async def test_a_waiting_job_of_a_node_worker_is_spared(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        job = await queue.add("document", {})
        assert job is not None
        await connection.command("SET", "glide:{docs}:w:worker-1-0a0b0c0d", json.dumps(NODE))

        with pytest.raises(InvalidOptionError, match="cannot run it; where='side' is safe"):
            await job.store_vector("embedding", [1, 2], on_node_worker="refuse")
        assert await connection.command("HEXISTS", f"glide:{{docs}}:job:{job.id}", "embedding") == 0
        with pytest.warns(RuntimeWarning, match="job 'docs:1' is waiting and a Node worker"):
            await job.store_vector("embedding", [1, 2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await job.store_vector("embedding", [1, 2], on_node_worker="allow")
            await job.store_vector("embedding", [1, 2], where="side")
            await connection.command("HSET", f"glide:{{docs}}:job:{job.id}", "state", "completed")
            await job.store_vector("embedding", [1, 2], on_node_worker="refuse")


@pytest.mark.leaves_records
async def test_a_processor_may_store_its_vector(connection: Connection) -> None:
    async def embed(job: Job[Any, Any]) -> str:
        await job.store_vector("embedding", [1, 2], on_node_worker="refuse")
        return "embedded"

    await connection.command("SET", "glide:{docs}:w:worker-1-0a0b0c0d", json.dumps(NODE))
    async with Queue[Any, Any]("docs", connection) as queue, Worker("docs", embed, connection):
        job = await queue.add("document", {})
        assert job is not None
        assert await job.wait_until_finished(poll_interval=10) == "completed"

        await job.refresh()
        assert job.fields["embedding"] == packed(1, 2)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([], "is empty"),
        (b"", "is empty"),
        ([1, float("nan")], "NaN"),
        ([float("inf"), 1], "infinity"),
        ([1e39, 1], "too large for float32"),
        ([10**400, 1], "finite numbers"),
        (b"12345", "5 bytes"),
        (packed(float("nan"), 1), "NaN"),
        ("12", "a sequence of finite numbers"),
        (["1", "2"], "a sequence of finite numbers"),
        ([True, False], "a sequence of finite numbers"),
        ([None, 1], "a sequence of finite numbers"),
        ({1: 2}, "a sequence of finite numbers"),
        ({1.0, 2.0}, "a sequence of finite numbers"),
        (7, "a sequence of finite numbers"),
        (None, "a sequence of finite numbers"),
        (numpy.zeros((2, 2)), "a sequence of finite numbers"),
        ([1, 2, 3], "3 numbers; index 'docs-idx' has 2 dimensions"),
    ],
)
async def test_what_is_no_vector_is_stored_nowhere(
    searched: Connection, embedding: Any, message: str
) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job = await queue.add("document", {})
        assert job is not None
        before = await dump(searched)

        for attempt in (job.store_vector("embedding", embedding), queue.vector_search(embedding)):
            with pytest.raises(InvalidOptionError, match=message) as caught:
                await attempt
            assert caught.value.option == "embedding"
            assert "\n" not in str(caught.value)
        assert await dump(searched) == before


async def test_the_length_is_checked_for_another_process_too(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job = await queue.add("document", {})
        assert job is not None
        async with connect(searched.url) as elsewhere, Queue[Any, Any]("docs", elsewhere) as other:
            mine = await other.get_job(job.id)
            assert mine is not None
            with pytest.raises(InvalidOptionError, match="has 2 dimensions"):
                await mine.store_vector("embedding", [1, 2, 3])
            await other.drop_job_index()
            await other.create_job_index(vector_field=VectorField("embedding", 3))

        await job.store_vector("embedding", [1, 2, 3])

        assert await ids(queue, [1, 2, 3]) == [job.id]


@pytest.mark.parametrize(
    "embedding",
    [
        (0.5, -2),
        packed(0.5, -2),
        bytearray(packed(0.5, -2)),
        numpy.array([0.5, -2], "f4"),
        numpy.array([0.5, -2], ">f8"),
        memoryview(numpy.array([0.5, -2], "f4")),
        iter([0.5, -2]),
    ],
)
async def test_any_sequence_or_buffer_of_numbers(connection: Connection, embedding: Any) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        job = await document(queue, embedding)

        assert job.fields["embedding"] == packed(0.5, -2)
        await job.refresh()
        assert job.fields["embedding"] == packed(0.5, -2)


@pytest.mark.parametrize(
    "field",
    [
        "data",
        "state",
        "returnvalue",
        "signals",
        "budgetKey",
        "budgetBooked",
        "a b",
        "1st",
        "",
        "x:y",
        "ü",
        None,
        3,
    ],
)
async def test_fields_of_the_record_are_refused(connection: Connection, field: Any) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        job = await queue.add("document", {})
        assert job is not None
        before = await dump(connection)

        for where in ("job", "side"):
            with pytest.raises(InvalidOptionError) as caught:
                await job.store_vector(field, [1, 2], where=where)
            assert caught.value.option == "field"
        assert await dump(connection) == before


async def test_a_removed_job_is_not_brought_back(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        job = await queue.add("document", {})
        assert job is not None
        await job.remove()
        before = await dump(connection)

        for where in ("job", "side"):
            with pytest.raises(JobNotFoundError):
                await job.store_vector("embedding", [1, 2], where=where)  # type: ignore[arg-type]
        assert await dump(connection) == before
