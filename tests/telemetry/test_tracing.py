"""Spans of jobs, as OpenTelemetry's own SDK records them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import eventually
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from glidemq_core import (
    Batch,
    DagNode,
    FlowJob,
    FlowProducer,
    Job,
    JobOptions,
    NewJob,
    Producer,
    Queue,
    SyncJob,
    TelemetryMiddleware,
    Worker,
    is_tracing_enabled,
    set_tracer,
)
from glidemq_core.server.connection import Connection


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> trace.Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


@pytest.fixture
def traced(tracer: trace.Tracer) -> Iterator[None]:
    """Everything in this process is traced."""
    assert not is_tracing_enabled()
    set_tracer(tracer)
    assert is_tracing_enabled()
    yield
    set_tracer(enabled=False)
    assert not is_tracing_enabled()


def spans(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Ended spans of a name, in the order of their begin."""
    found = [span for span in exporter.get_finished_spans() if span.name == name]
    return sorted(found, key=lambda span: span.start_time or 0)


def one(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    [span] = spans(exporter, name)
    return span


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def span_id(span: ReadableSpan) -> int:
    own = span.get_span_context()
    assert own is not None
    return own.span_id


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    own, above = span.get_span_context(), parent.get_span_context()
    assert own is not None
    assert above is not None
    return span.parent is not None and (span.parent.span_id, own.trace_id) == (above.span_id, above.trace_id)


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


async def drained(connection: Connection, process: Any, queue: str = "q", **options: Any) -> None:
    async with Worker(queue, process, connection, log_errors=False, **options) as worker:
        await worker.drain()


async def noop(job: Job) -> None:
    pass


async def test_a_run_is_a_child_of_the_span_that_added_its_job(
    connection: Connection, exporter: InMemorySpanExporter, tracer: trace.Tracer, traced: None
) -> None:
    current: list[int] = []

    async def process(job: Job) -> str:
        current.append(trace.get_current_span().get_span_context().span_id)
        return "done"

    async with Queue[Any, Any]("q", connection) as queue:
        with tracer.start_as_current_span("request") as request:
            job = await queue.add("answer", {"secret": "s3cret"}, priority=3, delay=0)
        assert job is not None
        await drained(connection, process)
        stored = await queue.get_job(job.id)

    sent, run = one(exporter, "send q"), one(exporter, "process q")
    assert sent.parent is not None
    assert sent.parent.span_id == request.get_span_context().span_id
    assert is_child(run, sent)
    assert current == [span_id(run)]
    assert (sent.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert facts(sent) == {
        "messaging.system": "glidemq",
        "messaging.destination.name": "q",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": job.id,
        "glidemq.job.name": "answer",
        "glidemq.job.delay": 0,
        "glidemq.job.priority": 3,
    }
    told = facts(run)
    assert told.pop("glidemq.job.waited_ms") >= 0
    assert told == {
        "messaging.system": "glidemq",
        "messaging.destination.name": "q",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": job.id,
        "glidemq.job.name": "answer",
        "glidemq.job.attempt": 1,
        "glidemq.job.resumed": False,
        "glidemq.job.outcome": "completed",
    }
    assert "s3cret" not in sent.to_json() + run.to_json()
    assert stored is not None
    of_sender = sent.get_span_context()
    assert of_sender is not None
    expected = f"00-{of_sender.trace_id:032x}-{of_sender.span_id:016x}-{of_sender.trace_flags:02x}"
    assert stored.options.extra == {"otel": {"traceparent": expected}}


async def test_no_baggage_travels_and_other_options_stay(
    connection: Connection, tracer: trace.Tracer, traced: None
) -> None:
    token = context.attach(baggage.set_baggage("user", "alice"))
    try:
        async with Queue[Any, Any]("q", connection) as queue:
            job = await queue.add("n", options=JobOptions(attempts=2, extra={"mine": 1}))
    finally:
        context.detach(token)
    assert job is not None
    assert job.options.attempts == 2
    assert set(job.options.extra) == {"mine", "otel"}
    assert set(job.options.extra["otel"]) == {"traceparent"}
    await drained(connection, noop)


async def test_without_a_recording_span_nothing_is_written(connection: Connection) -> None:
    for tracer in (TracerProvider(sampler=ALWAYS_OFF).get_tracer("off"), trace.NoOpTracer()):
        middleware = (TelemetryMiddleware(tracer),)
        async with Queue[Any, Any]("q", connection, middleware=middleware) as queue:
            job = await queue.add("n")
            assert job is not None
            assert job.options.extra == {}
            await drained(connection, noop, middleware=middleware)
            assert await job.is_completed()


async def test_retries_are_in_one_trace_each_linked_to_the_one_before(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async def process(job: Job) -> None:
        if job.attempts_made < 2:
            raise ValueError("provider says no")

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add("n", attempts=3, backoff=1)
        await drained(connection, process, promotion_interval=20)

    sent, runs = one(exporter, "send q"), spans(exporter, "process q")
    assert [facts(run)["glidemq.job.attempt"] for run in runs] == [1, 2, 3]
    assert [facts(run)["glidemq.job.outcome"] for run in runs] == ["failed", "failed", "completed"]
    assert all(is_child(run, sent) for run in runs)
    ids = [span_id(run) for run in runs]
    assert [linked(run) for run in runs] == [[], ids[:1], ids[1:2]]
    assert [run.status.status_code for run in runs] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    failed = runs[0]
    assert facts(failed)["error.type"] == "ValueError"
    assert failed.status.description == "provider says no"
    assert [event.name for event in failed.events] == ["exception"]


async def test_a_suspension_is_no_error_and_the_resumed_run_is_linked(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async def process(job: Job) -> None:
        if not job.signals:
            await job.suspend(reason="look")

    async with Queue[Any, Any]("q", connection) as queue, Worker("q", process, connection):
        job = await queue.add("n")
        assert job is not None
        await eventually(lambda: _is(job, "suspended"))
        await queue.signal(job.id, "approve")
        await eventually(lambda: _is(job, "completed"))
        await eventually(lambda: len(spans(exporter, "process q")) == 2)

    before, after = spans(exporter, "process q")
    assert facts(before)["glidemq.job.outcome"] == "suspended"
    assert before.status.status_code is StatusCode.UNSET
    assert not before.events
    assert [facts(run)["glidemq.job.resumed"] for run in (before, after)] == [False, True]
    assert linked(after) == [span_id(before)]
    assert is_child(after, one(exporter, "send q"))


async def _is(job: Job, state: str) -> bool:
    return await job.get_state() == state


async def test_cost_and_tokens_stand_on_the_span_of_the_attempt_that_reported_them(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async def process(job: Job) -> None:
        if job.attempts_made:
            return
        await job.report_usage(
            model="m", provider="p", tokens={"input": 3, "output": 4}, total_cost=0.5, cost_unit="USD"
        )
        raise ValueError("after the bill")

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add("n", attempts=2)
        await drained(connection, process, promotion_interval=20)

    first, second = spans(exporter, "process q")
    used = {
        name: value for name, value in facts(first).items() if "usage" in name or name.startswith("gen_ai")
    }
    assert used == {
        "gen_ai.request.model": "m",
        "gen_ai.provider.name": "p",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "glidemq.usage.total_tokens": 7,
        "glidemq.usage.cost": 0.5,
        "glidemq.usage.cost_unit": "USD",
    }
    assert not [name for name in facts(second) if "usage" in name or name.startswith("gen_ai")]
    assert not [name for name in facts(one(exporter, "send q")) if "cost" in name]


async def test_a_timeout_is_an_error_and_a_closing_worker_is_none(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async def process(job: Job) -> None:
        await asyncio.sleep(60)

    async with Queue[Any, Any]("q", connection) as queue:
        job = await queue.add("n", timeout=1_000)
        assert job is not None
        async with Worker("q", process, connection, log_errors=False) as worker:
            await eventually(lambda: _is(job, "failed"))
            other = await queue.add("n")
            assert other is not None
            await eventually(lambda: worker.active_jobs == 1)
            await worker.close(force=True)
        await queue.remove_job(other.id)

    late, handed_back = spans(exporter, "process q")
    assert (facts(late)["glidemq.job.outcome"], late.status.status_code) == ("failed", StatusCode.ERROR)
    assert facts(late)["glidemq.job.abort_reason"] == "timeout"
    assert (facts(handed_back)["glidemq.job.outcome"], handed_back.status.status_code) == (
        "cancelled",
        StatusCode.UNSET,
    )


async def test_a_job_added_by_a_run_is_its_child_also_from_a_thread(
    connection: Connection, exporter: InMemorySpanExporter, traced: None, server_url: str
) -> None:
    ids: list[int] = []

    def process(job: SyncJob) -> None:
        ids.append(trace.get_current_span().get_span_context().span_id)

    async def process_async(job: Job) -> None:
        async with Queue[Any, Any]("second", connection) as second:
            await second.add("n")

    async with Queue[Any, Any]("first", connection) as first:
        await first.add("n")
        await drained(connection, process_async, "first")
        await drained(connection, process, "second")

    assert is_child(one(exporter, "send second"), one(exporter, "process first"))
    assert is_child(one(exporter, "process second"), one(exporter, "send second"))
    assert ids == [span_id(one(exporter, "process second"))]


async def test_bulk_adds_producers_and_skipped_jobs(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async with Queue[Any, Any]("q", connection) as queue, Producer("q", connection) as producer:
        added = await queue.add_bulk([NewJob("a"), NewJob("b")])
        job_id = await producer.add("c", job_id="mine")
        assert await queue.add("again", job_id="mine") is None
        await drained(connection, noop)

    sent = spans(exporter, "send q")
    assert {facts(span).get("messaging.message.id") for span in sent} == {
        *(job.id for job in added),
        job_id,
        None,
    }
    [skipped] = [span for span in sent if facts(span).get("glidemq.job.skipped")]
    assert "messaging.message.id" not in facts(skipped)
    runs = spans(exporter, "process q")
    assert len(runs) == 3
    assert all(any(is_child(run, span) for span in sent) for run in runs)


async def test_what_cannot_be_added_is_an_error(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async with Queue[Any, Any]("q", connection) as queue:
        with pytest.raises(Exception, match="serializer"):
            await queue.add("n", {"x": object()})
    sent = one(exporter, "send q")
    assert sent.status.status_code is StatusCode.ERROR
    assert facts(sent)["error.type"].startswith("glidemq_core.errors.")


async def test_jobs_of_a_flow_are_below_one_span(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async with FlowProducer(connection) as flows:
        await flows.add(FlowJob("root", "q", children=[FlowJob("leaf", "q"), FlowJob("leaf", "q")]))
        await drained(connection, noop)
        await flows.add_dag([DagNode("a", "q"), DagNode("b", "q", deps=["a"])])
        await drained(connection, noop)

    tree, graph = spans(exporter, "create flow")
    assert facts(tree) == {
        "messaging.system": "glidemq",
        "glidemq.flow.kind": "flow",
        "glidemq.flow.jobs": 3,
        "glidemq.flow.name": "root",
        "glidemq.flow.queue": "q",
    }
    assert (facts(graph)["glidemq.flow.kind"], facts(graph)["glidemq.flow.jobs"]) == ("dag", 2)
    sent = spans(exporter, "send q")
    assert [sum(is_child(span, flow) for span in sent) for flow in (tree, graph)] == [3, 2]
    assert all(any(is_child(run, span) for span in sent) for run in spans(exporter, "process q"))


async def test_each_job_of_a_batch_has_a_span(
    connection: Connection, exporter: InMemorySpanExporter, traced: None
) -> None:
    async def process(jobs: list[Job]) -> list[None]:
        return [None for _ in jobs]

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add_bulk([NewJob("n"), NewJob("n"), NewJob("n")])
        await drained(connection, process, batch=Batch(3, 50), concurrency=3)

    runs = spans(exporter, "process q")
    assert len({facts(run)["messaging.message.id"] for run in runs}) == 3
    assert len({run.parent.span_id for run in runs if run.parent is not None}) == 3


async def test_a_job_of_a_scheduler_begins_a_trace(
    connection: Connection, exporter: InMemorySpanExporter, tracer: trace.Tracer, traced: None
) -> None:
    async with Queue[Any, Any]("q", connection) as queue:
        await queue.upsert_job_scheduler("often", repeat_after_complete=50, limit=1)
        with tracer.start_as_current_span("startup"):  # is no parent of what the worker does later
            worker = Worker("q", noop, connection, promotion_interval=20)
            await worker.start()
        await eventually(lambda: spans(exporter, "process q"))
        await worker.close()
    run = one(exporter, "process q")
    assert run.parent is None
    assert facts(run)["glidemq.job.scheduler"] == "often"


@pytest.mark.parametrize(
    "carried",
    [
        7,
        "00-x",
        {},
        {"traceparent": 7},
        {"traceparent": "00-zz-zz-01"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "0" * 5_000},
        {"traceparent": ["00"], "tracestate": {"a": 1}},
    ],
)
async def test_a_context_that_is_none_begins_a_new_trace(
    connection: Connection, exporter: InMemorySpanExporter, tracer: trace.Tracer, carried: Any
) -> None:
    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add("n\x1b[31m" if carried == 7 else "n", options=JobOptions(extra={"otel": carried}))
        await drained(connection, noop, middleware=(TelemetryMiddleware(tracer),))
    run = one(exporter, "process q")
    assert run.parent is None


async def test_one_with_middleware_of_its_own_is_traced_once(
    connection: Connection, exporter: InMemorySpanExporter, tracer: trace.Tracer, traced: None
) -> None:
    own = (TelemetryMiddleware(tracer, compat_names=True),)
    async with Queue[Any, Any]("q", connection, middleware=own) as queue:
        await queue.add("n")
        await drained(connection, noop, middleware=own)
    assert {span.name for span in exporter.get_finished_spans()} == {
        "glide-mq.queue.add",
        "glide-mq.job.process",
    }


async def test_names_of_node(
    connection: Connection, exporter: InMemorySpanExporter, tracer: trace.Tracer
) -> None:
    set_tracer(tracer, compat_names=True)
    try:
        async with Queue[Any, Any]("q", connection) as queue, FlowProducer(connection) as flows:
            job = await queue.add("n", priority=2, delay=1)
            assert await queue.add("n", job_id=job.id if job else "") is None
            await flows.add(FlowJob("root", "q", children=[FlowJob("leaf", "q")]))
            await flows.add_dag([DagNode("a", "q"), DagNode("b", "q", deps=["a"])])
            await drained(connection, noop, promotion_interval=20)
    finally:
        set_tracer(enabled=False)

    assert job is not None
    added, skipped = spans(exporter, "glide-mq.queue.add")
    expected = {
        "glide-mq.queue": "q",
        "glide-mq.job.name": "n",
        "glide-mq.job.delay": 1,
        "glide-mq.job.priority": 2,
    }
    assert facts(added) == {**expected, "glide-mq.job.id": job.id}
    assert facts(skipped) == {**expected, "glide-mq.job.delay": 0, "glide-mq.job.priority": 0}
    assert added.status.status_code is StatusCode.OK
    assert added.kind is SpanKind.INTERNAL
    assert facts(one(exporter, "glide-mq.flow.add")) == {
        "glide-mq.queue": "q",
        "glide-mq.flow.name": "root",
        "glide-mq.flow.childCount": 1,
    }
    assert facts(one(exporter, "glide-mq.flow.addDAG")) == {"glide-mq.flow.nodeCount": 2}
    runs = spans(exporter, "glide-mq.job.process")
    assert len(runs) == 5
    assert all(run.parent is not None for run in runs)
    assert all(name.startswith("glide-mq.") for run in runs for name in facts(run))


def test_nothing_is_loaded_until_it_is_asked_for() -> None:
    program = (
        "import sys; from glidemq_core import Queue, Worker, TelemetryMiddleware, set_tracer, is_tracing_enabled; "
        "assert not is_tracing_enabled(); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_where_it_is_not_installed_the_remedy_is_named() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from glidemq_core import GlideMQError, MetricsMiddleware, TelemetryMiddleware, set_tracer\n"
        "for ask in (TelemetryMiddleware, MetricsMiddleware, set_tracer):\n"
        "    try: ask()\n"
        "    except GlideMQError as error: print(error.message, error.hint)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["OpenTelemetry is not installed pip install 'glidemq[otel]'"] * 3
