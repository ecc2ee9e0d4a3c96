"""What was used over time: the ledger of a job, the minutes and the summary of queues."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kits.usage import MINUTE, NOW, added, bucket, clocked_queue  # noqa: F401

from glidemq_core.ai.usage.report import report_usage
from glidemq_core.ai.usage.summary import get_usage_minutes, get_usage_summary
from glidemq_core.errors import InvalidOptionError
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

# Ledger ------------------------------------------------------------------------------------------------------


async def end(connection: Connection, job_id: str, **entry: Any) -> None:
    whole = {
        "k": "end",
        "at": NOW,
        "started": NOW - 500,
        "attempt": 0,
        "fallback": 0,
        "worker": "w",
        "error": None,
    }
    await connection.command("RPUSH", f"glide:{{usage}}:ledger:{job_id}", json.dumps(whole | entry))


async def test_the_ledger_tells_what_each_attempt_spent(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    assert await queue.get_ledger(job_id) is None
    await report_usage(scope, job_id, model="a", total_tokens=5, worker="w")
    await report_usage(scope, job_id, model="a", total_tokens=7, worker="w")
    await end(connection, job_id, outcome="failed", error="boom")
    await connection.command("HSET", scope.keys.job(job_id), "attemptsMade", 1, "fallbackIndex", 1)
    await end(connection, job_id, attempt=1, fallback=1, outcome="suspended", worker=None)
    await report_usage(scope, job_id, model="b", total_tokens=100, worker="w2")
    await end(connection, job_id, attempt=1, fallback=1, outcome="completed", worker="w2")

    attempts = await queue.get_ledger(job_id)

    assert attempts is not None
    assert [
        (a.attempt, a.fallback_index, a.outcome, a.model, a.total_tokens, a.worker) for a in attempts
    ] == [
        (0, 0, "failed", "a", 7, "w"),
        (1, 1, "suspended", None, None, None),
        (1, 1, "completed", "b", 100, "w2"),
    ]
    assert attempts[0].error == "boom"
    assert attempts[0].started_at == datetime.fromtimestamp((NOW - 500) / 1000, UTC)
    assert (await queue.get_flow_usage(job_id)).total_tokens == 100
    spent = await queue.get_flow_usage(job_id, ledger=True)
    assert (spent.total_tokens, spent.job_count, spent.models) == (107, 1, {"a": 1, "b": 1})
    assert spent.wasted is not None
    assert (spent.wasted.total_tokens, spent.wasted.models) == (7, {"a": 1})
    assert (await queue.get_flow_usage(job_id)).wasted is None


async def test_a_run_without_an_end_is_lost_once_another_one_follows(
    queue: Queue, connection: Connection
) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    await connection.command("HSET", scope.keys.job(job_id), "state", "active")
    await report_usage(scope, job_id, total_tokens=5, worker="crashed")
    assert await queue.get_ledger(job_id) == []
    running = await queue.get_flow_usage(job_id, ledger=True)
    assert running.wasted is not None
    assert (running.total_tokens, running.wasted.total_tokens) == (5, 0), "what goes on is not wasted yet"

    await report_usage(scope, job_id, total_tokens=6, worker="next")

    [lost] = await queue.get_ledger(job_id) or []
    assert (lost.outcome, lost.ended_at, lost.worker, lost.total_tokens) == ("lost", None, "crashed", 5)


async def test_the_ledger_is_bounded_and_expires(queue: Queue, connection: Connection) -> None:
    scope = await queue.context()
    [job_id] = await added(queue)
    key = scope.keys.ledger(job_id)
    await connection.command("RPUSH", key, *["{}"] * 1000)

    await report_usage(scope, job_id, total_tokens=1)

    assert await connection.command("LLEN", key) == 1000
    assert await connection.command("TTL", key) > 2_591_000


@pytest.mark.leaves_records
async def test_a_spoilt_ledger_is_read_without_harm(queue: Queue, connection: Connection) -> None:
    entries = [
        "",
        "[]",
        "7",
        "{",
        '{"k":"end"}',
        '{"k":"usage","usage":5,"attempt":"x","worker":[]}',
        b"\xff",
    ]
    await connection.command("RPUSH", "glide:{usage}:ledger:1", *entries)

    attempts = await queue.get_ledger("1")

    assert attempts is not None
    assert {attempt.outcome for attempt in attempts} == {"lost"}


# Summary -----------------------------------------------------------------------------------------------------


@pytest.mark.leaves_records
async def test_both_ends_of_a_span_are_counted_whole(queue: Queue, connection: Connection) -> None:
    for minute in (MINUTE - 120_000, MINUTE - 60_000, MINUTE, MINUTE + 60_000):
        await connection.command(
            "HSET", f"glide:{{usage}}:usage:{minute}", "jobCount", 1, "totalTokens", "1e+21"
        )

    answer = await queue.get_usage_summary(start_time=MINUTE - 1, end_time=MINUTE, queues=["usage", "usage"])
    minutes = await get_usage_minutes(connection, start_time=MINUTE - 1, end_time=MINUTE, queues=["usage"])

    assert (answer.job_count, answer.total_tokens) == (2, 2e21)
    assert [int(minute.at.timestamp() * 1000) for minute in minutes] == [MINUTE - 60_000, MINUTE]


async def test_no_queues_named_reads_all_that_ever_reported(queue: Queue, connection: Connection) -> None:
    other = Queue("b", connection)
    job = await other.add("n", {})
    assert job is not None
    [job_id] = await added(queue)
    await report_usage(await queue.context(), job_id, total_tokens=1)
    await report_usage(await other.context(), job.id, total_tokens=2)

    assert (await queue.get_usage_summary()).queues == ("b", "usage")
    assert (await get_usage_summary(connection)).total_tokens == 3
    assert (await get_usage_summary(connection, queues=[])).queues == ()
    assert await connection.ping()  # a shared connection stays open


async def test_a_summary_needs_no_more_than_a_url(
    queue: Queue, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = await added(queue)
    await report_usage(await queue.context(), job_id, total_tokens=1)

    assert (await get_usage_summary(server_url, end_time=NOW)).total_tokens == 1
    assert (await get_usage_summary(server_url, end_time=NOW, prefix="other")).queues == ()
    monkeypatch.setenv("GLIDEMQ_URL", server_url)
    assert (await get_usage_summary(end_time=NOW)).total_tokens == 1
    with pytest.raises(InvalidOptionError) as refused:
        await get_usage_summary("http://user:hunter2@host")
    assert "hunter2" not in repr((str(refused.value), refused.value.value))


async def test_a_span_is_cut_to_thirty_days(queue: Queue) -> None:
    answer = await queue.get_usage_summary(start_time=0, queues=["a", "b"])
    assert answer.end_at - answer.start_at == timedelta(days=30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_time": -1}, "endTime must be a finite non-negative number"),
        ({"window": 0}, "windowMs must be a finite positive number"),
        ({"window": float("nan")}, "windowMs must be a finite positive number"),
        ({"start_time": float("inf")}, "startTime must be a finite non-negative number"),
        ({"start_time": 2_000, "end_time": 1_000}, "startTime must be less than or equal to endTime"),
        (
            {"start_time": 0, "queues": ["a", "b", "c"]},
            "usage summary request exceeds maximum bucket reads (129603 > 100000); reduce queues or windowMs",
        ),
    ],
)
async def test_bad_spans_are_refused(queue: Queue, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        await queue.get_usage_summary(**options)
    assert str(caught.value) == message
