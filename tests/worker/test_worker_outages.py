"""What a running job reports, streams and asks for while the server is away: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.wire import dump
from kits.worker import Outage, P, clean, in_state, never, quick

from glidemq_core.ai.streams.chunks import append_chunk
from glidemq_core.ai.usage.report import report_usage
from glidemq_core.errors import (
    CallTimeoutError,
    GlideMQError,
    JobLostError,
    ServerError,
    ServerUnavailableError,
)
from glidemq_core.flows.nodes import FlowJob
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.jobs.active_run import RunCalls
from glidemq_core.jobs.control import append_log, update_data, update_progress
from glidemq_core.options.job import NewJob, Ordering
from glidemq_core.queue import Queue
from glidemq_core.server import retry
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.embedded.server import EmbeddedServer
from glidemq_core.worker import Worker


@pytest.fixture(autouse=True)
def short_waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "tmp_path" not in request.fixturenames:
        monkeypatch.setattr(retry, "RETRY_WAITS", (0.001, 0.01))


FATES = [["before"], ["after"], ["after", "before"], ["before", "after", "after"]]


@pytest.mark.parametrize("fates", FATES, ids="-".join)
@pytest.mark.parametrize("threads", [False, True])
async def test_reports_of_a_running_job_outlive_lost_replies_and_count_once(
    bench: Bench, connection: Connection, fates: list[str], threads: bool
) -> None:
    outage = Outage(connection)

    def lose(function: str) -> None:
        outage.only, outage.plan = function, list(fates)

    async def process(job: Any) -> None:
        lose("report_usage")
        await job.report_usage(model="m", tokens={"input": 10}, costs={"usd": 0.5})
        lose("report_usage")
        await job.report_usage(model="m", tokens={"input": 25})
        lose("report_tokens")
        await job.report_tokens(30)
        for n in range(3):
            lose("stream_append")
            await job.stream_chunk("content", f"chunk {n % 2}")
            lose("log")
            await job.log(f"line {n % 2}")
        lose("update")
        await job.update_progress(40)
        lose("update")
        await job.update_data({"step": 2})

    def in_thread(job: Any) -> None:
        lose("report_usage")
        job.report_usage(model="m", tokens={"input": 10}, costs={"usd": 0.5})
        lose("report_usage")
        job.report_usage(model="m", tokens={"input": 25})
        lose("report_tokens")
        job.report_tokens(30)
        for n in range(3):
            lose("stream_append")
            job.stream_chunk("content", f"chunk {n % 2}")
            lose("log")
            job.log(f"line {n % 2}")
        lose("update")
        job.update_progress(40)
        lose("update")
        job.update_data({"step": 2})

    job_id = await bench.add()
    async with quick(in_thread if threads else process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"), timeout=20)
    assert await bench.field(job_id, "state") == "completed"
    assert len(outage.lost) == 11 * len(fates)
    job = await bench.queue.get_job(job_id)
    assert job is not None
    assert job.usage is not None
    assert dict(job.usage.tokens) == {"input": 25}
    assert (job.tpm_tokens, job.progress, job.data) == (30, 40, {"step": 2})
    chunks = await bench.queue.read_stream(job_id)
    assert [chunk.text for chunk in chunks] == ["chunk 0", "chunk 1", "chunk 0"]
    assert (await bench.queue.get_job_logs(job_id)).logs == ("line 0", "line 1", "line 0")
    summary = await bench.queue.get_usage_summary()
    assert (summary.job_count, dict(summary.tokens)) == (1, {"input": 25})
    ledger = await bench.command("LRANGE", f"{P}:ledger:{job_id}", 0, -1)
    assert len([entry for entry in ledger if b'"k":"usage"' in entry]) == 2
    assert [name for name, _ in await bench.events()].count("usage") == 2


async def test_a_parent_reads_the_results_of_its_children_through_an_outage(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, lost = connection.pipeline, []
    values: list[dict[str, Any]] = []

    async def lossy(commands: Any) -> Any:
        if len(lost) < 3:
            lost.append(commands)
            raise ServerUnavailableError("the connection was lost", address="it")
        return await pipeline(commands)

    async def process(job: Any) -> Any:
        if job.name == "child":
            return 7
        with monkeypatch.context() as patch:
            patch.setattr(connection, "pipeline", lossy)
            values.append(await job.get_children_values())
        return None

    flow = FlowJob("parent", "q", children=[FlowJob("child", "q")])
    async with FlowProducer(connection) as producer:
        root = (await producer.add(flow)).job
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, root.id, "completed"), timeout=20)
    assert [list(found.values()) for found in values] == [[7]]


@pytest.mark.parametrize("then", ["runs elsewhere", "has completed"])
async def test_a_run_that_lost_its_job_says_nothing_more_in_its_name(bench: Bench, then: str) -> None:
    """A worker that was stopped for longer than its lock wakes up in the middle of what it was saying."""
    job_id = await bench.add()
    [(_, entry, _)] = await bench.claim()
    stamp = str(bench.scope.now_ms() + 1_000)
    await bench.command("HSET", f"{P}:job:{job_id}", "processedOn", stamp)
    live, late = RunCalls(stamp, lambda: False), RunCalls("1", lambda: False)
    await append_chunk(bench.scope, job_id, {"t": "live"}, live)
    await report_usage(bench.scope, job_id, calls=live, total_tokens=10)
    await append_log(bench.scope, job_id, "live", live)
    await update_progress(bench.scope, job_id, 50, live)
    if then == "has completed":
        assert await bench.settle((job_id, entry, stamp)) == "ok"
        late = live
    before = await dump(bench.connection, f"{P}:*")

    for say in (
        lambda: append_chunk(bench.scope, job_id, {"t": "late"}, late),
        lambda: report_usage(bench.scope, job_id, calls=late, total_tokens=3),
        lambda: append_log(bench.scope, job_id, "late", late),
        lambda: update_progress(bench.scope, job_id, 1, late),
        lambda: update_data(bench.scope, job_id, "late", late),
    ):
        with pytest.raises(JobLostError, match="not owned by this run any more"):
            await say()
    assert await dump(bench.connection, f"{P}:*") == before


@pytest.mark.parametrize("seed", range(8))
async def test_gathered_chunks_and_lines_keep_their_order_through_any_losses(
    bench: Bench, connection: Connection, seed: int
) -> None:
    """Equal neighbours too: what stands there already is told from what is still to come."""
    chance, outage = random.Random(seed), Outage(connection)
    words = [chance.choice("ab") for _ in range(60)]

    async def process(job: Any) -> None:
        outage.plan = [chance.choice(["", "before", "after"]) for _ in range(60)]
        ids: list[str] = []
        start = 0
        while start < len(words):
            count = chance.randint(1, 7)
            part = words[start : start + count]
            answers = await asyncio.gather(
                *(job.stream({"t": word}) for word in part), *(job.log(word) for word in part)
            )
            ids += answers[: len(part)]
            start += count
        assert [chunk.id for chunk in await bench.queue.read_stream(job.id)] == ids

    job_id = await bench.add()
    async with quick(process, connection, promotion_interval=60_000, stalled_interval=60_000):
        await eventually(lambda: bench.field(job_id, "finishedOn"), timeout=20)
    assert await bench.field(job_id, "failedReason") is None
    assert [chunk.text for chunk in await bench.queue.read_stream(job_id)] == words
    assert list((await bench.queue.get_job_logs(job_id)).logs) == words


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_retry_that_streams_the_same_first_chunk_streams_it(
    bench: Bench, connection: Connection, fate: str
) -> None:
    """The first chunk of the attempt before is no proof that this one's has arrived."""
    outage = Outage(connection, only="stream_append")

    async def process(job: Any) -> None:
        outage.plan = [fate]
        await job.stream({"t": "Hello"})
        if job.attempts_made == 0:
            raise ValueError("again")

    job_id = await bench.add(attempts=2)
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, job_id, "completed"))
    assert [chunk.text for chunk in await bench.queue.read_stream(job_id)] == ["Hello", "Hello"]


