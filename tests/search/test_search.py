"""Vector search: the same answers with a search module and without one, nearest first, bad questions refused."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import numpy
import pytest
from kits.searching import FIELDS, document, found, ids, packed

from glidemq_core import (
    Connection,
    InvalidOptionError,
    Queue,
    UnsupportedServerError,
    VectorField,
    escape_tag,
)

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
async def test_both_engines_answer_the_same(with_module: Connection, metric: str, algorithm: str) -> None:
    chance = random.Random(f"{metric} {algorithm}")
    async with Queue[Any, Any]("docs", with_module) as queue:
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


async def test_random_filters_pass_the_same_jobs(with_module: Connection) -> None:
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

    async with Queue[Any, Any]("docs", with_module) as queue:
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


@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
async def test_vectors_that_are_no_number_hide_nobody(searched: Connection, algorithm: str) -> None:
    """A Node peer may store NaN, which a module ranks anywhere."""
    async with Queue[Any, Any]("docs", searched) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2, algorithm, "L2"))
        jobs = [await document(queue, [number, 0]) for number in range(12)]
        for spoilt in jobs[3:6]:
            await searched.command(
                "HSET", f"glide:{{docs}}:job:{spoilt.id}", "embedding", packed(math.nan, 1)
            )

        for k in (1, 3, 5, 9):
            assert await ids(queue, [0, 0], k=k) == [job.id for job in jobs[:3] + jobs[6:]][:k]
        assert (await ids(queue, [0, 0], k=12))[9:] == [job.id for job in jobs[3:6]]


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


async def test_without_numpy_one_line_says_so(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Queue[Any, Any]("docs", connection) as queue:
        await queue.create_job_index(vector_field=VectorField("embedding", 2))
        await document(queue, [1, 0])
        monkeypatch.setitem(sys.modules, "numpy", None)

        with pytest.raises(UnsupportedServerError, match=r"needs numpy .*pip install 'glidemq\[search\]'"):
            await queue.vector_search([1, 0])


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
