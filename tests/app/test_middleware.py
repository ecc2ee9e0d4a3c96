"""Middleware: code of the application around adding jobs and around running them."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import eventually

from glidemq_core import (
    AddRequest,
    Batch,
    Broadcast,
    BulkError,
    DagNode,
    FlowJob,
    FlowProducer,
    GlideMQError,
    InvalidOptionError,
    Job,
    JobControl,
    JobOptions,
    LoggingMiddleware,
    Middleware,
    NewJob,
    Producer,
    Queue,
    SyncJob,
    Worker,
)
from glidemq_core.server.connection import Connection

Jobs = Sequence[Job[Any, Any]]


class Noted(Middleware):
    """Notes when it begins and ends."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def run(self, job: Job[Any, Any], call_next: Any) -> Any:
        self.notes.append(f"+{self.name}")
        try:
            return await call_next()
        finally:
            self.notes.append(f"-{self.name}")

    async def add(self, request: AddRequest, call_next: Any) -> Any:
        self.notes.append(f"+{self.name} {request.name}")
        added = await call_next(dataclasses.replace(request, data=[*request.data, self.name]))
        self.notes.append(f"-{self.name} {added and added.id}")
        return added


class Around(Middleware):
    """Calls a function in place of `run` or `add`."""

    def __init__(self, run: Any = None, add: Any = None) -> None:
        self._run, self._add = run, add

    async def run(self, job: Job[Any, Any], call_next: Any) -> Any:
        return await (self._run(job, call_next) if self._run else call_next())

    async def add(self, request: AddRequest, call_next: Any) -> Any:
        return await (self._add(request, call_next) if self._add else call_next(request))


async def ended(
    connection: Connection, process: Any, *middleware: Middleware, data: Any = None, **options: Any
) -> Job[Any, Any]:
    """Run one job and return it as it ended."""
    worker = Worker(
        "q", process, connection, middleware=middleware, log_errors=False, promotion_interval=50, **options
    )
    async with Queue("q", connection) as queue, worker:
        job = await queue.add("work", data, attempts=2)
        return await at_end(queue, job.id)


async def at_end(queue: Queue, job_id: str) -> Job[Any, Any]:
    async def over() -> Job[Any, Any] | None:
        found = await queue.get_job(job_id)
        return found if found is not None and found.state in ("completed", "failed") else None

    found: Job[Any, Any] = await eventually(over)
    return found


# Running -------------------------------------------------------------------------------------------------------


async def test_the_first_is_the_outermost(connection: Connection) -> None:
    notes: list[str] = []

    async def process(job: Job) -> str:
        notes.append("job")
        return "done"

    job = await ended(connection, process, Noted("a", notes), Noted("b", notes))

    assert job.result == "done"
    assert notes == ["+a", "+b", "job", "-b", "-a"]


async def test_what_it_returns_is_the_result(connection: Connection) -> None:
    async def louder(_: Any, call_next: Any) -> Any:
        return (await call_next()).upper()

    def process(job: SyncJob) -> str:
        return f"{job.name}ed"

    assert (await ended(connection, process, Around(louder))).result == "WORKED"


async def test_without_the_rest_the_job_completes_with_what_it_returns(connection: Connection) -> None:
    async def known(_: Any, __: Any) -> Any:
        return "known"

    async def process(job: Job) -> None:
        raise AssertionError("it ran")

    assert (await ended(connection, process, Around(known))).result == "known"


@pytest.mark.parametrize("before", [True, False])
async def test_what_it_raises_fails_the_attempt(connection: Connection, before: bool) -> None:
    calls = 0

    async def broken(_: Any, call_next: Any) -> Any:
        if not before:
            await call_next()
        raise ValueError("no")

    async def process(job: Job) -> None:
        nonlocal calls
        calls += 1

    job = await ended(connection, process, Around(broken))

    assert (job.state, job.failed_reason, job.attempts_made) == ("failed", "no", 2)
    assert calls == (0 if before else 2)


async def test_an_error_that_it_catches_is_none(connection: Connection) -> None:
    async def forgiving(_: Any, call_next: Any) -> Any:
        try:
            return await call_next()
        except ValueError as error:
            return f"caught {error}"

    async def process(job: Job) -> None:
        raise ValueError("it")

    assert (await ended(connection, process, Around(forgiving))).result == "caught it"


async def test_a_processor_is_called_once_a_run(connection: Connection) -> None:
    calls = 0

    async def twice(_: Any, call_next: Any) -> Any:
        await call_next()
        return await call_next()

    async def process(job: Job) -> None:
        nonlocal calls
        calls += 1

    job = await ended(connection, process, Around(twice))

    assert "called call_next() twice" in (job.failed_reason or "")
    assert calls == 2  # once an attempt


