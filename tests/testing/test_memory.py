"""Queue and worker in memory: they do what those on a server do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import (
    Actor,
    Backoff,
    Batch,
    BatchError,
    ClosedError,
    Deduplication,
    Fallback,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    JobStateError,
    NewJob,
    Queue,
    RateLimitError,
    SerializationError,
    SyncJob,
    TokenLimit,
    UnrecoverableError,
    Worker,
)
from glidemq_core.server.connection import Connection
from glidemq_core.testing import TestQueue, TestWorker, run_until_idle


async def process(job: Job[Any, Any]) -> Any:
    """Do what the job's name says."""
    match job.name:
        case "ok":
            await job.log("one line")
            await job.stream_chunk("content", "Hello")
            await job.update_progress(50)
            await job.report_usage(model="m", tokens={"input": 5, "output": 7})
            return {"answer": job.data}
        case "fail":
            raise ValueError(f"attempt {job.attempts_made}")
        case "again" if job.attempts_made == 0:
            raise ValueError("once")
        case "never":
            raise UnrecoverableError("no use")
        case "discard":
            job.discard()
            raise ValueError("given up")
        case "limited" if job.attempts_made == 0:
            raise RateLimitError("slow down", delay_ms=1)
        case "fallback":
            if job.current_fallback is None:
                raise ValueError("first model")
            return job.current_fallback.model
        case "object":
            return object()
        case "forgets":
            job.suspend(reason="x")
            return 1
        case "step":
            value = await job.step("charge", lambda: 7)
            if job.attempts_made == 0:
                raise ValueError("after the step")
            return value
        case "ask" if job.decision is None:
            await job.suspend(reason="send it?", timeout=60_000)
    if job.name == "ask":
        assert job.decision is not None
        return [job.decision.approved, job.decision.by, job.decision.comment, job.decision.data]
    return job.name


OPTIONS: dict[str, dict[str, Any]] = {
    "ok": {},
    "fail": {"attempts": 3, "backoff": Backoff("fixed", 1)},
    "again": {"attempts": 2},
    "never": {"attempts": 5},
    "discard": {"attempts": 5},
    "limited": {},
    "fallback": {"attempts": 2, "fallbacks": [Fallback("small")]},
    "object": {},
    "forgets": {},
    "step": {"attempts": 2},
    "plain": {"priority": 3},
}


def facts(job: Any) -> dict[str, Any]:
    """What has become of a job."""
    return {
        "state": job.state,
        "result": job.result,
        "failed_reason": job.failed_reason,
        "attempts_made": job.attempts_made,
        "fallback_index": job.fallback_index,
        "progress": job.progress,
        "usage": job.usage,
        "model": job.usage.model if job.usage else None,
        "options": job.options,
        "is finished": job.finished_at is not None,
    }


async def test_jobs_end_as_they_do_on_a_server(connection: Connection) -> None:
    memory: TestQueue[Any, Any] = TestQueue("q")
    real: Queue[Any, Any] = Queue("q", connection)
    for name, options in OPTIONS.items():
        for queue in (memory, real):
            added = await queue.add(name, {"n": 1}, job_id=name, **options)
            assert added is not None
    await TestWorker(memory, process, concurrency=3).drain()
    await run_until_idle(
        Worker("q", process, connection, promotion_interval=20, concurrency=3, log_errors=False)
    )

    for name in OPTIONS:
        mine, theirs = await memory.get_job(name), await real.get_job(name)
        assert mine is not None
        assert theirs is not None
        ours, others = facts(mine), facts(theirs)
        assert ours == others, name
    counts, others_counts = await memory.get_job_counts(), await real.get_job_counts()
    assert (counts.completed, counts.failed) == (others_counts.completed, others_counts.failed)
    assert await memory.get_job_logs("ok") == await real.get_job_logs("ok")
    chunks, others_chunks = await memory.read_stream("ok"), await real.read_stream("ok")
    assert [dict(chunk) for chunk in chunks] == [dict(chunk) for chunk in others_chunks]


