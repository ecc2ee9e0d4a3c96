"""What the console costs on a thousand queues with a thousand and with a million jobs: it should be the same.

    python -m benchmarks.console_million [--quick]

The real command runs in a pseudo-terminal. After its first minute, in which it searches for queues, its own time of a
core and the server's time for its commands are measured, then the commands that its connection sends are counted. It
fails when the console does not show all queues and jobs, or does not count what is added while it looks.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from glidemq_console.text.format import count
from glidemq_core.server.connection import Connection

from .common import fresh_server, main
from .overview import load
from .pseudo_terminal import PseudoTerminal
from .terminal import console, load_of

QUEUES, JOBS = 1_000, (1_000, 1_000_000)
NAMES = [f"bench-{number:04}" for number in range(QUEUES)]
#: The first minute, and how long is looked at afterwards, s.
SETTLE_S, SECONDS = 60, 60
#: Commands a second that the console may send after its first minute.
REACH = {"commands_per_s": 100}
#: Fewer commands a second do not even read the rows on screen: the console shows something old.
LEAST_PER_S = 5
#: Jobs that are added while the console looks, and how long it may take until those that wait are counted, s.
ADDED, SEEN_IN_S = 5_000, 40
USED = re.compile(r"^cmdstat_fcall_ro:calls=\d+,usec=(\d+)", re.MULTILINE)


async def _count(url: str, seconds: float) -> float:
    """Commands a second that clients send, without those that functions call."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines, began = 0, time.monotonic()
    try:
        writer.write(f"AUTH {parts.password}\r\nMONITOR\r\n".encode() if parts.password else b"MONITOR\r\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while line := await reader.readline():
                    lines += b" lua] " not in line and b'"' in line
    finally:
        writer.close()
    return lines / (time.monotonic() - began)


async def _busy_us(connection: Connection) -> int:
    """Microseconds that the server has spent on reading calls of our functions, which are most of what is sent."""
    info = (await connection.command("INFO", "commandstats")).decode()
    return sum(map(int, USED.findall(info)))


async def _shows(terminal: PseudoTerminal, words: list[str], seconds: float) -> None:
    """Wait until all these words are on screen.

    Raises:
        SystemExit: They are not in time; says which are missing, and what is shown instead.
    """
    deadline = time.monotonic() + seconds
    while True:
        text = await asyncio.to_thread(terminal.redrawn, 2)
        missing = [word for word in words if word not in text]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"the console does not show {', '.join(map(repr, missing))} but:\n{text}")


def _waiting(jobs: int) -> int:
    """How many of so many jobs of a queue wait, see `overview.LOADER`."""
    return sum(number % 5 < 3 for number in range(1, jobs + 1))


async def _look(jobs: int, quick: bool) -> dict[str, float]:
    settle, seconds = (15, 10) if quick else (SETTLE_S, SECONDS)
    async with fresh_server() as (url, connection):
        await load(connection, NAMES, jobs)
        with console(url) as terminal:
            await asyncio.to_thread(terminal.drain, settle)
            waiting = QUEUES * _waiting(jobs // QUEUES)
            await _shows(terminal, [f"{QUEUES:,} queues", f"{count(waiting)} wait"], SEEN_IN_S)
            busy = await _busy_us(connection)
            cost = await asyncio.to_thread(load_of, terminal, 0, seconds)
            spent = await _busy_us(connection) - busy
            counting = asyncio.create_task(_count(url, seconds))
            await asyncio.to_thread(terminal.drain, seconds + 1)
            sent = await counting
            if sent < LEAST_PER_S:
                raise SystemExit(f"the console sends {sent:.1f} commands a second: it reads nothing")
            # It goes on looking: what comes now is counted too.
            await load(connection, [NAMES[0]], ADDED)
            waiting += _waiting(ADDED)
            await _shows(terminal, [f"{count(waiting)} wait"], SEEN_IN_S)
            return {
                "commands_per_s": round(sent, 1),
                "server_percent": round(spent / seconds / 10_000, 2),
                "cpu_percent": cost["cpu_percent"],
            }


async def measure(quick: bool) -> dict[str, Any]:
    """Look at few and at many jobs."""
    sizes = {jobs: await _look(jobs, quick) for jobs in (JOBS[0], JOBS[1] // 10 if quick else JOBS[1])}
    return {"benchmark": "console_million", "queues": QUEUES, "jobs": sizes, "reach": REACH}


if __name__ == "__main__":
    main("The console on a thousand queues and a million jobs.", measure)
