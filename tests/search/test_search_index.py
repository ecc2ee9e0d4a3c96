"""Search indexes: made, found, dropped; shared with Node peers; what an exact one keeps on the server."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.searching import document, found, ids, packed
from kits.wire import dump

from glidemq_core import (
    Connection,
    GlideMQError,
    IndexNotFoundError,
    InvalidOptionError,
    NumericField,
    PermissionDeniedError,
    Queue,
    TagField,
    TextField,
    UnsupportedServerError,
    VectorField,
    connect,
)


@pytest.mark.parametrize("name", ["a b", "x{y}:z", "é", "*?[a]"])
async def test_an_index_may_have_any_name(searched: Connection, name: str) -> None:
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(name, vector_field=VectorField("embedding", 2))
        job = await document(queue, [1, 0])

        assert await ids(queue, [1, 0], index_name=name) == [job.id]
        await queue.drop_job_index(name)
        assert await dump(searched, "*:vindex:*") == {}


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


async def test_our_index_is_the_one_node_makes(with_module: Connection) -> None:
    async with Queue[Any, Any]("docs", with_module) as queue:
        fields = (TagField("topic"), NumericField("size"), TextField("title"))
        await queue.create_job_index(vector_field=VectorField("embedding", 4), fields=fields)

    info = await (await with_module.resp2()).command("FT.INFO", "docs-idx")
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


async def test_an_index_of_a_node_peer_is_used(with_module: Connection) -> None:
    words = "FT.CREATE docs-idx ON HASH PREFIX 1 glide:{docs SCHEMA name TAG state TAG timestamp NUMERIC "
    words += "priority NUMERIC vec VECTOR FLAT 6 TYPE FLOAT32 DIM 2 DISTANCE_METRIC L2"
    await with_module.command(*words.split())
    async with Queue[Any, Any]("docs", with_module) as queue:
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
        ({"name": "two\nlines"}, "name"),
        ({"name": "n" * 257}, "name"),
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


async def test_an_index_of_another_prefix_is_not_ours(with_module: Connection) -> None:
    async with (
        Queue[Any, Any]("docs", with_module, prefix="theirs") as theirs,
        Queue[Any, Any]("docs", with_module) as queue,
    ):
        await theirs.create_job_index(vector_field=VectorField("embedding", 2))

        with pytest.raises(InvalidOptionError, match="exists already"):
            await queue.create_job_index(vector_field=VectorField("embedding", 2))
        for call in (queue.vector_search([1, 0]), queue.drop_job_index()):
            with pytest.raises(IndexNotFoundError):
                await call
        assert await ids(theirs, [1, 0]) == []


async def test_options_of_the_module_are_passed_on(with_module: Connection) -> None:
    async with Queue[Any, Any]("docs", with_module) as queue:
        job = await document(queue, [1, 0])
        options = {"skip_initial_scan": True, "language": "german", "stop_words": ["der"], "score": 0.5}
        await queue.create_job_index(
            vector_field=VectorField("embedding", 2), fields=[TextField("title")], create_options=options
        )

        info = await (await with_module.resp2()).command("FT.INFO", "docs-idx")
        assert {b"german", b"0.5"} < {item for item in info[b"index_definition"] if isinstance(item, bytes)}
        assert await ids(queue, [1, 0]) == []
        await with_module.command("HSET", f"glide:{{docs}}:job:{job.id}", "title", "Hallo Welt")
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
