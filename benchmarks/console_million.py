"""What the console costs on a thousand queues with a thousand and with a million jobs: it should be the same.

    python -m benchmarks.console_million [--quick]

The real command runs in a pseudo-terminal. After its first minute, in which it searches for queues, its own time of a
core and the server's time for its commands are measured, then the commands that its connection sends are counted.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from glidemq_core.server.connection import Connection

from .common import fresh_server, main
from .overview import load
from .terminal import console, load_of

QUEUES, JOBS = 1_000, (1_000, 1_000_000)
#: The first minute, and how long is looked at afterwards, s.
SETTLE_S, SECONDS = 60, 60
#: Commands a second that the console may send after its first minute.
REACH = {"commands_per_s": 100}
USED = re.compile(r"^cmdstat_fcall_ro:calls=\d+,usec=(\d+)", re.MULTILINE)


async def _count(url: str, seconds: float) -> float:
    """Commands a second that clients send, without those that functions call."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    count, began = 0, time.monotonic()
    try:
        writer.write(f"AUTH {parts.password}\r\nMONITOR\r\n".encode() if parts.password else b"MONITOR\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while line := await reader.readline():
                    count += b" lua] " not in line and b'"' in line
    finally:
        writer.close()
    return count / (time.monotonic() - began)


async def _busy_us(connection: Connection) -> int:
    """Microseconds that the server has spent on reading calls of our functions, which are most of what is sent."""
    info = (await connection.command("INFO", "commandstats")).decode()
    return sum(map(int, USED.findall(info)))


async def _look(jobs: int, quick: bool) -> dict[str, float]:
    settle, seconds = (15, 10) if quick else (SETTLE_S, SECONDS)
    async with fresh_server() as (url, connection):
        await load(connection, [f"bench-{number:04}" for number in range(QUEUES)], jobs)
        with console(url) as terminal:
            await asyncio.to_thread(terminal.drain, settle)
            busy = await _busy_us(connection)
            cost = await asyncio.to_thread(load_of, terminal, 0, seconds)
            spent = await _busy_us(connection) - busy
            counting = asyncio.create_task(_count(url, seconds))
            await asyncio.to_thread(terminal.drain, seconds + 1)
            return {
                "commands_per_s": round(await counting, 1),
                "server_percent": round(spent / seconds / 10_000, 2),
                "cpu_percent": cost["cpu_percent"],
            }


async def measure(quick: bool) -> dict[str, Any]:
    """Look at few and at many jobs."""
    sizes = {jobs: await _look(jobs, quick) for jobs in (JOBS[0], JOBS[1] // 10 if quick else JOBS[1])}
    return {"benchmark": "console_million", "queues": QUEUES, "jobs": sizes, "reach": REACH}


if __name__ == "__main__":
    main("The console on a thousand queues and a million jobs.", measure)
