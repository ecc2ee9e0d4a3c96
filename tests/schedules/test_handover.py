"""A queue with schedulers that Node has written is handed to Python workers alone: they go on where Node stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import eventually
from kits.wire import replay

from glidemq_core import Connection, Job, Queue, Worker

#: How long before a run the clock of a test stands, ms.
LEAD_MS = 300


class Handed:
    """A replayed queue, the jobs that its new workers ran, and a clock that can be set."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection = connection
        self.queue: Queue[Any, Any] = Queue(name, connection)
        self.ran: list[Job[Any, Any]] = []
        self._clock: Callable[[], int] = connection.now_ms
        self._shift_ms = 0
        connection.now_ms = lambda: self._clock() + self._shift_ms  # type: ignore[method-assign]

    def set_clock(self, now_ms: int) -> None:
        self._shift_ms = now_ms - self._clock()

    async def entry(self, name: str) -> dict[str, Any] | None:
        """The entry of a scheduler as it is stored."""
        key = f"glide:{{{self.queue.name}}}:schedulers"
        text = await self.connection.command("HGET", key, name)
        return None if text is None else dict(json.loads(text))

    async def process(self, job: Job[Any, Any]) -> str:
        self.ran.append(job)
        return "done"

    def workers(self) -> list[Worker[Any, Any]]:
        return [
            Worker(self.queue.name, self.process, self.connection, promotion_interval=100) for _ in range(3)
        ]


async def handed(connection: Connection, recording: str) -> Handed:
    """Replay a recording of Node; its workers are gone."""
    await replay(connection, recording)
    return Handed(connection, recording)


async def run_next(queue: Handed, scheduler: str) -> tuple[int, Job[Any, Any]]:
    """Let three workers run from just before the next run on until its job is done; its time and job."""
    stored = await queue.entry(scheduler)
    assert stored is not None
    due, before = stored["nextRun"], len(queue.ran)
    completed = (await queue.queue.get_job_counts()).completed
    queue.set_clock(due - LEAD_MS)
    workers = queue.workers()
    for worker in workers:
        await worker.start()
    await eventually(lambda: len(queue.ran) > before)

    async def is_ended() -> bool:
        return (await queue.queue.get_job_counts()).completed == completed + 1

    await eventually(is_ended)
    for worker in workers:
        await worker.close()
    assert len(queue.ran) == before + 1, "a run was made twice"
    job = queue.ran[-1]
    assert job.created_at is not None
    late_ms = int(job.created_at.timestamp() * 1_000) - due
    assert 0 <= late_ms < 5_000
    return due, job


async def test_an_interval_goes_on_in_its_phase(connection: Connection) -> None:
    queue = await handed(connection, "scheduler_every")
    for count in (1, 2, 3):
        due, job = await run_next(queue, "tick")
        assert (job.name, job.data, job.options.attempts) == ("tick-job", {"a": 1}, 2)
        stored = await queue.entry("tick")
        assert stored is not None
        assert (stored["iterationCount"], stored["nextRun"]) == (count, due + 3_600_000)
        assert list(stored)[:3] == ["every", "iterationCount", "template"]  # in Node's order


async def test_a_pattern_goes_on_in_its_zone(connection: Connection) -> None:
    queue = await handed(connection, "scheduler_cron")
    for _ in range(6):  # over a weekend
        due, job = await run_next(queue, "nightly")
        assert (job.name, job.data) == ("nightly-job", {})
        stored = await queue.entry("nightly")
        assert stored is not None
        assert stored["nextRun"] == weekday_after(due)


def weekday_after(due_ms: int) -> int:
    """02:30 in Berlin on the first weekday after a run."""
    day = datetime.fromtimestamp(due_ms / 1_000, ZoneInfo("Europe/Berlin")) + timedelta(days=1)
    while day.weekday() > 4:
        day += timedelta(days=1)
    return int(day.timestamp() * 1_000)


async def test_a_limit_that_node_has_counted_on_is_kept(connection: Connection) -> None:
    queue = await handed(connection, "scheduler_fired")
    stored = await queue.entry("tick")
    assert stored is not None
    assert (stored["iterationCount"], stored["limit"]) == (2, 3)
    _, job = await run_next(queue, "tick")
    assert (job.name, job.data) == ("tick-job", {"a": 1})
    assert await queue.entry("tick") is None
    assert await queue.queue.get_job_schedulers() == {}


async def test_repeat_after_complete_goes_on_from_the_end(connection: Connection) -> None:
    queue = await handed(connection, "scheduler_repeat_after_complete")
    for count in (2, 3):
        _, job = await run_next(queue, "loop")
        assert (job.name, job.data) == ("loop-job", {"a": 1})
        await job.refresh()
        assert job.finished_at is not None
        stored = await queue.entry("loop")
        assert stored is not None
        ended_ms = round(job.finished_at.timestamp() * 1_000)
        assert (stored["iterationCount"], stored["nextRun"]) == (count, ended_ms + 3_600_000)


@pytest.mark.parametrize("recording", ["scheduler_cron", "scheduler_every"])
async def test_what_was_missed_between_the_two_is_made_once(connection: Connection, recording: str) -> None:
    """Days without any worker, then ours: one run, not one for each that was missed."""
    queue = await handed(connection, recording)
    [name] = await queue.queue.get_job_schedulers()
    stored = await queue.entry(name)
    assert stored is not None
    now = stored["nextRun"] + 10 * 86_400_000
    queue.set_clock(now)
    workers = queue.workers()
    for worker in workers:
        await worker.start()
    await eventually(lambda: queue.ran)

    async def has_looked_again() -> bool:
        moved = await queue.entry(name)
        return moved is not None and moved["nextRun"] > now

    await eventually(has_looked_again)
    for worker in workers:
        await worker.close()
    assert len(queue.ran) == 1
