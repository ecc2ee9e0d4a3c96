"""What breaks, and when: each schedule disturbs a server, its connections or its workers for a while."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import valkey
from kits.cluster import Cluster, running_cluster
from kits.leaks import Keyspace

from glidemq_core import connect
from glidemq_core.server.connection import Connection

from .invariants import problems
from .proxy import Proxy, Trouble
from .servers import Server, kill_without_loss, primaries
from .workload import QUEUE, Account, Producer, Runs, decide, worker

#: Seconds that everything accepted has to end in, once the faults are over.
_SETTLING = 45.0


@dataclass
class Site:
    """Where a schedule does its work."""

    rng: random.Random
    seconds: float
    runs: Runs
    server: Server = field(init=False)
    proxy: Proxy = field(init=False)
    cluster: Cluster | None = None
    deadline: float = 0.0
    #: Faults that were made, for the report.
    faults: int = 0
    children: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def each(self, low: float, high: float) -> AsyncIterator[None]:
        """Yield at random moments until the time of the faults is over."""
        while True:
            pause = self.rng.uniform(low, high)
            if time.monotonic() + pause > self.deadline:
                await asyncio.sleep(max(0.0, self.deadline - time.monotonic()))
                return
            await asyncio.sleep(pause)
            self.faults += 1
            yield

    async def crew(self) -> asyncio.subprocess.Process:
        """Start a process with a worker of the workload."""
        words = (sys.executable, "-m", "faults.crew", self.url, str(self.runs.path))
        process = await asyncio.create_subprocess_exec(*words, cwd=Path(__file__).parents[1])
        self.children.append(process)
        return process

    async def dismiss(self) -> None:
        """End the processes that `crew` started."""
        for child in self.children:
            if child.returncode is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
                await child.wait()

    @property
    def url(self) -> str:
        """What clients connect to: the proxy, or one node of the cluster."""
        if self.cluster is not None:
            return self.cluster.url(self.cluster.nodes[0])
        return f"valkey://127.0.0.1:{self.proxy.port}"


Schedule = Callable[[Site], Awaitable[None]]


async def requests_lost(site: Site) -> None:
    await _troubled(site, Trouble.BEFORE)


async def replies_lost(site: Site) -> None:
    await _troubled(site, Trouble.AFTER)


async def half_closed(site: Site) -> None:
    await _troubled(site, Trouble.HALF_CLOSED)


async def delayed(site: Site) -> None:
    await _troubled(site, Trouble.DELAYED)


async def connections_forgotten(site: Site) -> None:
    """Connections lead nowhere all at once, as when a firewall restarts; they look open, and new ones work."""
    async for _ in site.each(3, 6):
        site.proxy.forget()


async def requests_late(site: Site) -> None:
    """The same, and what was sent on them reaches the server in the end, after its repeats."""
    async for _ in site.each(1.5, 3):
        site.proxy.forget(late_s=site.rng.uniform(3, 6))


async def _troubled(site: Site, trouble: Trouble) -> None:
    site.proxy.trouble = trouble
    await asyncio.sleep(site.seconds)
    site.proxy.trouble = Trouble.NONE
    site.faults = site.proxy.hits


async def unreachable(site: Site) -> None:
    async for _ in site.each(0.5, 2):
        site.proxy.trouble = Trouble.DOWN
        site.proxy.cut()
        await asyncio.sleep(site.rng.uniform(0.2, 3))
        site.proxy.trouble = Trouble.NONE


async def server_killed(site: Site) -> None:
    async for _ in site.each(0.5, 2):
        await asyncio.to_thread(site.server.kill)
        await asyncio.sleep(site.rng.uniform(0.1, 2))
        await asyncio.to_thread(site.server.start)


async def server_silent(site: Site) -> None:
    async for _ in site.each(0.5, 2):
        site.server.send(signal.SIGSTOP)
        await asyncio.sleep(site.rng.uniform(0.5, 7))
        site.server.send(signal.SIGCONT)


async def out_of_memory(site: Site) -> None:
    async for _ in site.each(0.3, 1):
        site.server.ask("CONFIG", "SET", "maxmemory", "1")
        await asyncio.sleep(site.rng.uniform(0.2, 2))
        site.server.ask("CONFIG", "SET", "maxmemory", "0")


async def cannot_save(site: Site) -> None:
    """MISCONF: a save that failed makes the server refuse writes until one succeeds."""
    blocked = site.server.folder / "dump.rdb"
    async for _ in site.each(0.3, 1):
        blocked.unlink(missing_ok=True)
        blocked.mkdir()
        site.server.ask("CONFIG", "SET", "save", "3600 1")
        await _saved(site.server, "err")
        await asyncio.sleep(site.rng.uniform(0.2, 2))
        blocked.rmdir()
        await _saved(site.server, "ok")
        site.server.ask("CONFIG", "SET", "save", "")


async def _saved(server: Server, wanted: str) -> None:
    while True:
        with contextlib.suppress(valkey.ResponseError):
            server.ask("BGSAVE")
        await asyncio.sleep(0.1)
        facts = server.ask("INFO", "persistence")
        if not facts["rdb_bgsave_in_progress"] and facts["rdb_last_bgsave_status"] == wanted:
            return


async def library_flushed(site: Site) -> None:
    async for _ in site.each(0.1, 0.6):
        site.server.ask("FUNCTION", "FLUSH")
        if site.rng.random() < 0.5:
            site.server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def worker_killed(site: Site) -> None:
    crew = await site.crew()
    async for _ in site.each(1.5, 3):
        crew.kill()
        await crew.wait()
        crew = await site.crew()


async def worker_stopped(site: Site) -> None:
    crew = await site.crew()
    async for _ in site.each(1.5, 3):
        crew.send_signal(signal.SIGSTOP)
        await asyncio.sleep(site.rng.uniform(0.5, 4))
        crew.send_signal(signal.SIGCONT)


async def seed_killed(site: Site) -> None:
    """The only node that clients were told of dies and stays away; its replica takes over."""
    assert site.cluster is not None
    await asyncio.sleep(site.seconds / 3)
    site.faults = 1
    await kill_without_loss(site.cluster.nodes[0])
    await asyncio.sleep(site.seconds * 2 / 3)


SCHEDULES: dict[str, Schedule] = {
    "requests-lost": requests_lost,
    "replies-lost": replies_lost,
    "half-closed": half_closed,
    "connections-forgotten": connections_forgotten,
    "requests-late": requests_late,
    "delayed": delayed,
    "unreachable": unreachable,
    "server-killed": server_killed,
    "server-silent": server_silent,
    "out-of-memory": out_of_memory,
    "cannot-save": cannot_save,
    "library-flushed": library_flushed,
    "worker-killed": worker_killed,
    "worker-stopped": worker_stopped,
    "seed-killed": seed_killed,
}
_ON_A_CLUSTER = {"seed-killed"}


@dataclass(frozen=True)
class Report:
    """How a schedule went."""

    name: str
    seed: int
    accepted: int
    starts: int
    faults: int
    repeated_calls: int
    #: Seconds from the end of the faults until everything had ended.
    settled_s: float
    problems: list[str]

    def __str__(self) -> str:
        return (
            f"{self.name} seed {self.seed}: {self.accepted} jobs, {self.starts} starts, {self.faults} faults, "
            f"{self.repeated_calls} adds repeated, settled in {self.settled_s:.1f} s, "
            f"{len(self.problems) or 'no'} problems"
        )


async def run(name: str, seed: int, seconds: float, *, pause_s: float = 0.01) -> Report:
    """Run the workload through a schedule, let it settle, and check what is left.

    Args:
        name: one of SCHEDULES.
        seed: decides jobs and faults; what the machine decides (who is first) stays open.
        seconds: how long things break.
        pause_s: mean pause between two adds.
    """
    folder = Path(tempfile.mkdtemp(prefix="glidemq-faults-"))
    try:
        async with _site(name, seed, seconds, folder) as site:
            return await _played(name, seed, site, pause_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def _site(name: str, seed: int, seconds: float, folder: Path) -> AsyncIterator[Site]:
    rng = random.Random(f"{name}:{seed}")
    async with contextlib.AsyncExitStack() as stack:
        site = Site(rng, seconds, Runs(folder / "runs"))
        if name in _ON_A_CLUSTER:
            options = ("--cluster-node-timeout", "1500")
            running = running_cluster(folder, primaries=3, replicas=3, options=options)
            site.cluster = await stack.enter_async_context(running)
        else:
            site.server = Server(folder / "server")
            stack.callback(site.server.kill)
            await asyncio.to_thread(site.server.start)
            site.proxy = Proxy(site.server.port, random.Random(rng.random()))
            stack.push_async_callback(site.proxy.close)
            await site.proxy.start()
        stack.push_async_callback(site.dismiss)
        yield site


async def _played(name: str, seed: int, site: Site, pause_s: float) -> Report:
    account = Account()
    opened = [await connect(site.url, request_timeout=2_000) for _ in range(3)]
    producing, deciding, working = opened
    producer = Producer(producing, account, random.Random(site.rng.random()), pause_s=pause_s)
    try:
        async with worker(working, site.runs), worker(working, site.runs, concurrency=3):
            approver = asyncio.create_task(decide(deciding, account))
            adding = asyncio.create_task(producer.run())
            site.deadline = time.monotonic() + site.seconds
            await SCHEDULES[name](site)
            producer.stopping.set()
            await asyncio.wait_for(adding, _SETTLING)
            since = time.monotonic()
            await _settled(site)
            settled_s = time.monotonic() - since
            approver.cancel()
            await asyncio.gather(approver, return_exceptions=True)
    finally:
        await _closed(opened)
    starts = len(site.runs.read())
    async with _nodes(site) as nodes:
        found = problems(Keyspace(nodes), account, site.runs)
    accepted = len(account.accepted) + sum(known for known, _ in account.plain.values())
    return Report(name, seed, accepted, starts, site.faults, account.repeated_calls, settled_s, found)


async def _closed(opened: list[Connection]) -> None:
    for connection in opened:
        await connection.close()


@contextlib.asynccontextmanager
async def _nodes(site: Site) -> AsyncIterator[list[valkey.Valkey]]:
    """Clients of every node that owns slots, past every proxy."""
    ports = await primaries(site.cluster) if site.cluster else [site.server.port]
    clients = [valkey.Valkey(host="127.0.0.1", port=port, socket_timeout=10) for port in ports]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def _settled(site: Site) -> None:
    """Wait until every job has ended, or until waiting has no sense any more."""
    deadline = time.monotonic() + _SETTLING
    while time.monotonic() < deadline:
        with contextlib.suppress(valkey.ValkeyError):
            async with _nodes(site) as nodes:
                states = await asyncio.to_thread(Keyspace(nodes).of_jobs, f"glide:{{{QUEUE}}}", "state")
                if all(state in ("completed", "failed") for state in states.values()):
                    return
        await asyncio.sleep(0.25)