async def test_events_of_both_tell_the_same(connection: Connection) -> None:
    memory: TestQueue[Any, Any] = TestQueue("q")
    real: Queue[Any, Any] = Queue("q", connection)
    heard: dict[str, list[Any]] = {"memory": [], "real": []}
    workers = {
        "memory": TestWorker(memory, process),
        "real": Worker("q", process, connection, promotion_interval=20, log_errors=False),
    }
    for queue in (memory, real):
        await queue.add("again", attempts=2)
    for where, worker in workers.items():
        seen = heard[where]
        worker.on("active", lambda job, seen=seen: seen.append(("active", job.attempts_made)))
        worker.on("failed", lambda job, error, seen=seen: seen.append(("failed", job.state, str(error))))
        worker.on("completed", lambda job, result, seen=seen: seen.append(("completed", result)))
    await workers["memory"].drain()
    await run_until_idle(workers["real"])  # type: ignore[arg-type]  # the one that is a Worker

    assert heard["memory"] == heard["real"]
    assert heard["memory"][1] == ("failed", "delayed", "once")


@pytest.mark.parametrize("action", ["approve", "reject"])
async def test_a_decision_lets_a_job_go_on(action: str) -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    asked: list[str] = []
    await queue.add("ask", {"to": "ann"})
    worker = TestWorker(queue, process)
    worker.on("suspended", lambda job: asked.append(job.id))
    async with worker:
        await eventually(lambda: asked)
        info = await queue.get_suspend_info("1")
        assert info is not None
        assert (info.reason, info.timeout_ms) == ("send it?", 60_000)
        assert [job.id for job in await queue.get_suspended_jobs()] == ["1"]
        actor = Actor("bob")
        if action == "approve":
            decision = await queue.approve("1", actor=actor, comment="fine", data={"to": "eve"})
        else:
            decision = await queue.reject("1", actor=actor, reason="fine", data={"to": "eve"})
        assert (decision.ok, decision.outcome, decision.action) == (True, "sent", action)
        await eventually(lambda: queue.entries["1"].state == "completed")
        again = await queue.approve("1", actor=actor)
        assert (again.ok, again.outcome) == (False, "not_suspended")
        assert (await queue.reject("9", actor=actor, reason="x")).outcome == "not_found"
    job = await queue.get_job("1")
    assert job is not None
    assert job.result == [action == "approve", "bob", "fine", {"to": "eve"}]


async def test_signals() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")

    async def wait(job: Job[Any, Any]) -> Any:
        if not job.signals:
            await job.suspend()
        return [(signal.name, signal.data) for signal in job.signals]

    await queue.add("a")
    assert (await queue.signal("1", "go")).outcome == "not_suspended"
    await TestWorker(queue, wait).drain()
    assert await queue.signal("1", "go", {"n": 1})
    assert not await queue.signal("2", "go")
    await TestWorker(queue, wait).drain()
    job = await queue.get_job("1")
    assert job is not None
    assert job.result == [["go", {"n": 1}]]


async def test_adding() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    assert [job.id for job in await queue.add_bulk([NewJob("a", 1), NewJob("b"), NewJob("c")])] == [
        "1",
        "2",
        "3",
    ]
    assert await queue.add("a", job_id="4") is not None
    assert await queue.add("a", job_id="4") is None
    fifth = await queue.add("a")
    assert fifth is not None
    assert fifth.id == "5"
    twice = {"deduplication": Deduplication("once")}
    assert await queue.add("a", **twice) is not None  # type: ignore[arg-type]  # one keyword
    assert await queue.add("a", **twice) is None  # type: ignore[arg-type]  # one keyword
    await TestWorker(queue, process).drain()
    assert await queue.add("a", **twice) is not None  # type: ignore[arg-type]  # one keyword
    with pytest.raises(InvalidOptionError):
        await queue.add("a", attempts=-1)
    with pytest.raises(InvalidOptionError):
        await queue.add("")
    with pytest.raises(SerializationError):
        await queue.add("a", object())
    await queue.close()
    with pytest.raises(ClosedError):
        await queue.add("a")
    with pytest.raises(InvalidOptionError):
        TestQueue("a:b")


async def test_looking_and_steering() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    await queue.add("ok", {"user": 1})
    await queue.add("fail", {"user": 2})
    assert [job.id for job in await queue.search_jobs(data={"user": 2})] == ["2"]
    assert [job.id for job in await queue.search_jobs(name="ok", state="waiting")] == ["1"]
    assert await queue.search_jobs(name="o") == [], "names are compared whole, as by Queue"
    await queue.pause()
    assert await queue.is_paused()
    await TestWorker(queue, process).drain()
    assert (await queue.get_job_counts()).waiting == 2
    await queue.resume()
    await TestWorker(queue, process).drain()
    assert [job.id for job in await queue.get_jobs("failed")] == ["2"]
    with pytest.raises(JobStateError, match="it is completed"):
        await queue.retry_job("1")
    with pytest.raises(JobNotFoundError):
        await queue.retry_job("9")
    assert await queue.retry_jobs() == 1
    assert [job.attempts_made for job in await queue.get_jobs("waiting")] == [0]
    assert await queue.drain() == 1
    assert await queue.clean("completed", grace=60_000) == []
    assert await queue.clean("completed", grace=0) == ["1"]
    assert not await queue.remove_job("1")
    await queue.add("a")
    assert await queue.remove_job("3")
    assert await queue.get_job("3") is None
    with pytest.raises(InvalidOptionError):
        await queue.get_jobs("sleeping")  # type: ignore[arg-type]  # on purpose