async def test_progress_of_an_outage_never_undoes_later_progress(
    bench: Bench, connection: Connection
) -> None:
    outage = Outage(connection, only="update")

    async def process(job: Any) -> None:
        outage.plan = ["before", "before", "", "before"]
        await asyncio.gather(*(job.update_progress(n) for n in (1, 2, 3)))
        assert await bench.field(job.id, "progress") == "3"
        await asyncio.gather(*(job.update_progress(n) for n in (4, 5, 6)))

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(job_id, "failedReason") is None
    assert await bench.field(job_id, "progress") == "6"


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_chunks_that_a_processor_gave_up_on_disturb_no_later_ones(
    bench: Bench, connection: Connection, fate: str
) -> None:
    """Its own timeout cancels some of what waits for the server; what comes then is in order, and there once."""
    outage = Outage(connection, only="stream_append")

    async def process(job: Any) -> None:
        await job.stream({"t": "first"})
        outage.plan = [fate] * 1_000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.gather(*(job.stream({"t": f"given up {n}"}) for n in range(5)))
        waiting = asyncio.gather(*(job.stream({"t": f"kept {n}"}) for n in range(5)))
        await asyncio.sleep(0)
        outage.plan = []
        await waiting
        await job.stream({"t": "last"})

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(job_id, "failedReason") is None
    texts = [chunk.text for chunk in await bench.queue.read_stream(job_id)]
    assert [text for text in texts if "given" not in text] == [
        "first",
        *(f"kept {n}" for n in range(5)),
        "last",
    ]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("threads", [False, True])
