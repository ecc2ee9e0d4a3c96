"""Lifespans: what the jobs of a worker share, opened before the first and closed after the last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import Batch, InvalidOptionError, Job, NewJob, Queue, SyncJob, Worker
from glidemq_core.server.connection import Connection
from glidemq_core.testing import make_job
from glidemq_core.worker.execution import lifespan as lifespans


def opening(notes: list[str], resources: Any) -> Any:
    @asynccontextmanager
    async def lifespan(worker: Worker[Any, Any]) -> AsyncIterator[Any]:
        notes.append("opened")
        yield resources
        notes.append("closed")

    return lifespan


async def test_its_mapping_is_the_resources_of_every_job(connection: Connection) -> None:
    resources, notes, seen = {"db": object()}, list[str](), list[Any]()

    async def process(job: Job) -> None:
        notes.append("job")
        seen.append(job.resources)

    async with Queue("q", connection) as queue:
        async with Worker("q", process, connection, lifespan=opening(notes, resources)):
            assert notes == ["opened"]
            await (await queue.add("a")).wait()
            await (await queue.add("a")).wait()
        job = await queue.get_job("1")

    assert seen == [resources, resources]
    assert seen[0] is resources
    assert notes == ["opened", "job", "job", "closed"]
    assert job is not None
    assert job.resources == {}


async def test_threads_and_batches_have_them_too(connection: Connection) -> None:
    async def batch(jobs: Sequence[Job]) -> list[Any]:
        return [job.resources["name"] for job in jobs]

    def blocking(job: SyncJob) -> Any:
        return job.resources["name"]

    async with Queue("q", connection) as queue:
        for processor, options in ((batch, {"batch": Batch(2)}), (blocking, {})):
            worker = Worker("q", processor, connection, lifespan=opening([], {"name": "it"}), **options)
            async with worker:
                assert await queue.add_and_wait("a") == "it"


async def test_running_jobs_end_before_it_closes_and_the_connection_after(server_url: str) -> None:
    notes: list[str] = []
    begun = asyncio.Event()

    @asynccontextmanager
    async def lifespan(worker: Worker[Any, Any]) -> AsyncIterator[Mapping[str, Any]]:
        assert worker.id.startswith("worker-")
        assert worker.id != "worker-0"
        yield {}
        context = await worker.context()
        notes.append(f"closed, {await context.connection.command('GET', 'nothing')}")

    async def process(job: Job) -> None:
        begun.set()
        await asyncio.sleep(0.1)
        notes.append("job")

    async with Queue("q", server_url) as queue:
        await queue.obliterate(force=True)
        worker = Worker("q", process, server_url, lifespan=lifespan)
        await worker.start()
        await queue.add("a")
        await begun.wait()
        await worker.close()

    assert notes == ["job", "closed, None"]


async def test_a_worker_whose_lifespan_does_not_open_claims_nothing(connection: Connection) -> None:
    @asynccontextmanager
    async def broken(worker: Worker[Any, Any]) -> AsyncIterator[Mapping[str, Any]]:
        raise ValueError("no database")
        yield {}

    async def process(job: Job) -> None: ...

    async with Queue("q", connection) as queue:
        job = await queue.add("a")
        worker = Worker("q", process, connection, lifespan=broken)
        with pytest.raises(ValueError, match="no database"):
            await worker.start()
        with pytest.raises(ValueError, match="no database"):
            await worker.wait_until_ready()
        await worker.wait_until_closed()

        assert await job.get_state() == "waiting"
        assert await queue.get_workers() == []


async def plain(worker: Any) -> AsyncIterator[Any]:
    yield {}


@asynccontextmanager
async def no_mapping(worker: Any) -> AsyncIterator[Any]:
    yield ["db"]


@pytest.mark.parametrize(
    ("lifespan", "said"),
    [
        (plain, "decorate it with @asynccontextmanager"),
        (lambda _: {}, "must be a function of the worker that returns an async context manager, not dict"),
        (no_mapping, "a lifespan yields a mapping of resources, not list"),
    ],
)
async def test_what_is_no_lifespan_is_refused(connection: Connection, lifespan: Any, said: str) -> None:
    worker = Worker("q", print, connection, lifespan=lifespan)
    with pytest.raises(InvalidOptionError, match=said):
        await worker.start()
    with pytest.raises(InvalidOptionError, match="lifespan must be a function of the worker"):
        Worker("q", print, connection, lifespan={})  # type: ignore[arg-type]


async def test_an_error_at_its_end_is_reported_and_closes_all_the_same(connection: Connection) -> None:
    errors: list[BaseException] = []

    @asynccontextmanager
    async def broken(worker: Worker[Any, Any]) -> AsyncIterator[None]:
        yield
        raise ValueError("cannot close")

    worker = Worker("q", print, connection, lifespan=broken)
    worker.on("error", errors.append)
    async with worker:
        pass

    assert [str(error) for error in errors] == ["cannot close"]
    assert not worker.is_running


async def test_one_that_hangs_is_cancelled(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespans, "_EXIT_S", 0.1)
    errors: list[BaseException] = []
    cancelled: list[bool] = []

    @asynccontextmanager
    async def hanging(worker: Worker[Any, Any]) -> AsyncIterator[None]:
        yield
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    worker = Worker("q", print, connection, lifespan=hanging)
    worker.on("error", errors.append)
    async with worker:
        pass

    assert "took more than" in str(errors[0])
    assert cancelled == [True]


async def test_a_task_group_is_entered_and_left_by_one_task(connection: Connection) -> None:
    ticks: list[int] = []

    @asynccontextmanager
    async def ticking(worker: Worker[Any, Any]) -> AsyncIterator[dict[str, Any]]:
        async def tick() -> None:
            while True:
                ticks.append(1)
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(tick())
            yield {"group": group}
            task.cancel()

    worker = Worker("q", print, connection, lifespan=ticking)
    await asyncio.create_task(worker.start())
    await eventually(lambda: len(ticks) > 2)
    await asyncio.create_task(worker.close())

    assert not worker.is_running


async def test_one_that_ends_by_itself_closes_its_worker(connection: Connection) -> None:
    errors: list[BaseException] = []

    @asynccontextmanager
    async def failing(worker: Worker[Any, Any]) -> AsyncIterator[dict[str, Any]]:
        async def die() -> None:
            await asyncio.sleep(0.05)
            raise ValueError("the pool is gone")

        async with asyncio.TaskGroup() as group:
            group.create_task(die())
            yield {}

    worker = Worker("q", print, connection, lifespan=failing)
    worker.on("error", errors.append)
    await worker.start()
    await asyncio.wait_for(worker.wait_until_closed(), 10)

    assert isinstance(errors[0], ExceptionGroup)
    assert len(errors) == 1


async def test_variables_that_it_sets_are_there_in_every_run(connection: Connection) -> None:
    service: contextvars.ContextVar[str] = contextvars.ContextVar("service", default="none")

    @asynccontextmanager
    async def naming(worker: Worker[Any, Any]) -> AsyncIterator[None]:
        service.set("chat")
        yield

    async def process(job: Job) -> str:
        found = service.get()
        service.set("of a job")
        return found

    async with Queue("q", connection) as queue, Worker("q", process, connection, lifespan=naming):
        await queue.add_bulk([NewJob("a")] * 2)
        assert await queue.add_and_wait("a") == "chat"
        assert await queue.add_and_wait("a") == "chat"
    assert service.get() == "none"


async def test_a_job_of_a_test_has_what_it_is_given() -> None:
    assert make_job("a").resources == {}
    assert make_job("a", resources={"db": 1}).resources == {"db": 1}
