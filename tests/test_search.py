"""Vector search: the same answers with a search module and without one, beside Node peers, and safe for them."""

from __future__ import annotations

import json
import random
import struct
import sys
import warnings
from collections.abc import AsyncIterator
from typing import Any

import numpy
import pytest
from conftest import eventually
from wire import assert_same_records, dump, replay

from glidemq_core import (
    Connection,
    GlideMQError,
    IndexNotFoundError,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    NumericField,
    PermissionDeniedError,
    Queue,
    TagField,
    TextField,
    UnsupportedServerError,
    VectorField,
    Worker,
    connect,
    escape_tag,
)

FIELDS = (TagField("topic"), NumericField("size"))
NODE = {"addr": "host-a", "pid": 7, "startedAt": 1, "activeJobs": 0}


@pytest.fixture(params=["exact", "module"])
async def searched(request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """A connection to an empty server, without and with a search module."""
    name = "server_url" if request.param == "exact" else "search_server_url"
    async with connect(request.getfixturevalue(name)) as opened:
        await opened.command("FLUSHALL")
        yield opened


@pytest.fixture
async def module(search_server_url: str) -> AsyncIterator[Connection]:
    """A connection to an empty server with a search module."""
    async with connect(search_server_url) as opened:
        await opened.command("FLUSHALL")
        yield opened


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


async def document(queue: Queue[Any, Any], embedding: Any, **fields: Any) -> Job[Any, Any]:
    """Add a job with a vector and further fields in its record."""
    job = await queue.add("document", {"n": 1})
    assert job is not None
    if fields:
        pairs = [word for name, value in fields.items() for word in (name, value)]
        await (await queue.scope()).connection.command("HSET", f"glide:{{{queue.name}}}:job:{job.id}", *pairs)
    await job.store_vector("embedding", embedding)
    return job


async def found(queue: Queue[Any, Any], embedding: Any, **options: Any) -> list[tuple[str, float]]:
    return [(hit.job.id, hit.score) for hit in await queue.vector_search(embedding, **options)]


async def ids(queue: Queue[Any, Any], embedding: Any, **options: Any) -> list[str]:
    return [job_id for job_id, _ in await found(queue, embedding, **options)]


# One answer from either engine -------------------------------------------------------------------------------

FILTERS = (
    "*",
    "(*)",
    "@topic:{red}",
    "@topic:{red|Dark Blue}",
    "@topic:{dark*} @size:[3 (15]",
    "@topic:{red} | @size:[(10 +inf]",
    "-@topic:{red} -@size:[-inf 4]",
    "-(@topic:{green} | @topic:{red})",
    "@name:{document} @priority:[0 0] @timestamp:[1 +inf]",
    "@state:{waiting}",
    "@state:{waiting\\-children}",
    "@nope:{x} | @topic:{green}",
    "-@nope:[1 2]",
    "@topic:{nothing}",
)


@pytest.mark.parametrize("metric", ["COSINE", "L2", "IP"])
@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
async def test_both_engines_answer_the_same(module: Connection, metric: str, algorithm: str) -> None:
    chance = random.Random(f"{metric} {algorithm}")
    async with Queue[Any, Any]("docs", module) as queue:
        vector = VectorField("embedding", 16, algorithm, metric)
        await queue.create_job_index("with", vector_field=vector, fields=FIELDS)
        await queue.create_job_index("without", vector_field=vector, fields=FIELDS, engine="exact")
        for number in range(60):
            topic = chance.choice(["red", "green,red", "Dark Blue, x", "green"])
            await document(queue, [chance.gauss(0, 0.25) for _ in range(16)], topic=topic, size=number % 20)

        for where in FILTERS:
            for k in (1, 7, 60):
                wanted = [chance.gauss(0, 0.25) for _ in range(16)]
                by_module = await found(queue, wanted, k=k, filter=where, index_name="with")
                exactly = await found(queue, wanted, k=k, filter=where, index_name="without")
                assert [job for job, _ in by_module] == [job for job, _ in exactly], where
                assert [score for _, score in by_module] == pytest.approx(
                    [score for _, score in exactly], rel=1e-6, abs=1e-6
                )


async def test_random_filters_pass_the_same_jobs(module: Connection) -> None:
    chance = random.Random(4)

    def clause(depth: int) -> str:
        kind = chance.randrange(5 if depth else 2)
        if kind == 0:
            return "@topic:{" + "|".join(chance.sample(["red", "green", "blu*", "dark red"], 2)) + "}"
        if kind == 1:
            return f"@size:[{chance.choice(['', '('])}{chance.randint(-2, 9)} {chance.choice(['7', '(5', '+inf'])}]"
        if kind == 2:
            return f"-{clause(0)}"
        glue = " | " if kind == 3 else " "
        return f"({glue.join(clause(depth - 1) for _ in range(2))})"

    async with Queue[Any, Any]("docs", module) as queue:
        vector = VectorField("embedding", 2, "FLAT", "L2")
        await queue.create_job_index("with", vector_field=vector, fields=FIELDS)
        await queue.create_job_index("without", vector_field=vector, fields=FIELDS, engine="exact")
        for number in range(40):
            topic = chance.choice(["red", "Green", "blue, red", "dark red", ""])
            await document(queue, [number, 1], topic=topic, size=number % 11 - 2)

        for where in [clause(3) for _ in range(80)]:
            assert await ids(queue, [0, 0], k=40, filter=where, index_name="with") == await ids(
                queue, [0, 0], k=40, filter=where, index_name="without"
            ), where


@pytest.mark.parametrize(
    ("metric", "near", "far"), [("COSINE", 0.0, 2.0), ("L2", 1.0, 9.0), ("IP", -1.0, 3.0)]
)
async def test_scores_are_distances(searched: Connection, metric: str, near: float, far: float) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric=metric))
        first, second = await document(queue, [-2, 0]), await document(queue, [2, 0])

        assert await found(queue, [1, 0]) == [
            (second.id, pytest.approx(near, abs=1e-6)),
            (first.id, pytest.approx(far)),
        ]