@pytest.mark.parametrize("swallow", [True, False])
async def test_a_suspension_passes_and_stands(connection: Connection, swallow: bool) -> None:
    seen: list[str] = []

    async def watching(job: Job, call_next: Any) -> Any:
        try:
            return await call_next()
        except JobControl as control:
            seen.append(type(control).__name__)
            if not swallow:
                raise
            return "swallowed"

    async def process(job: Job) -> str:
        if not job.signals:
            await job.suspend()
        return "resumed"

    worker = Worker("q", process, connection, middleware=[Around(watching)])
    async with Queue("q", connection) as queue, worker:
        job = await queue.add("work")
        await eventually(lambda: queue.get_suspend_info(job.id))
        await queue.signal(job.id, "go")

        assert (await at_end(queue, job.id)).result == "resumed"
    assert seen == ["SuspendError"]


async def test_it_is_around_continuations_too(connection: Connection) -> None:
    seen: list[Job] = []

    async def watching(job: Job, call_next: Any) -> Any:
        seen.append(job)
        return await call_next()

    async def process(job: Job) -> None:
        await job.suspend(on_resume=lambda signals: (job.id, job.attempts_made, signals[0].name))

    worker = Worker("q", process, connection, middleware=[Around(watching)])
    async with Queue("q", connection) as queue, worker:
        job = await queue.add("work")
        await eventually(lambda: queue.get_suspend_info(job.id))
        await queue.signal(job.id, "go")

        assert (await at_end(queue, job.id)).result == [job.id, 0, "go"]
    assert seen[0] is seen[1]  # the object that the continuation closes over


async def test_context_variables_reach_the_processor(connection: Connection) -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []

    async def setting(job: Job, call_next: Any) -> Any:
        request_id.set(f"of {job.id}")
        return await call_next()

    async def process(job: Job) -> str:
        return request_id.get()

    def in_thread(job: SyncJob) -> str:
        return request_id.get()

    async with Queue("q", connection) as queue:
        for function in (process, in_thread):
            worker = Worker("q", function, connection, middleware=[Around(setting)])
            worker.on("completed", lambda *_: seen.append(request_id.get()))
            async with worker:
                job = await queue.add("work")
                assert (await at_end(queue, job.id)).result == f"of {job.id}"
    assert seen == ["of 1", "of 2"]
    assert request_id.get() == "none"


async def test_each_job_of_a_batch_has_its_own(connection: Connection) -> None:
    notes: list[str] = []

    async def tagging(job: Job, call_next: Any) -> Any:
        notes.append(job.id)
        return f"{await call_next()} for {job.id}"

    async def process(jobs: Jobs) -> list[str]:
        return [f"one of {len(jobs)}"] * len(jobs)

    worker = Worker("q", process, connection, batch=Batch(3, 100), middleware=[Around(tagging)])
    async with Queue("q", connection) as queue:
        await queue.add_bulk([NewJob("work")] * 3)
        async with worker:
            found = [(await at_end(queue, str(number))).result for number in (1, 2, 3)]

    assert found == [f"one of 3 for {number}" for number in (1, 2, 3)]
    assert sorted(notes) == ["1", "2", "3"]


async def test_only_what_overrides_is_called() -> None:
    class Neither(Middleware):
        pass

    adding, running = Around(add=1), Noted("a", [])

    queue = Queue("q", middleware=[Neither(), adding])
    worker = Worker("q", lambda _: None, middleware=[Neither(), running])

    assert queue._options.middleware == (adding,)
    assert worker.options.middleware == (running,)


@pytest.mark.parametrize("given", [Around, [Around], ["x"], Around(), 5])
async def test_what_is_no_middleware_is_refused(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="a sequence of Middleware objects"):
        Worker("q", lambda _: None, middleware=given)
    with pytest.raises(InvalidOptionError, match="a sequence of Middleware objects"):
        Queue("q", middleware=given)
    with pytest.raises(InvalidOptionError, match="a sequence of Middleware objects"):
        FlowProducer(middleware=given)


# Adding --------------------------------------------------------------------------------------------------------


async def test_adding_passes_through_all(connection: Connection) -> None:
    notes: list[str] = []
    around = [Noted("a", notes), Noted("b", notes)]

    async with Queue("q", connection, middleware=around) as queue:
        job = await queue.add("work", [])
        skipped = await queue.add("work", [], job_id=job.id)

    assert isinstance(job, Job)
    assert job.data == ["a", "b"]
    assert skipped is None
    assert notes == ["+a work", "+b work", "-b 1", "-a 1", "+a work", "+b work", "-b None", "-a None"]


