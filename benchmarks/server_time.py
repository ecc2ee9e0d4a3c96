"""What a no-op job costs the server and the client, by concurrency, and what its options add.

    python -m benchmarks.server_time [--quick]

The server's time is that of the commands a worker sends (`INFO commandstats`; what functions call inside is part of
them), the client's is the CPU time of its process, driver included. Both are medians of many short rounds taken in
turns, so they can be compared on a machine that does other things as well. A machine whose cores are shared with others
is itself a third faster at one hour than at another: in each round one script of fixed commands is timed too, and one
bare call of the driver, so that figures of two hours can be divided by what these cost.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from glidemq_core import Budget, FlowJob, FlowProducer, Job, JobOptions, NewJob, Ordering, Queue, Worker
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import QueueKeys

from .common import fresh_server, main

NAME = "bench"
PAYLOAD = {"prompt": "hello"}
#: Concurrency and how many jobs a round; then how many microseconds of the server a job may take.
LEVELS = {1: (600, 100), 10: (2_000, 35), 50: (3_000, 25), 200: (4_000, 22)}
#: Microseconds of CPU that a job may cost the client, by concurrency.
CLIENT_REACH = {1: 180, 50: 20}
#: Where options are measured, and what each may add.
AT, JOBS = 50, 3_000
ADDED_REACH = {"retention": 6, "ordering": 10, "parent": 12, "ledger": 10, "budget": 15}
ROUNDS = 9
BUDGET = Budget(max_total_tokens=1_000_000, max_tokens={"output": 500_000}, max_total_cost=100.0)
#: Commands that a worker sends and no function calls inside.
SENT = ("fcall", "fcall_ro", "xread")
#: Commands like those of a job, for the speed of the machine.
REFERENCE = """
for round = 1, 10 do
  redis.call("HSET", KEYS[1], "id", round, "name", "answer", "data", "{}", "timestamp", "1700000000000")
  redis.call("XADD", KEYS[2], "MAXLEN", "~", "100", "*", "jobId", round)
  redis.call("ZADD", KEYS[3], round, round)
  local flat = redis.call("HGETALL", KEYS[1])
  for at = 1, #flat, 2 do flat[at] = tostring(flat[at]) .. "=" .. tostring(flat[at + 1]) end
