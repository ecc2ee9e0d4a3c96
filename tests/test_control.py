"""Acting on jobs and queues: the same records as Node's calls leave, and what ours do better."""

from __future__ import annotations

import asyncio
import json
import warnings
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from bench import Bench
from wire import assert_same_records, dump, recording, replay

from glidemq_core import registries
from glidemq_core.base import Scope
from glidemq_core.connection import Connection, connect
from glidemq_core.control import promote_jobs, remove_jobs, retry_some, update_data, update_progress
from glidemq_core.errors import (
    BulkError,
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
    PayloadTooLargeError,
    QueueBusyError,
)
from glidemq_core.events import QueueEvents
from glidemq_core.keys import PRIORITY_STEP
from glidemq_core.options import Actor, Fallback, JobOptions, NewJob, Ordering, RateLimit
from glidemq_core.queue import Queue
from glidemq_core.sweeps import tick
from glidemq_core.worker import Worker

ACTOR = Actor("ann", via="cli")


@pytest.fixture
async def bench(connection: Connection) -> Bench:
    made = Bench(connection, "mail")
    made.scope = await made.queue.scope()
    return made


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


# Removing ---------------------------------------------------------------------------------------------------


async def test_remove_takes_entry_or_element_along(bench: Bench) -> None:
    fifo, lifo, ranked = await bench.add(), await bench.add(lifo=True), await bench.add(priority=4)
    later = await bench.add(delay=60_000)
    await tick(bench.scope)
    keys = bench.scope.keys
    assert await bench.command("LRANGE", keys.priority, 0, -1) == [ranked.encode()]
    assert await remove_jobs(bench.scope, [fifo, lifo, ranked, later, "404"]) == [
        *["removed"] * 4,
        "not_found",
    ]
    left = await dump(bench.connection, "glide:{mail}*")
    assert sorted(left) == [keys.events, keys.id, keys.stream]
    assert left[keys.stream]["value"] == []
    assert [event for event, _ in await bench.events()].count("removed") == 4


async def test_remove_of_an_active_job_needs_force(bench: Bench) -> None:
    listed, fifo = await bench.add(lifo=True), await bench.add()
    runs = await bench.claim(2)
    assert [run[0] for run in runs] == [listed, fifo]
    with pytest.raises(JobStateError) as caught:
        await bench.queue.remove_job(fifo)
    assert (caught.value.state, caught.value.operation) == ("active", "remove")
    for job_id in (listed, fifo):
        assert await bench.queue.remove_job(job_id, force=True)
    keys = bench.scope.keys
    assert await bench.command("GET", keys.list_active) == b"0"
    assert not await bench.command("EXISTS", keys.list_runs)
    assert await bench.command("XLEN", keys.stream) == 0
    assert (await bench.command("XPENDING", keys.stream, "workers"))[0] == 0
    # The run that lost its job cannot bring it back.
    assert [await bench.settle(run) for run in runs] == ["lost", "lost"]
    assert not await bench.command("EXISTS", keys.completed, keys.job(listed), keys.job(fifo))


async def test_remove_of_an_ordered_job_does_not_block_its_key(bench: Bench) -> None:
    first, second, third = [await bench.add(ordering=Ordering("k")) for _ in range(3)]
    assert await bench.queue.remove_job(first)
    [run] = await bench.claim(5)
    assert run[0] == second
    assert await bench.field(third, "state") == "group-waiting"
    assert await bench.queue.remove_job(second, force=True)
    assert [run[0] for run in await bench.claim(5)] == [third]


async def test_remove_of_a_parked_job_lets_the_next_follow(bench: Bench) -> None:
    jobs = [await bench.add(ordering=Ordering("k")) for _ in range(3)]
    [run] = await bench.claim(5)
    assert await bench.queue.remove_job(jobs[1])
    await bench.settle(run)
    assert [run[0] for run in await bench.claim(5)] == [jobs[2]]


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


# Changing ---------------------------------------------------------------------------------------------------


async def test_promote_places_by_kind(bench: Bench) -> None:
    jobs = [
        await bench.add(delay=60_000),
        await bench.add(delay=60_000, priority=3),
        await bench.add(delay=60_000, lifo=True),
    ]
    waiting = await bench.add()
    assert await promote_jobs(bench.scope, [*jobs, waiting, "404"]) == [
        *["promoted"] * 3,
        "not_delayed",
        "not_found",
    ]
    keys = bench.scope.keys
    assert await bench.stream_ids() == [waiting, jobs[0]]
    assert await bench.command("LRANGE", keys.priority, 0, -1) == [jobs[1].encode()]
    assert await bench.command("LRANGE", keys.lifo, 0, -1) == [jobs[2].encode()]
    assert [await bench.field(job_id, "delay") for job_id in jobs] == ["0"] * 3


