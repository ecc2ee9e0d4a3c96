"""What one refresh of the overview costs with a thousand and with a million jobs: it should be the same.

    python benchmarks/overview.py [--jobs 1000 1000000] [--queues 10] [--rounds 50]

Starts a server of its own and prints one JSON row: milliseconds and server commands a refresh, by jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time

from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.embedded.server import EmbeddedServer
from glidemq_core.watch import Watch
from glidemq_core.wire.keys import QueueKeys

#: Adds jobs numbered from..to: three of five wait, one is delayed, one has completed.
LOADER = """
local P, now = KEYS[1], tonumber(ARGV[3])
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local state = ({ "waiting", "waiting", "waiting", "delayed", "completed" })[n % 5 + 1]
  redis.call("HSET", P .. ":job:" .. n, "id", n, "name", "answer", "data", '{"prompt":"hello"}', "opts", "{}",
    "timestamp", now, "attemptsMade", 0, "delay", 0, "priority", 0, "maxAttempts", 0, "state", state)
  if state == "waiting" then redis.call("XADD", P .. ":stream", "*", "jobId", n, "name", "answer")
  elseif state == "delayed" then redis.call("ZADD", P .. ":scheduled", now + n, n)
  else redis.call("ZADD", P .. ":completed", now, n) end
end
"""
BATCH = 10_000


async def load(connection: Connection, names: list[str], jobs: int) -> None:
    """Spread jobs over queues; the loader runs on the server."""
    share = jobs // len(names)
    for name in names:
        root = QueueKeys(connection.prefix, name).root
        for first in range(1, share + 1, BATCH):
            last = min(first + BATCH - 1, share)
            await connection.command("EVAL", LOADER, 1, root, first, last, connection.now_ms())


async def commands_run(connection: Connection) -> int:
    """Commands the server has run so far, those inside functions too."""
    info = (await connection.command("INFO", "commandstats")).decode()
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in info.splitlines() if "calls=" in line)


async def measure(connection: Connection, jobs: int, queues: int, rounds: int) -> dict[str, float]:
    """Refresh `rounds` times after a warm-up; the median in ms, and commands of one refresh."""
    await connection.command("FLUSHALL")
    names = [f"bench-{number}" for number in range(queues)]
    await load(connection, names, jobs)
    async with Watch(connection, queues=names, calls_per_s=1e6) as watch:
        await watch.snapshot()
        times = []
        before = await commands_run(connection)
        for _ in range(rounds):
            started = time.perf_counter()
            fleet = await watch.snapshot()
            times.append((time.perf_counter() - started) * 1000)
        spent = await commands_run(connection) - before
    counted = sum(queue.waiting + queue.delayed + queue.completed for queue in fleet.queues)
    if counted != jobs // queues * queues:
        raise SystemExit(f"the overview counts {counted} jobs, {jobs} were added")
    return {"ms": round(statistics.median(times), 3), "commands": round((spent - 1) / rounds, 1)}


async def run(arguments: argparse.Namespace) -> None:
    """Measure every size on one server and print the row."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(folder)
        await server.start()
        try:
            async with connect(server.url) as connection:
                sizes = {
                    str(jobs): await measure(connection, jobs, arguments.queues, arguments.rounds)
                    for jobs in arguments.jobs
                }
        finally:
            await server.stop()
    first, last = (sizes[str(jobs)]["ms"] for jobs in (arguments.jobs[0], arguments.jobs[-1]))
    row = {
        "benchmark": "overview",
        "queues": arguments.queues,
        "jobs": sizes,
        "ratio": round(last / first, 2),
    }
    print(json.dumps(row))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Cost of one overview refresh.")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--queues", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=50)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
