"""What tests hold a queue with: adding, starting and ending its jobs without a worker, and looking at the records."""

from __future__ import annotations

from typing import Any

from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext

from .exchange import answers, claims, end, exchange


class Bench:
    """A queue, and a worker's exchange without a worker around it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.queue = Queue(name, connection)
        self.connection = connection
        self.scope: QueueContext

    async def add(self, name: str = "a", data: Any = None, **options: Any) -> str:
        job = await self.queue.add(name, {} if data is None else data, **options)
        assert job is not None
        return job.id

    async def claim(self, count: int = 1) -> list[tuple[str, str, str]]:
        """Start jobs: (id, entry, processedOn) each."""
        now = str(self.scope.now_ms())
        reply = await self.scope.call(*exchange(now, "worker-1-0badcafe", count, "em"))
        return [(claim.job_id, claim.entry, now) for claim in claims(reply)]

    async def settle(self, run: tuple[str, str, str], outcome: str = "c", text: str = "null") -> str:
        words = end(run, outcome, "0", "0", "", "", "", "", value=text)
        now = self.scope.now_ms()
        reply = await self.scope.call(*exchange(now, "worker-1-0badcafe", 0, "em"), *words)
        return answers(reply)[0]

    async def fail(self, **options: Any) -> str:
        job_id = await self.add(**options)
        [run] = await self.claim()
        assert await self.settle(run, "f", "boom") == "failed"
        return job_id

    async def field(self, job_id: str, name: str) -> str | None:
        value = await self.connection.command("HGET", self.scope.keys.job(job_id), name)
        return None if value is None else str(value.decode())

    async def has(self, job_id: str, state: str) -> bool:
        return await self.field(job_id, "state") == state

    async def command(self, *args: Any) -> Any:
        return await self.connection.command(*args)

    async def stream_ids(self) -> list[str]:
        stream = await self.command("XRANGE", self.scope.keys.stream, "-", "+")
        return [dict(map(tuple, pairs))[b"jobId"].decode() for pairs in stream.values()]

    async def events(self) -> list[tuple[str, str]]:
        stream = await self.command("XRANGE", self.scope.keys.events, "-", "+")
        found = [dict(map(tuple, pairs)) for pairs in stream.values()]
        return [(f[b"event"].decode(), f[b"jobId"].decode()) for f in found]
