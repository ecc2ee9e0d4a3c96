"""Acting on jobs and queues: the same records as Node's calls leave, and what ours do better."""

from __future__ import annotations

import asyncio
import json
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
from kits.bench import Bench
from kits.wire import assert_same_records, dump, recording, replay

from glidemq_core.errors import (
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
    PayloadTooLargeError,
)
from glidemq_core.jobs.control import retry_some, update_data, update_progress
from glidemq_core.options.job import Actor, Fallback, RateLimit
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker.sweeps import tick

ACTOR = Actor("ann", via="cli")


QUEUE = "mail"


async def _written(connection: Connection, name: str, **hidden: Any) -> None:
    assert_same_records(recording(name), await dump(connection, f"glide:{{{name}}}*"), **hidden)


# The same records as Node leaves --------------------------------------------------------------------------------


async def test_pause_and_resume_write_what_node_writes(connection: Connection) -> None:
    queue = Queue("paused", connection)
    await queue.add("a", {})
    await queue.pause()
    assert await queue.is_paused()
    await _written(connection, "paused")
    queue = Queue("resumed", connection)
    await queue.pause()
    await queue.resume()
    await queue.add("a", {})
    assert not await queue.is_paused()
    await _written(connection, "resumed")


async def test_global_settings(connection: Connection) -> None:
    queue = Queue("global_settings", connection)
    await queue.set_global_concurrency(3)
    await queue.set_global_rate_limit(RateLimit(60, 60_000))
    await queue.add("a", {})
    await _written(connection, "global_settings")
    assert await queue.get_global_concurrency() == 3
    assert await queue.get_global_rate_limit() == RateLimit(60, 60_000)
    await queue.remove_global_rate_limit()
    await queue.set_global_concurrency(0)
    assert await queue.get_global_rate_limit() is None
    assert await queue.get_global_concurrency() is None


async def test_a_queue_names_where_its_dead_letters_go(connection: Connection, server_url: str) -> None:
    async with connect(server_url, read_only=True) as viewer:
        await Queue("letters", viewer, dead_letter_queue="dead").get_job_counts()
    assert await connection.command("EXISTS", "glide:{letters}:meta") == 0

    await Queue("letters", connection, dead_letter_queue="dead").add("a", {})

    assert await connection.command("HGET", "glide:{letters}:meta", "deadLetterQueueName") == b"dead"


async def test_promote_and_changes(connection: Connection) -> None:
    queue = Queue("job_promoted", connection)
    await queue.add("a", {}, delay=3_600_000)
    await queue.add("b", {}, priority=5)
    await queue.add("c", {}, delay=3_600_000)
    await queue.add("d", {})
    await queue.add("e", {}, priority=2)
    wanted = recording("job_promoted")["keys"]
    opts = {key[-1]: entry["value"]["opts"] for key, entry in wanted.items() if ":job:" in key}
    for job_id, text in opts.items():
        await connection.command("HSET", f"glide:{{job_promoted}}:job:{job_id}", "opts", text)
    await queue.promote_job("1")
    await queue.change_job_priority("2", 9)
    await queue.change_job_delay("3", 7_200_000)
    await queue.change_job_priority("4", 3)
    await queue.change_job_priority("5", 0)
    with pytest.raises(JobStateError, match="not delayed"):
        await queue.promote_job("1")
    await _written(connection, "job_promoted")


async def test_revoke_of_a_waiting_job(connection: Connection) -> None:
    queue = Queue("revoked_waiting", connection)
    await queue.add("a", {})
    assert await queue.revoke("1") == "revoked"
    await _written(connection, "revoked_waiting", ignore=("*:stream",))
    assert await connection.command("XLEN", "glide:{revoked_waiting}:stream") == 0
    assert await queue.revoke("404") == "not_found"


