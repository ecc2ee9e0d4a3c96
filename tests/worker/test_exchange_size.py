"""Exchanges that carry much, over links that carry little: they go in parts, and everything else goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.exchange import claims, sent
from kits.slow_link import slow_link
from kits.worker import P, quick

from glidemq_core.errors import CallTimeoutError
from glidemq_core.options.job import NewJob
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker.exchange_call import BATCH, BATCH_BYTES

JOBS = 150


async def test_large_results_on_a_slow_link_are_all_recorded_and_nothing_stalls(
    bench: Bench, server_port: int
) -> None:
    ran: Counter[str] = Counter()
    errors: list[BaseException] = []
    all_started = asyncio.Event()
    claimed_early: list[int] = []

    async def process(job: Any) -> str | None:
        ran[job.id] += 1
        if job.name == "small":
            claimed_early.append(await bench.command("ZCARD", f"{P}:completed"))
            return None
        if len(ran) == JOBS:
            all_started.set()
        await all_started.wait()
        return "x" * 1_000_000

    await bench.queue.add_bulk([NewJob("large", n) for n in range(JOBS)])
    async with slow_link(server_port, 15e6) as port:
        own = await connect(f"valkey://127.0.0.1:{port}")
        # Heartbeats must get through between the results, or they would look dead.
        worker = quick(process, own, concurrency=JOBS, lock_duration=4_000, stalled_interval=2_000)
        worker.on("error", errors.append)
        async with worker:
            await all_started.wait()
            await bench.add("small")
            await eventually(lambda: _completed(bench, JOBS + 1), timeout=60)
        await own.close()
    assert set(ran.values()) == {1}
    assert not [error for error in errors if not isinstance(error, CallTimeoutError)]
    assert claimed_early
    assert claimed_early[0] < JOBS, "jobs are claimed while results are on their way"
    stalls = [await bench.field(str(n + 1), "stalledCount") for n in range(JOBS)]
    assert set(stalls) == {None}


@pytest.mark.parametrize(("size", "count"), [(10, 600), (500_000, 40)])
async def test_an_exchange_is_bounded_and_results_leave_in_their_order(
    bench: Bench, connection: Connection, size: int, count: int
) -> None:
    call = connection.call
    calls: list[tuple[int, int]] = []
    left: list[str] = []

    async def counting(function: str, *args: Any) -> Any:
        if function == "exchange":
            heads = sent(args)
            calls.append((len(heads), sum(int(head[3]) for head in heads)))
            assert sum(int(head[3]) for head in heads) == len(b"".join(args[3:]))
            left.extend(head[0] for head in heads)
        return await call(function, *args)

    ended: list[str] = []
    everybody = asyncio.Event()

    async def process(job: Any) -> str:
        if job.data == count - 1:
            everybody.set()
        await everybody.wait()
        ended.append(job.id)
        return "x" * size

    await bench.queue.add_bulk([NewJob("n", n) for n in range(count)])
    connection.call = counting  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=count):
        await eventually(lambda: _completed(bench, count), timeout=30)
    assert left == ended
    assert max(number for number, _ in calls) <= BATCH
    assert max(total for _, total in calls) <= BATCH_BYTES
    assert sum(number for number, _ in calls) == count


async def test_a_call_that_is_too_much_for_the_link_is_repeated_in_parts(
    bench: Bench, connection: Connection
) -> None:
    call = connection.call
    sizes: list[int] = []

    async def narrow(function: str, *args: Any) -> Any:
        if function == "exchange" and (records := len(sent(args))):
            sizes.append(records)
            if records > 3:
                raise CallTimeoutError("too slow", command="exchange", timeout_ms=1)
        return await call(function, *args)

    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await asyncio.sleep(0)

    await bench.queue.add_bulk([NewJob("n", n) for n in range(40)])
    connection.call = narrow  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=20):
        await eventually(lambda: _completed(bench, 40), timeout=30)
    assert max(sizes) > 3
    assert set(ran.values()) == {1}


async def test_large_payloads_are_claimed_in_parts(bench: Bench, connection: Connection) -> None:
    call = connection.call
    replies: list[int] = []

    async def watching(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange":
            replies.append(sum(map(len, reply[1])))
        return reply

    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1

    await bench.queue.add_bulk([NewJob("n", "x" * 1_000_000) for _ in range(80)])
    connection.call = watching  # type: ignore[method-assign]
    async with quick(process, connection, concurrency=160):
        await eventually(lambda: _completed(bench, 80), timeout=30)
    assert set(ran.values()) == {1}
    assert max(replies) < 40_000_000


async def test_claims_of_a_lost_reply_are_found_behind_a_thousand_others(
    bench: Bench, connection: Connection
) -> None:
    release = asyncio.Event()
    ran: Counter[str] = Counter()

    async def process(job: Any) -> None:
        ran[job.id] += 1
        await release.wait()

    call, lost = connection.call, []

    async def lossy(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        if function == "exchange" and reply[1] and len(ran) >= 1_100 and len(lost) < 100:
            lost.extend(claim.job_id for claim in claims(reply))
            raise CallTimeoutError("lost", command="exchange", timeout_ms=1)
        return reply

    connection.call = lossy  # type: ignore[method-assign]
    await bench.queue.add_bulk([NewJob("n", n) for n in range(1_100)])
    async with quick(process, connection, concurrency=1_400):
        await eventually(lambda: len(ran) == 1_100, timeout=30)
        await bench.queue.add_bulk([NewJob("n", n) for n in range(60)])
        for _ in range(40):
            await bench.add("n", lifo=True)
        await eventually(lambda: len(ran) == 1_200, timeout=30)
        assert lost
        release.set()
        await eventually(lambda: _completed(bench, 1_200), timeout=30)
    assert set(ran.values()) == {1}


async def _completed(bench: Bench, wanted: int) -> bool:
    return bool(await bench.command("ZCARD", f"{P}:completed") >= wanted)