async def test_change_is_refused_while_a_worker_holds_the_entry(bench: Bench) -> None:
    job_id, keys = await bench.add(), bench.scope.keys
    await bench.command("XGROUP", "CREATE", keys.stream, "workers", "0")
    await bench.command("XREADGROUP", "GROUP", "workers", "node", "STREAMS", keys.stream, ">")
    with pytest.raises(JobStateError):
        await bench.queue.change_job_priority(job_id, 3)
    with pytest.raises(JobStateError):
        await bench.queue.change_job_delay(job_id, 1000)
    assert not await bench.command("EXISTS", keys.scheduled)
    assert await bench.queue.revoke(job_id) == "flagged"
    assert await bench.field(job_id, "state") == "waiting"


async def test_change_reaches_jobs_in_lists(bench: Bench) -> None:
    ranked = await bench.add(priority=4)
    await tick(bench.scope)
    keys = bench.scope.keys
    await bench.queue.change_job_priority(ranked, 2048)
    assert not await bench.command("EXISTS", keys.priority)
    assert await bench.command("ZSCORE", keys.scheduled, ranked) == 2048 * PRIORITY_STEP
    await bench.queue.change_job_delay(ranked, 5000)
    assert await bench.field(ranked, "state") == "delayed"
    await bench.queue.change_job_delay(ranked, 0)
    assert await bench.field(ranked, "state") == "prioritized"
    await bench.queue.change_job_priority(ranked, 0)
    assert await bench.stream_ids() == [ranked]


async def test_what_is_no_new_job_is_refused_in_its_place(bench: Bench) -> None:
    with pytest.raises(BulkError) as refused:
        await bench.queue.add_bulk([NewJob("good"), {"name": "bad"}, "bad", None])  # type: ignore[list-item]
    good, *bad = refused.value.results
    assert good.id == "1"
    assert [type(error) for error in bad] == [InvalidOptionError] * 3
    with pytest.raises(InvalidOptionError, match="options must be a JobOptions"):
        NewJob("bad", None, {"delay": 1})  # type: ignore[arg-type]


async def test_names_and_texts_of_any_script_keep_their_borders(bench: Bench) -> None:
    texts = ["", "ж\x1f,7\x00", "日本", "👩‍👩‍👧", "plain"]
    with pytest.raises(BulkError) as refused:
        await bench.queue.add_bulk([NewJob(text, [text]) for text in (*texts[:3], "\ud800", *texts[3:])])
    stored = [await bench.queue.get_job(str(n)) for n in range(1, 6)]
    assert [(job.name, job.data) for job in stored if job] == [(text, [text]) for text in texts]
    assert type(refused.value.results[3]) is InvalidOptionError


async def test_bulk_keeps_the_order_of_its_jobs(bench: Bench) -> None:
    jobs = [NewJob(f"job {n}", n, JobOptions(attempts=2) if n % 400 == 0 else None) for n in range(1_700)]
    added = await bench.queue.add_bulk(jobs)
    assert [(job.id, job.name) for job in added] == [(str(n + 1), f"job {n}") for n in range(1_700)]
    assert await bench.stream_ids() == [job.id for job in added]


async def test_bad_arguments_are_refused_before_anything_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        raise AssertionError("something was sent")

    queue, bob = bench.queue, cast("Actor", "bob")
    for method in ("call", "read", "command", "pipeline"):
        monkeypatch.setattr(bench.connection, method, nothing)
    for act in (
        lambda: queue.pause(actor=bob),
        lambda: queue.remove_job("1", actor=bob),
        lambda: queue.get_job_logs("1", cast("int", "a")),
        lambda: queue.get_metrics("failed", 0, cast("int", "a")),
        lambda: queue.get_jobs("failed", -1),
        lambda: queue.clean("failed", grace=0, limit=-1),
        lambda: queue.set_global_concurrency(-1),
        lambda: queue.add("n", priority=2049),
        lambda: queue.change_job_priority("1", 2049),
    ):
        with pytest.raises(InvalidOptionError) as refused:
            await act()
        assert refused.value.option
        assert refused.value.allowed