@pytest.mark.parametrize(
    ("name", "delayed", "count"), [("queue_drained", False, 2), ("queue_drained-deep", True, 4)]
)
async def test_drain(connection: Connection, name: str, delayed: bool, count: int) -> None:
    queue = Queue(name, connection)
    await queue.add("w", {})
    await queue.add("d", {}, delay=3_600_000)
    await queue.add("p", {}, priority=2)
    await queue.add("l", {}, lifo=True)
    assert await queue.drain(delayed=delayed) == count
    recorded = recording("queue_drained")["keys"]
    mine = {key: entry for key, entry in recorded.items() if f"{{{name}}}" in key}
    assert_same_records(mine, await dump(connection, f"glide:{{{name}}}*"))


async def test_jobs_removed(bench: Bench, connection: Connection) -> None:
    await replay(connection, "job_removed")
    queue = Queue("job_removed", connection)
    assert await queue.remove_job("5")
    assert not await queue.remove_job("5")
    left = await dump(connection, "glide:{job_removed}*")
    assert not any(":job:" in key for key in left)
    entries = left["glide:{job_removed}:stream"]["value"]
    assert [entry["fields"]["jobId"] for entry in entries] == ["3"]  # Node's orphan; ours is gone


# Retrying ---------------------------------------------------------------------------------------------------


async def test_retry_is_for_failed_jobs_only(bench: Bench) -> None:
    failed, waiting = await bench.fail(priority=0), await bench.add()
    await bench.command("HSET", bench.scope.keys.job(failed), "stalledCount", "1", "fallbackIndex", "2")
    assert await retry_some(bench.scope, [failed, waiting, "404"]) == ["retried", "not_failed", "not_found"]
    job = await bench.queue.get_job(failed)
    assert job is not None
    assert (job.state, job.attempts_made, job.failed_reason, job.finished_at) == ("delayed", 0, None, None)
    assert (job.fields["failedReason"], job.fields["finishedOn"]) == (b"", b"")
    assert (job.stalled_count, job.fallback_index) == (1, 2)
    with pytest.raises(JobStateError):
        await bench.queue.retry_job(failed)
    with pytest.raises(JobNotFoundError):
        await bench.queue.retry_job("404")
    await tick(bench.scope)
    assert [run[0] for run in await bench.claim(5)] == [waiting, failed]


