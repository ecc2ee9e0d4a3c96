"""Schedulers of glide-mq that count from the end of the last job go on whoever ends it here, and however."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kits.bench import Bench
from kits.exchange import ends, exchange

from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.worker import sweeps

KEY = "glide:{q}:schedulers"
GAP = 60_000
#: As glide-mq writes it; what a template holds is not to be touched.
ENTRY = (
    '{"repeatAfterComplete":60000,"iterationCount":1,"template":{"name":"n","data":{"nextRun":0,"list":[],"map":{},'
    '"long":1795467237611123456}},"nextRun":0,"lastRun":1795467237611}'
)


async def planted(bench: Bench, entry: str = ENTRY, **options: Any) -> str:
    """A scheduler waiting for the end of its job, and that job."""
    job_id = await bench.add("n", **options)
    await bench.command("HSET", bench.scope.keys.job(job_id), "schedulerName", "loop")
    await bench.command("HSET", KEY, "loop", entry)
    return job_id


async def complete(bench: Bench, _: str) -> None:
    [run] = await bench.claim()
    assert await bench.settle(run) == "ok"


async def fail(bench: Bench, _: str) -> None:
    [run] = await bench.claim()
    assert await bench.settle(run, "f", "boom") == "failed"


async def expire(bench: Bench, job_id: str) -> None:
    await bench.command("HSET", bench.scope.keys.job(job_id), "expireAt", 1)
    assert await bench.claim() == []


async def revoke(bench: Bench, job_id: str) -> None:
    assert await bench.queue.revoke(job_id) == "revoked"


async def revoked_at_start(bench: Bench, job_id: str) -> None:
    await bench.command("HSET", bench.scope.keys.job(job_id), "revoked", 1)
    assert await bench.claim() == []


async def stall(bench: Bench, _: str) -> None:
    await bench.claim()
    await sweeps.sweep_stalls(bench.scope, "s", min_idle_ms=0, lock_ms=0, max_stalled=0)


async def remove(bench: Bench, job_id: str) -> None:
    assert await bench.queue.remove_job(job_id)


async def drain(bench: Bench, _: str) -> None:
    assert await bench.queue.drain() == 1


async def time_out(bench: Bench, job_id: str) -> None:
    await bench.command("HSET", bench.scope.keys.job(job_id), "state", "suspended")
    await bench.command("ZADD", bench.scope.keys.suspended, 1, job_id)
    await sweep_suspended(bench.scope)


ENDS = [complete, fail, expire, revoke, revoked_at_start, stall, remove, drain, time_out]


@pytest.mark.parametrize("end", ENDS)
async def test_the_next_run_counts_from_the_end(bench: Bench, end: Any) -> None:
    job_id = await planted(bench)
    before = bench.scope.now_ms()
    await end(bench, job_id)
    stored = (await bench.command("HGET", KEY, "loop")).decode()
    due = json.loads(stored)["nextRun"]
    assert before + GAP <= due <= bench.scope.now_ms() + GAP
    assert stored == ENTRY.replace('"nextRun":0,"lastRun"', f'"nextRun":{due},"lastRun"')


@pytest.mark.parametrize(
    "bound", ['"limit":1', '"endDate":1795467237611'], ids=["as often as asked", "past the end"]
)
async def test_a_scheduler_that_is_done_goes(bench: Bench, bound: str) -> None:
    await complete(bench, await planted(bench, "{" + bound + "," + ENTRY[1:]))
    assert await bench.command("HGET", KEY, "loop") is None


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY.replace('"nextRun":0,"lastRun"', '"nextRun":7,"lastRun"'),
        '{"every":1000,"nextRun":0}',
        "no json",
        "[]",
        "null",
        '{"repeatAfterComplete":"x","nextRun":0}',
    ],
)
async def test_other_entries_are_left_alone(bench: Bench, entry: str) -> None:
    await complete(bench, await planted(bench, entry))
    assert (await bench.command("HGET", KEY, "loop")).decode() == entry


async def test_a_retry_and_the_removal_of_an_old_run_end_nothing(bench: Bench) -> None:
    old = await planted(bench)
    await complete(bench, old)
    await planted(bench)
    assert await bench.queue.remove_job(old)
    [(job_id, entry, started)] = await bench.claim()
    head = "\x1f".join((job_id, entry, started, "f", "3", "0", "", "", "", ""))
    await bench.scope.call(*exchange(bench.scope.now_ms(), "w", 0, "em"), *ends(head, "boom"))
    assert (await bench.command("HGET", KEY, "loop")).decode() == ENTRY
