"""Sweeps of many workers: one has its turn, what is known to be due waits for none, and no key can stop them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually
from kits.bench import Bench
from kits.worker import P, in_state, never, quick

from glidemq_core.server.connection import Connection
from glidemq_core.worker import sweeps

Sweep = Callable[[Bench, int | None], Awaitable[Any]]


async def promote(bench: Bench, turn_ms: int | None) -> bool:
    tick = await sweeps.tick(bench.scope, turn_ms=turn_ms)
    assert not (tick.taken and tick.promoted)
    return bool(tick.promoted)


async def stalls(bench: Bench, turn_ms: int | None) -> bool:
    found = await sweeps.sweep_stalls(
        bench.scope, "s", min_idle_ms=0, lock_ms=0, max_stalled=99, turn_ms=turn_ms
    )
    return bool(found.requeued)


async def list_stalls(bench: Bench, turn_ms: int | None) -> bool:
    found = await sweeps.sweep_list_stalls(bench.scope, lock_ms=0, max_stalled=99, turn_ms=turn_ms)
    return bool(found.requeued)


async def locks(bench: Bench, turn_ms: int | None) -> bool:
    found, _ = await sweeps.sweep_locks(bench.scope, max_stalled=99, turn_ms=turn_ms)
    return bool(found.requeued)


async def forgetting(bench: Bench, turn_ms: int | None) -> bool:
    before = await bench.command("HLEN", f"{P}:dedup")
    await sweeps.sweep_records(bench.scope, turn_ms)
    return bool(await bench.command("HLEN", f"{P}:dedup") < before)


async def give_work(bench: Bench, sweep: Sweep) -> None:
    """Make something that the sweep would do."""
    if sweep is promote:
        await bench.command("ZADD", f"{P}:scheduled", 1, await bench.add(delay=60_000))
    elif sweep is forgetting:
        old = bench.scope.now_ms() - 10**10
        await bench.command("HSET", f"{P}:dedup", "k", f"77:{old}")
        await bench.command("ZADD", f"{P}:dedup-due", old, "k")
    else:
        job_id = await bench.add(lifo=sweep is list_stalls)
        for run in await bench.claim(9):
            key = f"{P}:job:{run[0]}"
            await bench.command("HSET", key, "opts", json.dumps({"lockDuration": 1_000}))
            await bench.command("HSET", key, "lastActive", 1)
        if sweep is list_stalls:
            await bench.command("ZADD", f"{P}:list-runs", 1, job_id)
        if sweep is locks:
            await asyncio.sleep(1.05)  # only entries that are pending for a second are looked at


SWEEPS = [promote, stalls, list_stalls, locks, forgetting]
NAMES = {promote: "promotion", list_stalls: "list-stalls"}


def key_of(sweep: Any) -> str:
    return f"{P}:turn:{NAMES.get(sweep, sweep.__name__)}"


@pytest.mark.parametrize("sweep", SWEEPS)
async def test_one_worker_sweeps_in_a_turn(bench: Bench, sweep: Sweep) -> None:
    assert not await sweep(bench, 30_000)
    await give_work(bench, sweep)
    assert not await sweep(bench, 30_000), "another worker has swept just now"
    assert 0 < await bench.command("PTTL", key_of(sweep)) <= 30_000
    assert await sweep(bench, None), "what is due waits for no turn"

    await bench.command("PEXPIRE", key_of(sweep), 20)
    await give_work(bench, sweep)
    await asyncio.sleep(0.03)
    assert await sweep(bench, 30_000), "the turn is over"


@pytest.mark.parametrize("sweep", SWEEPS)
async def test_a_worker_that_sweeps_more_often_takes_over(bench: Bench, sweep: Sweep) -> None:
    await sweep(bench, 3_600_000)
    await give_work(bench, sweep)
    assert await sweep(bench, 5_000)
    assert await bench.command("PTTL", key_of(sweep)) <= 5_000


@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("kind", ["string", "hash", "expiring"])
async def test_no_foreign_key_stops_a_sweep(bench: Bench, sweep: Sweep, kind: str) -> None:
    key = key_of(sweep)
    await give_work(bench, sweep)
    if kind == "hash":
        await bench.command("HSET", key, "a", "b")
    else:
        await bench.command("SET", key, "x", *(("EX", 10**6) if kind == "expiring" else ()))
    assert await sweep(bench, 5_000)
    assert 0 < await bench.command("PTTL", key) <= 5_000


async def test_a_long_sweep_goes_on_in_its_turn(bench: Bench) -> None:
    """Only its first call asks for the turn."""
    for _ in range(650):
        await bench.add(delay=60_000)
    ids = await bench.command("ZRANGE", f"{P}:scheduled", 0, -1)
    await bench.command("ZADD", f"{P}:scheduled", *(word for job_id in ids for word in (1, job_id)))
    assert (await sweeps.tick(bench.scope, turn_ms=30_000)).promoted == 650


async def test_many_workers_sweep_little_more_than_one(bench: Bench, connection: Connection) -> None:
    call, done, taken = connection.call, Counter[str](), Counter[str]()

    async def counted(function: str, *args: Any) -> Any:
        reply = await call(function, *args)
        (taken if function == "tick" and reply[0] == b"taken" else done)[function] += 1
        return reply

    workers = [quick(never, connection, promotion_interval=400) for _ in range(8)]
    for worker in workers:
        await worker.start()
    await asyncio.sleep(0.5)
    connection.call = counted  # type: ignore[method-assign]
    await asyncio.sleep(2.4)  # six intervals
    connection.call = call  # type: ignore[method-assign]
    for worker in workers:
        await worker.close()
    assert done["tick"] <= 12
    assert taken["tick"] >= 20
    assert done["suspend_sweep"] == done["deliver_early"] == done["tick"]


async def test_a_delayed_job_runs_on_time_whoever_has_the_turn(bench: Bench, connection: Connection) -> None:
    started: list[int] = []

    async def process(_: Any) -> None:
        started.append(connection.now_ms())

    workers = [quick(process, connection, promotion_interval=5_000) for _ in range(4)]
    for worker in workers:
        await worker.start()
    await asyncio.sleep(0.2)
    job_id = await bench.add(delay=400)
    due = connection.now_ms() + 400
    await eventually(lambda: in_state(bench, job_id, "completed"), timeout=4)
    for worker in workers:
        await worker.close()
    assert started[0] - due < 2_000
    assert len(started) == 1


async def test_a_dead_worker_keeps_its_turn_for_less_than_an_interval(
    bench: Bench, connection: Connection
) -> None:
    """A turn that nobody will use ends by itself."""
    await sweeps.tick(bench.scope, turn_ms=sweeps.turn_of(400))
    await give_work(bench, promote)
    async with quick(never, connection, promotion_interval=400) as worker:
        await eventually(lambda: worker.active_jobs == 1, timeout=5)
        await worker.close(force=True)
