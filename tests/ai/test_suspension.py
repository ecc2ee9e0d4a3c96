"""Suspending and signalling, against a real Valkey and the recordings."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import eventually
from kits.suspension import activate, activated, field, signal_list, suspended
from kits.wire import assert_same_records, dump, recording, replay

from glidemq_core.ai.suspension import deliver_early, suspend
from glidemq_core.errors import InvalidOptionError, JobFailedError, PayloadTooLargeError, SerializationError
from glidemq_core.jobs.deadlines import sweep_suspended
from glidemq_core.options.job import Ordering
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import NO_DEADLINE
from glidemq_core.wire.payload import MAX_PAYLOAD_BYTES
from glidemq_core.worker import Worker


@pytest.fixture
def queue(connection: Connection) -> Queue:
    return Queue("q", connection)


# Recordings --------------------------------------------------------------------------------------------------


async def test_a_recorded_suspension_reads_as_node_reads_it(connection: Connection) -> None:
    loaded = await replay(connection, "suspended")
    queue = Queue("suspended", connection)

    info = await queue.get_suspend_info("1")
    jobs = await queue.get_suspended_jobs(exclude_data=True)

    expected = loaded["results"][0]
    assert info is not None
    assert info.reason == expected["reason"]
    assert info.suspended_at == datetime.fromtimestamp(expected["suspendedAt"] / 1000, UTC)
    assert info.timeout_ms == expected["timeout"]
    assert info.deadline_at == info.suspended_at + timedelta(hours=1)
    assert info.signals == ()
    assert [(job.id, job.name) for job in jobs] == [("1", "moderate")]


async def test_a_recorded_suspension_without_options_has_neither_reason_nor_deadline(
    connection: Connection,
) -> None:
    await replay(connection, "suspended_no_timeout")

    info = await Queue("suspended_no_timeout", connection).get_suspend_info("1")

    assert info is not None
    assert (info.reason, info.timeout_ms, info.deadline_at) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "signal", "data"),
    [
        ("signalled_waiting", "approve", {"action": "approve", "reviewer": "alice@example.com"}),
        ("signalled_no_worker", "approve", {"by": "ops"}),
    ],
)
async def test_suspending_and_signalling_writes_the_recorded_records(
    connection: Connection, name: str, signal: str, data: dict[str, Any]
) -> None:
    recorded = recording(name)
    stored = recorded["keys"][f"glide:{{{name}}}:job:1"]["value"]
    queue = Queue(name, connection)
    scope = await queue.context()
    await queue.add(stored["name"], {})
    entry, started = await activate(scope, "1")
    await suspend(scope, "1", entry, started, stored["suspendReason"], int(stored.get("suspendTimeout", 0)))

    assert await queue.signal("1", signal, data)
    assert not await queue.signal("1", signal, data)

    actual = await dump(connection, f"glide:{{{name}}}:*")
    # The recording's worker read its entry before it left, so only the group's name can be compared.
    for side in (recorded["keys"], actual):
        side[f"glide:{{{name}}}:stream"]["groups"] = []
    assert_same_records(recorded, actual)


async def test_suspending_writes_the_recorded_records(connection: Connection) -> None:
    queue = Queue("suspended", connection)
    job_id, entry, started = await activated(queue)
    await suspend(await queue.context(), job_id, entry, started, "awaiting-human-review", 3_600_000)

    assert_same_records(
        recording("suspended"), await dump(connection, "glide:{suspended}:*"), ignore=("*:w:*",)
    )
    assert (await field(queue, job_id, "suspendBase")) == f"{await field(queue, job_id, 'suspendedAt')}:0"


# Suspending --------------------------------------------------------------------------------------------------


async def test_a_second_suspension_shows_nothing_of_the_first(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue, reason="first", timeout=60_000)
    await queue.signal(job_id, "go")
    scope = await queue.context()
    entry, started = await activate(scope, job_id)

    await suspend(scope, job_id, entry, started, None, 0)

    info = await queue.get_suspend_info(job_id)
    assert info is not None
    assert (info.reason, info.timeout_ms, info.deadline_at) == (None, None, None)
    assert await scope.connection.command("ZSCORE", scope.keys.suspended, job_id) == NO_DEADLINE
    assert len(info.signals) == 1


async def test_a_repeated_suspend_call_gives_the_same_answer_and_changes_nothing(queue: Queue) -> None:
    job_id, entry, started = await suspended(queue)
    scope = await queue.context()
    before = await dump(scope.connection)

    again = await suspend(scope, job_id, entry, started, "review", 0)

    assert again.status == "suspended"
    assert await dump(scope.connection) == before


async def test_a_run_that_was_taken_for_stalled_cannot_suspend_the_next_run(queue: Queue) -> None:
    job_id, entry, started = await activated(queue)
    scope = await queue.context()
    await scope.connection.command("XACK", scope.keys.stream, "workers", entry)
    await scope.connection.command("XDEL", scope.keys.stream, entry)
    await scope.connection.command("XADD", scope.keys.stream, "*", "jobId", job_id, "name", "moderate")
    await activate(scope, job_id)

    outcome = await suspend(scope, job_id, entry, started, None, 0)

    assert (outcome.status, outcome.ok) == ("lost", False)
    assert await field(queue, job_id, "state") == "active"
    assert await scope.connection.command("ZCARD", scope.keys.suspended) == 0


async def test_suspending_a_removed_job_does_not_bring_it_back(queue: Queue) -> None:
    job_id, entry, started = await activated(queue)
    scope = await queue.context()
    await scope.connection.command("DEL", scope.keys.job(job_id))

    assert (await suspend(scope, job_id, entry, started, None, 0)).status == "not_found"
    assert await scope.connection.command("EXISTS", scope.keys.job(job_id)) == 0
    assert await scope.connection.command("XLEN", scope.keys.stream) == 0


async def test_a_list_sourced_job_suspends_and_gives_back_its_count(queue: Queue) -> None:
    scope = await queue.context()
    job = await queue.add("moderate", {}, lifo=True)
    assert job is not None
    await scope.connection.command("RPOP", scope.keys.lifo)
    await scope.connection.command("SET", scope.keys.list_active, 1)
    await scope.connection.command("HSET", scope.keys.job(job.id), "state", "active", "processedOn", "5")

    assert (await suspend(scope, job.id, "", "4", None, 0)).status == "lost"
    assert (await suspend(scope, job.id, "", "5", None, 0)).status == "suspended"
    assert await scope.connection.command("GET", scope.keys.list_active) == b"0"
    assert await queue.signal(job.id, "go")
    assert await scope.connection.command("XLEN", scope.keys.stream) == 1


async def test_an_ordered_job_keeps_its_slot_while_it_is_suspended(queue: Queue) -> None:
    scope = await queue.context()
    job_id, entry, started = await activated(queue, ordering=Ordering("k"))
    await scope.connection.command("HSET", scope.keys.group("k"), "active", 1, "nextSeq", 2)

    await suspend(scope, job_id, entry, started, None, 0)

    assert await scope.connection.command("HGET", scope.keys.group("k"), "active") == b"1"


# Signals -----------------------------------------------------------------------------------------------------


async def test_missing_data_null_and_text_differ_on_the_wire(queue: Queue) -> None:
    written = []
    for data in ({}, {"data": None}, {"data": {"a": "ü"}}, {"data": "plain"}):
        job_id, _, _ = await suspended(queue)
        assert await queue.signal(job_id, "go", **data)
        [stored] = await signal_list(queue, job_id)
        written.append(json.loads(stored)["data"])
        assert await field(queue, job_id, "signals") == f"[{stored}]"
        await activate(await queue.context(), job_id)

    assert written == ["", "null", '{"a":"ü"}', '"plain"']


async def test_exactly_one_of_many_concurrent_signals_resumes_the_job(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)

    answers = await asyncio.gather(*(queue.signal(job_id, "go", n) for n in range(20)))

    assert sorted(answer.outcome for answer in answers) == ["not_suspended"] * 19 + ["resumed"]
    assert [bool(answer) for answer in answers].count(True) == 1
    assert len(await signal_list(queue, job_id)) == 1


async def test_a_signal_for_another_suspension_changes_nothing(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)
    info = await queue.get_suspend_info(job_id)
    assert info is not None

    wrong = await queue.signal(job_id, "go", expected_suspended_at=1_000)
    right = await queue.signal(job_id, "go", expected_suspended_at=info.suspended_at)

    assert (wrong.outcome, right.outcome) == ("changed", "resumed")


async def test_a_signal_for_a_revoked_job_says_so(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)
    await queue.revoke(job_id)

    result = await queue.signal(job_id, "go")

    assert (result.outcome, result.revoked) == ("resumed", True)


async def test_signalling_nothing_says_not_found(queue: Queue) -> None:
    assert (await queue.signal("9", "go", early=True)).outcome == "not_found"


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "\x9d", "\x00"])
async def test_control_characters_in_a_signal_name_are_refused(queue: Queue, name: str) -> None:
    with pytest.raises(InvalidOptionError, match="control"):
        await queue.signal("1", name)


async def test_signals_that_are_too_large_or_no_json_are_refused(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue)

    with pytest.raises(PayloadTooLargeError) as caught:
        await queue.signal(job_id, "go", "x" * MAX_PAYLOAD_BYTES)
    assert caught.value.limit_bytes == MAX_PAYLOAD_BYTES
    with pytest.raises(SerializationError):
        await queue.signal(job_id, "go", float("nan"))
    assert await field(queue, job_id, "state") == "suspended"


async def test_a_signal_and_the_timeout_sweep_race_to_one_end(queue: Queue) -> None:
    scope = await queue.context()
    for _ in range(10):
        job_id, _, _ = await suspended(queue, timeout=1)
        await scope.connection.command("ZADD", scope.keys.suspended, 1, job_id)

        signalled, _ = await asyncio.gather(queue.signal(job_id, "go"), sweep_suspended(scope))

        state = await field(queue, job_id, "state")
        assert state == ("waiting" if signalled else "failed")
        if signalled:
            await activate(scope, job_id)
        else:
            assert await field(queue, job_id, "failedReason") == "Suspend timeout exceeded"


# Deadlines without a worker ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    ["get_job", "excluding data", "state", "refresh", "info", "poll", "wait"],
)
async def test_a_deadline_holds_without_any_worker_for_whoever_looks(
    queue: Queue, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queue objects of Node enforce it by themselves, in processes that run no worker too."""
    monkeypatch.setattr("glidemq_core.jobs.deadlines._LOOKER_S", 0)
    job_id, _, _ = await suspended(queue, timeout=50)
    job = await queue.get_job(job_id)
    assert job is not None
    assert job.state == "suspended", "the deadline is yet to come"
    await asyncio.sleep(0.06)

    match look:
        case "get_job" | "excluding data":
            found = await queue.get_job(job_id, exclude_data=look != "get_job")
            assert found is not None
            assert (found.state, found.failed_reason) == ("failed", "Suspend timeout exceeded")
        case "state":
            assert await job.get_state() == "failed"
            assert await job.is_failed()
        case "refresh":
            await job.refresh()
            assert job.state == "failed"
        case "info":
            assert await queue.get_suspend_info(job_id) is None
        case "poll":
            assert await job.wait_until_finished(poll_interval=10, timeout=5_000) == "failed"
        case _:
            with pytest.raises(JobFailedError, match="Suspend timeout exceeded"):
                await job.wait(timeout=5_000)
    assert await field(queue, job_id, "state") == "failed"
    assert (await queue.get_job_counts()).failed == 1
    assert await queue.get_suspended_jobs() == []


