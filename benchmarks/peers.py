"""No-op jobs beside other Python task queues, each at its defaults, in turns on one server.

    python -m benchmarks.peers [--quick]

Every round runs in a process of its own. Jobs are added before a worker starts; the rate counts from the first call of
the processor to the last one, or until some seconds have passed. The latency is that of single adds to an idle worker,
until the processor runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from .common import fresh_server, main, spread
from .peer_systems import SYSTEMS, System

#: Concurrency, and jobs a round.
LEVELS = {1: 1_000, 10: 2_000, 50: 4_000, 200: 4_000}
ROUNDS = 5
#: Jobs of a round of latency, and the pause between two, s.
SINGLES, PAUSE_S = 200, 0.02
#: A round ends after so long with the jobs that have run, s; what hangs is given up after the limit.
ROUND_S = 8
LIMIT_S = 60


class Meter:
    """Counts the calls of a processor."""

    def __init__(self) -> None:
        self.left = 0
        self.started = 0.0
        self.cpu = 0.0
        self.done = asyncio.Event()

    def expect(self, jobs: int) -> None:
        """Count down from so many."""
        self.left, self.started = jobs, 0.0
        self.done.clear()

    def call(self) -> None:
        """Note one call."""
        if not self.started:
            self.started, self.cpu = time.perf_counter(), time.process_time()
        self.left -= 1
        if self.left <= 0:
            self.done.set()


async def measure_rate(
    system: System, meter: Meter, server: Any, concurrency: int, jobs: int
) -> dict[str, float]:
    """Run one round of jobs."""
    meter.expect(jobs)
    await system.add_many(jobs)
    before = server_us(server)
    async with system.working(concurrency):
        await asyncio.wait({asyncio.ensure_future(meter.done.wait())}, timeout=ROUND_S)
        seconds = time.perf_counter() - meter.started
        cpu, done = time.process_time() - meter.cpu, jobs - meter.left
        if not done:
            raise RuntimeError(f"no job ran within {ROUND_S} s")
        await asyncio.sleep(0.05)  # the last ends are recorded
        spent = server_us(server) - before
    return {
        "per_s": done / seconds,
        "client_us": cpu * 1_000_000 / done,
        "server_us": spent / done,
        "memory_mb": memory_mb(),
    }


async def measure_latency(system: System, meter: Meter, jobs: int) -> list[float]:
    """Add one job at a time; ms until the processor runs."""
    samples = []
    async with system.working(10):
        for number in range(jobs + 5):
            await asyncio.sleep(PAUSE_S)
            meter.expect(1)
            added = time.perf_counter()
            await system.add()
            await asyncio.wait_for(meter.done.wait(), LIMIT_S)
            if number >= 5:  # the first ones find the worker starting
                samples.append((meter.started - added) * 1_000)
    return samples


def memory_mb() -> float:
    """Most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there began before this program did
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def server_us(server: Any) -> float:
    """CPU time that the server has spent, microseconds."""
    info = server.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"]) * 1_000_000


async def one_round(name: str, url: str, concurrency: int, jobs: int) -> Any:
    """Measure one system once; concurrency 0 measures the latency."""
    meter, server = Meter(), redis.Redis.from_url(url)
    server.flushall()
    system = SYSTEMS[name](url, meter.call)
    await system.open()
    if concurrency:
        return await measure_rate(system, meter, server, concurrency, jobs)
    return await measure_latency(system, meter, jobs)


def in_process(name: str, url: str, concurrency: int, jobs: int) -> Any:
    """Measure in a new process."""
    url = url.replace("valkey://", "redis://")  # the word that all of them know
    words = [sys.executable, "-m", "benchmarks.peers", "--round", name, url, str(concurrency), str(jobs)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=2 * LIMIT_S)
    if ended.returncode:
        raise RuntimeError(f"{name} at {concurrency}: {ended.stderr[-2_000:]}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


async def measure(quick: bool) -> dict[str, Any]:
    """Take rounds in turns and report the medians."""
    rounds, part = (1, 4) if quick else (ROUNDS, 1)
    found: dict[str, dict[int, list[Any]]] = {name: {level: [] for level in (*LEVELS, 0)} for name in SYSTEMS}
    async with fresh_server() as (url, _):
        for number in range(rounds):
            for level, jobs in (*LEVELS.items(), (0, SINGLES)):
                for name in SYSTEMS if number % 2 == 0 else reversed(SYSTEMS):
                    sample = await asyncio.to_thread(in_process, name, url, level, jobs // part)
                    found[name][level].append(sample)
    return {
        "benchmark": "peers",
        "systems": {name: summary(name, levels) for name, levels in found.items()},
    }


def summary(name: str, levels: dict[int, list[Any]]) -> dict[str, Any]:
    """Medians of one system."""
    system = SYSTEMS[name]
    return {
        "version": version(system.package),
        "without": system.without,
        **{
            key: {
                level: round(statistics.median(sample[key] for sample in levels[level]), 1)
                for level in LEVELS
            }
            for key in ("per_s", "client_us", "server_us", "memory_mb")
        },
        "latency": spread([sample for samples in levels[0] for sample in samples]),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        name, url, concurrency, jobs = sys.argv[2:]
        measured = asyncio.new_event_loop().run_until_complete(
            one_round(name, url, int(concurrency), int(jobs))
        )
        print(json.dumps(measured), flush=True)
        os._exit(0)  # how a system disconnects is not measured, and not every one ends
    else:
        main("No-op jobs beside other task queues.", measure)