async def test_a_timeout_ends_the_waiting_for_a_server(
    bench: Bench, connection: Connection, threads: bool
) -> None:
    call, told = connection.call, list[type[BaseException]]()

    async def away(function: str, *args: Any) -> Any:
        if function == "log":
            raise ServerUnavailableError("gone", address="it")
        return await call(function, *args)

    async def process(job: Any) -> None:
        await job.log("never written")

    def in_thread(job: Any) -> None:
        try:
            job.log("never written")
        except GlideMQError as error:
            told.append(type(error))
            raise

    connection.call = away  # type: ignore[method-assign]
    job_id = await bench.add(timeout=100)
    async with quick(in_thread if threads else process, connection):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
        if threads:
            await eventually(lambda: told == [ServerUnavailableError])
    assert await bench.field(job_id, "failedReason") == "Job timeout exceeded"


async def test_a_report_repeated_after_the_job_was_lost_is_not_anothers(
    bench: Bench, connection: Connection
) -> None:
    """The job stalled during the outage and runs elsewhere: its record is the other run's."""
    outage, errors = Outage(connection, only="report_usage"), list[BaseException]()

    async def process(job: Any) -> None:
        outage.plan = ["before"]
        await bench.command("HSET", f"{P}:job:{job.id}", "processedOn", "4")
        try:
            await job.report_usage(tokens={"input": 1})
        except GlideMQError as error:
            errors.append(error)

    await bench.add()
    # No heartbeat meanwhile, which would end the run first.
    async with quick(process, connection, promotion_interval=60_000):
        await eventually(lambda: errors)
    assert "not owned by this run" in str(errors[0])
    assert await bench.field("1", "usage:tokens") is None


@pytest.mark.parametrize("fates", FATES, ids="-".join)
async def test_a_dead_letter_outlives_lost_replies_and_comes_once(
    bench: Bench, connection: Connection, fates: list[str]
) -> None:
    outage = Outage(connection, only="exchange")

    async def process(_: Any) -> None:
        outage.plan = list(fates)
        raise ValueError("hopeless")

    job_id = await bench.add()
    async with quick(process, connection, dead_letter_queue="dead"):
        await eventually(lambda: in_state(bench, job_id, "failed"))
    assert outage.lost == ["exchange"] * len(fates)
    [letter] = await Queue("dead", connection).get_jobs("waiting")
    assert (letter.name, letter.data["originalJobId"]) == ("a", job_id)


