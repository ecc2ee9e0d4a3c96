"""Subscriptions: who gets which message, what failures and stalls of one mean to the others, what stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually
from kits.exchange import asked

from glidemq_core import (
    Backoff,
    Batch,
    Broadcast,
    BroadcastWorker,
    Connection,
    InvalidOptionError,
    JobLostError,
    Ordering,
    Queue,
    RateLimit,
    RateLimitError,
    ServerUnavailableError,
    UnrecoverableError,
    Worker,
    connect,
)
from glidemq_core.doctor.rights import rules
from glidemq_core.server.context import QueueContext

STREAM, JOB = "glide:{q}:stream", "glide:{q}:job:1"
Process = Callable[[Any], Awaitable[Any]]


class Seen:
    """What the workers of a test ran."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str]] = []

    def by(self, who: str, process: Process | None = None) -> Process:
        async def run(job: Any) -> Any:
            self.runs.append((who, job.name))
            return await process(job) if process else who

        return run

    def of(self, who: str) -> list[str]:
        return [name for one, name in self.runs if one == who]


def reader(
    connection: Connection, subscription: str, process: Process, **options: Any
) -> BroadcastWorker[Any, Any]:
    return BroadcastWorker(
        "q", process, connection, subscription=subscription, **{"promotion_interval": 50, **options}
    )


async def counts(connection: Connection, name: str) -> Any:
    found = {one.name: one for one in await Broadcast("q", connection).get_subscriptions()}
    return found[name]


async def quiet(connection: Connection, name: str) -> bool:
    now = await counts(connection, name)
    return bool(now.pending == 0 and now.waiting == 0 and now.delayed == 0)


# Who gets what ---------------------------------------------------------------------------------------------------


