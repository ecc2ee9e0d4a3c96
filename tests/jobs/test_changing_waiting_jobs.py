"""Changing jobs that wait: promotion, priority, delay, and what is refused."""

from __future__ import annotations

from typing import Any, cast

import pytest
from kits.bench import Bench

from glidemq_core.errors import (
    BulkError,
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
)
from glidemq_core.jobs.control import promote_jobs
from glidemq_core.jobs.events.queue_events import QueueEvents
from glidemq_core.options.job import Actor, JobOptions, NewJob
from glidemq_core.queue import Queue
from glidemq_core.wire.keys import PRIORITY_STEP
from glidemq_core.worker import Worker
from glidemq_core.worker.sweeps import tick

# Changing ---------------------------------------------------------------------------------------------------


async def test_a_job_knows_what_was_changed_through_it(bench: Bench) -> None:
    job = await bench.queue.add("a", delay=60_000, timeout=5_000, attempts=2)
    await job.change_delay("30s")
    assert (job.delay_ms, job.options.delay, job.priority) == (30_000, 30_000, 0)
    await job.change_priority(4)
    assert (job.priority, job.options.priority, job.delay_ms) == (4, 4, 30_000)
    await job.promote()
    assert (job.delay_ms, job.options.delay, job.options.attempts, job.options.timeout) == (0, 0, 2, 5_000)

    for refused in (job.promote(), job.change_delay(-1), job.change_priority(3_000)):
        with pytest.raises((JobStateError, InvalidOptionError)):
            await refused
    assert (job.delay_ms, job.priority) == (0, 4)


async def test_a_job_knows_that_it_was_retried(bench: Bench) -> None:
    failed = await bench.queue.get_job(await bench.fail())
    assert failed is not None
    assert (failed.attempts_made, failed.failed_reason) == (1, "boom")
    await failed.retry()
    assert (failed.attempts_made, failed.failed_reason, failed.finished_at) == (0, None, None)


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
