"""Taking jobs out: remove, revoke, drain, clean, obliterate."""

from __future__ import annotations

import asyncio

import pytest
from kits.bench import Bench
from kits.wire import dump

from glidemq_core.errors import (
    InvalidOptionError,
    JobStateError,
    QueueBusyError,
)
from glidemq_core.jobs import registry
from glidemq_core.jobs.control import remove_jobs
from glidemq_core.options.job import Actor, NewJob, Ordering, RateLimit
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.worker.sweeps import tick

QUEUE = "mail"
ACTOR = Actor("ann", via="cli")


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


@pytest.mark.parametrize("ahead_ms", [0, 700, -700])
async def test_jobs_in_the_middle_of_a_bulk_take_their_entries_along(bench: Bench, ahead_ms: int) -> None:
    """Also where the clock of who added them and that of the server differ."""
    jobs = await bench.queue.add_bulk([NewJob("a")] * (2_400 if ahead_ms == 0 else 700))
    middle = [job.id for job in jobs[350:380]]
    for job_id in middle:
        made = int(await bench.field(job_id, "timestamp") or 0)
        await bench.command("HSET", bench.scope.keys.job(job_id), "timestamp", made + ahead_ms)

    assert await remove_jobs(bench.scope, middle) == ["removed"] * 30

    left = await bench.stream_ids()
    assert len(left) == len(jobs) - 30
    assert not set(middle) & set(left)


async def test_jobs_that_wait_again_take_their_entries_along(bench: Bench) -> None:
    """Their entries stand at the tail, far from where they were added."""
    failed = [await bench.fail() for _ in range(3)]
    for job_id in failed:
        await bench.command("HSET", bench.scope.keys.job(job_id), "timestamp", "1000")
    await bench.queue.add_bulk([NewJob("a")] * 2_500)
    for job_id in failed:
        await bench.queue.retry_job(job_id)
    await tick(bench.scope)
    assert (await bench.stream_ids())[-3:] == failed

    assert await remove_jobs(bench.scope, failed[:2]) == ["removed"] * 2

    assert (await bench.stream_ids())[2_500:] == failed[2:]


@pytest.mark.parametrize("kind", ["lifo", "priority"])
@pytest.mark.parametrize("how", ["remove", "revoke", "delay"])
async def test_a_job_of_a_list_that_waits_in_the_stream_takes_its_entry_along(
    bench: Bench, kind: str, how: str
) -> None:
    """A delayed LIFO job whose delay is taken away waits there, and what comes back after a signal or its children."""
    if kind == "lifo":
        job_id = await bench.add(lifo=True, delay=60_000)
        await bench.queue.change_job_delay(job_id, 0)
    else:
        job_id = await bench.add(priority=3)
        await bench.command("ZREM", bench.scope.keys.scheduled, job_id)
        await bench.command("XADD", bench.scope.keys.stream, "*", "jobId", job_id, "name", "a")
        await bench.command("HSET", bench.scope.keys.job(job_id), "state", "waiting")
    other = await bench.add()
    assert await bench.stream_ids() == [job_id, other]

    if how == "remove":
        assert await bench.queue.remove_job(job_id)
    elif how == "revoke":
        assert await bench.queue.revoke(job_id) == "revoked"
    else:
        await bench.queue.change_job_delay(job_id, 60_000)

    assert await bench.stream_ids() == [other]


@pytest.mark.leaves_records
async def test_jobs_deep_in_a_long_list_are_removed_in_one_call(bench: Bench) -> None:
    """Looking for some of them is all that a call may do: it removes the others all the same."""
    filler = [f"other{n}" for n in range(49_950)]
    ids = [await bench.add(lifo=True) for _ in range(100)]
    for command in ("LPUSH", "RPUSH"):
        for start in range(0, len(filler), 7_000):
            await bench.command(command, f"{bench.scope.keys.root}:lifo", *filler[start : start + 7_000])

    assert await remove_jobs(bench.scope, ids) == ["removed"] * 100

    assert [await bench.command("EXISTS", bench.scope.keys.job(job_id)) for job_id in ids] == [0] * 100


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
    monkeypatch.setattr(registry, "_AGAIN_S", 0)
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


def _wait_for_clock(scope: QueueContext, before: int) -> None:
    while scope.now_ms() <= before:
        pass