async def test_late_subscriptions(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    await broadcast.publish("early")
    async with (
        reader(connection, "new", seen.by("new")),
        reader(connection, "all", seen.by("all"), start_from="0-0"),
    ):
        await broadcast.publish("late")
        await eventually(lambda: len(seen.runs) == 3)
    assert seen.of("new") == ["late"]
    assert seen.of("all") == ["early", "late"]


async def test_a_known_subscription_goes_on_where_it_stood(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    async with reader(connection, "s", seen.by("s")):
        await broadcast.publish("one")
        await eventually(lambda: seen.runs)
    await broadcast.publish("two")
    async with reader(connection, "s", seen.by("s"), start_from="$"):
        await eventually(lambda: len(seen.runs) == 2)
    assert seen.of("s") == ["one", "two"]


async def test_a_message_is_out_though_old_ones_cannot_be_trimmed(
    connection: Connection, server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As for a user of the server who may only add: an error would make the publisher send it twice."""
    first = ["ACL", "SETUSER", "adding", "on", ">pw", *rules("producer").split()]
    await connection.command(*first)
    try:
        async with connect(server_url.replace("//", "//adding:pw@")) as limited:
            broadcast = Broadcast("q", limited, max_messages=1)
            assert [await broadcast.publish(name) for name in ("a", "b", "c")] == ["1", "2", "3"]
    finally:
        await connection.command("ACL", "DELUSER", "adding")
    assert await connection.command("XLEN", STREAM) == 3
    assert [record.name for record in caplog.records if "stay for now" in record.message] == [
        "glidemq.broadcast"
    ] * 3

    assert await Broadcast("q", connection, max_messages=1).publish("d") == "4"
    assert await connection.command("XLEN", STREAM) == 1


async def test_workers_of_a_subscription_share_its_messages(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    async with (
        reader(connection, "shared", seen.by("shared"), concurrency=2),
        reader(connection, "shared", seen.by("shared"), concurrency=2),
        reader(connection, "own", seen.by("own")),
    ):
        for number in range(40):
            await broadcast.publish(str(number))
        await eventually(lambda: len(seen.runs) == 80)
        await asyncio.sleep(0.05)
    names = sorted(map(str, range(40)))
    assert sorted(seen.of("shared")) == sorted(seen.of("own")) == names


async def test_batches(connection: Connection) -> None:
    broadcast, sizes, names = Broadcast("q", connection), list[int](), list[str]()

    async def process(jobs: list[Any]) -> list[int]:
        sizes.append(len(jobs))
        names.extend(job.name for job in jobs)
        return [1] * len(jobs)

    for name in "abcd":
        await broadcast.publish(name)
    await reader(connection, "s", process, start_from="0-0", batch=Batch(2)).drain()
    assert (sizes, names) == ([2, 2], ["a", "b", "c", "d"])


async def test_delayed_messages_reach_everyone(connection: Connection) -> None:
    seen = Seen()
    async with reader(connection, "a", seen.by("a")), reader(connection, "b", seen.by("b")):
        await Broadcast("q", connection).publish("soon", delay=30)
        await eventually(lambda: len(seen.runs) == 2)


async def test_what_makes_no_message(connection: Connection) -> None:
    broadcast = Broadcast("q", connection)
    assert await broadcast.publish("a", job_id="mine") == "mine"
    assert await broadcast.publish("a", job_id="mine") is None
    for refused in ({"priority": 1}, {"lifo": True}, {"ordering": Ordering("k")}):
        with pytest.raises(InvalidOptionError):
            await broadcast.publish("a", **refused)  # type: ignore[arg-type]
    for number in (0, -1, True, 1.5, "2"):
        with pytest.raises(InvalidOptionError, match="must be a positive integer"):
            Broadcast("q", connection, max_messages=number)  # type: ignore[arg-type]
    for wrong in (
        {"subscription": " "},
        {"subscription": "workers"},
        {"subscription": "s", "start_from": "x"},
    ):
        with pytest.raises(InvalidOptionError):
            BroadcastWorker("q", print, connection, **wrong)


async def test_expired_and_revoked_messages_do_not_run(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    await broadcast.publish("old", ttl=1)
    await broadcast.publish("revoked")
    await connection.command("HSET", "glide:{q}:job:2", "revoked", "1")
    await broadcast.publish("fine")
    await asyncio.sleep(0.01)
    for name in ("a", "b"):
        async with reader(connection, name, seen.by(name), start_from="0-0"):
            await eventually(lambda name=name: quiet(connection, name))
    assert seen.runs == [("a", "fine"), ("b", "fine")]
    assert await connection.command("HGET", JOB, "failedReason") == b"expired"
    assert await connection.command("HGET", "glide:{q}:job:2", "failedReason") == b"revoked"


async def test_pause_and_rate_limit(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    await broadcast.pause()
    async with reader(connection, "s", seen.by("s"), block_timeout=50):
        await broadcast.publish("a")
        await asyncio.sleep(0.1)
        assert not seen.runs
        await broadcast.resume()
        await eventually(lambda: seen.runs)
        await broadcast.set_global_rate_limit(RateLimit(1, 60_000))
        for name in "bc":
            await broadcast.publish(name)
        await eventually(lambda: len(seen.runs) == 2)
        await asyncio.sleep(0.1)
        assert len(seen.runs) == 2
        await broadcast.set_global_rate_limit(None)
        assert await connection.command("HGET", "glide:{q}:meta", "rateLimitMax") in (None, b"0")


# Failures --------------------------------------------------------------------------------------------------------


async def test_attempts_belong_to_a_subscription(connection: Connection) -> None:
    seen, attempts = Seen(), list[int]()

    async def process(job: Any) -> int:
        attempts.append(job.attempts_made)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return 1

    async with (
        reader(connection, "bad", seen.by("bad", process)),
        reader(connection, "good", seen.by("good")),
    ):
        await Broadcast("q", connection).publish("m", attempts=3, backoff=Backoff("fixed", 20))
        await eventually(lambda: quiet(connection, "bad"))
        await eventually(lambda: quiet(connection, "good"))
    assert (len(seen.of("bad")), len(seen.of("good"))) == (3, 1)
    assert attempts == [0, 1, 2]
    assert await connection.command("HGETALL", f"{JOB}:sub:bad") == {b"a": b"2"}
    assert 80_000 < await connection.command("TTL", f"{JOB}:sub:bad") <= 86_400
    job = await connection.command("HMGET", JOB, "state", "attemptsMade")
    assert job == [b"completed", b"0"]
    entries = [dict(pairs) for pairs in (await connection.command("XRANGE", STREAM, "-", "+")).values()]
    assert [entry.get(b"retryGroup") for entry in entries] == [None, b"bad", b"bad"]


async def test_a_retry_waits_as_peers_write_it(connection: Connection) -> None:
    async def process(job: Any) -> None:
        raise ValueError("no")

    async with reader(connection, "s", process):
        await Broadcast("q", connection).publish("m", attempts=2, backoff=Backoff("fixed", 60_000))
        members = await eventually(
            lambda: connection.command("ZRANGE", "glide:{q}:scheduled", 0, -1, "WITHSCORES")
        )
    assert list(members) == [b"1||s"]
    assert await connection.command("HMGET", JOB, "state", "failedReason") == [b"delayed", b"no"]
    assert (await counts(connection, "s")).delayed == 1


async def test_the_final_failure_of_one_is_not_that_of_the_others(connection: Connection) -> None:
    seen = Seen()

    async def process(job: Any) -> None:
        raise UnrecoverableError("broken")

    bad = reader(connection, "bad", seen.by("bad", process), dead_letter_queue="letters")
    async with bad:
        await Broadcast("q", connection).publish("m", {"n": 1}, attempts=5)
        await eventually(lambda: connection.command("XLEN", "glide:{letters}:stream"))
    async with reader(connection, "good", seen.by("good"), start_from="0-0"):
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:completed", "1"))
    assert seen.runs == [("bad", "m"), ("good", "m")]
    assert await connection.command("ZSCORE", "glide:{q}:failed", "1") is not None
    letter = json.loads(await connection.command("HGET", "glide:{letters}:job:1", "data"))
    assert (letter["originalQueue"], letter["failedReason"]) == ("q", "broken")


async def test_rate_limit_errors_retry_by_the_counter_of_the_subscription(connection: Connection) -> None:
    seen = Seen()

    async def process(job: Any) -> int:
        if len(seen.runs) < 4:
            raise RateLimitError(10)
        return 1

    async with reader(connection, "s", seen.by("s", process)):
        await Broadcast("q", connection).publish("m")
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:completed", "1"))
    assert len(seen.runs) == 4


async def test_control_calls_are_refused(connection: Connection) -> None:
    async def process(job: Any) -> None:
        await job.suspend(reason="approve")

    async with reader(connection, "s", process):
        await Broadcast("q", connection).publish("m")
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:failed", "1"))
    reason = await connection.command("HGET", JOB, "failedReason")
    assert reason == b"suspend(): a message of a broadcast can only complete or fail"


async def test_calls_of_a_run_stand_beside_other_subscriptions(connection: Connection) -> None:
    both = asyncio.Event()
    seen = Seen()

    async def process(job: Any) -> None:
        if len(seen.runs) == 2:
            both.set()
        await both.wait()
        await job.update_progress(50)
        await job.log("line")
        await job.report_usage(model="m", tokens={"input": 3})

    errors: list[BaseException] = []
    a, b = (reader(connection, name, seen.by(name, process)) for name in "ab")
    for worker in (a, b):
        worker.on("error", errors.append)
    async with a, b:
        await Broadcast("q", connection).publish("m")
        await eventually(lambda: quiet(connection, "a"))
        await eventually(lambda: quiet(connection, "b"))
    assert not errors
    assert await connection.command("LLEN", "glide:{q}:log:1") == 2
    assert await connection.command("ZCARD", "glide:{q}:failed") == 0


# Stalls ----------------------------------------------------------------------------------------------------------


async def lose(connection: Connection, subscription: str) -> None:
    """A worker takes the message and dies."""

    async def forever(job: Any) -> None:
        await asyncio.sleep(3600)

    worker = reader(connection, subscription, forever, start_from="0-0")
    await worker.start()
    await eventually(lambda: worker.active_jobs == 1)
    for task in [*worker._context.background, *worker._run_tasks()]:
        task.cancel()
    await worker._idle_wait.close()
    await worker._exchange.stop()
    await asyncio.sleep(0)


SHORT = {"stalled_interval": 100, "lock_duration": 100}


async def test_a_stalled_message_runs_again(connection: Connection) -> None:
    seen, stalled = Seen(), list[str]()
    await Broadcast("q", connection).publish("m")
    await lose(connection, "s")

    async def slow(job: Any) -> None:  # its heartbeats keep the shared hash fresh all the time
        await asyncio.sleep(1.5)

    other = reader(connection, "other", slow, start_from="0-0", lock_duration=100)
    worker = reader(connection, "s", seen.by("s"), **SHORT)
    worker.on("stalled", stalled.append)
    async with other, worker:
        await eventually(lambda: seen.runs, timeout=1.4)
        await eventually(lambda: quiet(connection, "s"))
    assert (seen.runs, stalled) == ([("s", "m")], ["1"])
    assert await connection.command("HGET", f"{JOB}:sub:s", "stalls") == b"1"


async def test_too_many_stalls_fail_one_subscription_only(connection: Connection) -> None:
    seen = Seen()
    await Broadcast("q", connection).publish("m")
    await lose(connection, "s")
    async with reader(connection, "s", seen.by("s"), **SHORT, max_stalled_count=0):
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:failed", "1"))
    async with reader(connection, "good", seen.by("good"), start_from="0-0"):
        await eventually(lambda: seen.runs)
    assert seen.runs == [("good", "m")]


async def test_a_long_run_with_heartbeats_is_left_alone(connection: Connection) -> None:
    seen = Seen()

    async def slow(job: Any) -> None:
        await asyncio.sleep(0.6)

    async with (
        reader(connection, "s", seen.by("s", slow), **SHORT),
        reader(connection, "s", seen.by("s", slow), **SHORT),
    ):
        await Broadcast("q", connection).publish("m")
        await eventually(lambda: connection.command("ZSCORE", "glide:{q}:completed", "1"))
    assert len(seen.runs) == 1


async def test_closing_hands_messages_back(connection: Connection) -> None:
    seen = Seen()

    async def forever(job: Any) -> None:
        await asyncio.sleep(3600)

    first = reader(connection, "s", forever, grace=0)
    async with first, reader(connection, "other", seen.by("other")):
        await Broadcast("q", connection).publish("m")
        await eventually(lambda: first.active_jobs == 1 and seen.runs)
    async with reader(connection, "s", seen.by("s")):
        await eventually(lambda: seen.of("s"))
    assert (seen.of("s"), seen.of("other")) == (["m"], ["m"])


# What stays ------------------------------------------------------------------------------------------------------


async def test_trimming_takes_the_messages_along(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection, max_messages=2), Seen()

    async def process(job: Any) -> None:
        if job.name == "bad":
            raise ValueError("no")

    async with reader(connection, "s", seen.by("s", process)):
        for name in ("bad", "ok", "ok", "ok"):
            await broadcast.publish(name)
            await eventually(lambda: quiet(connection, "s"))
    assert await connection.command("XLEN", STREAM) == 2
    jobs = await connection.command("KEYS", "glide:{q}:job:*")
    assert sorted(jobs) == [b"glide:{q}:job:3", b"glide:{q}:job:4"]
    assert await connection.command("ZCARD", "glide:{q}:failed") == 0
    assert await connection.command("ZRANGE", "glide:{q}:completed", 0, -1) == [b"3", b"4"]


async def test_trimming_spares_what_is_delivered_again(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection, max_messages=1), Seen()

    async def process(job: Any) -> None:
        if len(seen.runs) == 1:
            raise ValueError("once")

    async with reader(connection, "s", seen.by("s", process)):
        await broadcast.publish("again", attempts=2, backoff=Backoff("fixed", 300))
        await eventually(lambda: connection.command("ZCARD", "glide:{q}:scheduled"))
        await broadcast.publish("next")
        assert await connection.command("EXISTS", JOB) == 1
        await eventually(lambda: len(seen.runs) == 3)
        await eventually(lambda: quiet(connection, "s"))
        assert await connection.command("HGET", JOB, "state") == b"completed"
    assert seen.of("s") == ["again", "next", "again"]


async def test_a_long_backlog_is_trimmed_over_several_calls(connection: Connection) -> None:
    plain = Broadcast("q", connection)
    for name in range(30):
        await plain.publish(str(name))
    context = await plain.context()
    assert await context.call("broadcast_trim", 10, "") == [b"ok", 20, 20]
    assert await context.call("broadcast_trim", 10, "") == [b"ok", 0, 0]


async def age(connection: Connection, *ages_ms: int) -> int:
    """Put entries of messages 1, 2, ... into an empty stream that are so old; returns the time they count from."""
    await connection.command("DEL", STREAM)
    now_ms = connection.now_ms()
    for job_id, age_ms in enumerate(ages_ms, 1):
        await connection.command("XADD", STREAM, f"{now_ms - age_ms}-0", "jobId", str(job_id), "name", "a")
    return now_ms


async def test_messages_are_kept_for_a_time(connection: Connection) -> None:
    plain = Broadcast("q", connection)
    for _ in range(4):
        await plain.publish("a")
    await age(connection, 90_000, 61_000, 50_000, 10)
    await Broadcast("q", connection, retain="1m").publish("new")
    jobs = await connection.command("KEYS", "glide:{q}:job:*")
    assert sorted(jobs) == [b"glide:{q}:job:3", b"glide:{q}:job:4", b"glide:{q}:job:5"]
    assert await connection.command("XLEN", STREAM) == 3
    # Of two rules the stricter one counts.
    await Broadcast("q", connection, retain=60_000, max_messages=1).publish("newest")
    assert await connection.command("KEYS", "glide:{q}:job:*") == [b"glide:{q}:job:6"]
    await Broadcast("q", connection, retain=3_600_000, max_messages=100).publish("a")
    assert await connection.command("XLEN", STREAM) == 2


async def test_what_is_older_spares_what_is_delivered_again(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection, retain=100), Seen()

    async def process(job: Any) -> None:
        if len(seen.runs) == 1:
            raise ValueError("once")

    async with reader(connection, "s", seen.by("s", process)):
        await broadcast.publish("again", attempts=2, backoff=Backoff("fixed", 600))
        await eventually(lambda: connection.command("ZCARD", "glide:{q}:scheduled"))
        await asyncio.sleep(0.15)
        await broadcast.publish("next")
        assert await connection.command("EXISTS", JOB) == 1
        await eventually(lambda: len(seen.runs) == 3)
        await eventually(lambda: quiet(connection, "s"))
    assert seen.of("s") == ["again", "next", "again"]


@pytest.mark.parametrize("retain", [0, -1, "soon", True])
async def test_a_time_that_is_none_is_refused(connection: Connection, retain: Any) -> None:
    with pytest.raises(InvalidOptionError, match="retain"):
        Broadcast("q", connection, retain=retain)


async def test_removing_a_subscription(connection: Connection) -> None:
    broadcast = Broadcast("q", connection)

    async def process(job: Any) -> None:
        raise ValueError("no")

    async with reader(connection, "s", process):
        await broadcast.publish("m", attempts=2, backoff=Backoff("fixed", 60_000))
        await eventually(lambda: connection.command("ZCARD", "glide:{q}:scheduled"))
    assert await broadcast.remove_subscription("s")
    assert not await broadcast.remove_subscription("s")
    assert await broadcast.get_subscriptions() == []
    assert await connection.command("ZCARD", "glide:{q}:scheduled") == 0


async def test_draining_ends_when_the_subscription_is_done(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection, max_messages=2), Seen()
    await connection.command("XGROUP", "CREATE", STREAM, "idle", "0", "MKSTREAM")
    for name in "abc":
        await broadcast.publish(name)
    await reader(connection, "s", seen.by("s"), start_from="0-0").drain()
    assert seen.of("s") == ["b", "c"]
    assert [(one.name, one.waiting, one.is_done) for one in await broadcast.get_subscriptions()] == [
        ("idle", 2, False),
        ("s", 0, True),
    ]


# Lost replies ----------------------------------------------------------------------------------------------------


async def test_lost_replies_cost_no_message(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of exchanges get lost, after the server has carried them out."""
    broadcast, seen, lost = Broadcast("q", connection), Seen(), list[str]()
    errors: list[BaseException] = []

    async def process(job: Any) -> None:
        if job.name == "bad" and job.attempts_made == 0:
            raise ValueError("once")

    worker = reader(connection, "s", seen.by("s", process), start_from="0-0")
    worker.on("error", errors.append)
    for name in ("a", "bad", "b"):
        await broadcast.publish(name, attempts=2)
    call = QueueContext.call

    async def losing(self: QueueContext, function: str, *args: Any) -> Any:
        reply = await call(self, function, *args)
        if function == "broadcast_exchange" and len(lost) < 6 and "r" not in asked(args[2:])[3]:
            lost.append(function)
            raise ServerUnavailableError("lost", address="x")
        return reply

    monkeypatch.setattr(QueueContext, "call", losing)
    async with worker:
        await eventually(lambda: connection.command("EXISTS", "glide:{q}:completed"), timeout=20)
        await eventually(lambda: quiet(connection, "s"), timeout=20)
    assert len(lost) >= 4
    assert sorted(seen.of("s")) == ["a", "b", "bad", "bad"]
    assert not [error for error in errors if isinstance(error, JobLostError)]
    assert await connection.command("ZCARD", "glide:{q}:completed") == 3
    assert await connection.command("EXISTS", "glide:{q}:deliveries:s") == 0


# Beside others ---------------------------------------------------------------------------------------------------


async def test_a_peer_of_the_same_subscription(connection: Connection) -> None:
    """What a Node worker does to its entries is left alone, and what it drops is run."""
    broadcast, seen = Broadcast("q", connection), Seen()
    await connection.command("XGROUP", "CREATE", STREAM, "s", "$", "MKSTREAM")
    await broadcast.publish("theirs")
    peer = ("GROUP", "s", "worker-1-aaaaaaaa", "COUNT", 1, "STREAMS", STREAM, ">")
    assert await connection.command("XREADGROUP", *peer)
    now = connection.now_ms()
    await connection.command("HSET", JOB, "state", "active", "processedOn", now, "lastActive", now + 600)
    async with reader(connection, "s", seen.by("s"), **SHORT):
        await broadcast.publish("ours")
        await eventually(lambda: seen.of("s") == ["ours"])
        await asyncio.sleep(0.2)
        assert seen.of("s") == ["ours"]  # it still beats
        await eventually(lambda: seen.of("s") == ["ours", "theirs"])


async def test_entries_of_others_and_strangers_are_passed_over(connection: Connection) -> None:
    broadcast, seen = Broadcast("q", connection), Seen()
    await broadcast.publish("m")
    await connection.command("XADD", STREAM, "*", "jobId", "1", "name", "m", "retryGroup", "elsewhere")
    await connection.command("XADD", STREAM, "*", "jobId", "gone", "name", "m")
    await connection.command("XADD", STREAM, "*", "odd", "1")
    async with reader(connection, "s", seen.by("s"), start_from="0-0"):
        await broadcast.publish("end")
        await eventually(lambda: len(seen.runs) == 2)
    assert seen.of("s") == ["m", "end"]
    assert (await counts(connection, "s")).pending == 1  # the one that names no job


async def test_mixing_with_ordinary_workers_is_warned_of(connection: Connection) -> None:
    async def process(job: Any) -> None:
        return None

    async with Worker("q", process, connection):
        with pytest.warns(RuntimeWarning, match="subscriptions and ordinary workers"):
            await reader(connection, "s", process).start()


async def test_obliteration_takes_everything(connection: Connection) -> None:
    seen = Seen()

    async def process(job: Any) -> None:
        raise ValueError("no")

    async with reader(connection, "s", seen.by("s", process)):
        await Broadcast("q", connection).publish("m", attempts=3, backoff=Backoff("fixed", 60_000))
        await eventually(lambda: connection.command("ZCARD", "glide:{q}:scheduled"))
    await Queue("q", connection).obliterate(force=True)
    assert await connection.command("KEYS", "glide:{q}:*") == []
