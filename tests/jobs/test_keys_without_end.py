"""Records that would stay for ever: each goes with what it belongs to, or some time after nothing needs it."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import answers, end, exchange
from kits.worker import P

from glidemq_core import FlowJob, FlowProducer, JobOptions
from glidemq_core.options.job import Deduplication, JobRef, Ordering, RateLimit, TokenBucket
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker
from glidemq_core.worker.sweeps import sweep_records, tick

DAY = 86_400_000


async def later(bench: Bench, ms: int) -> None:
    """Forget what may be forgotten `ms` from now."""
    clock = bench.connection.now_ms
    bench.connection.now_ms = lambda: clock() + ms  # type: ignore[method-assign]
    try:
        await sweep_records(bench.scope)
    finally:
        bench.connection.now_ms = clock  # type: ignore[method-assign]


async def key_is_known(bench: Bench, key: str = "k") -> bool:
    answers = {
        bool(await bench.command("HEXISTS", f"{P}:ordering", key)),
        bool(await bench.command("EXISTS", f"{P}:group:{key}")),
        bool(await bench.command("ZSCORE", f"{P}:ordering-due", key)),
    }
    [known] = answers
    return known


async def ended(bench: Bench, **options: Any) -> str:
    """Id of a job that was added and has completed."""
    job_id = await bench.add(**options)
    [run] = await bench.claim()
    assert await bench.settle(run) == "ok"
    return job_id


# What a parent waits for --------------------------------------------------------------------------------------


async def lives_ms(bench: Bench, job_id: str) -> int:
    return int(await bench.command("PTTL", f"{P}:deps:{job_id}"))


async def a_flow(producer: FlowProducer, root: str = "root", *children: str) -> None:
    leaves = [FlowJob("leaf", "q", options=JobOptions(job_id=child)) for child in children or ("leaf",)]
    await producer.add(FlowJob("root", "q", options=JobOptions(job_id=root), children=leaves))


async def test_what_a_removed_parent_waited_for_goes_some_days_later(
    bench: Bench, producer: FlowProducer
) -> None:
    await a_flow(producer)
    assert await lives_ms(bench, "root") == -1
    assert await bench.queue.remove_job("root")
    assert 0 < await lives_ms(bench, "root") <= 7 * DAY


@pytest.mark.parametrize("rule", [True, 1])
async def test_what_a_parent_waited_for_that_retention_took_goes_some_days_later(
    bench: Bench, producer: FlowProducer, rule: Any
) -> None:
    leaf = FlowJob("leaf", "q")
    options = JobOptions(job_id="root", remove_on_complete=rule)
    await producer.add(FlowJob("root", "q", options=options, children=[leaf]))

    async def process(_: Any) -> None: ...

    async with Worker("q", process, bench.connection, log_errors=False):
        if rule is not True:
            await eventually(lambda: bench.field("root", "finishedOn"))
            await bench.queue.add("one more", {}, remove_on_complete=rule)
        await eventually(lambda: gone(bench, "root"))
    assert 0 < await lives_ms(bench, "root") <= 7 * DAY


async def gone(bench: Bench, job_id: str) -> bool:
    return not await bench.command("EXISTS", f"{P}:job:{job_id}")


async def test_children_of_a_parent_that_never_was_leave_nothing_for_ever(bench: Bench) -> None:
    await bench.add(parent=JobRef("q", "nobody"))
    assert 0 < await lives_ms(bench, "nobody") <= 7 * DAY


async def test_a_parent_with_a_used_id_keeps_what_it_waits_for(bench: Bench, producer: FlowProducer) -> None:
    await a_flow(producer, "root", "a", "b")
    for job_id in ("root", "a", "b"):
        await bench.queue.remove_job(job_id)
    await a_flow(producer, "root", "c")
    assert await lives_ms(bench, "root") == -1
    assert await bench.command("SMEMBERS", f"{P}:deps:root") == {f"{P}:c".encode()}

    await bench.queue.remove_job("root")
    await bench.add(job_id="root")
    await bench.add(parent=JobRef("q", "root"))
    assert await lives_ms(bench, "root") == -1


# Deduplication ids --------------------------------------------------------------------------------------------


async def is_known(bench: Bench) -> bool:
    known = bool(await bench.command("HEXISTS", f"{P}:dedup", "d"))
    assert known == bool(await bench.command("ZSCORE", f"{P}:dedup-due", "d"))
    return known


async def test_a_deduplication_id_is_forgotten_a_day_after_its_job_ended(bench: Bench) -> None:
    await ended(bench, deduplication=Deduplication("d"))
    await later(bench, DAY - 60_000)
    assert await is_known(bench)
    await later(bench, DAY + 1_000)
    assert not await is_known(bench)


async def test_a_deduplication_id_outlives_any_time_its_job_waits(bench: Bench) -> None:
    await bench.add(deduplication=Deduplication("d"), delay=30 * DAY)
    for days in (2, 9):
        await later(bench, days * DAY)
        assert await is_known(bench)
    assert await bench.queue.add("again", {}, deduplication=Deduplication("d")) is None


async def test_a_throttle_of_a_week_is_not_forgotten_after_a_day(bench: Bench) -> None:
    week = Deduplication("d", ttl=7 * DAY, mode="throttle")
    await ended(bench, deduplication=week)
    await later(bench, 2 * DAY)
    assert await bench.queue.add("again", {}, deduplication=week) is None
    await later(bench, 7 * DAY + 1_000)
    assert not await is_known(bench)


async def test_a_record_that_a_peer_wrote_meanwhile_stays_for_its_day(bench: Bench) -> None:
    await ended(bench, deduplication=Deduplication("d"))
    await bench.command("HSET", f"{P}:dedup", "d", f"99:{bench.scope.now_ms() + DAY}")
    await later(bench, DAY + 1_000)
    assert await is_known(bench)


async def test_a_debounced_job_leaves_nothing_of_itself(bench: Bench) -> None:
    late = Deduplication("d", mode="debounce")
    first = await bench.add(deduplication=late, delay=60_000)
    job = await bench.queue.get_job(first)
    assert job is not None
    await job.log("a line")
    second = await bench.add(deduplication=late, delay=60_000)
    assert second != first
    assert not await bench.command("EXISTS", f"{P}:log:{first}")


# Ordering keys ------------------------------------------------------------------------------------------------


async def test_a_key_whose_jobs_are_done_is_forgotten_and_begins_anew(bench: Bench) -> None:
    for _ in range(3):
        await ended(bench, ordering=Ordering("k"))
    await later(bench, DAY - 60_000)
    assert await key_is_known(bench)
    await later(bench, DAY + 1_000)
    assert not await key_is_known(bench)

    jobs = [await bench.add(ordering=Ordering("k")) for _ in range(2)]
    for job_id in jobs:
        [run] = await bench.claim(2)
        assert run[0] == job_id
        await bench.settle(run)


async def test_a_key_with_a_failed_job_stays_since_it_may_be_retried(bench: Bench) -> None:
    failed = await bench.fail(ordering=Ordering("k"))
    await later(bench, 9 * DAY)
    assert await key_is_known(bench)
    await bench.queue.retry_job(failed)
    await later(bench, 9 * DAY)
    assert await key_is_known(bench)
    await tick(bench.scope)
    await later(bench, 9 * DAY)
    assert await key_is_known(bench)
    [run] = await bench.claim()
    await bench.settle(run)
    await later(bench, 11 * DAY)
    assert not await key_is_known(bench)


@pytest.mark.parametrize("state", ["waiting", "active", "delayed", "parked", "retrying"])
async def test_a_key_with_work_to_do_stays(bench: Bench, state: str) -> None:
    await bench.add(ordering=Ordering("k"), **({"delay": DAY} if state == "delayed" else {}))
    if state in ("active", "parked"):
        if state == "parked":
            await bench.add(ordering=Ordering("k"))
        await bench.claim(2)
    if state == "retrying":
        [run] = await bench.claim()
        words = end(run, "f", "3", str(DAY), "", "", "", "", value="boom")
        now = bench.scope.now_ms()
        reply = await bench.scope.call(*exchange(now, "worker-1-0badcafe", 0, "em"), *words)
        assert answers(reply) == ["retrying"]
    await later(bench, 9 * DAY)
    assert await key_is_known(bench)


async def test_a_key_that_was_held_back_or_spent_its_tokens_stays_until_that_is_over(bench: Bench) -> None:
    await ended(bench, ordering=Ordering("k", rate_limit=RateLimit(1, 3 * DAY)))
    await ended(bench, ordering=Ordering("slow", token_bucket=TokenBucket(1_000, 0.001)))
    await bench.queue.rate_limit_group("held", 20 * DAY)
    await ended(bench, ordering=Ordering("held"))
    await later(bench, 2 * DAY)
    assert await key_is_known(bench)
    await later(bench, 5 * DAY)
    assert not await key_is_known(bench)
    assert await key_is_known(bench, "held")


async def test_a_child_that_was_refused_does_not_block_its_key(connection: Connection, bench: Bench) -> None:
    await connection.command("SET", "glide:{other}:job:1", "of somebody else")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await bench.add(ordering=Ordering("k"), parent=JobRef("other", "1"))
    await bench.add(ordering=Ordering("k"))
    assert len(await bench.claim()) == 1
    await connection.command("DEL", "glide:{other}:job:1", "glide:{other}:deps:1")


async def test_a_worker_forgets_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glidemq_core.worker.maintenance._FORGETTING_MS", 20)
    await ended(bench, ordering=Ordering("k"), deduplication=Deduplication("d"))
    clock = bench.connection.now_ms
    bench.connection.now_ms = lambda: clock() + DAY + 1_000  # type: ignore[method-assign]

    async def process(_: Any) -> None: ...

    async def forgotten() -> bool:
        return not await bench.command("EXISTS", f"{P}:ordering", f"{P}:group:k", f"{P}:dedup")

    async with Worker("q", process, bench.connection, log_errors=False):
        await eventually(forgotten)
