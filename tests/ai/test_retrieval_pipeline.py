"""The retrieval pipeline point by point: locks, retries, fallbacks, a budget and limits on real workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import (
    Backoff,
    Budget,
    Connection,
    Fallback,
    FlowJob,
    FlowProducer,
    Job,
    JobNode,
    JobOptions,
    JobRef,
    NewJob,
    Ordering,
    Queue,
    RateLimit,
    TokenLimit,
    VectorField,
    Worker,
    connect,
)

HOUR = 3_600_000
CHAIN = (Fallback("second", "b"), Fallback("third", "c", {"region": "eu"}))
GENERATE = {
    "attempts": 3,
    "backoff": Backoff("exponential", 100),
    "fallbacks": CHAIN,
    "lock_duration": 60_000,
}
STRICT = Budget(max_total_tokens=5_000, cost_unit="usd")


async def rag(connection: Connection, *, budget: Budget | None = STRICT, **generate: Any) -> JobNode:
    """Add the flow: ids 1 rag, 2 embed, 3 generate."""
    flow = FlowJob(
        "rag",
        "q",
        children=[
            FlowJob("embed", "q", {"text": "t"}, JobOptions(lock_duration=5_000)),
            FlowJob("generate", "q", {"prompt": "p"}, JobOptions(**{**GENERATE, **generate})),
        ],
    )
    async with FlowProducer(connection) as producer:
        return await producer.add(flow, budget=budget)


def worker_of(connection: Connection, process: Any, **options: Any) -> Worker:
    """A worker as the checklist has it: several at once, RPM and TPM far away, quick to promote."""
    given = {
        "concurrency": 3,
        "limiter": RateLimit(10_000, HOUR),
        "token_limiter": TokenLimit(1_000_000, HOUR),
        "promotion_interval": 50,
        "log_errors": False,
        **options,
    }
    return Worker("q", process, connection, **given)


async def plain(job: Job[Any, Any]) -> str:
    await job.report_usage(model="m", tokens={"input": 10})
    return job.name


async def stored(connection: Connection, job_id: str) -> dict[str, str]:
    found = await connection.command("HGETALL", f"glide:{{q}}:job:{job_id}")
    return {name.decode(): value.decode() for name, value in found.items()}


async def state(connection: Connection, job_id: str) -> str:
    return (await stored(connection, job_id)).get("state", "gone")


async def is_in(connection: Connection, job_id: str, *wanted: str) -> bool:
    return await state(connection, job_id) in wanted


async def used(connection: Connection) -> float:
    return float(await connection.command("HGET", "glide:{q}:budget:1", "usedTokens"))


async def tpm(connection: Connection) -> int:
    windows = await connection.command("KEYS", "glide:{q}:tpm:*")
    return sum([int(await connection.command("GET", window)) for window in windows])


async def nothing_held(connection: Connection) -> None:
    """Wait until no entry is pending, no slot taken, no run of a list counted."""

    async def quiet() -> bool:
        pending = await connection.command("XPENDING", "glide:{q}:stream", "workers")
        lists = int(await connection.command("GET", "glide:{q}:list-active") or 0)
        runs = await connection.command("ZCARD", "glide:{q}:list-runs")
        slot = int(await connection.command("HGET", "glide:{q}:group:tenant", "active") or 0)
        return (pending[0], lists, runs, slot) == (0, 0, 0, 0)

    await eventually(quiet, timeout=20)


# 1 -----------------------------------------------------------------------------------------------------------


async def test_1_every_job_carries_budget_and_options_before_it_can_start(connection: Connection) -> None:
    seen: dict[str, JobRef | None] = {}

    async def process(job: Job[Any, Any]) -> None:
        seen[job.name] = job.budget

    async with worker_of(connection, process) as worker:
        await worker.wait_until_ready()
        node = await rag(connection)
        await eventually(node.job.is_completed)

    assert seen == dict.fromkeys(("embed", "generate", "rag"), JobRef("q", "1"))
    fields = await stored(connection, "3")
    options = json.loads(fields["opts"])
    assert fields["budgetKey"] == "glide:{q}:budget:1"
    assert (options["lockDuration"], options["attempts"]) == (60_000, 3)
    assert options["backoff"] == {"type": "exponential", "delay": 100}
    assert options["fallbacks"] == [
        {"model": "second", "provider": "b"},
        {"model": "third", "provider": "c", "metadata": {"region": "eu"}},
    ]
    assert json.loads((await stored(connection, "2"))["opts"])["lockDuration"] == 5_000


# 2 -----------------------------------------------------------------------------------------------------------


async def test_2_a_healthy_run_is_left_alone_long_after_everyone_elses_lock(connection: Connection) -> None:
    release, runs = asyncio.Event(), list[str]()

    async def process(job: Job[Any, Any]) -> str:
        runs.append(job.name)
        if job.name == "generate":
            await release.wait()
        return job.name

    node = await rag(connection, lock_duration=3_000)
    short = {"lock_duration": 1_000, "stalled_interval": 1_000}
    async with worker_of(connection, process), worker_of(connection, process, **short):
        await eventually(lambda: is_in(connection, "3", "active"))
        begun = int((await stored(connection, "3"))["processedOn"])
        await eventually(lambda: connection.now_ms() - begun > 3_500)
        release.set()
        await eventually(node.job.is_completed)
    assert Counter(runs) == {"embed": 1, "generate": 1, "rag": 1}
    assert "stalledCount" not in await stored(connection, "3")


CHILD = textwrap.dedent(
    """
    import asyncio, sys
    from glidemq_core import TokenLimit, Worker

    async def process(job):
        await job.report_usage(model="m", tokens={"input": 40})
        await job.stream_chunk("content", "half ")
        print(job.name, flush=True)
        await asyncio.sleep(3600)

    limit = TokenLimit(1_000_000, 3_600_000)
    asyncio.run(Worker("q", process, sys.argv[1], lock_duration=60_000, token_limiter=limit).run())
    """
)


async def killed_while_running(url: str, folder: Path) -> str:
    """Let a process run one job up to its report, and kill it; returns the name of the job."""
    script = folder / "child.py"
    script.write_text(CHILD)
    with subprocess.Popen([sys.executable, str(script), url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        name = await asyncio.to_thread(child.stdout.readline)
        os.kill(child.pid, signal.SIGKILL)
    return name.decode().strip()


async def test_2_a_dead_run_is_taken_after_its_own_short_lock(
    connection: Connection, server_url: str, tmp_path: Path
) -> None:
    """The job's lock counts, not the minute of the workers."""
    queue: Queue[Any, Any] = Queue("q", connection)
    job = await queue.add("generate", {}, lock_duration=1_000)
    assert job is not None
    await killed_while_running(server_url, tmp_path)
    async with worker_of(connection, plain, lock_duration=60_000, stalled_interval=1_000):
        await eventually(job.is_completed, timeout=30)
    await job.refresh()
    assert job.stalled_count == 1


