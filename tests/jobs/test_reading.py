"""Reading: the answers Node gave for its recordings, and queues in the odd shapes real ones have."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.wire import GOLDEN, recording, replay

from glidemq_core.errors import InvalidOptionError, PermissionDeniedError, ServerError
from glidemq_core.jobs.read import METADATA_FIELDS, STATES
from glidemq_core.options.fields import epoch_ms
from glidemq_core.options.job import Actor, JobRef, Ordering
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker import Worker
from glidemq_core.worker.sweeps import tick

NODE_COUNTS = ("waiting", "active", "delayed", "completed", "failed")
SCENARIOS = sorted(path.stem for path in GOLDEN.glob("*.json"))


QUEUE = "mail"


def counts_of(name: str) -> list[dict[str, int]]:
    results = recording(name)["results"]
    return [item for item in results if isinstance(item, dict) and set(item) == set(NODE_COUNTS)]


@pytest.mark.parametrize("name", [name for name in SCENARIOS if counts_of(name)])
async def test_counts_as_node_gave_them(connection: Connection, name: str) -> None:
    await replay(connection, name)
    queues = [name, f"{name}-deep"] if name == "queue_drained" else [name]
    for queue, wanted in zip(queues, counts_of(name), strict=True):
        counts = await Queue(queue, connection).get_job_counts()
        assert {state: getattr(counts, state) for state in NODE_COUNTS} == wanted


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.leaves_records
async def test_every_recording_can_be_read(connection: Connection, name: str) -> None:
    recorded = await replay(connection, name)
    for queue_name in {key[key.index("{") + 1 : key.index("}")] for key in recorded["keys"] if "{" in key}:
        if ":" in queue_name:
            continue
        queue = Queue(queue_name, connection)
        counts = await queue.get_job_counts()
        hashes = [
            (key.rpartition(":")[2], entry["value"])
            for key, entry in recorded["keys"].items()
            if key.startswith(f"glide:{{{queue_name}}}:job:")
            and ":sub:" not in key
            and entry["type"] == "hash"
        ]
        for job_id, fields in hashes:
            for exclude_data in (False, True):
                job = await queue.get_job(job_id, exclude_data=exclude_data)
                assert job is not None
                assert job.state == fields.get("state", "unknown")
                assert (job.name, job.options) is not None
                assert job.attempts_made == int(fields.get("attemptsMade", 0))
        listed = [job.id for state in STATES for job in await queue.get_jobs(state, exclude_data=True)]
        assert set(listed) <= {job_id for job_id, _ in hashes}
        found = await queue.search_jobs(limit=1000)
        assert {job.id for job in found} == {job_id for job_id, _ in hashes}
        assert counts.suspended == len(await queue.get_jobs("suspended"))
        assert await queue.exists() == bool(
            {
                "id",
                "stream",
                "scheduled",
                "schedulers",
                "completed",
                "failed",
                "priority",
                "lifo",
                "suspended",
                "meta",
            }
            & {key.partition("}:")[2] for key in recorded["keys"] if f"{{{queue_name}}}" in key}
        )


async def test_metrics_as_node_gave_them(connection: Connection) -> None:
    recorded = await replay(connection, "metrics")
    queue = Queue("metrics", connection)
    for kind, wanted in zip(("completed", "failed"), recorded["results"], strict=True):
        metrics = await queue.get_metrics(kind)  # type: ignore[arg-type]  # both are allowed words
        assert metrics.count == wanted["count"]
        assert metrics.resolution == 60_000
        points = [
            {"timestamp": epoch_ms(p.at), "count": p.count, "avgDuration": p.avg_ms} for p in metrics.points
        ]
        assert points == wanted["data"]
    with pytest.raises(InvalidOptionError):
        await queue.get_metrics("waiting")  # type: ignore[arg-type]  # what a caller may get wrong


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(0, -1, [1, 2, 3]), (1, 1, [2]), (-2, -1, [2, 3]), (0, -2, [1, 2]), (5, 9, []), (-9, 0, [1])],
)
async def test_metrics_slices(bench: Bench, start: int, end: int, wanted: list[int]) -> None:
    for minute in (3, 1, 2):
        await bench.command(
            "HSET", bench.scope.keys.metrics("completed"), f"m:{minute * 60000}:c", minute, "junk", "x"
        )
    points = (await bench.queue.get_metrics("completed", start, end)).points
    assert [point.count for point in points] == wanted


@pytest.mark.leaves_records
async def test_workers_as_node_gave_them(connection: Connection) -> None:
    recorded = await replay(connection, "worker_registration")
    queue = Queue("worker_registration", connection)
    await connection.command("SET", "glide:{worker_registration}:w:broken", "{")
    await connection.command("SET", "glide:{worker_registration}:w:partial", '{"addr":"x"}')
    [wanted] = recorded["results"]
    workers = await queue.get_workers()
    assert [(w.id, w.host, w.pid, epoch_ms(w.started_at), w.active_jobs) for w in workers] == [
        (w["id"], w["addr"], w["pid"], w["startedAt"], w["activeJobs"]) for w in wanted
    ]
    assert {w.language for w in workers} == {"node"}


async def test_logs_as_node_gave_them(connection: Connection) -> None:
    recorded = await replay(connection, "progress_log")
    logs = await Queue("progress_log", connection).get_job_logs("1")
    assert {"logs": list(logs.logs), "count": logs.count} == recorded["results"][0]


async def test_jobs_by_state(bench: Bench) -> None:
    running = [await bench.add("run"), await bench.add("run", lifo=True)]
    await bench.claim(2)
    fifo, lifo = await bench.add("fifo"), await bench.add("lifo", lifo=True)
    ranked = [await bench.add("p9", priority=9), await bench.add("p2", priority=2)]
    delayed = await bench.add("later", delay=60_000, priority=9)
    assert [job.id for job in await bench.queue.get_jobs("prioritized")] == [ranked[1], ranked[0]]
    assert [job.id for job in await bench.queue.get_jobs("delayed")] == [ranked[1], ranked[0], delayed]
    # As in Node: the stream with what is running of it, without the lists.
    assert [job.id for job in await bench.queue.get_jobs("waiting")] == [running[0], fifo]
    assert [job.id for job in await bench.queue.get_jobs("waiting", 1, 1)] == [fifo]
    assert [job.id for job in await bench.queue.get_jobs("active")] == running
    assert await bench.queue.get_jobs("delayed", 2, 1) == []
    counts = await bench.queue.get_job_counts()
    assert (counts.waiting, counts.active, counts.delayed, counts.prioritized) == (2, 2, 3, 2)
    assert (counts.group_waiting, counts.waiting_children, counts.suspended) == (0, None, 0)
    assert await bench.queue.count() == 2
    assert await bench.field(lifo, "state") == "waiting"
    with pytest.raises(InvalidOptionError):
        await bench.queue.get_jobs("paused")
    with pytest.raises(InvalidOptionError):
        await bench.queue.get_jobs("waiting", -1)


async def test_parked_jobs(bench: Bench) -> None:
    jobs = [await bench.add(ordering=Ordering(key)) for key in ("b", "a", "b", "a", "b")]
    await bench.claim(9)
    assert [job.id for job in await bench.queue.get_jobs("group-waiting")] == [jobs[3], jobs[2], jobs[4]]
    assert [job.id for job in await bench.queue.get_jobs("group-waiting", 1, 1)] == [jobs[2]]
    assert (await bench.queue.get_job_counts()).group_waiting == 3


async def test_long_streams_are_paged(bench: Bench) -> None:
    keys = bench.scope.keys
    for start in range(0, 2500, 500):
        part = range(start, start + 500)
        await bench.connection.pipeline([("HSET", keys.job(f"{i}"), "state", "waiting") for i in part])
        await bench.connection.pipeline(
            [("XADD", keys.stream, "*", "jobId", f"{i}", "name", "") for i in part]
        )
    page = await bench.queue.get_jobs("waiting", 1990, 2010, exclude_data=True)
    assert [job.id for job in page] == [str(i) for i in range(1990, 2011)]
    assert len(await bench.queue.get_jobs("waiting", exclude_data=True)) == 2500


@pytest.mark.leaves_records
async def test_vectors_and_partial_hashes(bench: Bench) -> None:
    keys = bench.scope.keys
    vector = struct.pack("<4f", 0.1, -2.5, 3e9, 1.0)
    await bench.command("HSET", keys.job("1"), "embedding", vector, "name", "v", "data", '{"a":1}')
    for job_id, field in (("2", "lastActive"), ("3", "returnvalue"), ("4", "state")):
        await bench.command("HSET", keys.job(job_id), field, "1")
    await bench.command("SET", keys.usage_lock("1"), "token")
    job = await bench.queue.get_job("1")
    assert job is not None
    assert job.fields["embedding"] == vector
    for job_id in ("2", "3", "4"):
        partial = await bench.queue.get_job(job_id)
        assert partial is not None
        assert (partial.name, partial.data, partial.progress, partial.attempts_made) == ("", {}, 0, 0)
        assert partial.created_at is None
    assert {job.id for job in await bench.queue.search_jobs()} == {"1", "2", "3", "4"}
    assert await bench.queue.get_job("404") is None
    assert await bench.queue.get_job("404", exclude_data=True) is None


async def test_exclude_data_reads_no_payload(bench: Bench) -> None:
    job_id = await bench.add("a", {"big": "x" * 1000})
    job = await bench.queue.get_job(job_id, exclude_data=True)
    assert job is not None
    assert set(job.fields) <= set(METADATA_FIELDS)
    assert not {"data", "returnvalue"} & set(METADATA_FIELDS)
    [listed] = await bench.queue.get_jobs("waiting", exclude_data=True)
    [found] = await bench.queue.search_jobs(name="a", exclude_data=True)
    assert [(slim.data, slim.result, slim.data_error) for slim in (job, listed, found)] == [(None,) * 3] * 3

    await job.refresh()
    assert job.data == {"big": "x" * 1000}


@pytest.mark.leaves_records
async def test_left_over_suspended_members_are_not_shown(bench: Bench) -> None:
    job_id, keys = await bench.add(), bench.scope.keys
    await bench.command("ZADD", keys.suspended, 1, job_id, 2, "gone")
    assert await bench.queue.get_jobs("suspended") == []


async def test_search(bench: Bench) -> None:
    first = await bench.add("mail", {"to": "ann", "n": 1, "ok": True})
    second = await bench.add("mail", {"to": "bob", "n": 1.0, "ok": 1})
    third = await bench.add("sms", {"to": "ann", "nested": {"a": [1]}})
    later = await bench.add("mail", ["no", "object"], delay=60_000)
    search = bench.queue.search_jobs

    async def ids(**wanted: Any) -> list[str]:
        return sorted((job.id for job in await search(**wanted)), key=int)

    assert await ids() == [first, second, third, later]
    assert await ids(name="mail") == [first, second, later]
    assert await ids(state="waiting", name="mail") == [first, second]
    assert await ids(state="waiting", data={"to": "ann"}) == [first, third]
    assert await ids(data={"n": 1}) == [first, second]
    assert await ids(data={"ok": True}) == [first]
    assert await ids(data={"nested": {"a": [1]}}) == [third]
    assert await ids(state="delayed", name="mai") == []
    assert len(await search(limit=2)) == 2
    [slim] = await search(data={"ok": True}, exclude_data=True)
    assert "data" not in slim.fields
    assert slim.data is None
    for bad in ({"state": "nope"}, {"limit": 0}, {"name": 3}, {"data": [1]}):
        with pytest.raises(InvalidOptionError):
            await search(**bad)


async def test_a_key_of_another_type_is_named(bench: Bench) -> None:
    await bench.command("SET", bench.scope.keys.scheduled, "x")
    with pytest.raises(ServerError, match="scheduled"):
        await bench.queue.get_job_counts()


async def test_counts_of_nothing(bench: Bench) -> None:
    counts = await bench.queue.get_job_counts()
    assert (counts.waiting, counts.active, counts.delayed, counts.prioritized, counts.group_waiting) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert not await bench.queue.exists()


async def test_many_priorities_make_the_count_dear(bench: Bench) -> None:
    for priority in range(1, 80):
        await bench.add(priority=priority)
    counts = await bench.queue.get_job_counts()
    assert (counts.delayed, counts.prioritized) == (79, None)
    assert len(await bench.queue.get_jobs("prioritized")) == 79
    await tick(bench.scope)
    assert (await bench.queue.get_job_counts()).waiting == 79


READS: dict[str, Callable[[Queue[Any, Any]], Awaitable[Any]]] = {
    "job": lambda queue: queue.get_job("1"),
    "jobs": lambda queue: queue.get_jobs("active"),
    "logs": lambda queue: queue.get_job_logs("1"),
    "metrics": lambda queue: queue.get_metrics("failed"),
    "flow usage": lambda queue: queue.get_flow_usage("1"),
    "whole flow": lambda queue: queue.get_flow_usage("1", deep=True, ledger=True),
    "follow": lambda queue: anext(aiter(queue.stream("1"))),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_what_may_not_be_read_is_no_empty_answer(
    bench: Bench, connection: Connection, server_url: str, read: Callable[[Queue[Any, Any]], Awaitable[Any]]
) -> None:
    await bench.add()
    rules = ("reset", "on", ">secret", "~*", "+ping", "+xread", "+xrevrange", "+xinfo", "+exists")
    await connection.command("ACL", "SETUSER", "blind", *rules)
    async with (
        connect(server_url.replace("//", "//blind:secret@")) as blind,
        Queue(bench.queue.name, blind) as queue,
    ):
        with pytest.raises(PermissionDeniedError):
            await asyncio.wait_for(read(queue), 10)


@pytest.mark.parametrize("command", ["get", "zrange", "hget"])
async def test_running_jobs_that_may_not_be_read_are_not_left_out(
    bench: Bench, connection: Connection, server_url: str, command: str
) -> None:
    await bench.add()
    async with Worker(bench.queue.name, _forever, connection, grace=0):
        await eventually(lambda: bench.queue.get_jobs("active"))
        await connection.command(
            "ACL", "SETUSER", "blind", "reset", "on", ">secret", "~*", "+@all", f"-{command}"
        )
        async with (
            connect(server_url.replace("//", "//blind:secret@")) as blind,
            Queue(bench.queue.name, blind) as queue,
        ):
            with pytest.raises(PermissionDeniedError):
                await queue.get_jobs("active")


async def _forever(_: object) -> None:
    await asyncio.sleep(3_600)


@pytest.mark.leaves_records
async def test_keys_of_another_type_hold_nothing(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add()
    await connection.command("SET", bench.scope.keys.job("odd"), "text")
    await connection.command("SET", bench.scope.keys.deps(job_id), "text")
    await connection.command("RPUSH", bench.scope.keys.worker("odd"), "text")
    assert await bench.queue.get_job("odd") is None
    assert (await bench.queue.get_flow_usage(job_id, deep=True)).total_tokens == 0
    assert await bench.queue.get_workers() == []


async def test_a_job_of_another_queue_is_refused_and_not_called_missing(bench: Bench) -> None:
    job = await bench.queue.add("n")
    assert job is not None
    for named in (job.id, str(job.ref), job.ref):
        found = await bench.queue.get_job(named)
        assert found is not None
        assert found.id == job.id
        assert await bench.queue.get_suspend_info(named) is None

    for stranger in (f"elsewhere:{job.id}", JobRef("elsewhere", job.id)):
        for call in (bench.queue.get_job, bench.queue.remove_job, bench.queue.review, bench.queue.get_ledger):
            with pytest.raises(InvalidOptionError, match=f"'elsewhere:{job.id}' is not in queue 'mail'"):
                await call(stranger)
        with pytest.raises(InvalidOptionError):
            await bench.queue.approve(stranger, actor=Actor("eve"))
    assert await bench.queue.get_job(job.id) is not None


@pytest.mark.leaves_records
@pytest.mark.parametrize("ended", ["completed", "failed", "waiting"])
async def test_jobs_that_a_node_worker_has_ended_or_only_read_are_not_listed_as_active(
    bench: Bench, ended: str
) -> None:
    """Node acknowledges in a step of its own, and reads entries ahead: only the hash knows what runs."""
    over, listed, running = await bench.add("a"), await bench.add("a", lifo=True), await bench.add("a")
    await bench.claim(3)
    for job_id in (over, listed):
        await bench.command("HSET", bench.scope.keys.job(job_id), "state", ended)

    assert [job.id for job in await bench.queue.get_jobs("active")] == [running]
    assert [job.id for job in await bench.queue.get_jobs("active", 0, 0)] == [running]
    assert [job.id for job in await bench.queue.search_jobs(state="active", name="a")] == [running]
    page = await Watch(bench.connection).jobs(QUEUE, "active")
    assert running in [row.id for row in page.rows]
    assert not [row for row in page.rows if row.state in ("completed", "failed")]
