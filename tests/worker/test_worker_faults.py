"""Workers when things break: nothing is lost, nothing runs twice without a stall on record."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from glidemq_core.options.job import NewJob
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker

CHILD = textwrap.dedent(
    """
    import asyncio, os, sys
    from glidemq_core.worker import Worker

    async def process(job):
        print("started", job.id, flush=True)
        await asyncio.sleep(3600)

    asyncio.run(Worker("q", process, sys.argv[1], lock_duration=1_000, stalled_interval=1_000).run())
    """
)


@pytest.mark.parametrize("lifo", [False, True])
async def test_a_job_of_a_killed_worker_runs_again_with_the_stall_on_record(
    connection: Connection, server_url: str, tmp_path: Path, lifo: bool
) -> None:
    job = await Queue("q", connection).add("n", {}, lifo=lifo)
    assert job is not None
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    with subprocess.Popen([sys.executable, str(script), server_url], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert (await asyncio.to_thread(child.stdout.readline)).split() == [b"started", job.id.encode()]
        os.kill(child.pid, signal.SIGKILL)
    ran: list[str] = []

    async def process(job: Any) -> None:
        ran.append(job.id)

    async with Worker("q", process, connection, lock_duration=1_000, stalled_interval=1_000):
        await eventually(lambda: job.is_completed(), timeout=20)

    await job.refresh()
    assert ran == [job.id]
    assert job.stalled_count == 1
    assert int(await connection.command("GET", "glide:{q}:list-active") or 0) == 0
    assert await connection.command("ZCARD", "glide:{q}:list-runs") == 0


async def test_two_workers_share_a_queue_without_running_anything_twice(connection: Connection) -> None:
    ran: Counter[int] = Counter()

    async def process(job: Any) -> None:
        ran[job.data] += 1
        await asyncio.sleep(0)

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(1_000)])

    async with (
        Worker("q", process, connection, concurrency=7),
        Worker("q", process, connection, concurrency=3),
    ):
        await eventually(lambda: len(ran) == 1_000)

    assert set(ran.values()) == {1}


async def test_work_goes_on_through_function_flush_and_killed_connections(
    connection: Connection, server_url: str
) -> None:
    ran: Counter[int] = Counter()
    total = 1_500

    async def process(job: Any) -> None:
        ran[job.data] += 1
        await asyncio.sleep(0.001)

    queue = Queue("q", connection)
    await queue.add_bulk([NewJob("n", n) for n in range(total)])
    own = await connect(server_url)
    async with Worker("q", process, own, concurrency=20, log_errors=False):
        for round_number in range(4):
            await eventually(lambda n=round_number: len(ran) > 150 * (n + 1))
            await connection.client.custom_command(["FUNCTION", "FLUSH"])
            await _kill_others(connection)
        await eventually(lambda: _count(connection, "completed", total), timeout=30)
    await own.close()

    lost = set(range(total)) - set(ran)
    assert not lost
    twice = [n for n, times in ran.items() if times > 1]
    for number in twice:
        stalls = await connection.command("HGET", f"glide:{{q}}:job:{number + 1}", "stalledCount")
        assert stalls is not None, f"job {number} ran {ran[number]} times without a stall on record"


async def test_a_lost_run_changes_nothing_when_it_ends(connection: Connection) -> None:
    """A run that was taken for dead, and whose job someone else has finished, must not finish it again."""
    release = asyncio.Event()
    errors: list[BaseException] = []

    async def slow(job: Any) -> str:
        await release.wait()
        return "first run"

    queue = Queue("q", connection)
    job = await queue.add("n", {})
    assert job is not None
    worker = Worker("q", slow, connection, promotion_interval=60_000)
    worker.on("error", errors.append)
    async with worker:
        await eventually(lambda: _state_is(connection, job.id, "active"))
        [entry] = await connection.command("XPENDING", "glide:{q}:stream", "workers", "-", "+", 10)
        # What any sweeper does to a silent job, and then another worker with it.
        await connection.command("XACK", "glide:{q}:stream", "workers", entry[0])
        await connection.command("XDEL", "glide:{q}:stream", entry[0])
        await connection.command(
            "HSET", "glide:{q}:job:1", "state", "completed", "returnvalue", '"second run"', "finishedOn", "1"
        )
        release.set()
        await eventually(lambda: errors)

    await job.refresh()
    assert job.result == "second run"
    assert await connection.command("ZCARD", "glide:{q}:completed") == 0
    assert "not owned" in str(errors[0])


async def test_a_removed_job_is_not_brought_back_by_its_run(connection: Connection) -> None:
    release = asyncio.Event()

    async def slow(job: Any) -> None:
        await release.wait()

    queue = Queue("q", connection)
    job = await queue.add("n", {})
    assert job is not None
    async with Worker("q", slow, connection, log_errors=False):
        await eventually(lambda: _state_is(connection, job.id, "active"))
        assert await job.remove(force=True)
        release.set()

    assert await connection.command("EXISTS", "glide:{q}:job:1") == 0
    assert await connection.command("XLEN", "glide:{q}:stream") == 0


@pytest.mark.parametrize("lifo", [False, True])
async def test_a_job_that_a_peer_removed_while_it_ran_here_leaves_nothing_to_revive(
    connection: Connection, lifo: bool
) -> None:
    """Node's remove leaves the entry, and its stall sweep would make a job without a name of it."""
    await Queue("q", connection).add("n", {}, lifo=lifo)
    stopped = asyncio.Event()

    async def process(_: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    async with Worker("q", process, connection, lock_duration=200, log_errors=False):
        await eventually(lambda: _state_is(connection, "1", "active"))
        await connection.command("DEL", "glide:{q}:job:1")
        await stopped.wait()
        assert await connection.command("XLEN", "glide:{q}:stream") == 0
        assert await connection.command("ZCARD", "glide:{q}:list-runs") == 0
    assert await connection.command("EXISTS", "glide:{q}:job:1") == 0


async def test_the_registry_entry_is_what_peers_expect(connection: Connection) -> None:
    async with Worker("q", _nothing, connection) as worker:
        stored = await connection.command("GET", f"glide:{{q}}:w:{worker.id}")
        record = json.loads(stored)
        assert isinstance(record["addr"], str)
        assert record["pid"] == os.getpid()
        assert isinstance(record["startedAt"], int)
        assert record["activeJobs"] == 0

    assert await connection.command("EXISTS", f"glide:{{q}}:w:{worker.id}") == 0


async def _nothing(job: Any) -> None:
    return None


async def _state_is(connection: Connection, job_id: str, state: str) -> bool:
    stored = await connection.command("HGET", f"glide:{{q}}:job:{job_id}", "state")
    return bool(stored == state.encode())


async def _count(connection: Connection, result: str, wanted: int) -> bool:
    return bool(await connection.command("ZCARD", f"glide:{{q}}:{result}") >= wanted)


async def _kill_others(connection: Connection) -> None:
    await connection.client.custom_command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
