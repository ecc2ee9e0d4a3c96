"""Steps: work that a run which starts over does not do again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import Outage, never, quick

from glidemq_core import (
    Actor,
    Batch,
    Broadcast,
    BroadcastWorker,
    InvalidOptionError,
    Job,
    JobStateError,
    PayloadTooLargeError,
    Queue,
    SyncJob,
    Worker,
)
from glidemq_core.ai import steps as steps_module
from glidemq_core.server.connection import Connection
from glidemq_core.testing import make_job

KEY = "glide:{q}:steps:"
ANN = Actor("ann")


class Calls:
    """A step that counts its calls."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    async def __call__(self, value: Any, *, twice: bool = False) -> Any:
        self.made.append(value)
        return [value, value] if twice else value

    def plain(self, value: Any) -> Any:
        self.made.append(value)
        return value


async def state(bench: Bench, job_id: str, *wanted: str) -> None:
    await eventually(lambda: reached(bench, job_id, wanted))


async def reached(bench: Bench, job_id: str, wanted: tuple[str, ...]) -> bool:
    return await bench.field(job_id, "state") in wanted


async def kept(bench: Bench, job_id: str) -> dict[str, bytes]:
    flat = await bench.command("HGETALL", KEY + job_id)
    return {name.decode(): value for name, value in (flat or {}).items()}


async def test_a_retry_is_handed_the_result_back(bench: Bench, connection: Connection) -> None:
    charge, seen = Calls(), list[Any]()

    async def process(job: Job) -> Any:
        seen.append(await job.step("charge", charge, {"cents": 5}, twice=True))
        seen.append(await job.step("note", charge.plain, None))
        if job.attempts_made < 2:
            raise ValueError("later")
        return seen[-2]

    async with quick(process, connection):
        job_id = await bench.add(attempts=3)
        await state(bench, job_id, "completed")

    assert charge.made == [{"cents": 5}, None]
    assert seen == [[{"cents": 5}] * 2, None] * 3
    assert await kept(bench, job_id) == {}
    assert await bench.field(job_id, "steps") is None


async def test_what_is_kept(bench: Bench, connection: Connection) -> None:
    async def process(job: Job) -> None:
        await job.step("a", Calls(), 1)
        await job.step("bb", Calls(), "é")
        raise ValueError

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "failed")

    made = await bench.field(job_id, "timestamp")
    assert await kept(bench, job_id) == {
        "t": str(made).encode(),
        "s:a": b"1",
        "s:bb": '"é"'.encode(),
        "b": str(len("a1") + len('bb"é"'.encode())).encode(),
    }
    assert 2_591_000 < await bench.command("TTL", KEY + job_id) <= 2_592_000


async def test_a_job_without_steps_costs_no_call(bench: Bench, connection: Connection) -> None:
    calls: list[Any] = []
    command, call = connection.command, connection.call

    async def counted(*words: Any) -> Any:
        calls.extend(word for word in words if str(word).startswith(KEY))
        return await command(*words)

    async def called(function: str, *words: Any) -> Any:
        calls.extend([function] if function == "keep_step" else [])
        return await call(function, *words)

    connection.command, connection.call = counted, called  # type: ignore[method-assign]

    async def process(job: Job) -> None:
        if job.data:
            await job.step("a", Calls(), 1)

    async with quick(process, connection):
        await state(bench, await bench.add(), "completed")
        assert calls == []
        await state(bench, await bench.add(data=[1]), "completed")
    assert calls == ["keep_step"]


async def test_a_suspension_and_a_delay_hand_it_back_too(bench: Bench, connection: Connection) -> None:
    draft = Calls()

    async def process(job: Job) -> Any:
        text = await job.step("draft", draft, "text")
        if not job.signals:
            await job.suspend(timeout="40d")
        if job.data == {}:
            await job.move_to_delayed(0, "sent")
        return text

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "suspended")
        # Not before seven days after the deadline.
        assert 46 * 86_400 < await bench.command("TTL", KEY + job_id) <= 47 * 86_400
        await bench.queue.signal(job_id, "go")
        await state(bench, job_id, "completed")

    assert draft.made == ["text"]


