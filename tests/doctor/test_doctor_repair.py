"""What the doctor mends: jobs that stand nowhere, slots that nobody holds; and what it leaves alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import end, exchange
from kits.worker import P, quick

from glidemq_core.doctor import examine, repair
from glidemq_core.options.job import Actor, Deduplication, Ordering
from glidemq_core.queue import Queue
from glidemq_core.records import Check, OperationResult
from glidemq_core.watch import Watch

ACTOR = Actor("ada")


async def checks(bench: Bench) -> dict[str, Check]:
    found = await examine(bench.connection, Watch(bench.connection), ["q"])
    return {check.id: check for check in found}


async def mend(bench: Bench) -> list[OperationResult]:
    return await repair(bench.connection, Watch(bench.connection), ["q"], ACTOR)


async def lose(bench: Bench, entry: str) -> None:
    """What a call that failed halfway leaves: the entry is gone, the job still says that it runs."""
    await bench.command("XACK", f"{P}:stream", "workers", entry)
    await bench.command("XDEL", f"{P}:stream", entry)


async def test_an_active_job_without_an_entry_is_found_and_put_back(bench: Bench) -> None:
    lost, running = await bench.add(), await bench.add()
    runs = await bench.claim(2)
    await lose(bench, runs[0][1])

    before = (await checks(bench))["lost_jobs"]
    assert before.status == "fail"
    assert before.detail == f"q:{lost} is active, but in no stream or list"
    [result] = await mend(bench)
    assert (result.id, result.outcome) == (lost, "requeued")
    assert (await checks(bench))["lost_jobs"].status == "ok"
    assert await bench.field(lost, "state") == "waiting"
    assert await bench.field(lost, "stalledCount") == "1"
    assert ("stalled", lost) in await bench.events()
    assert await bench.field(running, "state") == "active"
    [entry] = await bench.queue.get_audit()
    assert (entry.by, entry.action, entry.job_ids, entry.outcome, entry.count) == (
        "ada",
        "requeue_lost",
        (lost,),
        "requeued",
        1,
    )

    assert await mend(bench) == []
    assert len(await bench.stream_ids()) == 2
    assert len(await bench.queue.get_audit()) == 1


async def test_a_repair_that_comes_late_or_twice_changes_nothing(bench: Bench) -> None:
    job_id = await bench.add()
    [(_, entry, started)] = await bench.claim()
    words = (bench.scope.now_ms(), job_id, started, "")
    assert await bench.scope.call("requeue_lost", *words) == [b"ok", b"held"]
    await lose(bench, entry)
    assert await bench.scope.call("requeue_lost", words[0], job_id, "1", "") == [b"ok", b"changed"]
    assert await bench.scope.call("requeue_lost", words[0], "nobody", "1", "") == [b"ok", b"not_found"]
    assert await bench.scope.call("requeue_lost", *words) == [b"ok", b"requeued"]
    assert await bench.scope.call("requeue_lost", *words) == [b"ok", b"changed"]
    assert await bench.stream_ids() == [job_id]


@pytest.mark.parametrize("lifo", [True, False])
async def test_a_listed_job_that_may_run_elsewhere_is_left_alone(bench: Bench, lifo: bool) -> None:
    job_id = await bench.add(**({"lifo": True} if lifo else {"priority": 1}))
    await bench.scope.call("tick", bench.scope.now_ms())
    [run] = await bench.claim()
    assert (await checks(bench))["lost_jobs"].status == "ok"
    await bench.command("ZREM", f"{P}:list-runs", job_id)
    assert (await checks(bench))["lost_jobs"].status == "ok", "a Node worker may run it"
    await bench.command("SET", f"{P}:list-active", 0)
    assert (await checks(bench))["lost_jobs"].status == "ok", "it gave a sign of life just now"
    old = bench.scope.now_ms() - 120_000
    await bench.command("HSET", f"{P}:job:{job_id}", "lastActive", old, "processedOn", old)
    assert (await checks(bench))["lost_jobs"].status == "fail"
    [result] = await mend(bench)
    assert result.outcome == "requeued"
    assert await bench.command("LRANGE", f"{P}:{'lifo' if lifo else 'priority'}", 0, -1) == [job_id.encode()]
    assert run[1] == ""


async def test_messages_of_a_broadcast_are_not_put_back(bench: Bench) -> None:
    await bench.add()
    [(_, entry, _started)] = await bench.claim()
    await bench.command("XGROUP", "CREATE", f"{P}:stream", "subscription", "0")
    await lose(bench, entry)
    assert (await checks(bench))["lost_jobs"].status == "ok"
    assert await bench.scope.call("requeue_lost", 1, "1", "1", "") == [b"broadcast"]


async def test_a_lost_job_runs_in_the_end(bench: Bench) -> None:
    job_id = await bench.add()
    [(_, entry, _started)] = await bench.claim()
    await lose(bench, entry)
    await mend(bench)

    async def process(_: Any) -> str:
        return "done"

    async with quick(process, bench.connection):
        await eventually(lambda: bench.has(job_id, "completed"))


async def test_slots_that_no_job_holds_are_found_and_freed(bench: Bench) -> None:
    """A Node worker counts a start twice, or a job of its goes without giving its slot back."""
    ordering = Ordering("tenant", concurrency=1)
    ids = [await bench.add(ordering=ordering) for _ in range(3)]
    runs = await bench.claim(3)
    assert [run[0] for run in runs] == ids[:1]
    await bench.command("UNLINK", f"{P}:job:{ids[0]}")
    await lose(bench, runs[0][1])
    found = (await checks(bench))["ordering_slots"]
    assert (found.status, found.detail) == ("fail", "q: key 'tenant' counts 1 running, 0 are")

    [result] = await mend(bench)
    assert (result.action, result.outcome, result.count) == ("free_slots", "mended", 1)
    assert await bench.command("HGET", f"{P}:group:tenant", "active") == b"0"
    [entry] = await bench.queue.get_audit()
    assert (entry.action, entry.outcome, entry.detail) == (
        "free_slots",
        "mended",
        {"key": "tenant", "was": 1, "held": 0},
    )
    assert [run[0] for run in await bench.claim(3)] == ids[1:2], "the next of the key goes on"
    assert (await checks(bench))["ordering_slots"].status == "ok"
    assert await mend(bench) == []


async def test_slots_of_jobs_that_sleep_retry_or_wait_for_a_person_are_held(bench: Bench) -> None:
    ordering = Ordering("tenant", concurrency=5)
    ids = [await bench.add(ordering=ordering, attempts=3) for _ in range(4)]
    runs = await bench.claim(4)
    scope, now = bench.scope, bench.scope.now_ms()
    await scope.call("delay", *runs[0], now, now + 60_000, "", "")
    await scope.call("suspend", *runs[1], now, "why", 0, "")
    words = end(runs[2], "f", "3", "60000", "", "", "", "", value="boom")
    await scope.call(*exchange(now, "worker-1-0badcafe", 0, "em"), *words)
    assert [await bench.field(job_id, "state") for job_id in ids] == [
        "delayed",
        "suspended",
        "delayed",
        "active",
    ]
    assert await bench.command("HGET", f"{P}:group:tenant", "active") == b"4"
    assert (await checks(bench))["ordering_slots"].status == "ok"
    assert await mend(bench) == []


async def test_a_count_that_moves_meanwhile_is_not_touched(bench: Bench) -> None:
    await bench.add(ordering=Ordering("tenant", concurrency=2))
    await bench.claim()
    scope = bench.scope
    assert await scope.call("mend_slots", scope.now_ms(), "tenant", "2", "2", 0, "") == [b"changed"]
    assert await scope.call("mend_slots", scope.now_ms(), "tenant", "1", "1", 0, "") == [b"changed"]
    assert await scope.call("mend_slots", scope.now_ms(), "tenant", "1", "2", 1, "") == [b"changed"]
    assert await bench.command("HGET", f"{P}:group:tenant", "active") == b"1"


async def test_a_replaced_job_that_waited_for_a_retry_does_not_block_its_key(bench: Bench) -> None:
    queue: Queue[Any, Any] = bench.queue
    ordering, debounce = Ordering("tenant", concurrency=1), Deduplication("d", mode="debounce")
    ran: list[int] = []

    async def process(job: Any) -> None:
        ran.append(job.data)
        if job.data == 1:
            raise RuntimeError("again later")

    async with quick(process, bench.connection):
        first = await queue.add("n", 1, ordering=ordering, deduplication=debounce, attempts=2, backoff=60_000)
        assert first is not None
        await eventually(lambda: bench.has(first.id, "delayed"))
        await queue.add("n", 2, ordering=ordering, deduplication=debounce)
        await eventually(lambda: asyncio.sleep(0, 2 in ran))
    assert await bench.command("HGET", f"{P}:group:tenant", "active") == b"0"
