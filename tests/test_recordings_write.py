"""The same calls as a recording's, made through our queue and worker: they must leave the same records.

Where ours does better on purpose (lifecycle.md, *Ours*), the test names the difference.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bench import Bench
from conftest import eventually
from wire import assert_same_records, dump, recording

from glidemq_core.base import JSON_SERIALIZER
from glidemq_core.connection import Connection
from glidemq_core.errors import GlideMQError, RateLimitError, UnrecoverableError
from glidemq_core.options import (
    Backoff,
    Deduplication,
    Fallback,
    JobOptions,
    JobRef,
    NewJob,
    Ordering,
    RateLimit,
    Retention,
    TokenBucket,
)
from glidemq_core.payload import decode_data
from glidemq_core.queue import Queue
from glidemq_core.usage import report_usage
from glidemq_core.worker import Worker

HOUR = 3_600_000
Process = Callable[[Any], Awaitable[Any]]

_MINUTE_FIELD = re.compile(r"m:\d+:(c|d)")


@pytest.fixture(autouse=True)
def steady_minute(connection: Connection) -> None:
    """A clock that starts in the middle of a minute: a test's metrics fall into one bucket."""
    shift = 30_000 - time.time_ns() // 1_000_000 % 60_000
    connection.now_ms = lambda: time.time_ns() // 1_000_000 + shift


def advance(connection: Connection, ms: int) -> None:
    clock = connection.now_ms
    connection.now_ms = lambda: clock() + ms


def worker(connection: Connection, name: str, process: Process, **options: Any) -> Worker:
    return Worker(name, process, connection, **{"promotion_interval": 50, **options})


def _durationless(keys: dict[str, Any]) -> dict[str, Any]:
    """Whether a minute has a sum of durations depends on the machine: above 0 ms or not."""
    out = copy.deepcopy(keys)
    for key, entry in out.items():
        if ":metrics:" in key:
            entry["value"] = {k: v for k, v in entry["value"].items() if not k.endswith(":d")}
    return out