end
return table.concat({"o", "k"})
"""
REFERENCE_CALLS = 300


@dataclass(frozen=True, slots=True)
class Cost:
    """What one job of a round cost, microseconds."""

    server: float
    client: float


class Round:
    """Jobs of one kind on an emptied server, run by one worker."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._connection = connection
        self._keys = QueueKeys(connection.prefix, NAME)

    async def plain(self, jobs: int) -> int:
        """Add jobs without options; returns how many there are to run."""
        return await self._add([NewJob("answer", PAYLOAD) for _ in range(jobs)])

    async def retention(self, jobs: int) -> int:
        """Add jobs of which the newest 100 are kept."""
        options = JobOptions(remove_on_complete=100)
        return await self._add([NewJob("answer", PAYLOAD, options) for _ in range(jobs)])

    async def ordering(self, jobs: int) -> int:
        """Add jobs of some hundred ordering keys."""
        keys = [JobOptions(ordering=Ordering(f"key-{number}")) for number in range(500)]
        return await self._add([NewJob("answer", PAYLOAD, keys[number % 500]) for number in range(jobs)])

    async def ledger(self, jobs: int) -> int:
        """Add jobs that reported usage before, so that each end is written into the ledger."""
        await self.plain(jobs)
        reported: list[tuple[str, ...]] = []
        for number in range(1, jobs + 1):
            reported.append(("HSET", self._keys.job(str(number)), "usage:bucketTs", "0"))
            reported.append(("RPUSH", self._keys.ledger(str(number)), "{}"))
        await self._connection.pipeline(reported)
        return jobs

    async def parent(self, jobs: int) -> int:
        """Add a flow: one parent that waits for all others."""
        return await self._flow(jobs, None)

    async def budget(self, jobs: int) -> int:
        """Add the same flow with a budget."""
        return await self._flow(jobs, BUDGET)

    async def _add(self, jobs: list[NewJob]) -> int:
        async with self._queue() as queue:
            await queue.add_bulk(jobs)
        return len(jobs)

    async def _flow(self, jobs: int, budget: Budget | None) -> int:
        async with FlowProducer(self._connection) as producer:
            children = [FlowJob("answer", NAME, PAYLOAD) for _ in range(jobs - 1)]
            await producer.add(FlowJob("root", NAME, children=children), budget=budget)
        return jobs

    def _queue(self) -> Queue[Any, Any]:
        return Queue(NAME, self._connection)

    async def run(self, add: Callable[[int], Awaitable[int]], concurrency: int, jobs: int) -> Cost:
        """Return what a job cost from the start of the first to the recorded end of the last."""
        await self._connection.command("FLUSHALL")
        left, done = await add(jobs), asyncio.Event()

        async def process(job: Job[Any, Any]) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        async with self._queue() as queue:
            await queue.pause()
            async with Worker(NAME, process, self._url, concurrency=concurrency) as worker:
                await worker.wait_until_ready()
                before, cpu = await self._sent_us(), time.process_time()
                await queue.resume()
                await done.wait()
                while await self._connection.command("XLEN", self._keys.stream):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.002)
                spent = time.process_time() - cpu
                return Cost((await self._sent_us() - before) / jobs, spent * 1_000_000 / jobs)

    async def reference(self) -> Cost:
        """Return what the script costs the server, and a call that does nothing the client."""
        await self._connection.command("FLUSHALL")
        before = await self._sent_us("eval")
        for _ in range(REFERENCE_CALLS):
            await self._connection.command("EVAL", REFERENCE, "3", "r:hash", "r:stream", "r:set")
        spent, cpu = await self._sent_us("eval") - before, time.process_time()
        for _ in range(REFERENCE_CALLS):
            await self._connection.command("PING")
        used = time.process_time() - cpu
        return Cost(spent / REFERENCE_CALLS, used * 1_000_000 / REFERENCE_CALLS)

    async def _sent_us(self, *names: str) -> int:
        """Microseconds that the server has spent on these commands; without names, on what workers send."""
        info = (await self._connection.command("INFO", "commandstats")).decode()
        found = re.findall(r"^cmdstat_(\w+):.*?usec=(\d+)", info, re.MULTILINE)
        return sum(int(usec) for name, usec in found if name in (names or SENT))


async def measure(quick: bool) -> dict[str, Any]:
    """Take rounds in turns and report the medians."""
    rounds, part = (3, 4) if quick else (ROUNDS, 1)
    levels: dict[int, list[Cost]] = {level: [] for level in LEVELS}
    costs: dict[str, list[Cost]] = {kind: [] for kind in ("plain", *ADDED_REACH)}
    references: list[Cost] = []
    async with fresh_server() as (url, connection):
        bench = Round(url, connection)
        await bench.run(bench.plain, AT, 500)  # imports, functions
        for _ in range(rounds):
            references.append(await bench.reference())
            for level, (jobs, _) in LEVELS.items():
                levels[level].append(await bench.run(bench.plain, level, jobs // part))
            for kind, samples in costs.items():
                samples.append(await bench.run(getattr(bench, kind), AT, JOBS // part))
    server = {kind: median(samples, "server") for kind, samples in costs.items()}
    base = dict.fromkeys(ADDED_REACH, server["plain"]) | {"budget": server["parent"]}
    return {
        "benchmark": "server_time",
        "server_us": {level: median(samples, "server") for level, samples in levels.items()},
        "client_us": {level: median(samples, "client") for level, samples in levels.items()},
        "added_us": {kind: round(server[kind] - base[kind], 1) for kind in ADDED_REACH},
        "reference_us": {side: median(references, side) for side in ("server", "client")},
        "reach": {
            "server_us": {level: reach for level, (_, reach) in LEVELS.items()},
            "client_us": CLIENT_REACH,
            "added_us": ADDED_REACH,
        },
    }


def median(samples: list[Cost], side: str) -> float:
    """Return the median of what a job cost one side, microseconds."""
    return round(statistics.median(getattr(sample, side) for sample in samples), 1)


if __name__ == "__main__":
    main("What a no-op job costs the server and the client.", measure)
