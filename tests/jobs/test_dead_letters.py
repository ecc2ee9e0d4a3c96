"""Dead letters: listed for the queue they came from, put back once, discarded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import eventually
from kits.recording import fails
from kits.wire import replay

from glidemq_core import (
    InvalidOptionError,
    JobStateError,
    PayloadTooLargeError,
    Queue,
    SerializationError,
    Worker,
)
from glidemq_core.options.job import Actor, Deduplication
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch

DEAD = "q-dead"


async def die(
    connection: Connection,
    *payloads: Any,
    queue: str = "q",
    reason: str = "boom",
    waiting: int = 0,
    **options: Any,
) -> None:
    """Let new jobs, and some that wait already, fail for good in a worker that sends letters."""
    async with Queue(queue, connection, dead_letter_queue=DEAD) as jobs:
        before = await Queue(DEAD, connection).count()
        for payload in payloads:
            await jobs.add("a", payload, **options)
        process = fails(reason)
        async with Worker(queue, process, connection, dead_letter_queue=DEAD, log_errors=False):

            async def all_sent() -> bool:
                return await Queue(DEAD, connection).count() == before + len(payloads) + waiting

            await eventually(all_sent)


async def test_a_recorded_letter_is_read(connection: Connection) -> None:
    await replay(connection, "dead_letter")
    async with Queue("dead_letter", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        found = await queue.get_dead_letter_job(job_id="1")

    assert (letter.id, letter.name) == ("1", "a")
    assert letter.data == {
        "originalQueue": "dead_letter",
        "originalJobId": "1",
        "data": {"keep": 1},
        "failedReason": "poison",
        "attemptsMade": 0,
    }
    assert found is not None
    assert found.data == letter.data


async def test_only_letters_of_the_own_queue_are_seen(connection: Connection) -> None:
    await die(connection, {"n": 1}, queue="q")
    await die(connection, {"n": 2}, queue='odd"name')
    await Queue(DEAD, connection).add("stray", {"no": "letter"})
    async with Queue("q", connection) as mine, Queue('odd"name', connection) as other:
        [my_letter] = await mine.get_dead_letter_jobs()
        [its_letter] = await other.get_dead_letter_jobs()

        assert (my_letter.data["data"], its_letter.data["data"]) == ({"n": 1}, {"n": 2})
        assert await mine.get_dead_letter_job(its_letter.id) is None
        assert await mine.remove_dead_letter_job(its_letter.id) is False
        assert await mine.replay_dead_letter_job(its_letter.id) is None
        assert await mine.replay_dead_letter_job("3") is None


async def test_letters_come_in_pages(connection: Connection) -> None:
    dead = Queue(DEAD, connection)
    for n in range(250):
        origin = "q" if n % 2 else "other"
        await dead.add("a", {"originalQueue": origin, "originalJobId": str(n), "data": n, "attemptsMade": 0})
    async with Queue("q", connection, dead_letter_queue=DEAD) as queue:
        ids = [letter.data["data"] for letter in await queue.get_dead_letter_jobs()]
        some = [letter.data["data"] for letter in await queue.get_dead_letter_jobs(60, 62)]
        without = await queue.get_dead_letter_jobs(0, 0, exclude_data=True)
        with pytest.raises(InvalidOptionError):
            await queue.get_dead_letter_jobs(-1)

    assert ids == list(range(1, 250, 2))
    assert some == [121, 123, 125]
    assert "data" not in without[0].fields
    assert without[0].data is None


async def test_a_letter_is_put_back_with_the_options_of_its_job(connection: Connection) -> None:
    await die(
        connection,
        {"n": 1},
        job_id="mine",
        attempts=1,
        timeout=60_000,
        deduplication=Deduplication("d"),
        extra={"custom": [1]},
    )
    async with Queue("q", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        job = await queue.replay_dead_letter_job(letter.ref)

        assert job is not None
        assert (job.id, job.name, job.data, job.state) == ("1", "a", {"n": 1}, "waiting")
        assert await queue.replay_dead_letter_job(letter.ref) is None  # it was replayed before
        assert len(await queue.get_jobs("waiting")) == 1
        assert job.options.timeout == 60_000
        assert job.options.job_id is None
        assert job.options.deduplication is None
        assert dict(job.options.extra) == {"custom": [1], "replays": 1}
        assert await queue.get_dead_letter_jobs() == []
        failed = await queue.get_job("mine")
        assert failed is not None
        assert failed.state == "failed"


async def test_without_its_job_a_letter_has_only_the_payload(connection: Connection) -> None:
    await die(connection, {"n": 1}, attempts=1, timeout=60_000, remove_on_fail=True)
    async with Queue("q", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        job = await queue.replay_dead_letter_job(letter.id, data={"n": 2})

    assert job is not None
    assert job.data == {"n": 2}
    assert job.options.timeout is None


async def test_a_compressed_payload_is_copied_as_it_is(connection: Connection) -> None:
    async with Queue("q", connection, compression="gzip") as queue:
        await queue.add("a", {"text": "x" * 5_000})
    await die(connection, waiting=1)
    async with Queue("q", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        stored = await connection.command("HGET", "glide:{q}:job:1", "data")
        job = await queue.replay_dead_letter_job(letter.id)

    assert job is not None
    assert job.data == {"text": "x" * 5_000}
    assert await connection.command("HGET", f"glide:{{q}}:job:{job.id}", "data") == stored


async def test_replays_are_counted_and_limited(connection: Connection) -> None:
    await die(connection, {"n": 1})
    async with Queue("q", connection) as queue:
        for round_ in range(1, 4):
            [letter] = await queue.get_dead_letter_jobs()
            assert letter.data.get("replays", 0) == round_ - 1
            if round_ == 3:
                with pytest.raises(JobStateError, match=r"put back 2 times, the limit is 2"):
                    await queue.replay_dead_letter_job(letter.id, max_replays=2)
                break
            assert await queue.replay_dead_letter_job(letter.id) is not None
            await die(connection, waiting=1)


async def test_two_that_replay_one_letter_make_one_job(connection: Connection, server_url: str) -> None:
    await die(connection, {"n": 1})
    async with Queue("q", server_url) as one, Queue("q", server_url) as two:
        [letter] = await one.get_dead_letter_jobs()
        answers = await asyncio.gather(
            *(queue.replay_dead_letter_job(letter.id) for queue in (one, two) for _ in range(5))
        )
        made = {job.id for job in answers if job is not None}

        assert len(made) == 1
        assert await one.get_dead_letter_jobs() == []
        assert await connection.command("XLEN", "glide:{q}:stream") == 1


async def test_a_replay_whose_end_was_lost_is_finished_by_the_next(connection: Connection) -> None:
    await die(connection, {"n": 1})
    async with Queue("q", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        saved = await connection.command("DUMP", f"glide:{{{DEAD}}}:job:{letter.id}")
        first = await queue.replay_dead_letter_job(letter.id)
        await connection.command("RESTORE", f"glide:{{{DEAD}}}:job:{letter.id}", 0, saved)

        second = await queue.replay_dead_letter_job(letter.id)

        assert first is not None
        assert second is not None
        assert first.id == second.id
        assert await queue.get_dead_letter_job(letter.id) is None


async def test_all_letters_or_those_of_one_failure_are_replayed(connection: Connection) -> None:
    await die(connection, {"n": 1}, {"n": 2}, reason="timeout after 30 ms")
    await die(connection, {"n": 3}, reason="bad request")
    async with Queue("q", connection) as queue, Watch(connection) as watch:
        failures = await watch.failures()
        [slow] = [group for group in failures.groups if group.message == "timeout after # ms"]
        added = await queue.replay_dead_letter_jobs(group=slow.key)
        left = await queue.get_dead_letter_jobs()

        assert len(added) == 2
        assert [letter.data["failedReason"] for letter in left] == ["bad request"]
        assert len(await queue.replay_dead_letter_jobs(count=5)) == 1


async def test_discarding_and_replaying_are_audited(connection: Connection) -> None:
    await die(connection, {"n": 1}, {"n": 2})
    actor = Actor("alice", "test")
    async with Queue("q", connection) as queue:
        first, second = await queue.get_dead_letter_jobs()
        assert await queue.remove_dead_letter_job(first.id, actor=actor)
        assert not await queue.remove_dead_letter_job(first.id, actor=actor)
        await queue.replay_dead_letter_job(second.id, data={"n": 3}, actor=actor)
        [entry] = await queue.get_audit()
    async with Queue(DEAD, connection) as dead:
        [removed] = await dead.get_audit()

    assert (entry.action, entry.outcome, entry.by) == ("replay", "replayed", "alice")
    assert entry.job_ids == (second.data["originalJobId"],)
    assert entry.detail == {"letter": f"{DEAD}:{second.id}", "payload": "edited"}
    assert (removed.action, removed.job_ids) == ("remove", (first.id,))


@pytest.mark.parametrize(
    ("payload", "error"), [({"x": object()}, SerializationError), ("x" * 1_100_000, PayloadTooLargeError)]
)
async def test_a_payload_that_cannot_be_stored_changes_nothing(
    connection: Connection, payload: Any, error: type[Exception]
) -> None:
    await die(connection, {"n": 1})
    async with Queue("q", connection) as queue:
        [letter] = await queue.get_dead_letter_jobs()
        with pytest.raises(error):
            await queue.replay_dead_letter_job(letter.id, data=payload)

        assert len(await queue.get_dead_letter_jobs()) == 1


async def test_without_a_queue_of_letters_there_are_none(connection: Connection) -> None:
    async with Queue("q", connection) as queue:
        await queue.add("a", {})

        assert await queue.get_dead_letter_jobs() == []
        assert await queue.get_dead_letter_job("1") is None
        assert await queue.remove_dead_letter_job("1") is False
        assert await queue.replay_dead_letter_job("1") is None
        assert await queue.replay_dead_letter_jobs() == []


def test_a_worker_sends_no_letters_to_its_own_queue() -> None:
    """Each would be run as a job, fail, and be sent again, for ever."""
    with pytest.raises(InvalidOptionError, match="to its own queue"):
        Worker("mail", charge_nothing, dead_letter_queue="mail")


async def charge_nothing(_: Any) -> None: ...