def test_what_cannot_serve_is_refused_at_once() -> None:
    async def process(_: Any) -> None: ...

    wrong: Any = 5
    for make in (
        lambda: Queue("q", wrong),
        lambda: Worker("q", process, wrong),
        lambda: QueueEvents("q", wrong),
        lambda: Queue("q", serializer=wrong),
        lambda: Worker("q", process, serializer=wrong),
        lambda: QueueEvents("q", types="added"),
        lambda: QueueEvents("q", types=[wrong]),
    ):
        with pytest.raises(InvalidOptionError):
            make()


async def test_waits_that_no_score_can_hold_are_refused(bench: Bench) -> None:
    """A due time takes 42 bits of a score; beyond them begins the next priority."""
    longest = 2**41
    job_id = await bench.add(delay=longest)
    await bench.queue.change_job_delay(job_id, longest)
    assert (await tick(bench.scope)).promoted == 0
    for bad in (longest + 1, 2**53):
        with pytest.raises(InvalidOptionError, match="delay must be between"):
            await bench.add(delay=bad)
        with pytest.raises(InvalidOptionError, match="delay must be between"):
            await bench.queue.change_job_delay(job_id, bad)


@pytest.mark.parametrize("priority", [-1, 2049, 1.5, True, "3"])
async def test_bad_priority(bench: Bench, priority: Any) -> None:
    job_id = await bench.add()
    with pytest.raises(InvalidOptionError):
        await bench.queue.change_job_priority(job_id, priority)


async def test_changes_of_running_finished_and_missing_jobs(bench: Bench) -> None:
    failed = await bench.fail()
    with pytest.raises(JobStateError) as caught:
        await bench.queue.change_job_priority(failed, 3)
    assert caught.value.state == "failed"
    with pytest.raises(JobNotFoundError):
        await bench.queue.change_job_delay("404", 3)
    with pytest.raises(InvalidOptionError):
        await bench.queue.change_job_delay(failed, -1)


async def test_deep_entries_are_found(bench: Bench) -> None:
    for start in range(0, 1500, 500):
        await bench.connection.pipeline(
            [
                ("XADD", bench.scope.keys.stream, "*", "jobId", f"x{i}", "name", "")
                for i in range(start, start + 500)
            ]
        )
    job_id = await bench.add()
    await bench.command("HSET", bench.scope.keys.job(job_id), "timestamp", "1600000000000")
    assert await bench.queue.remove_job(job_id)
    assert job_id not in await bench.stream_ids()


# Revoking ---------------------------------------------------------------------------------------------------


async def test_revoke_by_state(bench: Bench) -> None:
    running = await bench.add()
    await bench.claim()
    jobs = [running, await bench.add(delay=60_000), await bench.add(lifo=True), await bench.add(priority=2)]
    assert [await bench.queue.revoke(job_id, actor=ACTOR) for job_id in jobs] == ["flagged", *["revoked"] * 3]
    assert [await bench.field(job_id, "state") for job_id in jobs] == ["active", *["failed"] * 3]
    keys = bench.scope.keys
    assert not await bench.command("EXISTS", keys.lifo, keys.scheduled, keys.metrics("failed"))
    assert await bench.queue.revoke(running, actor=ACTOR) == "flagged"
    assert [entry.outcome for entry in await bench.queue.get_audit()] == ["revoked"] * 3 + ["flagged"]
    assert [event for event, _ in await bench.events()].count("revoked") == 5


async def test_revoke_of_an_ordered_job_frees_its_key(bench: Bench) -> None:
    jobs = [await bench.add(ordering=Ordering("k")) for _ in range(3)]
    [run] = await bench.claim(5)
    assert await bench.queue.revoke(jobs[1]) == "revoked"
    await bench.settle(run)
    assert [run[0] for run in await bench.claim(5)] == [jobs[2]]


# Drain, clean, obliterate -------------------------------------------------------------------------------------


async def test_drain_spares_what_runs_and_frees_keys(bench: Bench) -> None:
    running = await bench.add()
    await bench.claim()
    ordered = [await bench.add(ordering=Ordering("k")) for _ in range(300)]
    await bench.command("XADD", bench.scope.keys.stream, "*", "jobId", "ghost", "name", "")
    assert await bench.queue.drain(actor=ACTOR) == 300
    assert await bench.stream_ids() == [running]
    assert not await bench.command("EXISTS", *(bench.scope.keys.job(job_id) for job_id in ordered))
    after = await bench.add(ordering=Ordering("k"))
    assert [run[0] for run in await bench.claim(5)] == [after]
    [entry] = await bench.queue.get_audit()
    assert (entry.action, entry.outcome, entry.count) == ("drain", "drained", 300)


