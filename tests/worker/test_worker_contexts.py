"""What one job leaves behind for the next: nothing. And calls that were made but not awaited."""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import in_state, quick

from glidemq_core.server.connection import Connection

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


@pytest.mark.parametrize("threads", [False, True])
async def test_the_tenant_of_one_job_is_not_seen_by_the_next(
    bench: Bench, connection: Connection, threads: bool
) -> None:
    seen: list[str] = []

    def work(job: Any) -> None:
        seen.append(tenant.get())
        tenant.set(f"tenant of {job.id}")

    async def process(job: Any) -> None:
        work(job)
        await asyncio.sleep(0)
        assert tenant.get() == f"tenant of {job.id}"

    ids = [await bench.add() for _ in range(5)]
    token = tenant.set("the worker's own")
    async with quick(work if threads else process, connection, concurrency=2):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "completed"))
    tenant.reset(token)
    assert seen == ["the worker's own"] * 5


async def test_handlers_see_what_their_job_has_set_and_leave_nothing(
    bench: Bench, connection: Connection
) -> None:
    seen: list[tuple[str, str]] = []

    async def process(job: Any) -> None:
        tenant.set(f"tenant of {job.id}")

    worker = quick(process, connection)

    @worker.on("completed")
    async def _(job: Any, _: Any) -> None:
        seen.append((job.id, tenant.get()))
        tenant.set("set by a handler")
        await asyncio.sleep(0)

    @worker.on("drained")
    def _() -> None:
        seen.append(("drained", tenant.get()))

    ids = [await bench.add() for _ in range(3)]
    async with worker:
        await eventually(lambda: ("drained", "nobody") in seen)
    assert [entry for entry in seen if entry[0] != "drained"] == [(i, f"tenant of {i}") for i in ids]
    assert {value for name, value in seen if name == "drained"} == {"nobody"}


@pytest.mark.parametrize(
    "name", ["suspend", "move_to_delayed", "move_to_waiting_children", "rate_limit_group"]
)
async def test_a_forgotten_await_fails_the_job_instead_of_skipping_the_approval(
    bench: Bench, connection: Connection, name: str
) -> None:
    arguments: dict[str, tuple[int, ...]] = {"move_to_delayed": (2**41,), "rate_limit_group": (1_000,)}

    async def process(job: Any) -> str:
        getattr(job, name)(*arguments.get(name, ()))
        return "went on unapproved"

    job_id = await bench.add()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with quick(process, connection):
            await eventually(lambda: bench.field(job_id, "finishedOn"))
    assert await bench.field(job_id, "state") == "failed"
    assert await bench.field(job_id, "failedReason") == (
        f"the processor called job.{name}() and did not await it, so it did nothing"
    )


async def test_a_control_call_may_be_made_first_and_awaited_later(
    bench: Bench, connection: Connection
) -> None:
    async def process(job: Any) -> None:
        asking = job.suspend(reason="later")
        await asyncio.sleep(0)
        await (asking if job.name == "plain" else asyncio.create_task(asking))

    ids = [await bench.add("plain"), await bench.add("as a task")]
    async with quick(process, connection):
        for job_id in ids:
            await eventually(lambda job_id=job_id: in_state(bench, job_id, "suspended"))


async def test_a_plain_function_needs_no_await_to_suspend(bench: Bench, connection: Connection) -> None:
    def process(job: Any) -> None:
        job.suspend(reason="from a thread")

    job_id = await bench.add()
    async with quick(process, connection):
        await eventually(lambda: in_state(bench, job_id, "suspended"))