async def test_a_producer_and_a_broadcast_too(connection: Connection) -> None:
    notes: list[str] = []

    async with Producer("p", connection, middleware=[Noted("a", notes)]) as producer:
        assert await producer.add("work", []) == "1"
        assert await producer.add_bulk([NewJob("more", [])] * 2) == ["2", "3"]
    async with Broadcast("b", connection, middleware=[Noted("b", notes)], max_messages=5) as broadcast:
        assert await broadcast.publish("told", []) == "1"

    assert notes == ["+a work", "-a 1", "+a more", "+a more", "-a 2", "-a 3", "+b told", "-b 1"]


async def test_adding_and_waiting_too(connection: Connection) -> None:
    async def process(job: Job) -> Any:
        return job.data

    async with Queue("q", connection, middleware=[Noted("a", [])]) as queue, Worker("q", process, connection):
        assert await queue.add_and_wait("work", []) == ["a"]


async def test_without_the_rest_nothing_is_added(connection: Connection) -> None:
    async def dropping(_: Any, __: Any) -> None:
        return None

    async with Queue("q", connection, middleware=[Around(add=dropping)]) as queue:
        assert await queue.add("work") is None
        assert await queue.add_bulk([NewJob("work")]) == []
        assert await queue.exists() is False


async def twice(request: AddRequest, call_next: Any) -> Any:
    await call_next(request)
    return await call_next(request)


async def elsewhere(request: AddRequest, call_next: Any) -> Any:
    return await call_next(dataclasses.replace(request, queue="other"))


async def nothing(_: AddRequest, call_next: Any) -> Any:
    return await call_next(None)


async def other(request: AddRequest, call_next: Any) -> Any:
    await call_next(request)
    return "stored"


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (twice, "called call_next twice"),
        (elsewhere, "cannot move a job to another queue"),
        (nothing, "must be an AddRequest"),
        (other, "must return what call_next gave"),
    ],
)
async def test_what_it_may_not_do_is_refused(
    connection: Connection, add: Callable[..., Any], said: str
) -> None:
    async with Queue("q", connection, middleware=[Around(add=add)]) as queue:
        with pytest.raises(InvalidOptionError, match=said):
            await queue.add("work")
        with pytest.raises(BulkError, match=said):
            await queue.add_bulk([NewJob("work")])


async def test_a_bulk_is_stored_together_and_in_order(connection: Connection) -> None:
    calls: list[str] = []
    call = connection.call

    async def counted(function: str, *args: Any) -> Any:
        calls.append(function)
        return await call(function, *args)

    async def slowly(request: AddRequest, call_next: Any) -> Any:
        await asyncio.sleep(0.02 if request.data % 2 else 0)
        return await call_next(request)

    connection.call = counted  # type: ignore[method-assign]
    async with Queue("q", connection, middleware=[Around(add=slowly)]) as queue:
        jobs = await queue.add_bulk(NewJob("work", number) for number in range(200))

    assert [job.data for job in jobs] == list(range(200))
    assert [int(job.id) for job in jobs] == list(range(1, 201))
    assert calls == ["add_plain"]


async def test_one_at_a_time_does_not_wait_for_ever(connection: Connection) -> None:
    lock = asyncio.Lock()

    async def locked(request: AddRequest, call_next: Any) -> Any:
        async with lock:
            return await call_next(request)

    async with Queue("q", connection, middleware=[Around(add=locked)]) as queue:
        jobs = await queue.add_bulk(NewJob("work", number) for number in range(4))

    assert [job.data for job in jobs] == [0, 1, 2, 3]


async def test_errors_of_a_bulk_stay_with_their_job(connection: Connection) -> None:
    seen: list[str] = []

    async def strict(request: AddRequest, call_next: Any) -> Any:
        if request.data == "bad":
            raise ValueError("bad data")
        try:
            return await call_next(request)
        except GlideMQError as error:
            seen.append(type(error).__name__)
            raise

    async with Queue("q", connection, middleware=[Around(add=strict)]) as queue:
        with pytest.raises(BulkError, match="3 of 4") as raised:
            await queue.add_bulk(
                [NewJob("a", "bad"), NewJob("a", object()), "no job", NewJob("a", "good")]  # type: ignore[list-item]
            )

    kinds = [type(result).__name__ for result in raised.value.results]
    assert kinds == ["ValueError", "SerializationError", "InvalidOptionError", "Job"]
    assert seen == ["SerializationError"]