async def test_drain_leaves_parked_and_suspended_jobs(bench: Bench) -> None:
    first, parked = [await bench.add(ordering=Ordering("k")) for _ in range(2)]
    [run] = await bench.claim(5)
    assert await bench.queue.drain(delayed=True) == 0
    await bench.settle(run)
    assert [run[0] for run in await bench.claim(5)] == [parked]
    assert first != parked


async def test_clean(bench: Bench) -> None:
    jobs, keys = [await bench.fail() for _ in range(3)], bench.scope.keys
    for age, job_id in enumerate(jobs):
        await bench.command("ZADD", keys.failed, 1000 + age, job_id)
        await bench.command("RPUSH", keys.log(job_id), "line")
    await bench.command("HSET", keys.job(jobs[1]), "state", "completed")  # an id left in two sets
    young = await bench.fail()
    assert await bench.queue.clean("failed", grace=60_000, limit=0) == []
    assert await bench.queue.clean("failed", grace=60_000, limit=1, actor=ACTOR) == [jobs[0]]
    assert await bench.queue.clean("failed", grace=60_000) == [jobs[2]]
    assert await bench.command("EXISTS", keys.job(jobs[1])) == 1
    assert await bench.command("ZRANGE", keys.failed, 0, -1) == [young.encode()]
    assert not await bench.command("EXISTS", keys.log(jobs[0]), keys.log(jobs[2]))
    with pytest.raises(InvalidOptionError):
        await bench.queue.clean("failed", grace=-1)
    with pytest.raises(InvalidOptionError):
        await bench.queue.clean("waiting", grace=1)  # type: ignore[arg-type]  # what a caller may get wrong


async def test_an_obliterated_queue_that_is_used_again_is_listed_again(bench: Bench) -> None:
    await bench.add()
    await bench.queue.obliterate()
    assert await bench.command("SMEMBERS", "glide:queues") == set()

    await bench.add()

    assert await bench.command("SMEMBERS", "glide:queues") == {b"mail"}


async def test_a_queue_is_listed_again_after_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may have lost the list, or another process obliterated the queue."""
    monkeypatch.setattr(registries, "_AGAIN_S", 0)
    await bench.add()
    await bench.command("DEL", "glide:queues")

    await bench.add()

    assert await bench.command("SMEMBERS", "glide:queues") == {b"mail"}


async def test_obliterate_leaves_nothing(bench: Bench) -> None:
    await bench.fail()
    await bench.add(delay=60_000)
    await bench.add(priority=2)
    await bench.add(ordering=Ordering("k", rate_limit=RateLimit(1, 1000)))
    await bench.queue.pause(actor=ACTOR)
    keys = bench.scope.keys
    for extra in (
        "signals:1",
        "jstream:1",
        "parents:1",
        "tpm:77",
        "budget:f",
        "usage:60000",
        "ledger:1",
        "vec:1",
    ):
        await bench.command("SET", f"{keys.root}:{extra}", "x")
    await bench.queue.obliterate()
    assert await dump(bench.connection, "glide:{mail}*") == {}
    assert not await bench.queue.exists()
    await bench.add()
    [run] = await bench.claim()
    with pytest.raises(QueueBusyError) as caught:
        await bench.queue.obliterate()
    assert caught.value.active == 1
    await bench.queue.obliterate(force=True, actor=ACTOR)
    assert list(await dump(bench.connection, "glide:{mail}*")) == [keys.audit]
    assert await bench.settle(run) == "lost"


async def test_obliterate_of_a_glob_name_spares_its_neighbours(connection: Connection) -> None:
    neighbour, odd = Queue("ab", connection), Queue("a*", connection)
    await neighbour.add("x")
    await odd.add("x")
    await odd.obliterate(force=True)
    assert await dump(connection, "glide:{a\\*}*") == {}
    assert await neighbour.get_job("1") is not None


async def test_jobs_added_during_an_obliteration_survive(bench: Bench) -> None:
    old = await bench.add()
    before = bench.scope.now_ms()
    assert await bench.scope.call("obliterate", "1", "") == [b"ok"]
    await bench.command("HSET", bench.scope.keys.job(old), "timestamp", before - 1)
    await asyncio.to_thread(_wait_for_clock, bench.scope, before)
    new = await bench.add(ordering=Ordering("k"))
    await bench.scope.call("obliterate_rest", "0", bench.scope.keys.pattern("*"), before)
    assert await bench.queue.get_job(old) is None
    assert [run[0] for run in await bench.claim()] == [new]
    assert await bench.add() == "3"


def _wait_for_clock(scope: Scope, before: int) -> None:
    while scope.now_ms() <= before:
        pass


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
    scope = await queue.scope()
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
