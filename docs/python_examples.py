"""An example of each call, for the reference: what stands between a mark `#: Class.call` and an empty line.

    GLIDEMQ_URL=embedded: python docs/python_examples.py

runs them all on a server that must hold nothing else; a test does so, and type checkers read them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

from glidemq_core import (
    Actor,
    AddRequest,
    Broadcast,
    BroadcastWorker,
    Budget,
    Connection,
    DagNode,
    EmbeddedServer,
    FlowJob,
    FlowProducer,
    Handlers,
    Job,
    JobOptions,
    JobRef,
    JobTemplate,
    Middleware,
    NewJob,
    Producer,
    Queue,
    QueueEvents,
    RateLimit,
    StreamChunk,
    SyncJob,
    VectorField,
    Watch,
    Worker,
    connect,
)


async def adding(queue: Queue[Any, Any], worker: Worker[Any, Any]) -> None:
    #: Queue.add
    job = await queue.add("answer", {"prompt": "Why?"}, attempts=3, backoff="1s", timeout="2m")

    assert job is not None

    #: Queue.add_bulk
    jobs = await queue.add_bulk(NewJob("answer", {"prompt": text}) for text in ("How?", "When?"))

    #: Queue.add_and_wait
    answer = await queue.add_and_wait("answer", {"prompt": "Who?"}, wait_timeout="30s")

    #: Job.wait
    answer = await job.wait(timeout="1m")

    #: Job.wait_until_finished
    state = await job.wait_until_finished(timeout="1m")  # "completed" or "failed"

    #: Job.refresh
    await job.refresh()
    print(job.state, job.result)

    #: Queue.stream
    async for chunk in queue.stream(job.id):
        print(chunk.text, end="")

    #: Queue.read_stream
    page: list[StreamChunk] = await queue.read_stream(job.id, last_id="0", count=50)

    #: Producer.add, Producer.close
    async with Producer("chat") as producer:
        job_id = await producer.add("answer", {"prompt": "Where?"})

    #: Producer.add_bulk
    async with Producer("chat") as producer:
        job_ids = await producer.add_bulk([NewJob("answer", {"prompt": "What?"})])

    await jobs[-1].wait()


async def reading(queue: Queue[Any, Any], job: Job[Any, Any]) -> None:
    #: Queue.get_job
    found = await queue.get_job(job.id)  # None when it is gone

    #: Queue.get_jobs
    oldest = await queue.get_jobs("completed", 0, 9, exclude_data=True)

    #: Queue.search_jobs
    asked = await queue.search_jobs(name="answer", data={"prompt": "Why?"}, limit=20)

    #: Queue.get_job_counts
    counts = await queue.get_job_counts()
    print(counts.waiting, counts.active, counts.suspended)

    #: Queue.count
    length = await queue.count()

    #: Queue.exists
    if not await queue.exists():
        print("no such queue")

    #: Queue.get_metrics
    metrics = await queue.get_metrics("completed", -60, -1)  # the last hour, a point a minute

    #: Queue.get_job_logs
    logs = await queue.get_job_logs(job.id, -20, -1)

    #: Queue.get_workers
    for live in await queue.get_workers():
        print(live.host, live.pid, live.active_jobs)

    #: Queue.get_ledger
    for attempt in await queue.get_ledger(job.id) or ():
        print(attempt.attempt, attempt.outcome, attempt.total_cost)

    #: Queue.get_flow_usage
    usage = await queue.get_flow_usage(job.id, deep=True, ledger=True)

    #: Queue.get_usage_summary
    spent = await queue.get_usage_summary(window="24h", queues=["chat"])

    #: Queue.get_limits
    limits = await queue.get_limits()

    #: Job.get_state, Job.is_active, Job.is_completed, Job.is_delayed, Job.is_failed, Job.is_revoked, Job.is_waiting
    state = await job.get_state()  # "unknown" when it is gone
    is_done = await job.is_completed()

    #: Job.get_parents
    parents = await job.get_parents()


async def steering(queue: Queue[Any, Any]) -> None:
    async def waiting() -> Job[Any, Any]:
        job = await queue.add("later", delay="1h", attempts=2)
        assert job is not None
        return job

    #: Queue.pause, Queue.resume, Queue.is_paused
    await queue.pause(actor=Actor("ada", comment="deployment"))
    assert await queue.is_paused()
    await queue.resume(actor=Actor("ada"))

    job = await waiting()
    #: Queue.change_job_delay
    await queue.change_job_delay(job.id, "5m")

    #: Queue.change_job_priority
    await queue.change_job_priority(job.id, 1)

    #: Job.change_priority
    await job.change_priority(0)

    job = await waiting()
    #: Job.change_delay
    await job.change_delay("10s")

    #: Job.promote
    await job.promote()

    #: Job.remove
    was_there = await job.remove()

    job = await waiting()
    #: Queue.promote_job
    await queue.promote_job(job.id)

    #: Queue.remove_job
    was_there = await queue.remove_job(job.id, actor=Actor("ada"))

    job = await waiting()
    #: Queue.revoke
    outcome = await queue.revoke(job.id)  # "revoked", "flagged" (it runs), "not_found"

    #: Queue.retry_job
    await queue.retry_job(job.id)  # it failed: revoked

    await queue.revoke(job.id)
    #: Job.retry
    await job.retry(reset_fallback=True)

    await queue.revoke(job.id)
    #: Queue.retry_jobs
    how_many = await queue.retry_jobs(count=100)

    #: Queue.drain
    how_many = await queue.drain(delayed=True)

    #: Queue.clean
    ids = await queue.clean("completed", grace="1d", limit=1_000)

    #: Queue.set_global_concurrency
    await queue.set_global_concurrency(50)

    #: Queue.get_global_concurrency
    at_once = await queue.get_global_concurrency()

    #: Queue.set_global_rate_limit
    await queue.set_global_rate_limit(RateLimit(100, "1m"))

    #: Queue.get_global_rate_limit
    starts = await queue.get_global_rate_limit()

    #: Queue.remove_global_rate_limit
    await queue.remove_global_rate_limit()

    await queue.set_global_concurrency(0)
    await queue.add("answer", ordering="customer-7")
    #: Queue.rate_limit_group
    resumes_at = await queue.rate_limit_group("customer-7", "30s")

    await queue.drain()


async def deciding(
    queue: Queue[Any, Any], first: Job[Any, Any], second: Job[Any, Any], third: Job[Any, Any]
) -> None:
    job = first
    #: Queue.get_suspend_info
    waits = await queue.get_suspend_info(job.id)
    print(waits.reason if waits else "not suspended")

    #: Queue.get_suspended_jobs
    inbox = await queue.get_suspended_jobs(0, 20)

    #: Queue.review
    shown = await queue.review(job.id)
    print(shown.draft, shown.tool_calls, shown.review_hash)

    #: Queue.approve
    decision = await queue.approve(job.id, actor=Actor("ada"), comment="fine", expect=shown.review_hash)
    print(decision.outcome)  # "sent"; "changed" or "not_suspended" if somebody was faster

    job = second
    #: Queue.reject
    await queue.reject(job.id, actor=Actor("ada"), reason="wrong tone")

    job = third
    #: Queue.signal
    result = await queue.signal(job.id, "payment-received", {"euros": 40}, early=True)

    #: Queue.get_audit
    for entry in await queue.get_audit(limit=20):
        print(entry.at, entry.by, entry.action, entry.outcome)

    #: Queue.verify_audit
    check = await queue.verify_audit()
    print(check.ok, check.entries)

    #: Queue.export_audit
    async for line in queue.export_audit():
        print(line)


async def scheduling(queue: Queue[Any, Any]) -> None:
    #: Queue.upsert_job_scheduler
    await queue.upsert_job_scheduler(
        "digest", pattern="0 7 * * 1-5", tz="Europe/Berlin", template=JobTemplate("digest", {"to": "team"})
    )

    #: Queue.get_job_scheduler
    entry = await queue.get_job_scheduler("digest")
    print(entry.next_runs(3) if entry else "none")

    #: Queue.get_job_schedulers
    entries = await queue.get_job_schedulers()

    #: Queue.run_job_scheduler
    job = await queue.run_job_scheduler("digest")  # now; the next run stays

    #: Queue.remove_job_scheduler
    was_there = await queue.remove_job_scheduler("digest")

    await job.remove()


async def failing(queue: Queue[Any, Any]) -> None:
    #: Queue.get_dead_letter_jobs
    found = await queue.get_dead_letter_jobs(0, 20)  # of a Queue(..., dead_letter_queue="letters")

    letter_id, another_id = (letter.id for letter in found[:2])
    #: Queue.get_dead_letter_job
    letter = await queue.get_dead_letter_job(letter_id)

    #: Queue.replay_dead_letter_job
    job = await queue.replay_dead_letter_job(letter_id, data={"prompt": "corrected"})

    #: Queue.remove_dead_letter_job
    was_there = await queue.remove_dead_letter_job(another_id)

    #: Queue.replay_dead_letter_jobs
    replayed = await queue.replay_dead_letter_jobs(count=100)


async def flowing(queue: Queue[Any, Any], connection: Connection) -> None:
    #: FlowProducer.add, FlowProducer.close
    async with FlowProducer() as producer:
        flow = FlowJob("summary", "chat", children=[FlowJob("part", "parts", {"n": n}) for n in (1, 2)])
        node = await producer.add(flow, budget=Budget(max_total_tokens=10_000, on_exceeded="pause"))

    producer = FlowProducer(connection)
    #: FlowProducer.add_bulk
    nodes = await producer.add_bulk([FlowJob("summary", "chat"), FlowJob("summary", "chat")])

    #: FlowProducer.add_dag
    jobs = await producer.add_dag(
        [
            DagNode("search", "parts", {"for": "valkey"}),
            DagNode("read", "parts", deps=["search"]),
            DagNode("write", "chat", deps=["search", "read"]),
        ]
    )

    flow_id = node.job.id
    #: Queue.get_flow_budget
    budget = await queue.get_flow_budget(flow_id)

    #: Queue.top_up_budget
    top_up = await queue.top_up_budget(flow_id, add_tokens=5_000, actor=Actor("ada"), preview=True)

    #: Queue.get_parked_jobs
    parked = await queue.get_parked_jobs(flow_id)

    #: Queue.get_blocking_children
    blocking = await queue.get_blocking_children(flow_id)

    #: Queue.repair_flow
    with contextlib.suppress(Exception):  # nothing is to be repaired here
        await queue.repair_flow(flow_id)

    #: Queue.release_parent
    with contextlib.suppress(Exception):  # refused while a child can still complete
        await queue.release_parent(flow_id, actor=Actor("ada"))


async def searching(queue: Queue[Any, Any], job: Job[Any, Any]) -> None:
    #: Queue.create_job_index
    await queue.create_job_index(vector_field=VectorField("embedding", dimensions=3), engine="exact")

    #: Job.store_vector
    await job.store_vector("embedding", [0.1, 0.9, 0.0])

    #: Queue.vector_search
    for hit in await queue.vector_search([0.0, 1.0, 0.0], k=5):
        print(hit.job.id, hit.score)

    #: Queue.drop_job_index
    await queue.drop_job_index()


async def process(job: Job[Any, Any]) -> str:
    #: Job.log
    await job.log("read 14 documents")

    #: Job.update_progress
    await job.update_progress(50)

    #: Job.update_data
    await job.update_data({**(job.data or {}), "seen": True})

    #: Job.stream_chunk
    await job.stream_chunk("content", "Because ")

    #: Job.stream
    await job.stream({"type": "tool_call", "name": "search", "args": '{"q": "valkey"}'})

    #: Job.report_usage
    await job.report_usage(
        model="gpt-5.4", tokens={"input": 50, "output": 200}, costs={"total": 0.003}, cost_unit="usd"
    )

    #: Job.report_tokens
    await job.report_tokens(250)  # of a stream that is not over, for the limit of tokens

    #: Job.step
    receipt = await job.step("charge", charge, 40)  # runs once, also when the processor starts again

    #: Job.get_children_values
    values = await job.get_children_values()

    #: Job.discard
    job.discard()  # the next failure is final

    assert receipt == "receipt for 40"
    assert values == {}
    return "done"


async def charge(euros: int) -> str:
    return f"receipt for {euros}"


async def leave(job: Job[Any, Any]) -> str:
    """Each way to leave a processor early, by the name of the job."""
    if job.name == "ask" and not job.new_signals:
        #: Job.suspend
        await job.suspend(reason="send it?", timeout="1d")

    if job.name == "sleep" and (job.data or {}).get("step") is None:
        #: Job.move_to_delayed
        await job.move_to_delayed(datetime.now(UTC) + timedelta(milliseconds=50), "after the pause")

    if job.name == "gather" and job.attempts_made == 0 and not await job.get_children_values():
        await FlowProducer(job_connection(job)).add(
            FlowJob("part", "chat", options=JobOptions(parent=job.ref))
        )
        #: Job.move_to_waiting_children
        await job.move_to_waiting_children()  # after it has added children of its own

    if job.name == "limited" and not _held:
        _held.append(job.id)
        #: Job.rate_limit_group
        await job.rate_limit_group("100ms")  # of this job's ordering key

    if job.name == "long":
        _begun.append(job.id)
        #: Job.wait_aborted
        await job.wait_aborted()

    if job.name == "fail":
        raise ValueError("no")
    return "done"


_held: list[str] = []
_begun: list[str] = []
_connections: list[Connection] = []


def job_connection(job: Job[Any, Any]) -> Connection:
    return _connections[0]


async def working(connection: Connection) -> None:
    _connections.append(connection)
    queue: Queue[Any, Any] = Queue("leaving", connection)
    for name in ("sleep", "ask"):
        await queue.add(name, {})
    await queue.add("limited", ordering="customer-7")
    #: Worker.run
    worker = Worker("leaving", leave, concurrency=10, promotion_interval=50, log_errors=False)
    running = asyncio.create_task(worker.run(signals=False))  # with signals: until SIGTERM or SIGINT

    #: Worker.wait_until_ready
    await worker.wait_until_ready()

    #: Worker.on
    @worker.on("failed")
    def told(job: Job[Any, Any], error: BaseException) -> None:
        print(job.id, job.attempts_made, error)

    #: Worker.pause
    await worker.pause()

    #: Worker.resume
    await worker.resume()

    #: Worker.rate_limit
    worker.rate_limit("100ms")  # after the provider said so

    job = await queue.add("long")
    assert job is not None
    while job.id not in _begun:  # the server knows a moment earlier that it is active
        await asyncio.sleep(0.02)
    #: Worker.abort_job
    is_running = worker.abort_job(job.id)

    while (await queue.get_job_counts()).suspended < 1 or (await queue.get_job_counts()).completed < 2:
        await asyncio.sleep(0.02)
    #: Worker.close
    await worker.close()

    await running
    #: Worker.start
    another = Worker("leaving", leave, promotion_interval=50)
    await another.start()

    #: Worker.drain
    await another.drain()  # until nothing waits, then it closes

    #: Worker.wait_until_closed
    await another.wait_until_closed()

    assert is_running


async def broadcasting() -> None:
    async def deliver(job: Job[Any, Any]) -> None:
        print(job.name, job.data)

    #: BroadcastWorker
    mailer = BroadcastWorker("orders", deliver, subscription="mailer", subjects=["orders.>"], start_from="$")
    await mailer.start()

    #: Broadcast.publish, Broadcast.close
    async with Broadcast("orders", max_messages=10_000) as orders:
        message_id = await orders.publish("orders.eu.placed", {"id": 1})

    orders = Broadcast("orders")
    #: Broadcast.get_subscriptions
    subscriptions = await orders.get_subscriptions()

    #: Broadcast.pause, Broadcast.resume
    await orders.pause()
    await orders.resume()

    #: Broadcast.set_global_rate_limit
    await orders.set_global_rate_limit(RateLimit(1_000, "1m"))

    await mailer.close()
    #: Broadcast.remove_subscription
    await orders.remove_subscription("mailer")

    await orders.close()


def registering() -> None:
    handlers = Handlers()

    #: Handlers.on
    @handlers.on("resize")
    def resize(job: SyncJob[dict[str, int], int]) -> int:
        return job.data["size"] // 2

    assert handlers.names == ("resize",)


#: Middleware.run, Middleware.add, Middleware.flow
class Timed(Middleware):
    async def run(self, job: Job[Any, Any], call_next: Callable[[], Awaitable[Any]]) -> Any:
        started = asyncio.get_running_loop().time()
        try:
            return await call_next()
        finally:
            print(job.name, asyncio.get_running_loop().time() - started)

    async def add(self, request: AddRequest, call_next: Callable[[AddRequest], Awaitable[Any]]) -> Any:
        return await call_next(request)

    def flow(self, request: Any) -> AbstractContextManager[Any]:
        print(request.kind, request.name, request.jobs)
        return contextlib.nullcontext()


#:


async def listening(connection: Connection) -> None:
    #: QueueEvents.wait_until_ready, QueueEvents.close
    async with QueueEvents("chat", connection, types=["completed", "failed"]) as events:
        await events.wait_until_ready()
        job = await Queue[Any, Any]("chat", connection).add("answer")
        async for event in events:
            print(event.event, event.job_id)
            break

    assert job


async def watching(watch: Watch, job: Job[Any, Any]) -> None:
    #: Watch.known
    names = watch.known()

    #: Watch.discover
    async for step in watch.discover(calls_per_s=20):
        print(step.found, step.progress)

    #: Watch.existing
    there = await watch.existing(["chat", "chta"])

    #: Watch.snapshot
    for row in (await watch.snapshot()).queues:
        print(row.name, row.waiting, row.completed_per_min)

    #: Watch.jobs
    page = await watch.jobs("chat", "failed", limit=50)

    #: Watch.scan_jobs
    async for page in watch.scan_jobs("chat", "state:failed error:timeout age<1d"):
        print(f"{len(page.rows)} of {page.looked} match")

    #: Watch.job
    detail = await watch.job("chat", job.id, payload_limit=65_536)

    #: Watch.find
    place = await watch.find(job.id)

    #: Watch.rows
    rows = await watch.rows([JobRef("chat", job.id)])

    #: Watch.why
    why = await watch.why("chat", job.id)
    print([blocker.summary for blocker in why.blockers])

    #: Watch.approvals
    inbox = await watch.approvals(["chat"], limit=20)

    #: Watch.asking
    asking = await watch.asking(["chat", "parts"])

    #: Watch.failures
    failures = await watch.failures(["chat"], since="1h")

    #: Watch.scan_failures
    failing = await watch.scan_failures("error:timeout tries>=3", ["chat"], since="1d")
    while failing.has_more and failing.looked < 20_000:
        await failing.look()
    print([(group.message, group.count) for group in failing.failures.groups])

    #: Watch.failed_jobs
    if failures.groups:
        ids = await watch.failed_jobs("chat", failures.groups[0].key)

    #: Watch.letters
    letters = await watch.letters(["chat"], limit=20)

    #: Watch.scan_letters
    dead = await watch.scan_letters("error:timeout user=42", ["chat"])
    while dead.has_more and dead.looked < 20_000:
        await dead.look()
    print([str(letter.origin) for letter in dead.letters.letters])

    #: Watch.flow
    flow = await watch.flow("chat", job.id)

    #: Watch.flows
    flows = await watch.flows(["chat"], limit=20)

    #: Watch.limits
    limits = await watch.limits(["chat"])

    #: Watch.workers
    workers = await watch.workers(["chat"])

    #: Watch.metrics
    metrics = await watch.metrics("chat", "completed", minutes=60)

    #: Watch.usage
    usage = await watch.usage(window="1h")

    #: Watch.usage_by
    dearest = await watch.usage_by("model", ["chat"], window="1h", top=10)

    #: Watch.ledger
    ledger = await watch.ledger("chat", job.id)

    #: Watch.audit
    audit = await watch.audit("chat", limit=20)

    #: Watch.recent_events
    newest = await watch.recent_events(["chat"], limit=20)

    #: Watch.schedulers
    schedulers = await watch.schedulers("chat")

    #: Watch.all_schedulers
    everywhere = await watch.all_schedulers()

    #: Watch.stream
    async for chunk in watch.stream("chat", job.id, follow=False):
        print(chunk.type, chunk.text)

    #: Watch.streaming
    streaming = await watch.streaming([JobRef("chat", job.id)])

    #: Watch.permissions
    allowed = await watch.permissions()
    print(allowed.can_write, allowed.reason)

    #: Watch.server
    server = await watch.server()

    #: Watch.events
    async for event in watch.events(["chat"], start="0"):
        print(event.at, event.event, event.job_id)
        break


async def serving() -> None:
    #: EmbeddedServer.start, EmbeddedServer.stop, EmbeddedServer.close
    server = EmbeddedServer("valkey-data")
    await server.start()
    url = server.url  # with its password, for other programs
    await server.stop()

    #: EmbeddedServer.wait_stopped
    await server.wait_stopped()  # of a server that others may use

    #: EmbeddedServer.status
    status = await server.status()

    #: EmbeddedServer.of_url
    server, _parameters = EmbeddedServer.of_url("embedded:demo?prefix=demo")

    assert status


async def until_suspended(queue: Queue[Any, Any]) -> AsyncIterator[Job[Any, Any]]:
    """Jobs that wait for a decision."""
    worker = Worker("chat", leave, queue.connection, log_errors=False)
    async with worker:
        for _ in range(3):
            job = await queue.add("ask")
            assert job is not None
            while await queue.get_suspend_info(job.id) is None:
                await asyncio.sleep(0.02)
            yield job


async def main() -> None:
    #: Connection.ping, Connection.close
    async with connect() as connection:
        round_trip = await connection.ping()

    async with (
        connect() as connection,
        Queue[Any, Any]("chat", connection, dead_letter_queue="letters") as queue,
    ):
        async with Worker("chat", process, connection) as worker:
            await adding(queue, worker)
            [job] = await queue.get_jobs("completed", 0, 0)
            await listening(connection)
        await reading(queue, job)
        #: Watch.close
        async with Watch(connection, queues=["chat"]) as watch:
            fleet = await watch.snapshot()

        async with Watch(connection, queues=["chat"]) as watch:
            await watching(watch, job)
        await steering(queue)
        first, second, third = [job async for job in until_suspended(queue)]
        await deciding(queue, first, second, third)
        await scheduling(queue)
        await searching(queue, job)
        async with Worker("chat", leave, connection, dead_letter_queue="letters", log_errors=False):
            for _ in range(3):
                failed = await queue.add("fail")
                assert failed is not None
                await failed.wait_until_finished()
        while len(await queue.get_dead_letter_jobs()) < 3:
            await asyncio.sleep(0.02)
        await failing(queue)
        await flowing(queue, connection)
        await working(connection)
        registering()

        #: Queue.obliterate
        await queue.obliterate(force=True)

        #: Queue.close
        await queue.close()

    await broadcasting()
    await serving()
    assert round_trip


if __name__ == "__main__":
    asyncio.run(main())
