"""Jobs that never ran take a short way through claim and settle: it must tell and do what the long one does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kits.bench import Bench
from kits.exchange import answers, claims, exchange
from kits.worker import P

from glidemq_core import FlowJob, FlowProducer
from glidemq_core.options.types import Ordering
from glidemq_core.server.connection import Connection

CONSUMER = "worker-1-0badcafe"


async def claim(bench: Bench, count: int = 1) -> list[tuple[str, str, str, dict[str, bytes]]]:
    """Start jobs: id, entry, processedOn and fields each."""
    now = bench.scope.now_ms()
    reply = await bench.scope.call(*exchange(now, CONSUMER, count, "em"))
    return [(one.job_id, one.entry, str(now), one.fields) for one in claims(reply)]


async def settle(bench: Bench, seen: str, *runs: tuple[Any, ...]) -> list[str]:
    """End runs as plain successes of which the claim saw this much."""
    heads = "".join(f"{run[0]}\x1f{run[1]}\x1f{run[2]}\x1f4\x1f.{seen}\x1e" for run in runs)
    now = bench.scope.now_ms()
    reply = await bench.scope.call(*exchange(now, CONSUMER, 0, "em"), heads, "null" * len(runs))
    return answers(reply, len(runs))


async def stored(bench: Bench, job_id: str) -> dict[str, bytes]:
    fields = await bench.command("HGETALL", f"{P}:job:{job_id}")
    return {name.decode(): value for name, value in fields.items()}


@pytest.mark.parametrize("payload", [{"n": 1}, {"long": "x" * 100}])
@pytest.mark.parametrize(
    "options", [{}, {"ordering": Ordering("k")}, {"priority": 0, "attempts": 3, "ttl": 60_000}]
)
async def test_a_claim_hands_out_what_is_stored(bench: Bench, options: dict[str, Any], payload: Any) -> None:
    job_id = await bench.add(data=payload, **options)
    [(claimed, _, started, fields)] = await claim(bench)
    assert claimed == job_id
    now = await stored(bench, job_id)
    assert now.pop("processedOn") == now.pop("lastActive") == started.encode()
    assert fields | {"state": b"active"} == now


@pytest.mark.parametrize("count", [2, 3_000])
async def test_children_are_handed_out_as_stored(bench: Bench, connection: Connection, count: int) -> None:
    """Also those of a flow that is made in parts, whose records say so."""
    async with FlowProducer(connection) as producer:
        await producer.add(FlowJob("root", "q", children=[FlowJob("leaf", "q") for _ in range(count)]))
    runs = await claim(bench, 2)
    assert len(runs) == 2
    for job_id, _, started, fields in runs:
        now = await stored(bench, job_id)
        assert now.pop("processedOn") == now.pop("lastActive") == started.encode()
        assert fields | {"state": b"active"} == now
        assert b"1" in now["parentId"]
    assert await settle(bench, "p", *runs) == ["ok", "ok"]
    done = await bench.command("HGET", f"{P}:job:1", "depsCompleted")
    assert done == b"2"


async def test_an_ordered_start_counts_and_leaves_no_row_behind(bench: Bench) -> None:
    job_id = await bench.add(ordering=Ordering("k", concurrency=2))
    await bench.command("ZADD", f"{P}:groupq:k", "1", job_id)

    [run] = await claim(bench)

    assert await bench.command("HMGET", f"{P}:group:k", "active", "nextSeq") == [b"1", b"2"]
    assert await bench.command("EXISTS", f"{P}:groupq:k") == 0
    assert await settle(bench, "g", run) == ["ok"]
    assert await bench.command("HMGET", f"{P}:group:k", "active", "nextSeq") == [b"0", b"2"]


@pytest.mark.parametrize(
    ("fields", "started"),
    [
        (("active", "1"), False),
        (("active", "2", "maxConcurrency", "3"), True),
        (("active", "2", "maxConcurrency", "0"), True),
        (("active", "-1"), True),
        (("nextSeq", "2"), True),
        (("skip:1", "1"), True),
        (
            ("rateMax", "1", "rateDuration", "60000", "rateWindowStart", "99999999999999", "rateCount", "1"),
            False,
        ),
        (
            ("tbCapacity", "2000", "tbRefillRate", "1", "tbTokens", "5", "tbLastRefill", "99999999999999"),
            False,
        ),
    ],
)
async def test_whether_an_ordered_job_starts(bench: Bench, fields: tuple[str, ...], started: bool) -> None:
    await bench.add(ordering=Ordering("k"))
    await bench.command("HSET", f"{P}:group:k", *fields)
    assert len(await claim(bench)) == started
    assert await bench.command("ZCARD", f"{P}:groupq:k") == (not started)


async def test_the_end_of_a_run_lets_the_next_of_its_key_follow(bench: Bench) -> None:
    ids = [await bench.add(ordering=Ordering(key)) for key in ("k", "k", "other")]
    runs = await claim(bench, 3)
    assert [run[0] for run in runs] == [ids[0], ids[2]]
    assert await bench.field(ids[1], "state") == "group-waiting"

    assert await settle(bench, "g", *runs) == ["ok", "ok"]

    assert await bench.field(ids[1], "state") == "waiting"
    assert await bench.command("HGET", f"{P}:group:k", "active") == b"0"
    assert await bench.command("HGET", f"{P}:group:other", "active") == b"0"
    assert [run[0] for run in await claim(bench, 3)] == [ids[1]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("DEL",), None),
        (("HSET", "active", "0"), b"0"),
        (("HSET", "active", "-3"), b"-3"),
        (("HSET", "active", "many"), b"many"),
    ],
)
async def test_a_slot_that_is_not_held_is_not_given_back(
    bench: Bench, before: tuple[str, ...], after: bytes | None
) -> None:
    """A peer may have removed the group, or what it counted."""
    await bench.add(ordering=Ordering("k"))
    [run] = await claim(bench)
    await bench.command(before[0], f"{P}:group:k", *before[1:])

    assert await settle(bench, "g", run) == ["ok"]

    assert await bench.command("HGET", f"{P}:group:k", "active") == after
    assert await bench.command("EXISTS", f"{P}:group:k") == (after is not None)


async def test_an_ordered_job_tells_a_parent_that_it_was_given_while_it_ran(bench: Bench) -> None:
    parent = await bench.add("parent")
    [waiting] = await claim(bench)
    await bench.command("SADD", f"{P}:deps:{parent}", f"{P}:2")
    await bench.scope.call("wait_children", *waiting[:3], bench.scope.now_ms(), "")
    child = await bench.add("child", ordering=Ordering("k"))
    [run] = await claim(bench)
    await bench.command("HSET", f"{P}:job:{child}", "parentId", parent, "parentQueue", "q")

    assert await settle(bench, "g", run) == ["ok"]
    assert await bench.field(parent, "state") == "waiting"


# Children that complete together ---------------------------------------------------------------------------------


async def family(bench: Bench, sizes: dict[str, int]) -> list[tuple[Any, ...]]:
    """Parents of custom ids that wait, and the runs of their children, which interleave."""
    for parent in sizes:
        await bench.add("parent", job_id=parent)
    for run in await claim(bench, len(sizes)):
        await bench.command(
            "SADD", f"{P}:deps:{run[0]}", *(f"{P}:{run[0]}-{n}" for n in range(sizes[run[0]]))
        )
        assert (await bench.scope.call("wait_children", *run[:3], bench.scope.now_ms(), ""))[0] == b"ok"
    for number in range(max(sizes.values())):
        for parent, size in sizes.items():
            if number < size:
                await bench.add("child", job_id=f"{parent}-{number}")
                key = f"{P}:job:{parent}-{number}"
                await bench.command("HSET", key, "parentId", parent, "parentQueue", "q")
    return list(await claim(bench, sum(sizes.values())))


async def test_each_parent_is_told_of_all_its_children(bench: Bench) -> None:
    runs = await family(bench, {"one": 3, "other": 5})

    assert await settle(bench, "p", *runs[:6]) == ["ok"] * 6
    assert await bench.command("HMGET", f"{P}:job:one", "state", "depsCompleted") == [b"waiting", b"3"]
    assert await bench.command("HMGET", f"{P}:job:other", "state", "depsCompleted") == [
        b"waiting-children",
        b"3",
    ]

    assert await settle(bench, "p", *runs[6:]) == ["ok"] * 2
    assert await bench.command("HMGET", f"{P}:job:other", "state", "depsCompleted") == [b"waiting", b"5"]
    assert await bench.stream_ids() == ["one", "other"]
    marks = await bench.command("HKEYS", f"{P}:job:other")
    assert {f"depdone:{P}:other-{n}".encode() for n in range(5)} <= set(marks)


async def test_a_child_that_is_counted_already_counts_once(bench: Bench) -> None:
    runs = await family(bench, {"one": 3})
    assert await bench.scope.call("child_done", "one", f"{P}:one-1") == [b"counted"]

    assert await settle(bench, "p", *runs[:2]) == ["ok", "ok"]
    assert await bench.command("HMGET", f"{P}:job:one", "state", "depsCompleted") == [
        b"waiting-children",
        b"2",
    ]
    assert await settle(bench, "p", runs[2]) == ["ok"]
    assert await bench.command("HMGET", f"{P}:job:one", "state", "depsCompleted") == [b"waiting", b"3"]


async def test_a_parent_that_is_gone_is_not_brought_back(bench: Bench) -> None:
    runs = await family(bench, {"one": 2})
    await bench.command("DEL", f"{P}:job:one", f"{P}:deps:one")

    assert await settle(bench, "p", *runs) == ["ok", "ok"]
    assert await bench.command("EXISTS", f"{P}:job:one", f"{P}:outbox") == 0


async def test_a_parent_that_refuses_hears_of_each_child_later(bench: Bench) -> None:
    runs = await family(bench, {"one": 2, "other": 2})
    await bench.command("DEL", f"{P}:deps:one")
    await bench.command("SET", f"{P}:deps:one", "no set")

    assert await settle(bench, "p", *runs) == ["ok"] * 4

    left = [json.loads(entry) for entry in await bench.command("LRANGE", f"{P}:outbox", 0, -1)]
    assert [(entry["parent"], entry["member"]) for entry in left] == [
        ("one", f"{P}:one-{n}") for n in range(2)
    ]
    assert await bench.field("one", "depsCompleted") is None
    assert await bench.field("other", "state") == "waiting"