async def test_it_stays_at_failure_and_for_a_manual_retry(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        await job.step("charge", charge, 1)
        if len(seen) == 0:
            seen.append(1)
            raise ValueError

    seen: list[int] = []
    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "failed")
        await bench.queue.retry_job(job_id)
        await state(bench, job_id, "completed")

    assert charge.made == [1]


async def test_another_payload_forgets_them(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        if job.attempts_made:
            await job.step("charge", charge, "second")
            return
        await job.step("charge", charge, "first")
        await job.update_data({"other": 1})
        assert await kept(bench, job.id) == {}
        await job.step("after", charge, "after")
        raise ValueError

    async with quick(process, connection):
        job_id = await bench.add(attempts=2)
        await state(bench, job_id, "completed")

    assert charge.made == ["first", "after", "second"]


@pytest.mark.parametrize(("edited", "calls"), [(True, 2), (False, 1)])
async def test_an_approval_with_another_payload_forgets_them(
    bench: Bench, connection: Connection, edited: bool, calls: int
) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        await job.step("charge", charge, 1)
        if not job.signals:
            await job.suspend()

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "suspended")
        review = await bench.queue.review(job_id)
        changes: dict[str, Any] = {"data": {"other": 1}} if edited else {}
        decision = await bench.queue.approve(job_id, actor=ANN, expect=review.review_hash, **changes)
        assert decision.ok
        await state(bench, job_id, "completed")

    assert len(charge.made) == calls


async def test_a_rejection_keeps_them(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        await job.step("charge", charge, 1)
        if not job.signals:
            await job.suspend()

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "suspended")
        await bench.queue.reject(job_id, actor=ANN, reason="no", data={"other": 1})
        await state(bench, job_id, "completed")

    assert len(charge.made) == 1


async def test_the_same_name_twice_is_refused(bench: Bench, connection: Connection) -> None:
    async def process(job: Job) -> None:
        for name in ("", "n" * 257):
            with pytest.raises(InvalidOptionError):
                await job.step(name, Calls(), 1)
        await job.step("a", Calls(), 1)
        await job.step("a", Calls(), 1)

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "failed")

    assert "step 'a' of job 'q:1' was called twice in one run" in str(
        await bench.field(job_id, "failedReason")
    )


async def test_what_fails_is_not_kept(bench: Bench, connection: Connection) -> None:
    tries: list[int] = []

    async def shaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("away")
        return "done"

    async def process(job: Job) -> str:
        return await job.step("shaky", shaky)

    async with quick(process, connection):
        job_id = await bench.add(attempts=3)
        await state(bench, job_id, "completed")

    assert len(tries) == 3


