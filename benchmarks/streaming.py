"""Tokens from a job to a reader: chunks awaited one by one, chunks gathered, and the age of a chunk in the hand.

    python -m benchmarks.streaming [--quick]

A job streams while `queue.stream` reads in the same process; the rate counts until the reader has every chunk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from glidemq_core import Job, Queue, Worker

from .common import fresh_server, main, spread

ONE_BY_ONE, GATHERED, PACED = 6_000, 40_000, 500
#: Chunks awaited together.
GROUP = 200
#: Between two chunks whose way to the reader is timed, s: 200 tokens a second, a fast model.
PACE = 0.005

Sender = Callable[[Job[Any, Any], list[float]], Awaitable[None]]


def one_by_one(count: int) -> Sender:
    """Await each chunk before the next."""

    async def send(job: Job[Any, Any], sent: list[float]) -> None:
        for _ in range(count):
            sent.append(time.perf_counter())
            await job.stream_chunk("content", "token ")

    return send


def gathered(count: int) -> Sender:
    """Await groups of chunks together."""

    async def send(job: Job[Any, Any], sent: list[float]) -> None:
        for _ in range(count // GROUP):
            sent.extend([time.perf_counter()] * GROUP)
            await asyncio.gather(*(job.stream_chunk("content", "token ") for _ in range(GROUP)))

    return send


def paced(count: int) -> Sender:
    """Send at the pace of a model."""

    async def send(job: Job[Any, Any], sent: list[float]) -> None:
        for _ in range(count):
            await asyncio.sleep(PACE)
            sent.append(time.perf_counter())
            await job.stream_chunk("content", "token ")

    return send


async def run(queue: Queue[Any, Any], url: str, send: Sender) -> tuple[float, list[float]]:
    """Stream one job; return chunks a second and each chunk's way to the reader in ms."""
    sent: list[float] = []

    async def process(job: Job[Any, Any]) -> None:
        await send(job, sent)

    job = await queue.add("answer")
    assert job is not None
    got = []
    async with Worker(queue.name, process, url):
        async for _ in queue.stream(job.id):
            got.append(time.perf_counter())
    if len(got) != len(sent):
        raise SystemExit(f"the reader got {len(got)} chunks, {len(sent)} were sent")
    ways = [(arrived - left) * 1000 for left, arrived in zip(sent, got, strict=True)]
    return len(got) / (got[-1] - sent[0]), ways


async def measure(quick: bool) -> dict[str, Any]:
    """Run the three ways of sending."""
    part = 5 if quick else 1
    queue: Queue[Any, Any]
    async with fresh_server() as (url, _), Queue("streaming", url) as queue:
        slow, _ = await run(queue, url, one_by_one(ONE_BY_ONE // part))
        fast, _ = await run(queue, url, gathered(GATHERED // part))
        _, ways = await run(queue, url, paced(PACED // part))
    return {
        "benchmark": "streaming",
        "one_by_one_per_s": round(slow),
        "gathered_per_s": round(fast),
        "to_reader": spread(ways),
        "reach": {"one_by_one_per_s": 4_000, "gathered_per_s": 20_000, "p50_ms": 2},
    }


if __name__ == "__main__":
    main("Tokens from a job to a reader.", measure)
