"""Usage reports and the usage of flows, against a real Valkey and the recordings."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import eventually
from kits.usage import MINUTE, NOW, added, bucket, clocked_queue  # noqa: F401
from kits.wire import dump, recording, replay

from glidemq_core.ai.usage import report as usage_module
from glidemq_core.ai.usage.report import report_tokens, report_usage
from glidemq_core.ai.usage.summary import get_usage_summary
from glidemq_core.errors import InvalidOptionError, JobNotFoundError, LockBusyError
from glidemq_core.queue import Queue
from glidemq_core.records import Usage
from glidemq_core.records.usage import decode_usage
from glidemq_core.server.connection import Connection
from glidemq_core.wire.replies import hash_fields


async def job_hash(connection: Connection, job_id: str, queue: str = "usage") -> dict[str, str]:
    reply = await connection.command("HGETALL", f"glide:{{{queue}}}:job:{job_id}")
    return {name.decode(): value.decode() for name, value in reply.items()}


def reported(fields: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name.startswith("usage:")}


# Recordings --------------------------------------------------------------------------------------------------


async def test_recorded_reports_read_as_node_reads_them(connection: Connection) -> None:
    loaded = await replay(connection, "usage")
    one, two, three, summary = loaded["results"]

    read = [
        decode_usage(hash_fields(await connection.command("HGETALL", f"glide:{{usage}}:job:{n}")))
        for n in "123"
    ]

    assert read == [
        Usage(
            model=one["model"],
            provider=one["provider"],
            tokens=one["tokens"],
            total_tokens=one["totalTokens"],
            costs=one["costs"],
            total_cost=one["totalCost"],
            cost_unit=one["costUnit"],
            latency_ms=one["latencyMs"],
            cached=one["cached"],
        ),
        Usage(model=two["model"], total_tokens=two["totalTokens"], total_cost=two["totalCost"]),
        Usage(model=three["model"], tokens=three["tokens"], total_tokens=three["totalTokens"]),
    ]
    answer = await get_usage_summary(connection, end_time=summary["endTime"], queues=["usage"])
    assert answer.start_at == datetime.fromtimestamp(summary["startTime"] / 1000, UTC)
    assert answer.bucket_ms == summary["bucketSizeMs"]
    assert answer.queues == ("usage",)
    for totals, expected in ((answer, summary), (answer.per_queue["usage"], summary["perQueue"]["usage"])):
        assert totals.job_count == expected["jobCount"]
        assert totals.tokens == expected["tokens"]
        assert totals.total_tokens == expected["totalTokens"]
        assert totals.costs == expected["costs"]
        assert totals.total_cost == expected["totalCost"]
        assert totals.cost_unit == expected["costUnit"]
        assert totals.models == expected["models"]


async def test_the_same_reports_write_the_recorded_fields_bucket_and_events(
    queue: Queue, connection: Connection
) -> None:
    recorded = recording("usage")["keys"]
    scope = await queue.context()
    await added(queue, 3)

    await report_usage(
        scope,
        "1",
        model="gpt-5.4",
        provider="openai",
        tokens={"input": 120, "output": 60, "reasoning": 20},
        costs={"input": 0.001, "output": 0.0025},
        cost_unit="usd",
        latency=831,
        cached=False,
    )
    await report_usage(scope, "2", model="claude-sonnet-4-20250514", total_tokens=99, total_cost=0.01)
    await report_usage(scope, "3", model="m1", tokens={"input": 5})
    await report_usage(scope, "3", Usage(model="m2", tokens={"input": 7, "output": 1}))

    for job_id in "123":
        expected = reported(recorded[f"glide:{{usage}}:job:{job_id}"]["value"])
        written = reported(await job_hash(connection, job_id))
        assert written.keys() == expected.keys()
        for name, value in expected.items():
            same = (
                json.loads(written[name]) == json.loads(value) if value[0] == "{" else written[name] == value
            )
            assert same, name
    key = f"glide:{{usage}}:usage:{MINUTE}"
    assert await bucket(connection) == recorded[key]["value"]
    assert 2_591_000 < await connection.command("TTL", key) <= 2_592_000
    kept = [e["fields"] for e in recorded["glide:{usage}:events"]["value"] if e["fields"]["event"] == "usage"]
    written_events = [
        e["fields"]
        for e in (await dump(connection, "glide:{usage}:events"))["glide:{usage}:events"]["value"]
        if e["fields"]["event"] == "usage"
    ]
    assert [(e["jobId"], json.loads(e["data"])) for e in written_events] == [
        (e["jobId"], json.loads(e["data"])) for e in kept
    ]
    assert await connection.command("SMEMBERS", "glide:usage:queues") == {b"usage"}


# Reporting ---------------------------------------------------------------------------------------------------


async def test_a_report_replaces_the_one_before_as_a_whole(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    await report_usage(scope, job_id, model="a", tokens={"input": 5}, costs={"total": 0.5}, cost_unit="usd")
    connection.now_ms = lambda: NOW + 60_000

    stored = await report_usage(scope, job_id, model="b", total_tokens=3)

    assert stored == Usage(model="b", total_tokens=3)
    assert reported(await job_hash(connection, job_id)) == {
        "usage:model": "b",
        "usage:totalTokens": "3",
        "usage:bucketTs": str(MINUTE + 60_000),
    }
    old = await bucket(connection)
    assert {name: float(value) for name, value in old.items() if name != "costUnit"} == {
        "jobCount": 0,
        "totalTokens": 0,
        "totalCost": 0,
        "models:a": 0,
        "tokens:input": 0,
        "costs:total": 0,
    }
    assert (await bucket(connection, MINUTE + 60_000))["jobCount"] == "1"
    assert (await queue.get_usage_summary(end_time=NOW)).queues == ()


async def test_an_empty_report_takes_the_usage_away(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    await report_usage(scope, job_id, model="a", total_tokens=3)

    assert await report_usage(scope, job_id, {}) is None

    assert reported(await job_hash(connection, job_id)) == {}
    assert (await bucket(connection))["jobCount"] == "0"
    events = (await dump(connection, "glide:{usage}:events"))["glide:{usage}:events"]["value"]
    assert events[-1]["fields"] == {"event": "usage", "jobId": job_id, "data": "{}"}


async def test_totals_are_plain_sums_and_given_totals_win(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    first, second, third = await added(queue, 3)

    summed = await report_usage(scope, first, costs={"a": 0.1, "b": 0.2})
    given = await report_usage(scope, second, tokens={"a": 5}, total_tokens=1)
    empty = await report_usage(scope, third, tokens={})

    assert summed is not None
    assert summed.total_cost == 0.1 + 0.2
    assert (await job_hash(connection, first))["usage:totalCost"] == "0.30000000000000004"
    assert given is not None
    assert given.total_tokens == 1
    assert empty == Usage()
    assert reported(await job_hash(connection, third)) == {
        "usage:tokens": "{}",
        "usage:bucketTs": str(MINUTE),
    }


async def test_numbers_are_written_without_exponent(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)

    await report_usage(scope, job_id, total_tokens=1e21, costs={"tiny": 1e-7})

    stored = await job_hash(connection, job_id)
    assert stored["usage:totalTokens"] == "1000000000000000000000"
    assert stored["usage:costs"] == '{"tiny":0.0000001}'


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"tokens": {"input": -1}}, "Token count for 'input' must be a finite non-negative number"),
        ({"tokens": {"input": "5"}}, "Token count for 'input' must be a finite non-negative number"),
        ({"tokens": {"input": True}}, "Token count for 'input' must be a finite non-negative number"),
        ({"costs": {"total": float("nan")}}, "Cost for 'total' must be a finite non-negative number"),
        ({"total_tokens": float("inf")}, "totalTokens must be a finite non-negative number"),
        ({"total_tokens": 10**400}, "totalTokens must be a finite non-negative number"),
        ({"total_cost": -0.5}, "totalCost must be a finite non-negative number"),
        ({"latency": -1}, "latencyMs must be a finite non-negative number"),
        ({"latency": float("nan")}, "latencyMs must be a finite non-negative number"),
    ],
)
async def test_bad_numbers_are_refused_before_anything_is_written(
    queue: Queue, connection: Connection, report: dict[str, Any], message: str
) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)

    with pytest.raises(InvalidOptionError) as caught:
        await report_usage(scope, job_id, **report)

    assert str(caught.value) == message
    assert reported(await job_hash(connection, job_id)) == {}


async def test_an_unknown_field_of_a_report_is_refused(queue: Queue) -> None:
    with pytest.raises(InvalidOptionError, match="totalTokenz"):
        await report_usage(await queue.context(), "1", {"totalTokenz": 5})


async def test_a_report_may_be_given_in_nodes_spelling(queue: Queue) -> None:
    [job_id] = await added(queue)
    stored = await report_usage(
        await queue.context(),
        job_id,
        {"model": "m", "totalTokens": 5, "latencyMs": 7},
        latency=timedelta(seconds=1),
    )
    assert stored == Usage(model="m", total_tokens=5, latency_ms=1000)


async def test_reporting_on_a_removed_job_writes_nothing(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    with pytest.raises(JobNotFoundError):
        await report_usage(scope, "9", model="m", total_tokens=1)
    with pytest.raises(JobNotFoundError):
        await report_tokens(scope, "9", 5)
    assert await dump(connection, "glide:{usage}:*") == {}


async def test_a_held_report_lock_is_waited_for(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    lock = scope.keys.usage_lock(job_id)
    await connection.command("SET", lock, "token")
    before = connection.stats.commands

    report = Usage(model="m", tokens={"input": 1}, costs={"total": 2.5}, cached=False)
    waiting = asyncio.create_task(report_usage(scope, job_id, report))
    await eventually(lambda: connection.stats.commands >= before + 4)  # asked, and asked again
    assert not waiting.done()
    await connection.command("DEL", lock)

    assert await waiting == replace(report, total_tokens=1, total_cost=2.5)
    assert reported(await job_hash(connection, job_id)) == {
        "usage:model": "m",
        "usage:tokens": '{"input":1}',
        "usage:totalTokens": "1",
        "usage:costs": '{"total":2.5}',
        "usage:totalCost": "2.5",
        "usage:cached": "0",
        "usage:bucketTs": str(MINUTE),
    }


@pytest.mark.leaves_records
async def test_a_lock_that_stays_is_told(
    queue: Queue, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_module, "_LOCK_PAUSE", 0)
    scope = await queue.context()
    [job_id] = await added(queue)
    await connection.command("SET", scope.keys.usage_lock(job_id), "token")

    with pytest.raises(LockBusyError, match="reportUsage lock timeout; try again") as caught:
        await report_usage(scope, job_id, total_tokens=1)
    assert caught.value.lock == scope.keys.usage_lock(job_id)


async def test_what_node_could_not_book_out_is_booked_out(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    key = scope.keys.job(job_id)
    await connection.command(
        "HSET", key, "usage:latencyMs", "NaN", "usage:tokens", "{broken", "usage:bucketTs", MINUTE
    )
    await connection.command("HSET", scope.keys.usage(MINUTE), "jobCount", 1)

    await report_usage(scope, job_id, total_tokens=1)

    assert (await bucket(connection))["jobCount"] == "1"


async def test_tokens_for_the_limiter_are_kept_as_text(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)

    await report_tokens(scope, job_id, 12.5)

    assert (await job_hash(connection, job_id))["tpmTokens"] == "12.5"
    with pytest.raises(InvalidOptionError) as caught:
        await report_tokens(scope, job_id, -1)
    assert str(caught.value) == "Token count must not be negative"
    with pytest.raises(InvalidOptionError):
        await report_tokens(scope, job_id, float("nan"))


# Flows -------------------------------------------------------------------------------------------------------


async def flow(queue: Queue, connection: Connection) -> str:
    """Root with two children, one in another queue, and a grandchild; each reported."""
    other = Queue("other", connection)
    root, child, grandchild = await added(queue, 3)
    far = await other.add("n", {})
    assert far is not None
    scope = await queue.context()
    deps = scope.keys.deps
    members = (
        scope.keys.member(child),
        (await other.context()).keys.member(far.id),
        scope.keys.member("gone"),
    )
    await connection.command("SADD", deps(root), *members)
    await connection.command("SADD", deps(child), scope.keys.member(grandchild), scope.keys.member(root))
    await report_usage(scope, root, model="a", tokens={"input": 1}, costs={"total": 0.25}, cost_unit="usd")
    await report_usage(scope, child, model="a", tokens={"input": 10})
    await report_usage(
        await other.context(), far.id, model="b", total_tokens=100, total_cost=1, cost_unit="eur"
    )
    await report_usage(scope, grandchild, total_tokens=1000)
    return root


async def test_flow_usage_is_the_job_and_its_direct_children(queue: Queue, connection: Connection) -> None:
    root = await flow(queue, connection)

    answer = await queue.get_flow_usage(root)

    assert (answer.job_count, answer.total_tokens, answer.total_cost) == (3, 111, 1.25)
    assert (answer.tokens, answer.costs, answer.models) == ({"input": 11}, {"total": 0.25}, {"a": 2, "b": 1})
    assert answer.cost_unit == "usd"
    assert sorted(answer.cost_units) == ["eur", "usd"]


async def test_deep_flow_usage_walks_everything_once(queue: Queue, connection: Connection) -> None:
    root = await flow(queue, connection)

    answer = await queue.get_flow_usage(root, deep=True)

    assert (answer.job_count, answer.total_tokens) == (4, 1111)


async def test_flow_usage_of_nothing_is_zero(queue: Queue) -> None:
    answer = await queue.get_flow_usage("nobody", deep=True, ledger=True)
    assert (answer.job_count, answer.total_tokens, answer.cost_unit) == (0, 0, None)