async def test_steps_side_by_side(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(job: Job) -> list[Any]:
        values = await asyncio.gather(*(job.step(f"part {n}", charge, n) for n in range(20)))
        if not job.attempts_made:
            raise ValueError
        return values

    async with quick(process, connection):
        job_id = await bench.add(attempts=2)
        await state(bench, job_id, "completed")

    assert sorted(charge.made) == list(range(20))


async def test_plain_functions_take_their_steps_in_their_thread(bench: Bench, connection: Connection) -> None:
    import threading

    threads: list[str] = []

    def charge(value: int) -> int:
        threads.append(threading.current_thread().name)
        return value

    def process(job: SyncJob) -> int:
        value = job.step("charge", charge, 7)
        if not job.attempts_made:
            raise ValueError
        return value

    async with quick(process, connection):
        job_id = await bench.add(attempts=2)
        await state(bench, job_id, "completed")

    assert threads == ["glidemq-q:1"]
    assert await bench.field(job_id, "returnvalue") == "7"


async def test_each_job_of_a_batch_has_its_own(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(jobs: list[Job]) -> list[Any]:
        return [await job.step("charge", charge, job.id) for job in jobs]

    async with quick(process, connection, batch=Batch(2, 50)):
        ids = [await bench.add(), await bench.add()]
        for job_id in ids:
            await state(bench, job_id, "completed")

    assert sorted(charge.made) == ids


async def test_messages_of_a_broadcast_have_none(connection: Connection) -> None:
    said: list[str] = []

    async def process(job: Job) -> None:
        try:
            await job.step("a", Calls(), 1)
        except InvalidOptionError as error:
            said.append(str(error))

    worker = BroadcastWorker("b", process, connection, subscription="s", start_from="0-0")
    async with Broadcast("b", connection) as broadcast, worker:
        await broadcast.publish("a")
        await eventually(lambda: said)

    assert said == ["messages of a broadcast have no steps"]


async def test_an_id_that_is_used_again_begins_anew(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        await job.step("charge", charge, job.data)
        raise ValueError

    async with quick(process, connection):
        await bench.add(job_id="mine", data=[1])
        await state(bench, "mine", "failed")
        # As a peer removes it: it knows nothing of the steps.
        await bench.command("DEL", "glide:{q}:job:mine")
        await bench.command("ZREM", "glide:{q}:failed", "mine")
        await bench.command("HSET", KEY + "mine", "t", "1")
        await bench.add(job_id="mine", data=[2], attempts=2)
        await eventually(lambda: reached(bench, "mine", ("failed",)))
    assert charge.made == [[1], [2]]
    assert (await kept(bench, "mine"))["s:charge"] == b"[2]"
    await bench.queue.remove_job("mine")
    assert await kept(bench, "mine") == {}


@pytest.mark.parametrize("how", ["remove", "clean", "obliterate", "retention"])
async def test_they_go_with_their_job(bench: Bench, connection: Connection, how: str) -> None:
    async def process(job: Job) -> None:
        await job.step("a", Calls(), 1)
        raise ValueError

    async with quick(process, connection):
        job_id = await bench.add(remove_on_fail=how == "retention")
        if how == "retention":
            await eventually(lambda: gone(bench, job_id))
        else:
            await state(bench, job_id, "failed")
    if how == "remove":
        await bench.queue.remove_job(job_id)
    elif how == "clean":
        await asyncio.sleep(0.002)
        assert await bench.queue.clean("failed", grace=0) == [job_id]
    elif how == "obliterate":
        await bench.queue.obliterate()

    assert await bench.command("KEYS", f"{KEY}*") == []


async def gone(bench: Bench, job_id: str) -> bool:
    return await bench.field(job_id, "state") is None


async def test_all_together_have_a_limit(
    bench: Bench, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_module, "MOST_BYTES", 100)
    errors: list[PayloadTooLargeError] = []

    async def process(job: Job) -> None:
        await job.step("a", Calls(), "x" * 50)
        for number, size in ((1, 60), (2, 1_100_000)):
            with pytest.raises(PayloadTooLargeError) as raised:
                await job.step(f"b{number}", Calls(), "x" * size)
            errors.append(raised.value)
        await job.step("c", Calls(), "x" * 40)

    async with quick(process, connection):
        await state(bench, await bench.add(), "completed")

    assert [error.what for error in errors] == ["steps", "result"]
    assert errors[0].size_bytes == len("a") + 52 + len("b1") + 62


@pytest.mark.parametrize("fate", ["before", "after"])
async def test_a_lost_reply_keeps_it_once(bench: Bench, connection: Connection, fate: str) -> None:
    charge = Calls()
    outage = Outage(connection, only="keep_step")

    async def process(job: Job) -> Any:
        outage.plan = [fate]
        return await job.step("charge", charge, 1)

    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "completed")

    assert (charge.made, outage.lost) == ([1], ["keep_step"])
    assert await bench.field(job_id, "returnvalue") == "1"


async def test_a_run_that_lost_its_job_keeps_nothing(bench: Bench, connection: Connection) -> None:
    job_id = await bench.add()
    [run] = await bench.claim()
    older = str(int(run[2]) - 1)

    for started, status in ((older, b"lost"), (run[2], b"ok")):
        reply = await bench.scope.call("keep_step", job_id, "a", "1", started, 100)
        assert reply[0] == status
    # The first result of a name stays.
    assert await bench.scope.call("keep_step", job_id, "a", "2", run[2], 100) == [b"ok", b"1"]
    await bench.settle(run)
    assert (await bench.scope.call("keep_step", job_id, "a", "1", run[2], 100))[0] == b"lost"
    assert (await bench.scope.call("keep_step", "none", "a", "1", run[2], 100))[0] == b"not_found"
    await bench.queue.remove_job(job_id)


@pytest.mark.leaves_records
async def test_a_foreign_key_in_its_place_changes_nothing(bench: Bench, connection: Connection) -> None:
    async def process(job: Job) -> None:
        await job.step("a", Calls(), 1)

    await bench.command("SET", KEY + "1", "mine")
    async with quick(process, connection):
        job_id = await bench.add()
        await state(bench, job_id, "failed")

    assert "is a string, not a hash: nothing was changed" in str(await bench.field(job_id, "failedReason"))
    assert await bench.command("GET", KEY + "1") == b"mine"
    assert await bench.field(job_id, "steps") is None


async def test_after_a_stall_the_next_run_has_them(bench: Bench, connection: Connection) -> None:
    charge = Calls()

    async def hanging(job: Job) -> None:
        await job.step("charge", charge, 1)
        await never(job)

    async def process(job: Job) -> Any:
        return await job.step("charge", charge, 2)

    dead = quick(hanging, connection, lock_duration="10s")
    await dead.start()
    job_id = await bench.add()
    await eventually(lambda: kept(bench, job_id))
    await dead.close(force=True)
    async with quick(process, connection):
        await state(bench, job_id, "completed")

    assert await bench.field(job_id, "returnvalue") == "1"


async def test_outside_of_a_run_there_are_none(connection: Connection) -> None:
    async with Queue("q", connection) as queue:
        job = await queue.add("a")
        with pytest.raises(JobStateError):
            await job.step("a", Calls(), 1)


@dataclass
class Receipt:
    cents: int


async def test_the_value_is_the_same_in_every_run(bench: Bench, connection: Connection) -> None:
    seen: list[Any] = []

    async def process(job: Job) -> None:
        seen.append(await job.step("a", lambda: Receipt(5)))
        if not job.attempts_made:
            raise ValueError

    async with quick(process, connection):
        await state(bench, await bench.add(attempts=2), "completed")

    assert seen == [{"cents": 5}] * 2


async def test_a_job_of_a_test_keeps_its_steps() -> None:
    charge = Calls()

    async def process(job: Job) -> Any:
        await job.step("known", charge, 1)
        value = await job.step("new", charge, 2)
        with pytest.raises(InvalidOptionError, match="twice"):
            await job.step("new", charge, 2)
        return value

    job = make_job("a", steps={"known": "before"})

    assert await process(job) == 2
    assert job.steps == {"known": "before", "new": 2}
    assert charge.made == [2]
    await job.update_data({})
    assert job.steps == {}


async def test_a_worker_of_older_steps_ignores_what_is_not_its_own(
    bench: Bench, connection: Connection
) -> None:
    charge = Calls()

    async def process(job: Job) -> None:
        await job.step("charge", charge, 1)

    job_id = await bench.add()
    await bench.command("HSET", KEY + job_id, "t", "5", "s:charge", '"stale"', "b", "7")
    await bench.command("HSET", f"glide:{{q}}:job:{job_id}", "steps", "1")
    async with Worker("q", process, connection):
        await state(bench, job_id, "completed")

    assert charge.made == [1]