async def test_who_may_only_read_ends_no_suspension(
    queue: Queue, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glidemq_core.jobs.deadlines._LOOKER_S", 0)
    job_id, _, _ = await suspended(queue, timeout=1)
    await asyncio.sleep(0.01)

    async with connect(server_url, read_only=True) as viewer:
        found = await Queue("q", viewer).get_job(job_id)

    assert found is not None
    assert found.state == "suspended"


async def test_who_just_came_to_look_leaves_deadlines_to_others(queue: Queue) -> None:
    job_id, _, _ = await suspended(queue, timeout=1)
    await asyncio.sleep(0.01)

    found = await queue.get_job(job_id)
    assert found is not None
    assert found.state == "suspended"
    await eventually(found.is_failed)


async def test_a_deadline_of_a_former_suspension_ends_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D23: Node leaves the former timeout in the hash; what counts is the place in the set."""
    monkeypatch.setattr("glidemq_core.jobs.deadlines._LOOKER_S", 0)
    job_id, _, _ = await suspended(queue, timeout=1)
    scope = await queue.context()
    await scope.connection.command("ZADD", scope.keys.suspended, NO_DEADLINE, job_id)
    await asyncio.sleep(0.01)

    found = await queue.get_job(job_id)

    assert found is not None
    assert found.state == "suspended"


# Early signals -----------------------------------------------------------------------------------------------


async def test_an_early_signal_is_lost_unless_asked_to_be_kept(queue: Queue) -> None:
    job_id, entry, started = await activated(queue)

    assert (await queue.signal(job_id, "go")).outcome == "not_suspended"
    assert (await suspend(await queue.context(), job_id, entry, started, None, 0)).status == "suspended"


async def test_a_kept_signal_is_delivered_in_the_suspending_call(queue: Queue) -> None:
    job_id, entry, started = await activated(queue)
    scope = await queue.context()
    kept = await queue.signal(job_id, "first", {"n": 1}, early=True)
    await queue.signal(job_id, "second", early=True)
    assert (kept.outcome, bool(kept)) == ("kept", False)
    assert await scope.connection.command("PTTL", scope.keys.early(job_id)) > 6 * 86_400_000

    outcome = await suspend(scope, job_id, entry, started, "why", 0)

    assert outcome.status == "resumed"
    assert await field(queue, job_id, "state") == "waiting"
    [stored] = map(json.loads, await signal_list(queue, job_id))
    assert (stored["name"], stored["data"]) == ("first", '{"n":1}')
    assert stored["receivedAt"] >= outcome.suspended_at_ms
    assert await scope.connection.command("LLEN", scope.keys.early(job_id)) == 1
    repeated = await suspend(scope, job_id, entry, started, "why", 0)
    assert (repeated.status, len(await signal_list(queue, job_id))) == ("resumed", 1)

    entry, started = await activate(scope, job_id)
    assert (await suspend(scope, job_id, entry, started, None, 0)).status == "resumed"
    assert await scope.connection.command("EXISTS", scope.keys.early(job_id), scope.keys.early_index) == 0


async def test_a_kept_signal_reaches_a_job_that_a_node_worker_suspended(queue: Queue) -> None:
    scope = await queue.context()
    job_id, entry, _ = await activated(queue)
    await queue.signal(job_id, "go", early=True)
    assert await deliver_early(scope) == 0
    # What a Node worker does: no early delivery.
    await scope.connection.command("XACK", scope.keys.stream, "workers", entry)
    await scope.connection.command("XDEL", scope.keys.stream, entry)
    await scope.connection.command(
        "HSET", scope.keys.job(job_id), "state", "suspended", "suspendedAt", scope.now_ms()
    )
    await scope.connection.command("ZADD", scope.keys.suspended, NO_DEADLINE, job_id)

    assert await deliver_early(scope) == 1
    assert await deliver_early(scope) == 0
    assert await field(queue, job_id, "state") == "waiting"
    assert await scope.connection.command("EXISTS", scope.keys.early_index) == 0


async def test_kept_signals_go_with_their_job(queue: Queue) -> None:
    scope = await queue.context()
    job_id, _, _ = await activated(queue)
    await queue.signal(job_id, "go", early=True)
    await scope.connection.command("HSET", scope.keys.job(job_id), "state", "completed")

    await deliver_early(scope)

    assert await scope.connection.command("EXISTS", scope.keys.early(job_id), scope.keys.early_index) == 0
    assert (await queue.signal(job_id, "go", early=True)).outcome == "not_suspended"


# Lists and left-overs ----------------------------------------------------------------------------------------


@pytest.mark.leaves_records
async def test_left_over_members_show_no_unrelated_jobs(queue: Queue) -> None:
    scope = await queue.context()
    job_id, _, _ = await suspended(queue)
    other = await queue.add("other", {})
    assert other is not None
    await scope.connection.command("ZADD", scope.keys.suspended, 5, other.id, 6, "gone")

    assert [job.id for job in await queue.get_suspended_jobs()] == [job_id]


# With a worker -----------------------------------------------------------------------------------------------


async def test_a_suspension_that_nobody_answers_fails_in_time(queue: Queue) -> None:
    async def process(job: Any) -> None:
        await job.suspend(timeout=1)

    job = await queue.add("moderate", {}, attempts=3)
    assert job is not None
    scope = await queue.context()
    async with Worker("q", process, scope.connection, promotion_interval=50):
        await eventually(job.is_failed)

    await job.refresh()
    assert (job.failed_reason, job.attempts_made) == ("Suspend timeout exceeded", 0)