async def test_a_snapshot_stays_as_it_was() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    added = await queue.add("ok", {"n": 1})
    await TestWorker(queue, process).drain()
    assert added is not None
    assert (added.state, added.result) == ("waiting", None)


async def test_batches_plain_functions_and_ttl() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    sizes: list[int] = []

    async def both(jobs: list[Job[Any, Any]]) -> list[Any]:
        sizes.append(len(jobs))
        raise BatchError([job.data if job.data != 2 else ValueError("two") for job in jobs])

    for n in range(5):
        await queue.add("a", n)
    await TestWorker(queue, both, batch=Batch(3)).drain()
    assert sum(sizes) == 5
    assert [job.failed_reason for job in await queue.get_jobs("failed")] == ["two"]

    def plain(job: SyncJob[Any, Any]) -> int:
        job.log("from a thread")
        return int(job.data) + 1

    other: TestQueue[Any, Any] = TestQueue("other")
    await other.add("a", 1)
    await other.add("late", 1, ttl=1_000)
    other.entries["2"].put(expireAt=1)
    await TestWorker(other, plain, concurrency=2).drain()
    first, late = await other.get_job("1"), await other.get_job("2")
    assert first is not None
    assert late is not None
    assert (first.result, (await other.get_job_logs("1")).logs) == (2, ("from a thread",))
    assert (late.state, late.failed_reason) == ("failed", "expired")


async def test_tokens_hold_back_later_jobs() -> None:
    queue: TestQueue[Any, Any] = TestQueue("q")
    for _ in range(2):
        await queue.add("ok")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await TestWorker(queue, process, token_limiter=TokenLimit(10, 300)).drain()
    assert (await queue.get_job_counts()).completed == 2
    assert loop.time() - began < 5


async def test_workers_share_a_queue_and_feed_another() -> None:
    first: TestQueue[Any, Any] = TestQueue("first")
    second: TestQueue[Any, Any] = TestQueue("second")
    done: list[Any] = []

    async def pass_on(job: Job[Any, Any]) -> None:
        await asyncio.sleep(0)
        await second.add("b", job.data)

    async def finish(job: Job[Any, Any]) -> None:
        done.append(job.data)

    for n in range(20):
        await first.add("a", n)
    workers = [
        TestWorker(first, pass_on, concurrency=4),
        TestWorker(first, pass_on),
        TestWorker(second, finish),
    ]
    await run_until_idle(*workers)
    assert sorted(done) == list(range(20))
    assert [worker.is_running for worker in workers] == [False] * 3


@pytest.mark.parametrize("words", [{"queue": "q"}, {"processor": 5}, {"concurrency": 0}])
def test_what_is_no_worker_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        TestWorker(**{"queue": TestQueue("q"), "processor": process, **words})


async def test_a_job_with_a_delay_counts_as_delayed_and_does_not_wait() -> None:
    queue: TestQueue[Any, Any] = TestQueue("later")
    later, now = await queue.add("later", delay=60_000), await queue.add("now")
    assert later is not None
    assert now is not None
    assert await later.is_delayed()
    assert [job.name for job in await queue.get_jobs("delayed")] == ["later"]

    assert await queue.drain() == 1
    counts = await queue.get_job_counts()
    assert (counts.waiting, counts.delayed) == (0, 1)
    await later.promote()
    assert await later.is_waiting()
    await later.change_delay(60_000)
    assert await later.is_delayed()
    assert await queue.drain(delayed=True) == 1
    assert await queue.get_job(later.id) is None

    ran: list[str] = []
    await queue.add("once more", delay=60_000)
    await TestWorker(queue, lambda job: ran.append(job.name)).drain()
    assert ran == ["once more"]
    [done] = await queue.get_jobs("completed")
    await done.change_delay(5_000)
    assert await done.is_completed()