async def test_more_than_ten_hits_nearest_first(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        places = list(range(25))
        random.Random(1).shuffle(places)
        jobs = {place: (await document(queue, [place, 0])).id for place in places}

        hits = await found(queue, [0, 0], k=25)

        assert hits == [(jobs[place], place * place) for place in range(25)]
        assert len(await queue.vector_search([0, 0])) == 10


async def test_ties_go_by_id_numbers_first(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, "FLAT"))
        for job_id in ("b", "10", "9", "007", "a", "1"):
            job = await queue.add("document", {}, job_id=job_id)
            assert job is not None
            await job.store_vector("embedding", [1, 1])

        assert await ids(queue, [1, 2]) == ["1", "9", "10", "007", "a", "b"]


async def test_a_vector_without_direction_comes_last(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, "FLAT"))
        zero, job = await document(queue, [0, 0]), await document(queue, [-1, 0])

        hits = await found(queue, [1, 0])

        assert [job_id for job_id, _ in hits] == [job.id, zero.id]
        assert str(hits[1][1]) == "nan"


async def test_queues_with_a_longer_name_stay_out(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue, Queue[Any, Any]("docs2", searched) as other:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        for _ in range(30):
            await document(other, [0, 0])
        mine = [(await document(queue, [place, 0])).id for place in range(1, 4)]

        assert await ids(queue, [0, 0], k=3) == mine
        assert await ids(queue, [0, 0], k=50) == mine


async def test_filters_need_no_parentheses(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2), fields=FIELDS)
        red = await document(queue, [1, 0], topic="red", size=5)
        blue = await document(queue, [1, 0], topic="blue", size=5)

        assert await ids(queue, [1, 0], filter="@topic:{red} @size:[0 9]") == [red.id]
        assert await ids(queue, [1, 0], filter="-@topic:{red}") == [blue.id]


async def test_any_tag_can_be_asked_for(searched: Connection) -> None:
    tags = ["waiting-children", "a b", "x|y", "it's {50%} *", "@a:b", "ü-1", 'q"uote\\']
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2), fields=FIELDS)
        for tag in tags:
            job = await document(queue, [1, 0], topic=tag)
            assert await ids(queue, [1, 0], filter="@topic:{" + escape_tag(tag) + "}") == [job.id], tag


