"""The same failures as a recording's, had by our worker: they must leave the same records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.recording import HOUR, Process, advance, fails, job, never, one, same, steady_minute, worker  # noqa: F401

from glidemq_core.errors import UnrecoverableError
from glidemq_core.options.job import Backoff, Fallback
from glidemq_core.queue import Queue
from glidemq_core.server.connection import Connection

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
    bench.scope = await bench.queue.context()
    await bench.scope.call("register_worker", "worker-1-0badcafe", "{}", 1, "", bench.scope.now_ms())
    await bench.add(lock_duration=1000)
    assert await bench.claim()
    advance(connection, 1000)

    async def process(_: Any) -> str:
        return "recovered"

    async with worker(connection, name, process, stalled_interval=100):
        await same(connection, name)


# Revoking ----------------------------------------------------------------------------------------------------


async def test_revoking_what_runs_and_what_waits(connection: Connection) -> None:
    """Ours cancels the run; Node only sets the flag, which bites at the next activation."""
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
