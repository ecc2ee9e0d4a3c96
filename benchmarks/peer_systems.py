"""The systems that `benchmarks.peers` compares: how each adds no-op jobs and runs them, at its defaults.

A system is loaded in the process that measures it, and in no other.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

PAYLOAD = {"prompt": "hello"}
NAME = "bench"
#: Adds of a peer without a bulk call that are under way at the same time.
AT_ONCE = 100


class System(ABC):
    """One system: `called` is what its processor does.

    Args:
        url: the server.
        called: to be called once a job.
    """

    package: ClassVar[str]
    #: What it does not do that the first one does.
    without: ClassVar[str] = ""

    def __init__(self, url: str, called: Callable[[], None]) -> None:
        self.url = url
        self.called = called

    async def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Connect."""

    @abstractmethod
    async def add(self) -> None:
        """Add one job."""

    async def add_many(self, jobs: int) -> None:
        """Add jobs, in bulk where the system can."""
        for start in range(0, jobs, AT_ONCE):
            await asyncio.gather(*(self.add() for _ in range(min(AT_ONCE, jobs - start))))

    @abstractmethod
    def working(self, concurrency: int) -> Any:
        """Keep a worker running while the context is open."""


class Glidemq(System):
    """The first one."""

    package = "glidemq"

    async def open(self) -> None:
        """Connect."""
        from glidemq_core import Queue

        self.queue = Queue[Any, Any](NAME, self.url)

    async def add(self) -> None:
        """Add one job."""
        await self.queue.add("answer", PAYLOAD)

    async def add_many(self, jobs: int) -> None:
        """Add jobs in bulk."""
        from glidemq_core import NewJob

        await self.queue.add_bulk([NewJob("answer", PAYLOAD) for _ in range(jobs)])

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        from glidemq_core import Job, Worker

        async def process(job: Job[Any, Any]) -> None:
            self.called()

        async with Worker(NAME, process, self.url, concurrency=concurrency):
            yield


class BullMQ(System):
    """BullMQ for Python."""

    package = "bullmq"
    without = "no streams of tokens, approvals, usage or budgets"

    async def open(self) -> None:
        """Connect."""
        import bullmq

        parts = urlsplit(self.url)
        self.options = {
            "connection": {"host": parts.hostname, "port": parts.port, "password": parts.password}
        }
        self.queue: Any = bullmq.Queue(NAME, self.options)

    async def add(self) -> None:
        """Add one job."""
        await self.queue.add("answer", PAYLOAD)

    async def add_many(self, jobs: int) -> None:
        """Add jobs in bulk."""
        await self.queue.addBulk([{"name": "answer", "data": PAYLOAD} for _ in range(jobs)])

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        import bullmq

        async def process(job: Any, token: str) -> None:
            self.called()

        worker = bullmq.Worker(NAME, process, {**self.options, "concurrency": concurrency})
        try:
            yield
        finally:
            await worker.close()


