"""Metrics of runs and of what they report, as OpenTelemetry's own SDK reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from glidemq_core import Job, MetricsMiddleware, NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

Points = dict[str, list[tuple[dict[str, Any], Any]]]


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def middleware(reader: InMemoryMetricReader) -> tuple[MetricsMiddleware]:
    return (MetricsMiddleware(MeterProvider([reader]).get_meter("test")),)


def measured(reader: InMemoryMetricReader) -> Points:
    """Points by the name of their metric: attributes, and the point."""
    found: Points = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = [(dict(point.attributes or {}), point) for point in metric.data.data_points]
                found[f"{metric.name} {metric.unit}"] = points
    return found


async def drained(connection: Connection, process: Any, **options: Any) -> None:
    async with Worker("q", process, connection, log_errors=False, **options) as worker:
        await worker.drain()


async def test_what_a_run_reports_is_measured_once(
    connection: Connection, reader: InMemoryMetricReader, middleware: tuple[MetricsMiddleware]
) -> None:
    async def process(job: Job) -> None:
        await asyncio.sleep(0.02)
        await job.stream_chunk("content", "first")
        await asyncio.sleep(0.02)
        await job.stream_chunk("content", "second")
        await job.report_usage(model="m", provider="p", tokens={"input": 10})
        await job.report_usage(model="m", provider="p", tokens={"input": 10, "output": 30}, latency=1_500)

    async with Queue[Any, Any]("q", connection, middleware=middleware) as queue:
        await queue.add("n")
        await drained(connection, process, middleware=middleware)

    points = measured(reader)
    model = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "p", "gen_ai.request.model": "m"}
    used = {
        facts["gen_ai.token.type"]: (facts, point.sum)
        for facts, point in points["gen_ai.client.token.usage {token}"]
    }
    assert used == {
        "input": ({**model, "gen_ai.token.type": "input"}, 10),
        "output": ({**model, "gen_ai.token.type": "output"}, 30),
    }
    [(facts, duration)] = points["gen_ai.client.operation.duration s"]
    assert (facts, duration.count, duration.sum) == (model, 1, 1.5)
    [(facts, first)] = points["gen_ai.client.operation.time_to_first_chunk s"]
    assert (facts, first.count) == (model, 1)
    assert 0.015 <= first.sum < 5
    [(facts, run)] = points["messaging.process.duration s"]
    queue_facts = {"messaging.system": "glidemq", "messaging.destination.name": "q"}
    assert facts == {**queue_facts, "messaging.operation.name": "process", "glidemq.job.outcome": "completed"}
    assert run.sum >= 0.04
    [(facts, sent)] = points["messaging.client.sent.messages {message}"]
    assert (facts, sent.value) == ({**queue_facts, "messaging.operation.name": "send"}, 1)


async def test_each_attempt_counts_its_own_report_only(
    connection: Connection, reader: InMemoryMetricReader, middleware: tuple[MetricsMiddleware]
) -> None:
    async def process(job: Job) -> None:
        if job.attempts_made == 0:
            await job.report_usage(total_tokens=7)
            raise ValueError("no")

    async with Queue[Any, Any]("q", connection) as queue:
        await queue.add("n", attempts=2)
        await drained(connection, process, middleware=middleware, promotion_interval=20)

    points = measured(reader)
    [(facts, used)] = points["gen_ai.client.token.usage {token}"]
    assert (facts["gen_ai.token.type"], used.sum, used.count) == ("total", 7, 1)
    [(facts, duration)] = points["gen_ai.client.operation.duration s"]
    assert (facts, duration.count) == ({"gen_ai.operation.name": "chat", "error.type": "ValueError"}, 1)
    outcomes = {
        facts["glidemq.job.outcome"]: facts.get("error.type")
        for facts, _ in points["messaging.process.duration s"]
    }
    assert outcomes == {"failed": "ValueError", "completed": None}
    assert "gen_ai.client.operation.time_to_first_chunk s" not in points


async def test_suspensions_skipped_and_refused_jobs(
    connection: Connection, reader: InMemoryMetricReader, middleware: tuple[MetricsMiddleware]
) -> None:
    async def process(job: Job) -> None:
        if job.name == "ask":
            await job.suspend()

    async with Queue[Any, Any]("q", connection, middleware=middleware) as queue:
        await queue.add_bulk([NewJob("ask"), NewJob("n")])
        await queue.add("n", job_id="mine")
        await queue.add("n", job_id="mine")
        with pytest.raises(ValueError, match="serializer"):
            await queue.add("n", object())
        async with Worker("q", process, connection, middleware=middleware) as worker:

            async def quiet() -> bool:
                counts = await queue.get_job_counts()
                return (counts.suspended, counts.completed) == (1, 2)

            await eventually(quiet)
            await worker.close()

    points = measured(reader)
    sent = {
        facts.get("error.type"): point.value
        for facts, point in points["messaging.client.sent.messages {message}"]
    }
    assert sent == {None: 3, "glidemq_core.errors.SerializationError": 1}
    runs = {
        facts["glidemq.job.outcome"]: point.count for facts, point in points["messaging.process.duration s"]
    }
    assert runs == {"suspended": 1, "completed": 2}
