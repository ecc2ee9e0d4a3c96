"""What every benchmark needs: a server of its own, a summary of samples, one row of JSON at the end."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.server.embedded.server import EmbeddedServer


@asynccontextmanager
async def fresh_server() -> AsyncIterator[tuple[str, Connection]]:
    """Start a server in a folder of its own; yield its URL and a connection, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="glidemq-bench-") as folder:
        server = EmbeddedServer(folder)
        await server.start()
        try:
            async with connect(server.url) as connection:
                yield server.url, connection
        finally:
            await server.stop()


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the sample that `share` (0 to 1) of all samples do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(samples: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Summarise latencies in ms."""
    return {
        "p50_ms": round(statistics.median(samples), digits),
        "p99_ms": round(percentile(samples, 0.99), digits),
        "samples": len(samples),
    }


def rates(samples: Sequence[float]) -> dict[str, Any]:
    """Summarise rates a second: the best and the median of the rounds."""
    return {
        "best": round(max(samples)),
        "median": round(statistics.median(samples)),
        "rounds": [round(sample) for sample in samples],
    }


def main(description: str, measure: Callable[[bool], Coroutine[Any, Any, dict[str, Any]]]) -> None:
    """Run a benchmark as a command: `--quick` for a rough answer, the result as one line of JSON."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer jobs and rounds")
    print(json.dumps(asyncio.run(measure(parser.parse_args().quick))))