async def same(
    connection: Connection,
    name: str,
    *,
    ignore: tuple[str, ...] = (),
    change: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Wait until the queue's keys are those of the recording; `change` edits the recording where ours differs."""
    wanted = _durationless(recording(name)["keys"])
    if change is not None:
        change(wanted)

    async def written() -> dict[str, Any]:
        return _durationless(await dump(connection, f"glide:{{{name}*"))

    async def equal() -> bool:
        try:
            assert_same_records(wanted, await written(), ignore=ignore)
        except AssertionError:
            return False
        return True

    try:
        await eventually(equal, timeout=5, interval=0.05)
    except AssertionError:
        assert_same_records(wanted, await written(), ignore=ignore)


def job(wanted: dict[str, Any], name: str, job_id: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = wanted[f"glide:{{{name}}}:job:{job_id}"]["value"]
    return found


def payload_of(fields: dict[str, Any]) -> Any:
    return decode_data(fields["data"].encode(), JSON_SERIALIZER).value


async def never(_: Any) -> None:
    await asyncio.Event().wait()


async def one(_: Any) -> int:
    return 1


def fails(message: str) -> Process:
    async def process(_: Any) -> None:
        raise ValueError(message)

    return process


# Adding ------------------------------------------------------------------------------------------------------


async def test_simple_delayed_priority_lifo_ttl(connection: Connection) -> None:
    added: dict[str, list[dict[str, Any]]] = {
        "add_lifo": [{"lifo": True}, {"lifo": True}, {}],
        "add_ttl": [{"ttl": HOUR}],
        "add_simple": [{}],
        "add_delayed": [{"delay": HOUR}],
        "add_priority": [{"priority": n} for n in (5, 1, 5, 0)],
    }
    for name, options_of in added.items():
        keys, queue = recording(name)["keys"], Queue(name, connection)
        for number, options in enumerate(options_of, 1):
            recorded = job(keys, name, str(number))
            assert await queue.add(recorded["name"], payload_of(recorded), **options)
        await same(connection, name)


async def test_bulk_shares_one_timestamp(connection: Connection) -> None:
    jobs = [
        NewJob("a", {"i": 0}),
        NewJob("b", {"i": 1}, JobOptions(delay=HOUR)),
        NewJob("c", {"i": 2}, JobOptions(priority=2)),
        NewJob("d", {"i": 3}, JobOptions(attempts=3)),
        NewJob("e", {"i": 4}, JobOptions(lifo=True)),
    ]
    added = await Queue("add_bulk", connection).add_bulk(jobs)
    assert [(j.id, j.name) for j in added] == [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e")]
    assert len({j.fields["timestamp"] for j in added}) == 1
    await same(connection, "add_bulk")


async def test_a_custom_id_is_taken_once(connection: Connection) -> None:
    queue = Queue("add_custom_id", connection)
    assert await queue.add("x", {"v": 1}, job_id="order-42")
    assert await queue.add("x", {"v": 2}, job_id="order-42") is None
    await same(connection, "add_custom_id")


async def test_every_option_of_the_job_record(connection: Connection) -> None:
    await Queue("add_all_options", connection).add(
        "llm",
        {"prompt": "hi"},
        attempts=4,
        backoff=Backoff("exponential", 2000, 0.25),
        timeout=45_000,
        lock_duration=60_000,
        fallbacks=[
            Fallback("gpt-5.4-nano", "openai"),
            Fallback("claude-sonnet-4-20250514", "anthropic", {"region": "eu"}),
        ],
        remove_on_complete=Retention(age=3_600_000, count=100),
        remove_on_fail=50,
        cost=2,
    )
    await same(connection, "add_all_options")


async def test_every_spelling_of_options(connection: Connection) -> None:
    name = "add_with_opts"
    queue = Queue(name, connection)
    spelled: list[dict[str, Any]] = [
        {"remove_on_complete": True, "remove_on_fail": True},
        {"remove_on_complete": False, "remove_on_fail": False},
        {"remove_on_complete": 25, "remove_on_fail": 0},
        {
            "remove_on_complete": Retention(age=3_600_000, count=1000),
            "remove_on_fail": Retention(age=86_400_000, count=50),
        },
        {"attempts": 1},
        {"attempts": 5, "backoff": Backoff("fixed", 1500)},
        {"attempts": 5, "backoff": Backoff("exponential", 1000, 0.5)},
        {"attempts": 2, "backoff": Backoff("my-strategy", 10)},
        {"timeout": 30_000},
        {"lock_duration": 120_000},
        {"priority": 7, "delay": HOUR},
        {"priority": 0},
        {"priority": 2048},
        {"ttl": HOUR, "delay": 60_000},
        {"cost": 2.5},
        {"fallbacks": []},
        {"fallbacks": [Fallback("small"), Fallback("tiny", "local", {"gpu": False, "n": 1})], "attempts": 3},
        {"ordering": Ordering("tenant-1")},
        {"ordering": Ordering("tenant-2", concurrency=3, rate_limit=RateLimit(10, 1000))},
        {"ordering": Ordering("tenant-3", token_bucket=TokenBucket(1.5, 0.25)), "cost": 0.75},
        {"parent": JobRef(name, "1")},
    ]
    for options in spelled:
        assert await queue.add("v", {}, **options)
    await same(connection, name)


async def test_compressed_data_is_read_by_both(connection: Connection) -> None:
    name = "add_gzip"
    await Queue(name, connection, compression="gzip").add("z", {"text": "lorem ipsum " * 200})
    written = await dump(connection, f"glide:{{{name}}}*")
    ours = job(written, name)
    theirs = job(recording(name)["keys"], name)
    assert ours["data"].startswith("gz:")
    assert payload_of(ours) == payload_of(theirs)
    # Compressors may differ in their bytes.
    await same(connection, name, change=lambda wanted: job(wanted, name).update(data=ours["data"]))


async def test_what_is_refused_leaves_nothing(connection: Connection) -> None:
    """Ours refuses negative priorities and delays too, and takes no id or sequence for a cost too high (D1)."""
    queue = Queue("add_refused", connection)
    refused: list[dict[str, Any]] = [
        {"job_id": "a:b"},
        {"job_id": "a{b"},
        {"job_id": "x" * 257},
        {"job_id": "a||b"},
        {"priority": 2049},
        {"priority": -1},
        {"delay": -5},
        {"lifo": True, "ordering": Ordering("k")},
        {"ttl": -1},
        {"cost": -1},
        {"lock_duration": 1},
        {"lock_duration": 10**12},
        {"ordering": "k" * 300},
        {"ordering": Ordering("k", token_bucket=TokenBucket(5, 1)), "cost": 6},
    ]
    for options in refused:
        with pytest.raises(GlideMQError):
            await queue.add("bad", {}, **options)
    with pytest.raises(GlideMQError):
        await queue.add("bad", {"x": "y" * 1_048_576})
    with pytest.raises(GlideMQError):
        await queue.add("bad", {"x": float("nan")})
    for name in ("", "a{b}", "a:b", "q" * 257):
        with pytest.raises(GlideMQError):
            Queue(name, connection)
    assert await dump(connection) == {}


# Deduplication -----------------------------------------------------------------------------------------------


async def test_simple_deduplication(connection: Connection) -> None:
    queue, once = Queue("dedup_simple", connection), Deduplication("k1", mode="simple")
    assert await queue.add("a", {"v": 1}, deduplication=once)
    assert await queue.add("a", {"v": 2}, deduplication=once) is None
    await same(connection, "dedup_simple")


async def test_deduplication_ends_with_the_job(connection: Connection) -> None:
    name = "dedup_after_completion"
    queue, once = Queue(name, connection), Deduplication("k")
    first = await queue.add("a", {"v": 1}, deduplication=once)
    assert first is not None
    async with worker(connection, name, one):
        await eventually(first.is_completed)
    assert await queue.add("a", {"v": 2}, deduplication=once)
    assert await queue.add("a", {"v": 3}, deduplication=once) is None
    await same(connection, name)


async def test_debounce_and_throttle(connection: Connection) -> None:
    queue = Queue("dedup_debounce", connection)
    late = Deduplication("k1", ttl=60_000, mode="debounce")
    for v in (1, 2):
        assert await queue.add("a", {"v": v}, deduplication=late, delay=60_000)
    await same(connection, "dedup_debounce")

    queue = Queue("dedup_throttle", connection)
    slow = Deduplication("k1", ttl=60_000, mode="throttle")
    assert await queue.add("a", {"v": 1}, deduplication=slow)
    assert await queue.add("a", {"v": 2}, deduplication=slow) is None
    await same(connection, "dedup_throttle")

    queue = Queue("dedup_throttle_expired", connection)
    short = Deduplication("k", ttl=150, mode="throttle")
    assert await queue.add("a", {}, deduplication=short)
    assert await queue.add("a", {}, deduplication=short) is None
    advance(connection, 150)
    assert await queue.add("a", {}, deduplication=short)
    await same(connection, "dedup_throttle_expired")


# Running -----------------------------------------------------------------------------------------------------


async def test_active_jobs(connection: Connection) -> None:
    queue = Queue("active", connection)
    for i in range(3):
        await queue.add("slow", {"i": i})
    async with worker(connection, "active", never, concurrency=2, grace=0):
        await same(connection, "active")

    queue = Queue("active_lifo", connection)
    for kind in "ab":
        await queue.add(kind, {}, lifo=True)
    async with worker(connection, "active_lifo", never, grace=0):
        await same(connection, "active_lifo")


async def test_registered_workers(connection: Connection) -> None:
    name = "worker_registration"
    queue = Queue(name, connection)
    for i in range(2):
        await queue.add("slow", {"i": i})
    options = {"grace": 0, "stalled_interval": 2000}
    async with worker(connection, name, never, concurrency=2, **options) as busy:
        await eventually(lambda: busy.active_jobs == 2)
        async with worker(connection, name, never, **options):
            # Two registrations look alike but for their names; the normal form keeps one.
            await same(connection, name)
            assert len(await queue.get_workers()) == 2
        listed = await queue.get_workers()
        assert [w.id for w in listed] == [busy.id]


async def test_results_and_an_orderly_close(connection: Connection) -> None:
    name = "completed"
    queue = Queue(name, connection)
    for i, kind in enumerate("abc", 1):
        await queue.add(kind, {"i": i})
    results = {"a": {"ok": True, "s": "é"}, "b": None, "c": "text"}

    async def process(each: Any) -> Any:
        return results[each.name]

    async with worker(connection, name, process):
        await same(connection, name)

    await Queue("worker_closed", connection).add("a", {})
    async with worker(connection, "worker_closed", one):
        await eventually(lambda: connection.command("ZCARD", "glide:{worker_closed}:completed"))
    await same(connection, "worker_closed")


async def test_metrics(connection: Connection) -> None:
    name = "metrics"
    queue = Queue(name, connection)
    for i in range(8):
        await queue.add("a", {"i": i})

    async def process(each: Any) -> int:
        clock = connection.now_ms
        connection.now_ms = lambda: clock() + 6
        if each.data["i"] % 4 == 3:
            raise ValueError("x")
        return 1

    async with worker(connection, name, process):
        await same(connection, name)
    for kind, count in (("completed", 6), ("failed", 2)):
        metrics = await connection.command("HGETALL", f"glide:{{{name}}}:metrics:{kind}")
        durations = [int(value) for field, value in metrics.items() if field.endswith(b":d")]
        assert sum(durations) >= 6 * count


async def test_events_and_metrics_off(connection: Connection) -> None:
    name = "events_off"
    queue = Queue(name, connection, events=False)
    await queue.add("a", {})
    await queue.add("b", {})

    async def process(each: Any) -> int:
        if each.name == "b":
            raise ValueError("no")
        return 1

    async with worker(connection, name, process, events=False, metrics=False):
        await same(connection, name)


async def test_progress_logs_and_data(connection: Connection) -> None:
    async def report(each: Any) -> int:
        await each.update_progress(40)
        await each.update_progress({"step": "embed", "pct": 70})
        await each.log("one")
        await each.log("two")
        await each.update_data({"v": 1})
        return 1

    await Queue("progress_log", connection).add("a", {})
    async with worker(connection, "progress_log", report):
        await same(connection, "progress_log")

    async def replace(each: Any) -> None:
        await each.update_data({"v": 2, "more": True})
        await each.update_progress(100)

    await Queue("job_data_updated", connection).add("a", {"v": 1})
    async with worker(connection, "job_data_updated", replace):
        await same(connection, "job_data_updated")


async def test_token_streams(connection: Connection) -> None:
    name = "token_stream"
    chunks = [e["fields"] for e in recording(name)["keys"][f"glide:{{{name}}}:jstream:1"]["value"]]

    async def process(each: Any) -> int:
        for chunk in chunks:
            await each.stream(chunk)
        return 1

    await Queue(name, connection).add("chat", {})
    async with worker(connection, name, process):
        await same(connection, name)

    async def live(each: Any) -> None:
        await asyncio.gather(*(each.stream({"t": f"{word} "}) for word in ("one", "two", "three")))
        await never(each)

    await Queue("token_stream_live", connection).add("chat", {})
    async with worker(connection, "token_stream_live", live, grace=0):
        await same(connection, "token_stream_live")


async def test_usage(connection: Connection) -> None:
    name = "usage"

    async def process(each: Any) -> int:
        if each.name == "a":
            await each.report_usage(
                model="gpt-5.4",
                provider="openai",
                tokens={"input": 120, "output": 60, "reasoning": 20},
                costs={"input": 0.001, "output": 0.0025},
                cost_unit="usd",
                latency=831,
                cached=False,
            )
        elif each.name == "b":
            await each.report_usage(model="claude-sonnet-4-20250514", total_tokens=99, total_cost=0.01)
        else:
            await each.report_usage(model="m1", tokens={"input": 5})
            await each.report_usage(model="m2", tokens={"input": 7, "output": 1})
        return 1

    queue = Queue(name, connection)
    for kind in "abc":
        await queue.add(kind, {})
    async with worker(connection, name, process):
        await same(connection, name)


async def test_report_usage_twice_from_outside(connection: Connection) -> None:
    """A report replaces the one before, also in the bucket: `models` may stay at 0."""
    bench = Bench(connection, "usage2")
    bench.scope = await bench.queue.scope()
    job_id = await bench.add()
    await report_usage(bench.scope, job_id, model="m1", tokens={"input": 5})
    await report_usage(bench.scope, job_id, model="m2", tokens={"input": 7})
    [bucket] = [value["value"] for key, value in (await dump(connection)).items() if "{usage2}:usage:" in key]
    assert bucket["jobCount"] == "1"
    assert bucket["models:m1"] == "0"
    assert bucket["tokens:input"] == "7"


async def test_retention(connection: Connection) -> None:
    name = "remove_on_complete"
    queue = Queue(name, connection)
    await queue.add("a", {}, remove_on_complete=True)
    for _ in range(2):
        await queue.add("b", {}, remove_on_complete=1)
    async with worker(connection, name, one):
        # The scheduler lock of that moment is no record.
        await same(connection, name, ignore=("*:lock:*",))


async def test_a_step_delay(connection: Connection) -> None:
    name = "step_moved_to_delayed"
    frozen = connection.now_ms()
    connection.now_ms = lambda: frozen

    async def process(each: Any) -> None:
        await each.move_to_delayed(frozen + HOUR - 1, "two")

    await Queue(name, connection).add("steps", {})
    async with worker(connection, name, process):
        await same(connection, name)


# Failing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message", "options"),
    [
        ("failed", "model overloaded", {}),
        ("retry_waiting", "try again", {"attempts": 3, "backoff": Backoff("fixed", HOUR)}),
        ("retry_exhausted", "always", {"attempts": 2, "backoff": Backoff("fixed", 20)}),
        ("retry_no_backoff", "no luck", {"attempts": 3}),
    ],
)
async def test_failures_and_retries(
    connection: Connection, name: str, message: str, options: dict[str, Any]
) -> None:
    await Queue(name, connection).add("a", {}, **options)
    async with worker(connection, name, fails(message)):
        await same(connection, name)


async def test_final_failures(connection: Connection) -> None:
    async def unrecoverable(_: Any) -> None:
        raise UnrecoverableError("bad request")

    await Queue("failed_unrecoverable", connection).add("a", {}, attempts=5)
    async with worker(connection, "failed_unrecoverable", unrecoverable):
        await same(connection, "failed_unrecoverable")

    async def discard(each: Any) -> None:
        each.discard()
        raise ValueError("poison")

    await Queue("job_discarded", connection).add("a", {}, attempts=4)
    async with worker(connection, "job_discarded", discard):
        await same(connection, "job_discarded")


async def test_a_timeout(connection: Connection) -> None:
    await Queue("job_timeout", connection).add("slow", {}, timeout=100)
    async with worker(connection, "job_timeout", never):
        await same(connection, "job_timeout")


async def test_dead_letters(connection: Connection) -> None:
    name = "dead_letter"
    await Queue(name, connection).add("a", {"keep": 1}, attempts=1)
    async with worker(connection, name, fails("poison"), dead_letter_queue="dead_letter-dlq"):
        await same(connection, name)


async def test_fallbacks(connection: Connection) -> None:
    seen: list[Any] = []

    def third_time(reason: Callable[[int], str], final: bool) -> Process:
        async def process(each: Any) -> str:
            chosen = each.current_fallback
            seen.append((each.fallback_index, chosen.model if chosen else None))
            if len(seen) == 3 and final:
                return str(chosen.model)
            raise ValueError(reason(len(seen)))

        return process

    name = "fallback_completed"
    chain = [Fallback("b"), Fallback("c")]
    await Queue(name, connection).add("q", {}, attempts=3, backoff=Backoff("fixed", 10), fallbacks=chain)
    async with worker(connection, name, third_time(lambda _: "overloaded", True)):
        await same(connection, name)
    assert seen == [(0, None), (1, "b"), (2, "c")]

    name = "fallback_exhausted"
    seen.clear()
    chain = [Fallback("b", "p"), Fallback("c")]
    await Queue(name, connection).add("ask", {}, attempts=3, fallbacks=chain)
    async with worker(connection, name, third_time(lambda n: f"down {n}", False)):
        await same(connection, name)
    assert seen == [(0, None), (1, "b"), (2, "c")]

    name = "fallback_second_attempt"
    options = {"attempts": 3, "backoff": Backoff("fixed", HOUR), "fallbacks": chain}
    await Queue(name, connection).add("q", {}, **options)
    async with worker(connection, name, fails("overloaded")):
        await same(connection, name)


async def test_an_expired_job(connection: Connection) -> None:
    name = "ttl_expired"
    await Queue(name, connection).add("t", {}, ttl=50)
    advance(connection, 51)
    async with worker(connection, name, one):
        await same(connection, name)


async def test_a_stalled_job(connection: Connection) -> None:
    name = "stalled_reclaimed"
    bench = Bench(connection, name)
    bench.scope = await bench.queue.scope()
    await bench.scope.call("register_worker", "worker-1-0badcafe", "{}", 1, "")
    await bench.add(lock_duration=1000)
    assert await bench.claim()
    advance(connection, 1000)

    async def process(_: Any) -> str:
        return "recovered"

    async with worker(connection, name, process, stalled_interval=100):
        await same(connection, name)


# Revoking ----------------------------------------------------------------------------------------------------


async def test_revoking_what_runs_and_what_waits(connection: Connection) -> None:
    """Ours cancels the run (lifecycle 16); Node only sets the flag, which bites at the next activation."""
    name = "revoked_active"
    queue = Queue(name, connection)
    await queue.add("a", {})
    await queue.add("next", {}, delay=HOUR)
    root = f"glide:{{{name}}}"

    def cancelled(wanted: dict[str, Any]) -> None:
        hash_ = job(wanted, name)
        hash_ |= {"state": "failed", "failedReason": "revoked", "attemptsMade": "1"}
        hash_["finishedOn"] = hash_["processedOn"]
        wanted[f"{root}:failed"]["value"].append(["1", hash_["processedOn"]])
        wanted[f"{root}:stream"]["value"] = []
        wanted[f"{root}:stream"]["groups"][0]["pending_entries"] = []
        wanted[f"{root}:metrics:failed"] = {"type": "hash", "value": {f"m:{hash_['processedOn']}:c": "1"}}
        event = {"id": "0-0", "fields": {"event": "failed", "jobId": "1", "failedReason": "revoked"}}
        wanted[f"{root}:events"]["value"].append(event)

    async with worker(connection, name, never, promotion_interval=250) as busy:
        await eventually(lambda: busy.active_jobs)
        assert await queue.revoke("1") == "flagged"
        assert await queue.revoke("2") == "revoked"
        assert await queue.revoke("99") == "not_found"
        await same(connection, name, change=cancelled)


async def test_revoked_and_aborted(connection: Connection) -> None:
    name = "revoked_active_aborted"
    queue = Queue(name, connection)
    await queue.add("a", {}, attempts=3)
    async with worker(connection, name, never, promotion_interval=5_000) as busy:
        await eventually(lambda: busy.active_jobs)
        await queue.revoke("1")
        assert busy.abort_job("1")
        assert not busy.abort_job("2")
        await same(connection, name)


async def test_revoked_too_late(connection: Connection) -> None:
    name = "revoked_active_completed"
    queue = Queue(name, connection)
    await queue.add("a", {})
    go_on = asyncio.Event()

    async def process(_: Any) -> str:
        await go_on.wait()
        return "done"

    async with worker(connection, name, process, promotion_interval=5_000) as busy:
        await eventually(lambda: busy.active_jobs)
        await queue.revoke("1")
        go_on.set()
        await same(connection, name)


# Ordering and limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ordering", "count", "concurrency"),
    [
        ("ordering", Ordering("tenant-1"), 3, 3),
        ("group_concurrency", Ordering("tenant-1", concurrency=2), 4, 4),
    ],
)
async def test_ordered_jobs(
    connection: Connection, name: str, ordering: Ordering, count: int, concurrency: int
) -> None:
    queue = Queue(name, connection)
    for i in range(count):
        await queue.add("o", {"i": i}, ordering=ordering)
    async with worker(connection, name, never, concurrency=concurrency, grace=0):
        await same(connection, name)


async def test_a_groups_rate_limit_and_bucket(connection: Connection) -> None:
    name = "group_rate_limit"
    queue = Queue(name, connection)
    frozen = connection.now_ms()
    connection.now_ms = lambda: frozen  # the level of the bucket must not depend on the machine
    limited = Ordering("r", concurrency=2, rate_limit=RateLimit(1, 60_000))
    for i in range(2):
        await queue.add("o", {"i": i}, ordering=limited)
    bucket = Ordering("tb", concurrency=2, token_bucket=TokenBucket(5, 2.5))
    await queue.add("b", {}, ordering=bucket, cost=2)
    async with worker(connection, name, one):
        await same(connection, name)


async def test_a_group_limited_from_outside(connection: Connection) -> None:
    name = "group_rate_limited_by_queue"
    queue = Queue(name, connection)
    for i in range(2):
        await queue.add("o", {"i": i}, ordering=Ordering("tenant", concurrency=2))
    await queue.rate_limit_group("tenant", HOUR)
    async with worker(connection, name, one):
        await same(connection, name)


async def test_a_processor_that_is_rate_limited(connection: Connection) -> None:
    name = "rate_limited_by_job"

    async def process(_: Any) -> None:
        raise RateLimitError(delay_ms=HOUR)

    await Queue(name, connection).add("a", {})
    async with worker(connection, name, process):
        await same(connection, name)


async def test_a_worker_limiter(connection: Connection) -> None:
    """Ours charges before it claims: what must wait stays `waiting` (lifecycle 11)."""
    name = "rpm_limited"
    queue = Queue(name, connection)
    for i in range(5):
        await queue.add("a", {"i": i})

    def unclaimed(wanted: dict[str, Any]) -> None:
        third = job(wanted, name, "3")
        third["state"] = "waiting"
        del third["processedOn"], third["lastActive"]
        wanted[f"glide:{{{name}}}:stream"]["groups"][0]["pending_entries"] = []

    async with worker(connection, name, one, limiter=RateLimit(2, 60_000)):
        await same(connection, name, change=unclaimed)


async def test_global_concurrency(connection: Connection) -> None:
    name = "global_concurrency_active"
    queue = Queue(name, connection)
    await queue.set_global_concurrency(2)
    for i in range(5):
        await queue.add("slow", {"i": i})
    async with worker(connection, name, never, concurrency=5, grace=0):
        await same(connection, name)
        counts = await queue.get_job_counts()
        assert (counts.waiting, counts.active) == (3, 2)


async def test_paused_while_one_runs(connection: Connection) -> None:
    name = "paused_active"
    queue = Queue(name, connection)
    await queue.add("a", {})
    await queue.add("b", {})
    async with worker(connection, name, never, grace=0) as busy:
        await eventually(lambda: busy.active_jobs)
        await queue.pause()
        await same(connection, name)


# Suspension --------------------------------------------------------------------------------------------------


def suspending(**options: Any) -> Process:
    async def process(each: Any) -> Any:
        if not each.signals:
            await each.suspend(**options)
        signal = each.signals[-1]
        return {"by": signal.data["reviewer"], "n": len(each.signals)}

    return process


async def test_suspended_without_options(connection: Connection) -> None:
    name = "suspended_no_timeout"
    await Queue(name, connection).add("moderate", {})
    async with worker(connection, name, suspending()):
        await same(connection, name)


async def test_signalled_and_completed(connection: Connection) -> None:
    name = "signalled_completed"
    queue = Queue(name, connection)
    moderated = await queue.add("moderate", {})
    assert moderated is not None
    async with worker(connection, name, suspending(reason="review", timeout=60_000)):
        await eventually(lambda: queue.get_suspend_info("1"))
        answer = {"action": "approve", "reviewer": "alice@example.com"}
        assert await queue.signal("1", "review", answer)
        await same(connection, name)
        assert not await queue.signal("1", "review", answer)
        await same(connection, name)


async def test_signalled_with_a_continuation(connection: Connection) -> None:
    name = "signalled_on_resume"
    queue = Queue(name, connection)
    calls = 0

    async def process(each: Any) -> None:
        nonlocal calls
        calls += 1
        await each.suspend(reason="r", on_resume=lambda signals: {"resumed": [s.name for s in signals]})

    await queue.add("review", {})
    async with worker(connection, name, process):
        await eventually(lambda: queue.get_suspend_info("1"))
        await queue.signal("1", "go", {"a": 1})
        await same(connection, name)
    assert calls == 1


@pytest.mark.parametrize(
    ("name", "kind", "options", "signal"),
    [
        ("signalled_no_worker", "review", {"reason": "human", "timeout": HOUR}, {"by": "ops"}),
        (
            "signalled_waiting",
            "moderate",
            {"reason": "r"},
            {"action": "approve", "reviewer": "alice@example.com"},
        ),
    ],
)
async def test_signalled_while_nobody_works(
    connection: Connection, name: str, kind: str, options: dict[str, Any], signal: dict[str, str]
) -> None:
    """Node's closing worker had fetched the entry in one of them; ours never does (D4)."""
    queue = Queue(name, connection)
    await queue.add(kind, {})
    async with worker(connection, name, suspending(**options)):
        await eventually(lambda: queue.get_suspend_info("1"))
    assert await queue.signal("1", "approve", signal)
    assert not await queue.signal("1", "approve", signal)

    def unread(wanted: dict[str, Any]) -> None:
        wanted[f"glide:{{{name}}}:stream"]["groups"][0]["pending_entries"] = []

    await same(connection, name, change=unread)


async def test_a_suspension_times_out_for_good(connection: Connection) -> None:
    name = "suspend_timeout_retries"
    options = {"attempts": 3, "backoff": Backoff("fixed", HOUR)}
    await Queue(name, connection).add("review", {}, **options)
    async with worker(connection, name, suspending(reason="quick", timeout=150)):
        await same(connection, name)