# 3 -----------------------------------------------------------------------------------------------------------


async def test_3_retries_wait_walk_the_chain_and_keep_all_that_was_said_and_spent(
    connection: Connection,
) -> None:
    models: list[Fallback | None] = []

    async def process(job: Job[Any, Any]) -> str:
        if job.name == "generate":
            models.append(job.current_fallback)
            await job.stream_chunk("content", f"{len(models)} ")
            await job.report_usage(model=f"m{len(models)}", tokens={"input": 10 * len(models)})
            if len(models) < 3:
                raise RuntimeError(f"429 number {len(models)}")
        return job.name

    node = await rag(connection)
    async with worker_of(connection, process):
        await eventually(node.job.is_completed)

    assert models == [None, *CHAIN]
    queue: Queue[Any, Any] = Queue("q", connection)
    assert [chunk.text async for chunk in queue.stream("3")] == ["1 ", "2 ", "3 "]
    ledger = await queue.get_ledger("3")
    assert ledger is not None
    assert [(a.outcome, a.model, a.total_tokens, a.fallback_index, a.error) for a in ledger] == [
        ("failed", "m1", 10, 0, "429 number 1"),
        ("failed", "m2", 20, 1, "429 number 2"),
        ("completed", "m3", 30, 2, None),
    ]
    for earlier, later, least_ms in zip(ledger, ledger[1:], (100, 200), strict=False):
        assert earlier.ended_at is not None
        assert (later.started_at - earlier.ended_at).total_seconds() * 1_000 >= least_ms - 1
    assert await used(connection) == 60, "what failed attempts spent counts too"