@pytest.mark.parametrize("tries", [1, 2])
async def test_requests_that_arrive_after_their_repeats_change_nothing(
    bench: Bench, connection: Connection, tries: int
) -> None:
    """They lay on a connection that was given up, and reach the server in the end."""
    call, held, holding = connection.call, list[tuple[Any, ...]](), [0]

    async def late(*words: Any) -> Any:
        if holding[0]:
            holding[0] -= 1
            held.append(words)
            raise CallTimeoutError("no answer", command=words[0], timeout_ms=1)
        return await call(*words)

    async def process(job: Any) -> None:
        for say in (
            lambda n: job.stream({"t": str(n)}),
            lambda n: job.log(str(n)),
            job.update_progress,
            lambda n: job.update_data({"n": n}),
            lambda n: job.report_usage(tokens={"input": n}),
            job.report_tokens,
        ):
            holding[0] = tries
            await say(1)
            await say(2)
            while held:
                await call(*held.pop())

    job_id = await bench.add()
    connection.call = late  # type: ignore[method-assign]
    async with quick(process, connection, promotion_interval=60_000, stalled_interval=60_000):
        await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(job_id, "failedReason") is None
    assert [chunk.text for chunk in await bench.queue.read_stream(job_id)] == ["1", "2"]
    assert (await bench.queue.get_job_logs(job_id)).logs == ("1", "2")
    job = await bench.queue.get_job(job_id)
    assert job is not None
    assert job.usage is not None
    assert (job.progress, job.data, job.tpm_tokens) == (2, {"n": 2}, 2)
    assert dict(job.usage.tokens) == {"input": 2}


async def test_tokens_told_after_the_job_was_lost_are_not_anothers(
    bench: Bench, connection: Connection
) -> None:
    told = list[BaseException]()

    async def process(job: Any) -> None:
        await bench.command("HSET", f"{P}:job:{job.id}", "processedOn", "4")
        try:
            await job.report_tokens(9)
        except GlideMQError as error:
            told.append(error)

    await bench.add()
    async with quick(process, connection, promotion_interval=60_000):
        await eventually(lambda: told)
    assert isinstance(told[0], JobLostError)
    assert await bench.field("1", "tpmTokens") is None


async def test_good_days_cost_one_round_trip_a_call(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[str] = []
    by_the_job = ContextVar("by_the_job", default=False)

    def counted(method: Any) -> Any:
        async def counting(*words: Any) -> Any:
            # The worker looks after its queue over the same connection.
            if by_the_job.get():
                spent.append(str(words[0]))
            return await method(*words)

        return counting

    async def process(job: Any) -> None:
        await job.report_usage(tokens={"input": 1})
        by_the_job.set(True)
        await job.report_usage(tokens={"input": 1})
        await job.report_tokens(1)
        await job.stream({"t": "x"})
        await job.log("x")
        await job.update_progress(1)
        await job.update_data({})
        by_the_job.set(False)

    for name in ("call", "command", "pipeline", "read"):
        monkeypatch.setattr(connection, name, counted(getattr(connection, name)))
    job_id = await bench.add()
    async with quick(process, connection, promotion_interval=60_000, stalled_interval=60_000):
        await eventually(lambda: in_state(bench, job_id, "completed"))
    assert spent == ["report_usage", "report_tokens", "stream_append", "log", "update", "update"]


# Ways out of a run -------------------------------------------------------------------------------------------


async def _leave(job: Any, how: str, now_ms: int) -> None:
    if job.signals or job.data == "second":
        return
    if how == "suspend":
        await job.suspend(reason="review")
    elif how == "delay":
        await job.move_to_delayed(now_ms + 3_600_000)
    elif how == "group":
        await job.rate_limit_group(3_600_000)
    elif how == "children":
        await job.move_to_waiting_children()


WAYS = {
    "suspend": ("suspend", "suspended"),
    "delay": ("delay", "delayed"),
    "group": ("limit_group_run", "group-waiting"),
    "children": ("wait_children", "waiting-children"),
}


@pytest.mark.parametrize("fates", [*FATES, ["before"] * 12], ids="-".join)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("priority", [0, 3])
async def test_every_way_out_of_a_run_is_taken_once_through_lost_replies(
    bench: Bench, connection: Connection, how: str, fates: list[str], priority: int
) -> None:
    function, state = WAYS[how]
    outage, errors, told = Outage(connection, only=function), list[BaseException](), list[str]()

    async def process(job: Any) -> None:
        if how == "children":
            await Queue("children", connection).add("n", parent=job.ref)
        outage.plan = list(fates)
        await _leave(job, how, bench.scope.now_ms())

    worker = quick(process, connection)
    worker.on("error", errors.append)
    worker.on("failed", lambda job, error: errors.append(error))
    worker.on("suspended", lambda job: told.append(job.id))
    job_id = await bench.add(
        priority=priority, ordering=Ordering("k", concurrency=2) if how == "group" else None
    )
    async with worker:
        await eventually(lambda: len(outage.lost) == len(fates))
        await eventually(lambda: in_state(bench, job_id, state))
        await eventually(lambda: not worker.active_jobs)
        await clean(bench)
    assert errors == []
    assert told == ([job_id] if how == "suspend" else [])
    assert await bench.field(job_id, "attemptsMade") == "0"
    assert await bench.field(job_id, "stalledCount") is None


async def test_a_server_that_is_loading_or_full_is_waited_for(bench: Bench, connection: Connection) -> None:
    call, refusals = connection.call, ["OOM", "READONLY", "MISCONF", "BUSY"]

    async def troubled(function: str, *args: Any) -> Any:
        if function == "suspend" and refusals:
            raise ServerError("in trouble", command=function, code=refusals.pop())
        return await call(function, *args)

    async def process(job: Any) -> None:
        await job.suspend()

    job_id = await bench.add()
    connection.call = troubled  # type: ignore[method-assign]
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, job_id, "suspended"))
    assert refusals == []