async def test_a_bulk_that_cannot_be_stored_raises_as_without(connection: Connection) -> None:
    seen: list[str] = []

    async def watching(request: AddRequest, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except GlideMQError as error:
            seen.append(str(error))
            raise

    async def lost(*_: Any) -> Any:
        raise GlideMQError("the server is gone")

    async with Queue("q", connection, middleware=[Around(add=watching)]) as queue:
        await queue.context()
        connection.call = lost  # type: ignore[method-assign]
        with pytest.raises(GlideMQError, match="gone"):
            await queue.add_bulk([NewJob("a"), NewJob("a")])
        del connection.call

    assert seen == ["the server is gone"] * 2


async def test_every_job_of_a_tree_passes(connection: Connection) -> None:
    notes: list[str] = []
    async with FlowProducer(connection, middleware=[Noted("a", notes)]) as producer:
        node = await producer.add(
            FlowJob("root", "q", [1], children=[FlowJob("left", "q", [2]), FlowJob("right", "r", [3])])
        )

    assert node.job.data == [1, "a"]
    assert [child.job.data for child in node.children or ()] == [[2, "a"], [3, "a"]]
    assert notes[:3] == ["+a root", "+a left", "+a right"]
    async with Queue("q", connection) as queue:
        root = await queue.get_job(node.job.id)
        assert root is not None
        assert (root.data, root.state) == ([1, "a"], "waiting-children")


async def test_every_node_of_a_graph_passes(connection: Connection) -> None:
    async def renamed(request: AddRequest, call_next: Any) -> Any:
        options = dataclasses.replace(request.options, extra={"trace": "t"})
        return await call_next(dataclasses.replace(request, name=f"{request.name}!", options=options))

    async with FlowProducer(connection, middleware=[Around(add=renamed)]) as producer:
        jobs = await producer.add_dag([DagNode("a", "q"), DagNode("b", "q", deps=["a"])])

    assert {name: job.name for name, job in jobs.items()} == {"a": "a!", "b": "b!"}
    assert jobs["a"].options.extra == {"trace": "t"}
    async with Queue("q", connection) as queue:
        stored = await queue.get_job(jobs["b"].id)
        assert stored is not None
        assert (stored.name, stored.options.extra) == ("b!", {"trace": "t"})


async def test_a_flow_is_added_whole_or_not_at_all(connection: Connection) -> None:
    async def picky(request: AddRequest, call_next: Any) -> Any:
        if request.name == "bad":
            raise ValueError("not this one")
        return None if request.name == "left out" else await call_next(request)

    async def clash(request: AddRequest, call_next: Any) -> Any:
        return await call_next(dataclasses.replace(request, options=JobOptions(job_id="same")))

    async with FlowProducer(connection, middleware=[Around(add=picky)]) as producer:
        with pytest.raises(ValueError, match="not this one"):
            await producer.add(FlowJob("root", "q", children=[FlowJob("bad", "q"), FlowJob("good", "q")]))
        with pytest.raises(GlideMQError, match="left out a job of a flow"):
            await producer.add(FlowJob("root", "q", children=[FlowJob("left out", "q")]))
    async with FlowProducer(connection, middleware=[Around(add=clash)]) as producer:
        with pytest.raises(GlideMQError, match="Duplicate job ID"):
            await producer.add(FlowJob("root", "q", children=[FlowJob("leaf", "q")]))
    async with Queue("q", connection) as queue:
        assert await queue.exists() is False


# Logging -------------------------------------------------------------------------------------------------------


async def test_the_log_tells_of_every_job(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "glidemq.jobs")

    async def process(job: Job) -> None:
        if job.name == "bad\nname":
            raise ValueError("no")
        if job.name == "wait" and not job.signals:
            await job.suspend()

    log = LoggingMiddleware()
    worker = Worker("q", process, connection, middleware=[log], log_errors=False)
    async with Queue("q", connection, middleware=[log]) as queue, worker:
        good = await queue.add("good")
        assert await queue.add("good", job_id=good.id) is None
        await at_end(queue, good.id)
        await at_end(queue, (await queue.add("bad\nname")).id)
        waiting = await queue.add("wait")
        await eventually(lambda: queue.get_suspend_info(waiting.id))

    lines = [record for record in caplog.records if record.name == "glidemq.jobs"]
    told = [(record.levelname, record.getMessage().split(" after")[0]) for record in lines]
    assert sorted(told) == sorted(
        [  # a job may begin before the call that added it returns
            ("INFO", "job q:1 (good) added"),
            ("INFO", "q: job (good) skipped, there is one like it"),
            ("DEBUG", "job q:1 (good) begins, attempt 1"),
            ("INFO", "job q:1 (good) completed"),
            ("INFO", "job q:2 (bad name) added"),
            ("DEBUG", "job q:2 (bad name) begins, attempt 1"),
            ("INFO", "job q:2 (bad name) failed"),
            ("INFO", "job q:3 (wait) added"),
            ("DEBUG", "job q:3 (wait) begins, attempt 1"),
            ("INFO", "job q:3 (wait) suspended"),
        ]
    )
    end = vars(next(line for line in lines if "suspended" in line.getMessage()))
    assert (end["job"], end["job_name"], end["attempt"], end["outcome"]) == ("q:3", "wait", 1, "suspended")
    assert end["duration_ms"] >= 0