# 4 -----------------------------------------------------------------------------------------------------------


async def test_4_hash_bucket_queue_set_and_event_agree_after_every_report(connection: Connection) -> None:
    minute = connection.now_ms() // 60_000 * 60_000
    connection.now_ms = lambda: minute + 1_000
    after: list[tuple[Any, ...]] = []

    async def process(job: Job[Any, Any]) -> None:
        if job.name != "generate":
            return
        for tokens in (70, 50):  # a report replaces the one before
            await job.report_usage(model="m", tokens={"input": tokens}, costs={"input": 0.5}, cost_unit="usd")
            fields = await stored(connection, job.id)
            bucket = await connection.command("HGETALL", f"glide:{{q}}:usage:{minute}")
            after.append(
                (
                    int(fields["usage:totalTokens"]),
                    fields["usage:bucketTs"],
                    float(bucket[b"totalTokens"]),
                    bucket[b"jobCount"],
                    json.loads(await newest_usage_event(connection))["totalTokens"],
                    await connection.command("SISMEMBER", "glide:usage:queues", "q"),
                    await tpm(connection),
                    await used(connection),
                )
            )

    node = await rag(connection)
    async with worker_of(connection, process):
        await eventually(node.job.is_completed)

    assert after == [(n, str(minute), n, b"1", n, 1, 0, 0) for n in (70, 50)]
    assert (await tpm(connection), await used(connection)) == (50, 50), "booked once, when the run has ended"


async def newest_usage_event(connection: Connection) -> bytes:
    entries = await connection.command("XREVRANGE", "glide:{q}:events", "+", "-")
    events = [dict(pairs) for pairs in entries.values()]
    return next(event[b"data"] for event in events if event[b"event"] == b"usage")


# 5 -----------------------------------------------------------------------------------------------------------


async def greedy(job: Job[Any, Any]) -> str:
    """The embedding takes more than the whole flow may."""
    await job.report_usage(model="m", tokens={"input": 6_000 if job.name == "embed" else 10})
    return job.name


async def test_5_an_exceeded_budget_fails_and_a_top_up_lets_both_go_on(connection: Connection) -> None:
    node = await rag(connection)
    queue: Queue[Any, Any] = Queue("q", connection)
    async with worker_of(connection, greedy, concurrency=1):
        await eventually(lambda: is_in(connection, "3", "failed"))
        failed = await stored(connection, "3")
        assert (failed["failedReason"], failed["attemptsMade"]) == ("Budget exceeded", "3")
        assert await state(connection, "1") == "waiting-children"

        answer = await queue.top_up_budget("1", add_tokens=2_000, retry_failed=True)
        assert answer.released == (JobRef("q", "3"),)
        await eventually(node.job.is_completed)
    assert await used(connection) == 6_020


async def test_5_paused_jobs_are_released_once_and_in_order(connection: Connection) -> None:
    ran: list[str] = []

    async def process(job: Job[Any, Any]) -> str:
        ran.append(job.name)
        return await greedy(job)

    steps = [FlowJob("embed", "q"), *(FlowJob(f"generate-{n}", "q") for n in range(12))]
    budget = Budget(max_total_tokens=5_000, on_exceeded="pause")
    async with FlowProducer(connection) as producer:
        node = await producer.add(FlowJob("rag", "q", children=steps), budget=budget)
    queue: Queue[Any, Any] = Queue("q", connection)

    async def all_parked() -> bool:
        return len(await queue.get_parked_jobs("1")) == 12

    async with worker_of(connection, process, concurrency=1):
        await eventually(all_parked)
        answers = await asyncio.gather(*(queue.top_up_budget("1", add_tokens=2_000) for _ in range(3)))
        await eventually(node.job.is_completed)
    released = Counter(ref for answer in answers for ref in answer.released)
    assert set(released.values()) == {1}
    assert len(released) == 12
    assert ran == ["embed", *(f"generate-{n}" for n in range(12)), "rag"]


# 6 -----------------------------------------------------------------------------------------------------------


