"""The producer writes what a queue writes and gives ids back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from glidemq_core import (
    AddRequest,
    BulkError,
    ClosedError,
    Deduplication,
    DuplicateJobError,
    InvalidOptionError,
    JobOptions,
    Middleware,
    NewJob,
    Ordering,
    Producer,
    Queue,
    SerializationError,
)
from glidemq_core.options.middleware import AddNext
from glidemq_core.server.connection import Connection


async def test_it_adds_what_a_queue_adds(connection: Connection) -> None:
    async with Producer("p", connection) as producer, Queue("q", connection) as queue:
        for options in ({}, {"delay": 60_000}, {"priority": 3}, {"job_id": "mine"}, {"ordering": "k"}):
            added = await producer.add("a", {"n": 1}, **options)  # type: ignore[arg-type]
            job = await queue.add("a", {"n": 1}, **options)  # type: ignore[call-overload]
            stored = [
                await connection.command("HGETALL", f"glide:{{{name}}}:job:{job_id}")
                for name, job_id in (("p", added), ("q", job.id))
            ]
            for fields in stored:
                fields.pop(b"timestamp")
            assert added == job.id
            assert stored[0] == stored[1]


async def test_skipped_jobs_have_no_id(connection: Connection) -> None:
    async with Producer("p", connection) as producer:
        assert await producer.add("a", job_id="x") == "x"
        assert await producer.add("a", job_id="x") is None
        assert await producer.add("a", deduplication=Deduplication("d")) is not None
        assert await producer.add("a", deduplication=Deduplication("d")) is None


async def test_bulk_has_one_entry_a_job(connection: Connection) -> None:
    async with Producer("p", connection) as producer:
        jobs: list[Any] = [NewJob("a", 1), NewJob("a", 2, JobOptions(job_id="1")), NewJob("a", 3)]
        assert await producer.add_bulk(jobs) == ["1", None, "2"]
        assert await producer.add_bulk([]) == []


async def test_refused_jobs_of_a_bulk_are_told_after_it(connection: Connection) -> None:
    async with Producer("p", connection) as producer:
        dear = JobOptions(ordering=Ordering("k"), cost=1)
        with pytest.raises(BulkError) as caught:
            await producer.add_bulk([NewJob("a", 1, dear), "no job"])  # type: ignore[list-item]

    first, second = caught.value.results
    assert first == "1"
    assert isinstance(second, InvalidOptionError)


async def test_a_closed_one_says_so(connection: Connection, server_url: str) -> None:
    producer = Producer("p", server_url)
    await producer.add("a")
    assert not producer.is_closed
    await producer.close()
    assert producer.is_closed
    with pytest.raises(ClosedError, match="Producer 'p' is closed"):
        await producer.add("a")


async def test_a_duplicate_is_an_error_where_it_is_asked_for(connection: Connection) -> None:
    async with Producer("q", connection) as producer, Queue("q", connection) as queue:
        job_id = await producer.add("a", job_id="mine", on_duplicate="raise")
        for adding in (producer, queue):
            with pytest.raises(DuplicateJobError) as raised:
                await adding.add("a", job_id="mine", on_duplicate="raise")
            assert (raised.value.queue, raised.value.job_id) == ("q", job_id)
            assert await adding.add("a", job_id="mine", on_duplicate="skip") is None
            with pytest.raises(InvalidOptionError, match="skip or raise"):
                await adding.add("a", on_duplicate="ignore")  # type: ignore[call-overload]
        once = Deduplication("d")
        await queue.add("a", deduplication=once, on_duplicate="raise")
        with pytest.raises(DuplicateJobError):
            await queue.add("a", deduplication=once, on_duplicate="raise")


async def test_duplicates_of_a_bulk_are_named_where_they_are_asked_for(connection: Connection) -> None:
    async with Producer("q", connection) as producer, Queue("q", connection) as queue:
        await queue.add("a", job_id="taken")
        await queue.add("a", deduplication=Deduplication("d"))
        jobs: list[Any] = [
            NewJob("a", options=JobOptions(job_id="new")),
            NewJob("a", options=JobOptions(job_id="taken")),
            NewJob("a", options=JobOptions(deduplication=Deduplication("d"))),
            NewJob("a"),
        ]
        for adding, stored in ((queue, "new"), (producer, None)):
            with pytest.raises(BulkError, match=r"of 4 jobs were refused") as raised:
                await adding.add_bulk((job for job in jobs), on_duplicate="raise")
            first, taken, same, last = raised.value.results
            # What could be stored was, so that the call may be made again: the job is a duplicate of itself then.
            assert isinstance(first, DuplicateJobError) == (stored is None)
            assert getattr(first, "id", None) == stored
            assert isinstance(taken, DuplicateJobError)
            assert (taken.queue, taken.job_id) == ("q", "taken")
            assert isinstance(same, DuplicateJobError)
            assert same.job_id == ""
            assert not isinstance(last, DuplicateJobError)
        assert await queue.add_bulk(jobs[:3], on_duplicate="skip") == []
        assert await producer.add_bulk(jobs[:3]) == [None, None, None]


async def test_a_bulk_refuses_another_way_with_duplicates_before_it_adds(connection: Connection) -> None:
    async with Producer("q", connection) as producer, Queue("q", connection) as queue:
        for adding in (producer, queue):
            with pytest.raises(InvalidOptionError, match="skip or raise"):
                await adding.add_bulk([NewJob("a")], on_duplicate="ignore")  # type: ignore[arg-type]
        assert await queue.count() == 0


async def test_a_job_that_middleware_leaves_out_of_a_bulk_counts_as_a_duplicate(
    connection: Connection,
) -> None:
    class Never(Middleware):
        async def add(self, request: AddRequest, call_next: AddNext) -> Any:
            return None if request.options.job_id else await call_next(request)

    async with Queue("q", connection, middleware=[Never()]) as queue:
        jobs = [NewJob("a"), NewJob("a", options=JobOptions(job_id="left"))]
        with pytest.raises(BulkError) as raised:
            await queue.add_bulk(jobs, on_duplicate="raise")
        [left] = [one for one in raised.value.results if isinstance(one, DuplicateJobError)]
        assert left.job_id == "left"
        with pytest.raises(DuplicateJobError):
            await queue.add("a", job_id="left", on_duplicate="raise")


async def test_dataclasses_and_models_are_payloads_of_json(connection: Connection) -> None:
    async with Queue("q", connection) as queue:
        job = await queue.add("a", Point(1, [Point(2, [])]))
        stored = await queue.get_job((await queue.add("a", Model(size=2))).id)
        with pytest.raises(SerializationError):
            await queue.add("a", Point)

    assert job.data == {"x": 1, "more": [{"x": 2, "more": []}]}
    assert stored is not None
    assert stored.data == {"size": 2}


@dataclass
class Point:
    x: int
    more: list[Any]


class Model(pydantic.BaseModel):
    size: int
