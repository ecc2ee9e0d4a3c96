"""The same calls as a recording's, made through our queue: they must leave the same records.

Where ours does better on purpose, the test names the difference.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import eventually
from kits.recording import HOUR, advance, job, one, payload_of, same, steady_minute, worker  # noqa: F401
from kits.wire import dump, recording

from glidemq_core.errors import GlideMQError
from glidemq_core.options.job import (
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
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

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
    with pytest.warns(RuntimeWarning, match="attempts=4 is more than 3"):
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
