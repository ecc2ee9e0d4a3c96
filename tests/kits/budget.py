"""What the tests of budgets share: a flow that spends, workers, and what stands on the server."""

from __future__ import annotations

from typing import Any

from conftest import eventually

from glidemq_core.flows.nodes import FlowJob, JobNode
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.job import Job
from glidemq_core.options.job import Budget, JobOptions
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

WORKING = (
    "glide:queues",
    "*:w:*",
    "*:metrics:*",
    "*:usage:queues",
    "*:budget-parked:*",
    "*:parked",
    "*:events",
)
DAY_MS = 86_400_000


def steps_of(queue: str, data: Any = None, **options: Any) -> FlowJob:
    """A root and three steps that run in order: one worker, one at a time."""
    given = JobOptions(**options) if options else None
    steps = [FlowJob(name, queue, {"step": name}, given) for name in ("embed", "search", "generate")]
    return FlowJob("rag", queue, data or {"step": "rag"}, None, steps)


async def reporting(job: Job[Any, Any]) -> int:
    """A processor that spends 100 tokens a step and nothing in the root."""
    if job.name != "rag":
        await job.report_usage(model="m", tokens={"input": 100})
    return 1


def worker_of(connection: Connection, queue: str, process: Any = reporting, **options: Any) -> Worker:
    return Worker(queue, process, connection, log_errors=False, **options)


async def fields_of(connection: Connection, key: str) -> dict[str, str]:
    reply = await connection.command("HGETALL", key)
    return {name.decode(): value.decode() for name, value in (reply or {}).items()}


async def budget_of(connection: Connection, queue: str, flow_id: str = "1") -> dict[str, str]:
    return await fields_of(connection, f"glide:{{{queue}}}:budget:{flow_id}")


async def until_quiet(connection: Connection, queue: str, ended: int) -> None:
    """Wait until so many jobs of a queue have ended or are parked, and nothing is ready any more."""

    async def quiet() -> bool:
        sets = [("ZCARD", f"glide:{{{queue}}}:{name}") for name in ("completed", "failed", "scheduled")]
        answers = await connection.pipeline([*sets, ("XLEN", f"glide:{{{queue}}}:stream")])
        return sum(answers[:3]) == ended and answers[3] == 0

    await eventually(quiet)


async def parked_are(queue: Queue[Any, Any], ids: set[str]) -> bool:
    return {ref.id for ref in await queue.get_parked_jobs("1")} == ids


async def exceeded_flow(
    connection: Connection, producer: FlowProducer, policy: str = "pause", **caps: Any
) -> JobNode:
    """A flow of which two steps ran and one was stopped; 200 tokens used of 150."""
    node = await producer.add(
        steps_of("q"), budget=Budget(**{"max_total_tokens": 150, **caps}, on_exceeded=policy)
    )
    async with worker_of(connection, "q"):
        await until_quiet(connection, "q", 3)
    return node