async def node_signals(connection: Connection, job_id: str, name: str, text: str) -> None:
    """Write what glide-mq writes for a signal."""
    entry = json.dumps({"name": name, "data": text, "receivedAt": connection.now_ms()}, separators=(",", ":"))
    await connection.command("RPUSH", f"glide:{{q}}:signals:{job_id}", entry)
    items = await connection.command("LRANGE", f"glide:{{q}}:signals:{job_id}", 0, -1)
    array = b"[" + b",".join(items) + b"]"
    await connection.command("HSET", f"glide:{{q}}:job:{job_id}", "signals", array, "state", "waiting")
    await connection.command("ZREM", "glide:{q}:suspended", job_id)
    await connection.command("XADD", "glide:{q}:stream", "*", "jobId", job_id, "name", "generate")


async def test_6_a_suspended_step_frees_its_slot_and_either_side_resumes_it(connection: Connection) -> None:
    seen: list[list[tuple[str, Any]]] = []

    async def process(job: Job[Any, Any]) -> str:
        if job.name == "generate":
            seen.append([(s.name, s.data) for s in job.signals])
            if len(job.signals) < 2:
                await job.suspend(reason=f"round {len(job.signals)}")
        return job.name

    node = await rag(connection)
    queue: Queue[Any, Any] = Queue("q", connection)
    async with worker_of(connection, process, concurrency=1) as worker:
        await eventually(lambda: is_in(connection, "3", "suspended"))
        other = await queue.add("other", {})
        assert other is not None
        await eventually(other.is_completed)
        await eventually(lambda: not worker.active_jobs)
        assert await state(connection, "1") == "waiting-children"
        await node_signals(connection, "3", "edit", '{"tone":"kind"}')
        await eventually(lambda: len(seen) == 2)
        await eventually(lambda: is_in(connection, "3", "suspended"))

    assert await queue.signal("3", "approve", {"by": "ada"})
    async with worker_of(connection, process):  # another worker than the one that suspended it
        await eventually(node.job.is_completed)
    assert seen == [
        [],
        [("edit", {"tone": "kind"})],
        [("edit", {"tone": "kind"}), ("approve", {"by": "ada"})],
    ]
    on_the_wire = json.loads((await stored(connection, "3"))["signals"])
    assert [(entry["name"], entry["data"]) for entry in on_the_wire] == [
        ("edit", '{"tone":"kind"}'),
        ("approve", '{"by":"ada"}'),
    ]
    await nothing_held(connection)


# 7 -----------------------------------------------------------------------------------------------------------


async def test_7_the_root_runs_last_is_checked_and_the_usage_names_every_unit(connection: Connection) -> None:
    order: list[str] = []
    values: dict[str, Any] = {}

    async def process(job: Job[Any, Any]) -> str:
        order.append(job.name)
        if job.name == "rag":
            values.update(await job.get_children_values())
        unit = "eur" if job.name == "embed" else "usd"
        await job.report_usage(model=job.name, tokens={"t": 20}, costs={"t": 0.25}, cost_unit=unit)
        return job.name

    node = await rag(connection, budget=Budget(max_total_tokens=30, on_exceeded="pause"))
    queue: Queue[Any, Any] = Queue("q", connection)

    async def root_is_parked() -> bool:
        return await queue.get_parked_jobs("1") == [JobRef("q", "1")]

    async with worker_of(connection, process):
        await eventually(root_is_parked)
        assert sorted(order) == ["embed", "generate"]
        await queue.top_up_budget("1", add_tokens=100)
        await eventually(node.job.is_completed)

    assert order[-1] == "rag"
    assert values == {"glide:{q}:2": "embed", "glide:{q}:3": "generate"}
    usage = await queue.get_flow_usage("1")
    assert (usage.job_count, usage.total_tokens, usage.total_cost) == (3, 60, 0.75)
    assert set(usage.cost_units) == {"usd", "eur"}
    assert usage.models == {"rag": 1, "embed": 1, "generate": 1}


# 8 -----------------------------------------------------------------------------------------------------------


async def test_8_tails_before_and_after_show_every_chunk_once_and_stop(connection: Connection) -> None:
    async def process(job: Job[Any, Any]) -> None:
        if job.name == "generate":
            for number in range(300):
                await job.stream_chunk("content", str(number))

    await rag(connection)
    queue: Queue[Any, Any] = Queue("q", connection)

    async def tail() -> list[str]:
        return [chunk.text async for chunk in queue.stream("3")]

    early = asyncio.create_task(tail())
    async with worker_of(connection, process):
        wanted = [str(number) for number in range(300)]
        async with asyncio.timeout(20):
            assert await early == wanted
            assert await tail() == wanted


