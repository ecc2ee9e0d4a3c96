"""Every call takes a job as its id, as `queue:id` or as a `JobRef`, and refuses one of another queue."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, get_type_hints

import pytest
from conftest import eventually

from glidemq_core import InvalidOptionError, Job, JobRef, Queue, Watch, Worker
from glidemq_core.options.types import JobIdLike
from glidemq_core.server.connection import Connection

#: Parameters that name a job.
_NAMES = {"job_id", "flow_id", "letter_id"}


def calls_of(kind: type[Any]) -> set[tuple[str, str]]:
    """Calls of a class with the parameter that names a job."""
    return {
        (name, parameter)
        for name, call in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        for parameter in _NAMES & set(inspect.signature(call).parameters)
    }


@pytest.mark.parametrize("kind", [Queue, Watch, Worker])
def test_every_parameter_that_names_a_job_takes_a_ref(kind: type[Any]) -> None:
    for name, parameter in calls_of(kind) - {("find", "job_id")}:  # asks all queues
        hint = get_type_hints(getattr(kind, name))[parameter]

        assert hint in (JobIdLike, JobIdLike | None), f"{kind.__name__}.{name}"


#: What calls need beside the job.
_OTHERS: dict[str, Any] = {
    "priority": 1,
    "delay": 5,
    "name": "go",
    "reason": "no",
    "actor": None,
}


@pytest.mark.parametrize(("name", "parameter"), sorted(calls_of(Queue)))
async def test_every_call_of_a_queue_refuses_a_job_of_another(
    connection: Connection, name: str, parameter: str
) -> None:
    async with Queue("q", connection, dead_letter_queue="letters") as queue:
        call = getattr(queue, name)
        needed = {
            one.name: _OTHERS[one.name]
            for one in inspect.signature(call).parameters.values()
            if one.default is one.empty and one.name not in _NAMES and one.kind is not one.VAR_KEYWORD
        }
        for stranger in ("elsewhere:1", JobRef("elsewhere", "1")):
            answer = call(**{parameter: stranger}, **needed)
            with pytest.raises(InvalidOptionError, match="'elsewhere:1' is not in queue"):
                await (anext(answer) if inspect.isasyncgen(answer) else answer)


@pytest.mark.parametrize(("name", "parameter"), sorted(calls_of(Watch) - {("find", "job_id")}))
async def test_every_call_of_a_watch_refuses_a_job_of_another(
    connection: Connection, name: str, parameter: str
) -> None:
    async with Watch(connection) as watch:
        for stranger in ("elsewhere:1", JobRef("elsewhere", "1")):
            answer = getattr(watch, name)("q", **{parameter: stranger})
            with pytest.raises(InvalidOptionError, match="'elsewhere:1' is not in queue"):
                await (anext(answer) if inspect.isasyncgen(answer) else answer)


async def test_a_watch_takes_a_ref(connection: Connection) -> None:
    async with Queue("q", connection) as queue, Watch(connection) as watch:
        job = await queue.add("a")
        for named in (job.id, str(job.ref), job.ref):
            detail = await watch.job("q", named)
            assert detail is not None
            assert (await watch.flow("q", named)).root == job.ref
            assert await watch.audit("q", job_id=named) == []


async def test_a_worker_aborts_by_ref(connection: Connection) -> None:
    async def process(job: Job) -> None:
        await asyncio.sleep(60)

    async with Queue("q", connection) as queue, Worker("q", process, connection, log_errors=False) as worker:
        job = await queue.add("a")
        await eventually(lambda: worker.active_jobs)

        with pytest.raises(InvalidOptionError):
            worker.abort_job(JobRef("elsewhere", job.id))
        assert worker.abort_job(job.ref) is True