async def test_attempts_that_do_not_fit_the_fallbacks_are_warned_of(bench: Bench) -> None:
    chain = [Fallback("a"), Fallback("b")]
    with pytest.warns(RuntimeWarning, match="attempts from number 4 on run without a fallback") as caught:
        await bench.queue.add("n", attempts=5, fallbacks=chain)
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="never act: attempts=3 walks all of them"):
        await bench.queue.add("n", fallbacks=chain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await bench.queue.add("n", attempts=3, fallbacks=chain)
        await bench.queue.add("n", attempts=5)


async def test_retry_may_reset_fallbacks_and_signals(bench: Bench) -> None:
    failed, keys = await bench.fail(), bench.scope.keys
    await bench.command("HSET", keys.job(failed), "fallbackIndex", "2", "signals", "[]", "suspendBase", "1:0")
    await bench.command("RPUSH", keys.signals(failed), "{}")
    await bench.queue.retry_job(failed, reset_fallback=True, clear_signals=True, actor=ACTOR)
    assert (
        await bench.command("HMGET", keys.job(failed), "fallbackIndex", "signals", "suspendBase")
        == [None] * 3
    )
    assert not await bench.command("EXISTS", keys.signals(failed))
    [entry] = await bench.queue.get_audit()
    assert entry.detail == {"reset_fallback": True, "clear_signals": True}


async def test_two_retries_race_for_one(bench: Bench) -> None:
    failed = await bench.fail()
    outcomes = await asyncio.gather(*(retry_some(bench.scope, [failed]) for _ in range(5)))
    assert sorted(word for [word] in outcomes) == [*["not_failed"] * 4, "retried"]
    assert await bench.command("ZCARD", bench.scope.keys.scheduled) == 1


async def test_retry_all_takes_the_oldest(bench: Bench) -> None:
    jobs = [await bench.fail() for _ in range(4)]
    keys = bench.scope.keys
    await bench.command("ZADD", keys.failed, 1, "gone")
    await bench.command("ZADD", keys.failed, 2, jobs[3])
    assert await bench.queue.retry_jobs(2, actor=ACTOR) == 2
    assert await bench.field(jobs[3], "state") == "delayed"
    assert await bench.queue.retry_jobs() == 2
    assert not await bench.command("EXISTS", keys.failed)
    assert [event for event in await bench.events() if event[0] == "retried"] == [
        ("retried", "1"),
        ("retried", "1"),
        ("retried", "2"),
    ]
    with pytest.raises(InvalidOptionError):
        await bench.queue.retry_jobs(-1)


# Progress, data, log ------------------------------------------------------------------------------------------


async def test_updates_never_resurrect(bench: Bench) -> None:
    job_id, keys = await bench.add(), bench.scope.keys
    await update_progress(bench.scope, job_id, 40)
    await update_progress(bench.scope, job_id, {"step": "embed", "pct": 70})
    await update_data(bench.scope, job_id, {"v": "ü"})
    assert await bench.field(job_id, "progress") == '{"step":"embed","pct":70}'
    assert await bench.field(job_id, "data") == '{"v":"ü"}'
    assert [event for event, _ in await bench.events()].count("progress") == 2
    await bench.queue.remove_job(job_id)
    with pytest.raises(JobNotFoundError):
        await update_progress(bench.scope, job_id, 1)
    with pytest.raises(JobNotFoundError):
        await update_data(bench.scope, job_id, {})
    with pytest.raises(PayloadTooLargeError):
        await update_data(bench.scope, job_id, "x" * 1_048_576)
    assert not await bench.command("EXISTS", keys.job(job_id))


async def test_logs(bench: Bench) -> None:
    job_id = await bench.add()
    job = await bench.queue.get_job(job_id)
    assert job is not None
    for line in ("one", "two", "three"):
        await job.log(line)
    logs = await bench.queue.get_job_logs(job_id, 1)
    assert (logs.logs, logs.count) == (("two", "three"), 3)
    await bench.queue.remove_job(job_id)
    await job.log("late")
    assert (await bench.queue.get_job_logs(job_id)).count == 0


async def test_group_limit_from_outside(connection: Connection) -> None:
    queue = Queue("group_rate_limited_by_queue", connection)
    scope = await queue.context()
    before = scope.now_ms()
    resumes = await queue.rate_limit_group("tenant", 3_600_000)
    assert datetime.fromtimestamp(before / 1000, UTC) <= resumes
    later = await queue.rate_limit_group("tenant", 60_000)
    assert later == resumes
    assert await queue.rate_limit_group("tenant", 60_000, extend="replace") < resumes
    stream = await connection.command("XRANGE", scope.keys.events, "-", "+")
    [first, *_] = [dict(map(tuple, pairs)) for pairs in stream.values()]
    recorded = recording("group_rate_limited_by_queue")["keys"]["glide:{group_rate_limited_by_queue}:events"]
    [wanted] = [e["fields"] for e in recorded["value"] if e["fields"]["event"] == "group-rate-limited"]
    assert {name.decode() for name in first} == set(wanted)
    assert (first[b"jobId"], first[b"groupKey"], first[b"duration"]) == (b"", b"tenant", b"3600000")


async def test_job_methods_use_the_same_calls(bench: Bench) -> None:
    job = await bench.queue.add("a", {}, delay=60_000)
    assert job is not None
    await job.change_delay(30_000)
    await job.change_priority(7, actor=ACTOR)
    await job.promote()
    await job.remove(actor=ACTOR)
    assert [json.loads(json.dumps(entry.detail)) for entry in await bench.queue.get_audit()] == [
        {},
        {"priority": 7},
    ]
