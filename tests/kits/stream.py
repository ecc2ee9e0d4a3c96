"""Jobs that stream without a worker, and readers of what they wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from glidemq_core.ai.streams.chunks import append_chunk
from glidemq_core.ai.streams.hub import StreamHub
from glidemq_core.queue import Queue
from glidemq_core.records import StreamChunk
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext


@pytest.fixture(name="queue")
async def streamed_queue(connection: Connection) -> AsyncIterator[Queue]:
    opened = Queue("q", connection)
    yield opened
    await StreamHub.of(connection).close()


async def running(queue: Queue) -> tuple[QueueContext, str]:
    """A job that is active as far as its hash says."""
    scope = await queue.context()
    job = await queue.add("chat", {})
    assert job is not None
    await set_state(scope, job.id, "active")
    return scope, job.id


async def set_state(scope: QueueContext, job_id: str, state: str, event: str | None = None) -> None:
    await scope.connection.command("HSET", scope.keys.job(job_id), "state", state)
    if event:
        await scope.connection.command("XADD", scope.keys.events, "*", "event", event, "jobId", job_id)


async def collect(chunks: AsyncIterator[StreamChunk], into: list[str] | None = None) -> list[str]:
    got = [] if into is None else into
    async for chunk in chunks:
        got.append(chunk.text)
    return got


async def write(scope: QueueContext, job_id: str, *texts: str) -> list[str]:
    return [await append_chunk(scope, job_id, {"t": text}) for text in texts]