async def test_hits_are_whole_jobs(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job = await queue.add("document", {"title": "Queues"}, priority=3)
        assert job is not None
        await job.report_usage(model="m", tokens={"input": 3})
        await job.store_vector("embedding", [1, 0])

        [hit] = await queue.vector_search([1, 0])
        [slim] = await queue.vector_search([1, 0], return_fields=["name"])

        assert (hit.job.data, hit.job.priority, hit.job.usage.model) == ({"title": "Queues"}, 3, "m")
        assert (slim.job.id, slim.job.fields) == (job.id, {"name": b"document"})


async def test_filters_see_jobs_as_they_are_now(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job = await document(queue, [1, 0])
        assert await ids(queue, [1, 0], filter="@state:{delayed}") == []

        await job.change_delay(60_000)

        assert await ids(queue, [1, 0], filter="@state:{delayed}") == [job.id]
        await job.remove()
        assert await ids(queue, [1, 0]) == []


async def test_a_part_of_the_hits(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        jobs = [(await document(queue, [place, 0])).id for place in range(6)]
        options = {"limit": {"offset": 2, "count": 3}, "timeout": 2_000}

        assert await ids(queue, [0, 0], k=5, search_options=options, score_field="d") == jobs[2:5]


async def test_vectors_of_another_length_are_not_indexed(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job = await document(queue, [1, 0])
        await searched.command("HSET", f"glide:{{docs}}:job:{job.id}", "embedding", packed(1, 2, 3))

        assert await ids(queue, [1, 0]) == []


async def test_an_index_without_vector(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index()

        assert await ids(queue, [1, 0]) == []


async def test_the_placeholder_can_be_used(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index("plain")
        job = await queue.add("document", {})
        assert job is not None
        await job.store_vector("_vec", [0, 1])

        assert await ids(queue, [0, 1], index_name="plain") == [job.id]


# Beside the record --------------------------------------------------------------------------------------------


async def test_beside_the_record_the_job_stays_text(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, distance_metric="L2"))
        job = await document(queue, [9, 9])

        await job.store_vector("embedding", [-1, 0.3], where="side")

        record = await searched.command("HGETALL", f"glide:{{docs}}:job:{job.id}")
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


# Node peers ---------------------------------------------------------------------------------------------------


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


async def test_our_index_is_the_one_node_makes(module: Connection) -> None:
    async with Queue[Any, Any]("docs", module) as queue:
        fields = (TagField("topic"), NumericField("size"), TextField("title"))
        await queue.create_job_index(vector_field=VectorField("embedding", 4), fields=fields)

    info = await (await module.resp2()).command("FT.INFO", "docs-idx")
    assert info[b"index_definition"][3] == [b"glide:{docs"]
    assert [(facts[1], facts[5]) for facts in info[b"attributes"]] == [
        (b"name", b"TAG"),
        (b"state", b"TAG"),
        (b"timestamp", b"NUMERIC"),
        (b"priority", b"NUMERIC"),
        (b"topic", b"TAG"),
        (b"size", b"NUMERIC"),
        (b"title", b"TEXT"),
        (b"embedding", b"VECTOR"),
    ]


async def test_an_index_of_a_node_peer_is_used(module: Connection) -> None:
    words = "FT.CREATE docs-idx ON HASH PREFIX 1 glide:{docs SCHEMA name TAG state TAG timestamp NUMERIC "
    words += "priority NUMERIC vec VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2"
    await module.command(*words.split())
    async with Queue[Any, Any]("docs", module) as queue:
        job = await queue.add("document", {})
        assert job is not None
        with pytest.raises(InvalidOptionError, match="3 numbers; index 'docs-idx' has 2 dimensions"):
            await job.store_vector("vec", [1, 2, 3])
        await job.store_vector("vec", [3, 4])

        assert await found(queue, [0, 0]) == [(job.id, 25)]


async def test_vectors_of_node_peers_are_found_at_creation_and_on_request(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        first, second = await queue.add("document", {}), await queue.add("document", {})
        assert first is not None
        assert second is not None
        await connection.command("HSET", f"glide:{{docs}}:job:{first.id}", "embedding", packed(1, 0))
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        await connection.command("HSET", f"glide:{{docs}}:job:{second.id}", "embedding", packed(0, 1))

        assert await ids(queue, [1, 0]) == [first.id]
        assert await ids(queue, [1, 0], rescan=True) == [first.id, second.id]
        assert await ids(queue, [1, 0]) == [first.id, second.id]


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


# What is refused ----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("k", [0, -1, 1.5, 10_001, True, "3", None, float("nan")])
async def test_k_has_bounds(searched: Connection, k: Any) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))

        with pytest.raises(InvalidOptionError) as caught:
            await queue.vector_search([1, 0], k=k)
        assert caught.value.option == "k"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"filter": ""}, "filter"),
        ({"filter": " "}, "filter"),
        ({"filter": None}, "filter"),
        ({"filter": "@state:{"}, "filter"),
        ({"filter": "()"}, "filter"),
        ({"score_field": "a b"}, "score_field"),
        ({"index_name": ""}, "name"),
        ({"return_fields": "name"}, "return_fields"),
        ({"return_fields": []}, "return_fields"),
        ({"search_options": {"sortby": "x"}}, "search_options"),
        ({"search_options": {"limit": 3}}, "limit"),
        ({"search_options": {"limit": {"offset": -1, "count": 2}}}, "offset"),
        ({"search_options": {"timeout": -1}}, "timeout"),
        ({"rescan": "yes"}, "rescan"),
    ],
)
async def test_bad_options_of_a_search(searched: Connection, options: dict[str, Any], named: str) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))

        with pytest.raises(InvalidOptionError) as caught:
            await queue.vector_search([1, 0], **options)
        assert caught.value.option == named


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"vector_field": "embedding"}, "vector_field"),
        ({"fields": "topic"}, "fields"),
        ({"fields": ["topic"]}, "fields"),
        ({"fields": [TagField("state")]}, "fields"),
        ({"fields": [TagField("a"), NumericField("a")]}, "fields"),
        ({"fields": [TagField("v")], "vector_field": VectorField("v", 2)}, "fields"),
        ({"vector_field": VectorField("data", 2)}, "vector_field"),
        ({"engine": "fast"}, "engine"),
        ({"name": ""}, "name"),
        ({"create_options": {"speed": 1}}, "create_options"),
        ({"create_options": {"stop_words": "the"}}, "stop_words"),
        ({"create_options": {"score": -1}}, "score"),
    ],
)
async def test_bad_options_of_an_index(searched: Connection, options: dict[str, Any], named: str) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        with pytest.raises(InvalidOptionError) as caught:
            await queue.create_job_index(**options)

        assert caught.value.option == named
        assert await dump(searched) == {}
        with pytest.raises(IndexNotFoundError):
            await queue.drop_job_index()


