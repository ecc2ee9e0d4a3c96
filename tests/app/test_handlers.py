"""Handlers: jobs by name, payloads and results by annotation, and what is refused."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypedDict

import pydantic
import pytest
from conftest import eventually

from glidemq_core import Handlers, InvalidOptionError, Job, Queue, SyncJob, Worker
from glidemq_core.server.connection import Connection


@dataclass
class Ask:
    question: str
    tries: int = 1


@dataclass
class Answer:
    text: str
    parts: list[Ask]


class Place(TypedDict):
    city: str


class Order(pydantic.BaseModel):
    sku: str
    amount: int


async def ended(connection: Connection, handlers: Handlers, name: str, data: Any) -> Job[Any, Any]:
    """Run one job and return it as it ended."""
    async with Queue("q", connection) as queue, Worker("q", handlers, connection, log_errors=False):
        job = await queue.add(name, data, attempts=3)

        async def over() -> Job[Any, Any] | None:
            found = await queue.get_job(job.id)
            return found if found is not None and found.state in ("completed", "failed") else None

        found: Job[Any, Any] = await eventually(over)
        return found


async def test_payload_and_result_have_the_annotated_types(connection: Connection) -> None:
    handlers = Handlers()

    @handlers.on("answer", "again")
    async def answer(job: Job[Ask, Answer]) -> Answer:
        assert isinstance(job.data, Ask)
        return Answer(job.data.question.upper(), [job.data])

    job = await ended(connection, handlers, "again", {"question": "why"})

    assert handlers.names == ("answer", "again")
    assert job.state == "completed"
    assert job.result == {"text": "WHY", "parts": [{"question": "why", "tries": 1}]}


async def test_typed_dicts_and_models(connection: Connection) -> None:
    handlers = Handlers()

    @handlers.on("place")
    async def place(job: Job[Place, Place]) -> Place:
        return {"city": job.data["city"] + "!"}

    @handlers.on("order")
    async def order(job: Job[Order, Order]) -> Order:
        assert isinstance(job.data, Order)
        return job.data

    assert (await ended(connection, handlers, "place", {"city": "Rome"})).result == {"city": "Rome!"}
    assert (await ended(connection, handlers, "order", {"sku": "a", "amount": 2})).result == {
        "sku": "a",
        "amount": 2,
    }


@pytest.mark.parametrize("in_thread", [False, True])
async def test_what_follows_a_suspension_has_the_types_too(connection: Connection, in_thread: bool) -> None:
    handlers, seen = Handlers(), list[Any]()

    def answer_of(job: Any, signals: Any) -> Answer:
        seen.append(job.data)
        return Answer(f"{job.data.question} {signals[0].name}", [job.data])

    if in_thread:

        @handlers.on("answer")
        def blocking(job: SyncJob[Ask, Answer]) -> Answer:
            job.suspend(on_resume=lambda signals: answer_of(job, signals))

    else:

        @handlers.on("answer")
        async def answer(job: Job[Ask, Answer]) -> Answer:
            await job.refresh()
            seen.append(job.data)
            await job.suspend(on_resume=lambda signals: answer_of(job, signals))

    async with Queue("q", connection) as queue, Worker("q", handlers, connection):
        job = await queue.add("answer", {"question": "why"})
        await eventually(lambda: queue.get_suspend_info(job.id))
        await queue.signal(job.id, "go")

        assert await job.wait() == {"text": "why go", "parts": [{"question": "why", "tries": 1}]}
    assert seen == [Ask("why")] * len(seen)
    assert seen


async def test_a_payload_that_cannot_be_read_fails_without_a_retry(connection: Connection) -> None:
    handlers = Handlers()

    @handlers.on("answer")
    async def answer(job: Job[Ask, None]) -> None: ...

    async with Queue("q", connection) as queue:
        job = await queue.add("answer", {"question": "why"}, attempts=3)
        await connection.command("HSET", f"glide:{{q}}:job:{job.id}", "data", "gz:nothing")
        async with Worker("q", handlers, connection, log_errors=False):
            await job.wait_until_finished()
        await job.refresh()

    assert (job.state, job.attempts_made) == ("failed", 1)
    assert "the payload cannot be read" in (job.failed_reason or "")


async def test_plain_functions_run_in_a_thread(connection: Connection) -> None:
    handlers = Handlers()

    @handlers.on("answer")
    def answer(job: SyncJob[Ask, str]) -> str:
        job.log("begun")
        return f"{job.data.question}?"

    assert (await ended(connection, handlers, "answer", {"question": "why"})).result == "why?"


async def test_without_types_everything_passes(connection: Connection) -> None:
    handlers = Handlers()

    @handlers.on("any")
    async def anything(job: Job) -> Any:
        return job.data

    assert (await ended(connection, handlers, "any", [1, {"a": None}])).result == [1, {"a": None}]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("answer", {"tries": 1}, "the payload does not fit: Object missing required field `question` at $"),
        ("answer", {"question": 5}, "the payload does not fit: Expected `str`, got `int` at $.question"),
        ("order", {"sku": "a", "amount": "x"}, "at $.amount"),
        ("other", {}, "no handler for jobs named 'other'; there are: answer, order"),
    ],
)
async def test_what_does_not_fit_fails_without_a_retry(
    connection: Connection, name: str, data: Any, reason: str
) -> None:
    handlers = Handlers()

    @handlers.on("answer")
    async def answer(job: Job[Ask, None]) -> None: ...

    @handlers.on("order")
    async def order(job: Job[Order, None]) -> None: ...

    job = await ended(connection, handlers, name, data)

    assert (job.state, job.attempts_made) == ("failed", 1)
    assert reason in (job.failed_reason or "")


def test_what_cannot_be_a_handler_is_refused() -> None:
    handlers = Handlers()

    async def bare(job):  # type: ignore[no-untyped-def]
        ...

    async def two(job: Job, other: int) -> None: ...

    async def wrong(job: int) -> None: ...

    def plain(job: Job) -> None: ...

    async def thread(job: SyncJob) -> None: ...

    async def unknown(job: Job[Missing, None]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    async def impossible(job: Job[Connection, None]) -> None: ...

    for function, said in (
        (bare, "must be annotated"),
        (two, "must take one argument"),
        (wrong, "must be annotated"),
        (plain, "a plain function takes SyncJob"),
        (thread, "an async function takes Job"),
        (unknown, "cannot read the annotations"),
        (impossible, "no payload can be"),
    ):
        with pytest.raises(InvalidOptionError, match=said):
            handlers.on("a")(function)
    with pytest.raises(InvalidOptionError, match="takes the names"):
        handlers.on()
    assert handlers.names == ()

    handlers.on("a")(_good)
    with pytest.raises(InvalidOptionError, match="have a handler already"):
        handlers.on("b", "a")(_good)
    assert handlers.names == ("a",)


async def _good(job: Job) -> None: ...


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Stamped:
    at: datetime
    day: date
    key: uuid.UUID
    price: Decimal
    colour: Colour
    history: list[datetime]


async def test_what_a_handler_reads_can_be_added(connection: Connection) -> None:
    """Times, enums and the like within typed payloads, which JSON knows as text only."""
    moment = datetime(2027, 3, 1, 12, 30, tzinfo=UTC)
    sent = Stamped(moment, moment.date(), uuid.UUID(int=7), Decimal("0.10"), Colour.RED, [moment])
    seen: list[Stamped] = []
    handlers = Handlers()

    @handlers.on("stamped")
    async def stamped(job: Job[Stamped, Stamped]) -> Stamped:
        seen.append(job.data)
        return job.data

    async with Queue[Any, Any]("q", connection) as queue, Worker("q", handlers, connection):
        await queue.add_and_wait("stamped", sent)
    assert seen == [sent]
