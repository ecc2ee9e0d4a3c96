"""What an exact vector search costs: time of a query over many vectors, and the memory it takes here.

    python benchmarks/search.py [--vectors 10000] [--dimensions 384] [--rounds 10]

Starts a server of its own and prints one JSON row: milliseconds a query without and with a filter, and how much
the process grew while it searched, in MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time

import numpy

from glidemq_core import Queue, VectorField
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.embedded.server import EmbeddedServer
from glidemq_core.wire.keys import QueueKeys

_BATCH = 500
_QUEUE = "bench"


async def load(connection: Connection, vectors: int, dimensions: int) -> None:
    """Write finished jobs with random vectors, as their records stand on the wire."""
    keys = QueueKeys(connection.prefix, _QUEUE)
    numbers = numpy.random.default_rng(7)
    for first in range(0, vectors, _BATCH):
        rows = numbers.standard_normal((min(_BATCH, vectors - first), dimensions)).astype("<f4")
        await connection.pipeline(
            [
                ("HSET", keys.job(str(job)), "id", job, "name", f"kind{job % 10}", "data", "{}", "opts", "{}",
                 "timestamp", job, "state", "completed", "embedding", row.tobytes())
                for job, row in enumerate(rows, first + 1)
            ]
        )  # fmt: skip


async def measure(connection: Connection, vectors: int, dimensions: int, rounds: int) -> dict[str, object]:
    """Search `rounds` times with and without a filter, after a warm-up."""
    await load(connection, vectors, dimensions)
    async with Queue(_QUEUE, connection) as queue:
        started = time.perf_counter()
        await queue.create_job_index(vector_field=VectorField("embedding", dimensions), engine="exact")
        created = time.perf_counter() - started
        wanted = numpy.random.default_rng(8).standard_normal(dimensions)
        before = _peak_mib()
        times: dict[str, list[float]] = {"*": [], "@name:{kind3}": []}
        for turn in range(rounds + 1):
            for where, taken in times.items():
                started = time.perf_counter()
                hits = await queue.vector_search(wanted, filter=where)
                if turn:
                    taken.append((time.perf_counter() - started) * 1_000)
                assert len(hits) == 10
    return {
        "benchmark": "search",
        "vectors": vectors,
        "dimensions": dimensions,
        "index_ms": round(created * 1_000, 1),
        "query_ms": round(statistics.median(times["*"]), 1),
        "query_max_ms": round(max(times["*"]), 1),
        "filtered_ms": round(statistics.median(times["@name:{kind3}"]), 1),
        "grown_mib": round(_peak_mib() - before, 1),
    }


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


async def run(vectors: int, dimensions: int, rounds: int) -> None:
    """Measure on a fresh server."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(folder)
        await server.start()
        try:
            async with connect(server.url) as connection:
                print(json.dumps(await measure(connection, vectors, dimensions, rounds)))
        finally:
            await server.stop()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--vectors", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=10)
    chosen = parser.parse_args()
    asyncio.run(run(chosen.vectors, chosen.dimensions, chosen.rounds))


if __name__ == "__main__":
    main()