async def test_closing_during_an_outage_ends(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suspension cannot be told: closing gives it some seconds, then nothing goes on in the background."""
    from glidemq_core.worker import worker as worker_module

    monkeypatch.setattr(worker_module, "_LAST_WAIT_S", 0.2)
    call, asked = connection.call, asyncio.Event()

    async def away(function: str, *args: Any) -> Any:
        if function in ("suspend", "hand_back"):
            asked.set()
            raise ServerUnavailableError("gone", address="it")
        return await call(function, *args)

    async def process(job: Any) -> None:
        if job.name == "asks":
            await job.suspend()
        await never(job)

    before = asyncio.all_tasks()
    await bench.add("asks")
    await bench.add("runs")
    connection.call = away  # type: ignore[method-assign]
    worker = quick(process, connection, concurrency=2, grace=10)
    await worker.start()
    await asked.wait()
    await eventually(lambda: worker.active_jobs == 2)
    await asyncio.wait_for(worker.close(), 20)
    await eventually(lambda: not asyncio.all_tasks() - before)


async def test_a_restart_of_three_seconds_costs_no_approval_and_no_sleep(tmp_path: Path) -> None:
    """Jobs that suspend, sleep, stream, log and report while an AOF server is killed and comes back later."""
    folder = tmp_path / "data"
    go_on = asyncio.Event()

    async def process(job: Any) -> None:
        if job.signals:
            return
        await job.stream({"t": "before"})
        await job.log("before")
        await go_on.wait()
        await asyncio.gather(*(job.stream({"t": str(n)}) for n in range(5)))
        await job.log("during")
        await job.report_usage(tokens={"input": 7})
        await job.update_progress(50)
        if job.name == "asks":
            await job.suspend(reason="review")
        await job.move_to_delayed(2**41)

    try:
        async with connect(f"embedded:{folder}", request_timeout=1_000) as connection:
            server, queue = EmbeddedServer(folder), Queue[Any, Any]("q", connection)
            asks = [job.id for job in await queue.add_bulk([NewJob("asks")] * 10)]
            sleeps = [job.id for job in await queue.add_bulk([NewJob("sleeps")] * 10)]
            worker = Worker("q", process, connection, concurrency=20, log_errors=False)
            async with worker:
                for job_id in asks + sleeps:
                    await eventually(lambda job_id=job_id: queue.read_stream(job_id))
                before = await server.status()
                assert before.pid is not None
                await connection.command("WAITAOF", 1, 0, 1_000)
                os.kill(before.pid, signal.SIGKILL)
                await server.wait_stopped()
                go_on.set()
                await asyncio.sleep(3)  # the outage itself
                await server.start()
                await eventually(lambda: not worker.active_jobs, timeout=30)
            for job_id, state in [(i, "suspended") for i in asks] + [(i, "delayed") for i in sleeps]:
                job = await queue.get_job(job_id)
                assert job is not None
                assert (job.state, job.attempts_made, job.failed_reason) == (state, 0, None)
                assert (job.progress, job.stalled_count) == (50, 0)
                chunks = await queue.read_stream(job_id)
                assert [chunk.text for chunk in chunks] == ["before", "0", "1", "2", "3", "4"]
                assert (await queue.get_job_logs(job_id)).logs == ("before", "during")
            assert (await queue.get_usage_summary()).job_count == 20
            await server.close()
    finally:
        await EmbeddedServer(folder).stop()
