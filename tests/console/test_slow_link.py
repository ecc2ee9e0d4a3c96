"""The console over a link of 20 KB a second, while tokens come faster than it carries them."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest
from conftest import eventually
from kits.terminal import Terminal, console

from glidemq_core import NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough

#: Bytes a second of the link, and what a key may take on a machine that is busy with other tests, s. Without
#: waiting for the terminal, frames of a quarter of a minute stand in the way.
LINK, PATIENCE_S = 20_000, 5.0


async def talk(job: Any) -> None:
    number = 0
    while True:
        words = [f"{job.id}-{number + n:x} " * (1 + n % 3) for n in range(20)]
        number += 20
        await asyncio.gather(*(job.stream({"t": word}) for word in words))
        await asyncio.sleep(0.04)


def shown(terminal: Terminal, words: str, there: bool) -> bool:
    return any(words in line for line in terminal.screen.lines) == there


async def test_a_slow_link_stays_usable_while_tokens_come(connection: Connection, server_url: str) -> None:
    async with Queue("chat", connection) as queue:
        await queue.add_bulk([NewJob("answer") for _ in range(4)])
        worker = Worker("chat", talk, connection, concurrency=4)
        async with worker:
            with console(
                server_url, "--screen", "streams", size=(160, 45), answers=True, bytes_per_s=LINK
            ) as terminal:
                await terminal.shows("chat:4", timeout=60)
                await terminal.shows("tok/s")
                await asyncio.sleep(5)
                took = []
                for key, words, there in (
                    ("?", "everywhere", True),
                    ("\x1b", "everywhere", False),
                    (":", "enter zoom", False),
                    ("x", ":x", True),
                    ("yz", ":xyz", True),
                    ("\x1b", "enter zoom", True),
                    ("1", "enter jobs", True),
                    ("3", "enter zoom", True),
                ):
                    pressed = time.monotonic()
                    terminal.press(key)
                    await eventually(partial(shown, terminal, words, there), timeout=30)
                    took.append(round(time.monotonic() - pressed, 1))
                assert sorted(took)[-2] < PATIENCE_S, took
            await worker.close(force=True)