class Streaq(System):
    """streaq."""

    package = "streaq"
    without = "a record that expires, no events; other languages cannot work on its queues"

    async def open(self) -> None:
        """Connect."""
        self.stack = AsyncExitStack()
        self.producer, self.task = self._worker(16)
        await self.stack.enter_async_context(self.producer)

    def _worker(self, concurrency: int) -> tuple[Any, Any]:
        import streaq

        worker: Any = streaq.Worker(self.url, queue_name=NAME, concurrency=concurrency, handle_signals=False)

        @worker.task(name="answer")
        async def answer(payload: Any) -> None:
            self.called()

        return worker, answer

    async def add(self) -> None:
        """Add one job."""
        await self.task.enqueue(PAYLOAD)

    async def add_many(self, jobs: int) -> None:
        """Add jobs in bulk."""
        await self.producer.enqueue_many([self.task.enqueue(PAYLOAD) for _ in range(jobs)])

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker beside the one that adds."""
        worker, _ = self._worker(concurrency)
        async with _background(worker.run_async()):
            yield


class Taskiq(System):
    """taskiq on a stream, results thrown away."""

    package = "taskiq-redis"
    without = "no record of a job, no result, no retry by itself: the payload stands in the entry"
    results: ClassVar[bool] = False

    async def open(self) -> None:
        """Connect."""
        from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

        self.broker: Any = RedisStreamBroker(self.url, queue_name=NAME)
        if self.results:
            self.broker = self.broker.with_result_backend(RedisAsyncResultBackend(self.url))

        @self.broker.task
        async def answer(payload: dict[str, str]) -> None:
            self.called()

        self.task: Any = answer
        await self.broker.startup()

    async def add(self) -> None:
        """Add one job."""
        await self.task.kiq(PAYLOAD)

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        from taskiq.receiver import Receiver

        self.broker.is_worker_process = True
        receiver = Receiver(self.broker, max_async_tasks=concurrency, run_startup=False)
        end = asyncio.Event()
        async with _background(receiver.listen(end)):
            yield
            end.set()


class TaskiqResults(Taskiq):
    """taskiq on a stream, results kept."""

    without = "no record of a job but its result, no retry by itself"
    results = True


class Docket(System):
    """docket."""

    package = "pydocket"
    without = "a record that expires after 15 minutes"

    async def open(self) -> None:
        """Connect."""
        import docket

        self.stack = AsyncExitStack()

        async def answer(payload: Any) -> None:
            self.called()

        self.task = answer
        self.docket: Any = await self.stack.enter_async_context(docket.Docket(NAME, self.url))
        self.docket.register(answer)

    async def add(self) -> None:
        """Add one job."""
        await self.docket.add(self.task)(PAYLOAD)

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        import docket

        async with (
            docket.Worker(self.docket, concurrency=concurrency) as worker,
            _background(worker.run_forever()),
        ):
            yield


class Saq(System):
    """saq."""

    package = "saq"
    without = "a record that expires after 10 minutes"

    async def open(self) -> None:
        """Connect."""
        import saq

        self.queue: Any = saq.Queue.from_url(self.url, name=NAME)
        await self.queue.connect()

    async def add(self) -> None:
        """Add one job."""
        await self.queue.enqueue("answer", **PAYLOAD)

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        import saq

        async def answer(ctx: Any, *, prompt: str) -> None:
            self.called()

        worker: Any = saq.Worker(self.queue, functions=[("answer", answer)], concurrency=concurrency)
        async with _background(worker.start()):
            yield
            await worker.stop()


class Dramatiq(System):
    """dramatiq: threads."""

    package = "dramatiq"
    without = "no record of a job, no result; a thread a job, no event loop"

    async def open(self) -> None:
        """Connect."""
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        self.broker: Any = RedisBroker(url=self.url)
        dramatiq.set_broker(self.broker)
        lock, loop = threading.Lock(), asyncio.get_running_loop()

        def answer(payload: Any) -> None:
            with lock:
                loop.call_soon_threadsafe(self.called)

        self.actor: Any = dramatiq.actor(answer, broker=self.broker, queue_name=NAME)

    async def add(self) -> None:
        """Add one job."""
        self.actor.send(PAYLOAD)

    @asynccontextmanager
    async def working(self, concurrency: int) -> AsyncIterator[None]:
        """Run a worker."""
        import dramatiq

        worker: Any = dramatiq.Worker(self.broker, worker_threads=concurrency)
        worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(worker.stop)


SYSTEMS: dict[str, type[System]] = {
    "glidemq": Glidemq,
    "bullmq": BullMQ,
    "streaq": Streaq,
    "taskiq": Taskiq,
    "taskiq, results": TaskiqResults,
    "docket": Docket,
    "saq": Saq,
    "dramatiq": Dramatiq,
}


@asynccontextmanager
async def _background(run: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(run)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5)  # some ignore it
