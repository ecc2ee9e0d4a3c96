"""Draining, cleaning and retrying very many jobs: in parts, counted once, audited at both ends, whatever gets lost."""

from __future__ import annotations

from typing import Any

import pytest
from kits.bench import Bench

from glidemq_core.errors import CallTimeoutError
from glidemq_core.jobs import admin
from glidemq_core.options.job import Actor, Ordering

ACTOR = Actor("ada")
JOBS = 45


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_SLICE", 10)


async def filled(bench: Bench, operation: str) -> None:
    for number in range(JOBS):
        job_id = await bench.add(delay=60_000 if number % 5 == 0 and operation == "drain" else 0)
        if operation != "drain":
            state = "failed" if operation == "retry" else "completed"
            await bench.command("HSET", bench.scope.keys.job(job_id), "state", state)
            await bench.command("ZADD", f"{bench.scope.keys.root}:{state}", number, job_id)
    if operation != "drain":
        await bench.command("UNLINK", bench.scope.keys.stream)


async def made(bench: Bench, operation: str) -> int:
    if operation == "drain":
        return await bench.queue.drain(delayed=True, actor=ACTOR)
    if operation == "retry":
        return await bench.queue.retry_jobs(actor=ACTOR)
    ids = await bench.queue.clean("completed", grace=0, limit=1_000, actor=ACTOR)
    assert ids == [str(number + 1) for number in range(JOBS)]
    return len(ids)


OPERATIONS = {"drain": "drained", "clean": "cleaned", "retry": "retried"}


@pytest.mark.parametrize("lost", [None, 1, 2, 4, 5])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_many_jobs_are_counted_once_though_replies_get_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: str, lost: int | None
) -> None:
    await filled(bench, operation)
    call, made_calls = bench.connection.call, 0

    async def losing(function: str, key: str, *args: Any) -> Any:
        nonlocal made_calls
        answer = await call(function, key, *args)
        made_calls += function in ("drain", "clean", "retry_all")
        if made_calls == lost:
            made_calls += 100  # once
            raise CallTimeoutError("no answer", command=function, timeout_ms=5)
        return answer

    monkeypatch.setattr(bench.connection, "call", losing)
    assert await made(bench, operation) == JOBS

    trail = [(entry.action, entry.outcome, entry.count) for entry in await bench.queue.get_audit()]
    outcome = OPERATIONS[operation]
    assert sorted(trail, key=str) == sorted([(operation, outcome, None), (operation, outcome, JOBS)], key=str)
    told = [fields for event, fields in await bench.events() if event == outcome]
    assert len(told) in (4, 5)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_one_part_does_is_one_entry_and_nothing_is_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(admin, "_SLICE", 1_000)
    await filled(bench, operation)
    assert await made(bench, operation) == JOBS
    [entry] = await bench.queue.get_audit()
    assert (entry.outcome, entry.count) == (OPERATIONS[operation], JOBS)

    if operation != "clean":
        again = await bench.queue.drain(actor=ACTOR) if operation == "drain" else 0
        assert again == 0
    assert len(await bench.queue.get_audit()) == 1


async def test_a_limit_ends_a_clean_and_a_retry_in_the_middle(bench: Bench) -> None:
    await filled(bench, "retry")
    assert await bench.queue.retry_jobs(25, actor=ACTOR) == 25
    assert await bench.command("ZCARD", bench.scope.keys.failed) == JOBS - 25
    assert len(await bench.queue.clean("failed", grace=0, limit=12, actor=ACTOR)) == 12
    assert [entry.count for entry in reversed(await bench.queue.get_audit())] == [None, 25, None, 12]


async def test_a_drain_in_parts_lets_ordering_keys_go_on(bench: Bench) -> None:
    for _ in range(JOBS):
        await bench.add(ordering=Ordering("k"))
    assert await bench.queue.drain() == JOBS
    after = await bench.add(ordering=Ordering("k"))
    assert [run[0] for run in await bench.claim(5)] == [after]


@pytest.mark.leaves_records
async def test_parked_jobs_of_very_many_keys_are_listed_to_the_last(bench: Bench) -> None:
    keys = bench.scope.keys
    for start in range(0, 2_500, 500):
        words = [word for n in range(start, start + 500) for word in (f"k{n}", 1)]
        await bench.command("HSET", keys.ordering, *words)
    for key in ("k7", "k1200", "k2499"):
        job_id = await bench.add(job_id=f"job-{key}")
        await bench.command("ZADD", keys.groupq(key), 1, job_id)
    found = await bench.queue.get_jobs("group-waiting")
    assert {job.id for job in found} == {"job-k7", "job-k1200", "job-k2499"}
    assert len(await bench.queue.get_jobs("group-waiting", 0, 1)) == 2