@pytest.mark.parametrize("how", ["fifo", "lifo", "ordered"])
@pytest.mark.parametrize("end", ["signal", "revoke", "remove", "kill"])
async def test_8_nothing_is_left_behind_and_nothing_booked_twice(
    connection: Connection, server_url: str, tmp_path: Path, end: str, how: str
) -> None:
    options: dict[str, Any] = {"lifo": {"lifo": True}, "ordered": {"ordering": Ordering("tenant")}}.get(
        how, {}
    )
    child = FlowJob("generate", "q", {}, JobOptions(lock_duration=1_000, **options))
    async with FlowProducer(connection) as producer:
        node = await producer.add(FlowJob("rag", "q", children=[child]), budget=STRICT)
    queue: Queue[Any, Any] = Queue("q", connection)
    [generate] = node.children or ()
    job_id, running = generate.job.id, asyncio.Event()

    async def process(job: Job[Any, Any]) -> str:
        if job.id == job_id:
            await job.report_usage(model="m", tokens={"input": 25})
            if end == "signal" and not job.signals:
                await job.suspend()
            running.set()
            if end in ("revoke", "remove"):
                await asyncio.Event().wait()
        return job.name

    spent = 25
    if end == "kill":
        assert await killed_while_running(server_url, tmp_path) == "generate"
        spent += 40  # of the run that died
    short = {"lock_duration": 1_000, "stalled_interval": 1_000, "grace": 100}
    async with worker_of(connection, process, **short):
        if end == "signal":
            await eventually(lambda: is_in(connection, job_id, "suspended"))
            await queue.signal(job_id, "go")
        await asyncio.wait_for(running.wait(), 30)
        if end == "revoke":
            await queue.revoke(job_id)
        if end == "remove":
            await queue.remove_job(job_id, force=True)
        wanted = {"revoke": "failed", "remove": "gone"}.get(end, "completed")
        await eventually(lambda: is_in(connection, job_id, wanted), timeout=20)
        if wanted == "completed":
            await eventually(node.job.is_completed)
        await nothing_held(connection)
    await eventually(lambda: booked(connection, spent))
    assert await connection.command("XLEN", "glide:{q}:stream") == 0


async def booked(connection: Connection, tokens: float) -> bool:
    return await used(connection) == tokens


# 9 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["job", "side"])
async def test_9_vectors_are_found_nearest_first_and_harm_no_node_worker(
    searched: Connection, where: str
) -> None:
    vectors = {"near": [1.0, 0.1, 0.0], "far": [0.0, 0.2, 1.0], "nearest": [1.0, 0.0, 0.0]}
    queue: Queue[Any, Any] = Queue("q", searched)
    await queue.create_job_index(vector_field=VectorField("embedding", 3))

    async def process(job: Job[Any, Any]) -> str:
        await job.store_vector("embedding", vectors[job.data], where=where)
        return job.name

    jobs = await queue.add_bulk([NewJob("embed", name) for name in vectors])
    async with worker_of(searched, process):
        for job in jobs:
            await eventually(job.is_completed)

    hits = await queue.vector_search([1.0, 0.0, 0.0], k=3)
    assert [hit.job.data for hit in hits] == ["nearest", "near", "far"]
    assert [round(hit.score, 3) for hit in hits] == [0.0, 0.005, 1.0]
    if where == "side":
        # A Node worker reads records as text, and a vector is none.
        assert [(await stored(searched, job.id))["state"] for job in jobs] == ["completed"] * 3


async def test_the_whole_runs_beside_a_second_process(connection: Connection, server_url: str) -> None:
    """Two workers with connections of their own share ten flows; each job runs once."""
    ran: Counter[str] = Counter()

    async def process(job: Job[Any, Any]) -> str:
        ran[job.id] += 1
        return await plain(job)

    nodes = [await rag(connection) for _ in range(10)]
    async with connect(server_url) as other, worker_of(connection, process), worker_of(other, process):
        for node in nodes:
            await eventually(node.job.is_completed)
    assert set(ran.values()) == {1}
    assert len(ran) == 30
    await nothing_held(connection)