@pytest.mark.parametrize("dimensions", [0, -2, 1.5, 40_000, "3"])
def test_dimensions_have_bounds(dimensions: Any) -> None:
    with pytest.raises(InvalidOptionError):
        VectorField("embedding", dimensions)


def test_fields_are_checked_when_made() -> None:
    for make in (
        lambda: VectorField("v", 2, "TREE"),
        lambda: VectorField("v", 2, distance_metric="HAMMING"),
        lambda: VectorField("a-b", 2),
        lambda: TagField("a b"),
        lambda: TagField("a", separator=""),
        lambda: TagField("a", separator="::"),
        lambda: NumericField(""),
        lambda: TextField("1"),
    ):
        with pytest.raises(InvalidOptionError):
            make()


# Indexes ------------------------------------------------------------------------------------------------------


async def test_an_index_comes_and_goes(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        for call in (queue.vector_search([1, 0]), queue.drop_job_index(), queue.drop_job_index("other")):
            with pytest.raises(IndexNotFoundError):
                await call
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        with pytest.raises(InvalidOptionError, match="'docs-idx' exists already") as caught:
            await queue.create_job_index(vector_field=VectorField("embedding", 2))
        assert caught.value.option == "name"
        with pytest.raises(InvalidOptionError, match="exists already"):
            await queue.create_job_index(vector_field=VectorField("embedding", 2), engine="exact")
        job = await document(queue, [1, 0])

        await queue.drop_job_index()

        with pytest.raises(IndexNotFoundError) as missing:
            await queue.vector_search([1, 0])
        assert missing.value.index == "docs-idx"
        assert await queue.get_job(job.id) is not None
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        assert await eventually(lambda: ids(queue, [1, 0])) == [job.id]


async def test_an_exact_index_leaves_no_key_behind(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        vector = VectorField("embedding", 2)
        await queue.create_job_index("one", vector_field=vector)
        await queue.create_job_index("two", vector_field=vector)
        job = await document(queue, [1, 0])
        assert await connection.command("SMEMBERS", "glide:{docs}:vectors:embedding") == {job.id.encode()}

        await queue.drop_job_index("one")
        assert await ids(queue, [1, 0], index_name="two") == [job.id]
        await queue.drop_job_index("two")

        left = await dump(connection, "glide:{docs}:v*")
        assert left == {}


async def test_an_index_of_another_prefix_is_not_ours(module: Connection) -> None:
    async with (
        Queue[Any, Any]("docs", module, prefix="theirs") as theirs,
        Queue[Any, Any]("docs", module) as queue,
    ):
        await theirs.create_job_index(vector_field=VectorField("embedding", 2))

        with pytest.raises(InvalidOptionError, match="exists already"):
            await queue.create_job_index(vector_field=VectorField("embedding", 2))
        for call in (queue.vector_search([1, 0]), queue.drop_job_index()):
            with pytest.raises(IndexNotFoundError):
                await call
        assert await ids(theirs, [1, 0]) == []


async def test_options_of_the_module_are_passed_on(module: Connection) -> None:
    async with Queue[Any, Any]("docs", module) as queue:
        job = await document(queue, [1, 0])
        options = {"skip_initial_scan": True, "language": "german", "stop_words": ["der"], "score": 0.5}
        await queue.create_job_index(
            vector_field=VectorField("embedding", 2), fields=[TextField("title")], create_options=options
        )

        info = await (await module.resp2()).command("FT.INFO", "docs-idx")
        assert {b"german", b"0.5"} < {item for item in info[b"index_definition"] if isinstance(item, bytes)}
        assert await ids(queue, [1, 0]) == []
        await module.command("HSET", f"glide:{{docs}}:job:{job.id}", "title", "Hallo Welt")
        assert await ids(queue, [1, 0], filter="@title:welt") == [job.id]


async def test_without_a_module_some_things_need_one(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        with pytest.raises(UnsupportedServerError, match="no search module") as caught:
            await queue.create_job_index(vector_field=VectorField("embedding", 2), engine="module")
        assert (caught.value.feature, await dump(connection)) == ("search", {})
        await queue.create_job_index(vector_field=VectorField("embedding", 2), fields=[TextField("title")])
        for where in ("@title:hello", "hello"):
            with pytest.raises(UnsupportedServerError, match="needs the search module"):
                await queue.vector_search([1, 0], filter=where)


async def test_without_numpy_one_line_says_so(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        await document(queue, [1, 0])
        monkeypatch.setitem(sys.modules, "numpy", None)

        with pytest.raises(UnsupportedServerError, match="needs numpy") as caught:
            await queue.vector_search([1, 0])
        assert caught.value.hint is not None
        assert "glidemq[search]" in caught.value.hint


async def test_a_damaged_record_of_an_index_is_told(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        await connection.command(
            "HSET", "glide:{docs}:vindex:docs-idx", "schema", '{"fields":[{"type":"GEO"}]}'
        )

        with pytest.raises(GlideMQError, match="search index 'docs-idx' cannot be read"):
            await queue.vector_search([1, 0])


async def test_a_reader_searches_but_changes_nothing(searched: Connection) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        job, gone = await document(queue, [1, 0]), await document(queue, [0, 1])
        await gone.remove()
        before = await dump(searched)
        async with (
            connect(searched.url, read_only=True) as looking,
            Queue[Any, Any]("docs", looking) as reader,
        ):
            assert await ids(reader, [1, 0]) == [job.id]
            for call in (reader.create_job_index("other"), reader.drop_job_index()):
                with pytest.raises(PermissionDeniedError):
                    await call
        assert await dump(searched) == before


# Exact search at work -----------------------------------------------------------------------------------------


async def test_removed_jobs_leave_the_list(connection: Connection) -> None:
    members = "glide:{docs}:vectors:embedding"
    async with Queue[Any, Any]("docs", connection) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        jobs = [await document(queue, [1, 0]) for _ in range(3)]
        await jobs[0].remove()
        await connection.command("DEL", f"glide:{{docs}}:job:{jobs[1].id}")
        await connection.command("HSET", f"glide:{{docs}}:vec:{jobs[1].id}", "embedding", packed(1, 0))

        assert await ids(queue, [1, 0]) == [jobs[2].id]

        assert await connection.command("SMEMBERS", members) == {jobs[2].id.encode()}
        assert await connection.command("EXISTS", f"glide:{{docs}}:vec:{jobs[1].id}") == 0


async def test_the_list_does_not_grow_with_removed_jobs(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        for _ in range(200):
            await (await document(queue, [1, 0])).remove()

        assert await connection.command("SCARD", "glide:{docs}:vectors:embedding") < 50


async def test_many_pages_keep_the_nearest(connection: Connection) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        numbers = numpy.random.default_rng(3).standard_normal((3_500, 8)).astype("f4")
        for start in range(0, len(numbers), 500):
            await connection.pipeline(
                [
                    ("HSET", f"glide:{{docs}}:job:{n}", "state", "completed", "embedding", row.tobytes())
                    for n, row in enumerate(numbers[start : start + 500], start)
                ]
            )
        await queue.create_job_index(vector_field=VectorField("embedding", 8, distance_metric="L2"))
        wanted = numpy.ones(8, "f4")
        distances = ((numbers.astype("f8") - wanted) ** 2).sum(axis=1)
        order = sorted(range(len(numbers)), key=lambda n: (distances[n], n))

        for k in (1, 30, 2_000):
            hits = await found(queue, wanted, k=k)
            assert hits == [(str(n), pytest.approx(distances[n])) for n in order[:k]]
