"""What the console writes and costs in a terminal of 160x45, and how soon a key press is painted.

    python -m benchmarks.terminal [--quick] [--only CASE]

Runs the real command in a pseudo-terminal against a server of its own, with a worker in a third process that streams
varied words. Letters that nothing else writes are typed on the command line; a key is painted when its letter comes
out. Time of a core is the console's own. Prints one JSON row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from glidemq_core import NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

from .common import fresh_server, percentile
from .pseudo_terminal import PseudoTerminal

COLUMNS, LINES = 160, 45
#: Typed one after the other; no token, figure or label holds one of them.
LETTERS = "жщфыэюяђљњ"
#: Typed first, to see that the line is open.
PROBE = "ш"
#: Chunks that a job sends at once, as a model's stream brings several in one packet.
BURST = 10
#: Panes of the wall.
PANES = 4
#: Queue of the jobs that stream.
QUEUE = "chat"
#: Bytes a second of the slow link.
SLOW_LINK = 20_000
#: What each figure should reach.
REACH = {
    "idle": {"bytes_per_s": 3_000, "cpu_percent": 3},
    "tokens": {"bytes_per_s": 80_000, "cpu_percent": 25},
    "slow_link": {"key_p95_ms": 1_000},
    "streams": {"key_p95_ms": 50},
    "queues": {"key_p95_ms": 50},
    "first_frame": {"median_ms": 600},
}


def words(seed: int) -> Iterator[str]:
    """Words of all lengths, in an order that does not repeat."""
    dice = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]
    known = ["".join(dice.choices(syllables, k=dice.choice((1, 1, 2, 2, 3, 4)))) for _ in range(2_000)]
    while True:
        yield dice.choice(known) + dice.choice((" ", " ", " ", " ", ", ", ". ", ".\n\n"))


async def talk(url: str, rate: int) -> None:
    """Run jobs that stream at a common rate until killed."""

    async def process(job: Any) -> None:
        text = words(int(job.id))
        pause, due = BURST * PANES / rate, time.monotonic()
        while True:
            await asyncio.gather(*(job.stream({"t": next(text)}) for _ in range(BURST)))
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async with Queue(QUEUE, url) as queue:
        await queue.add_bulk([NewJob("answer") for _ in range(PANES)])
        async with Worker(QUEUE, process, url, concurrency=PANES):
            await asyncio.Event().wait()


class Talk:
    """Tokens that come while a case is measured."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before, self._began = 0, time.monotonic()

    async def _count(self) -> int:
        lengths = [
            self._connection.command("XLEN", f"glide:{{{QUEUE}}}:jstream:{n + 1}") for n in range(PANES)
        ]
        return sum(await asyncio.gather(*lengths))

    async def begin(self) -> None:
        self._before, self._began = await self._count(), time.monotonic()

    async def rate(self) -> int:
        """Tokens a second since the beginning."""
        return round((await self._count() - self._before) / (time.monotonic() - self._began))


@asynccontextmanager
async def talking(url: str, connection: Connection, rate: int) -> AsyncIterator[Talk]:
    """Stream at a rate in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.terminal", "--talk", url, "--rate", str(rate)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(20):
            await connection.command("XREAD", "BLOCK", 0, "STREAMS", f"glide:{{{QUEUE}}}:jstream:1", "0")
        talk = Talk(connection)
        await talk.begin()
        yield talk
    finally:
        process.kill()
        await process.wait()


async def fill(url: str, queues: int) -> None:
    """Add queues with jobs that wait, whose ages tick."""
    async with Queue(QUEUE, url) as queue:
        connection = (await queue.context()).connection
        for first in range(0, queues, 50):
            names = [f"work-{number:04}" for number in range(first, min(first + 50, queues))]
            await asyncio.gather(*(_fill_one(name, connection) for name in names))


async def _fill_one(name: str, connection: Connection) -> None:
    async with Queue(name, connection) as queue:
        await queue.add_bulk([NewJob("answer") for _ in range(3)])


@contextmanager
def console(url: str, *options: str, bytes_per_s: float | None = None) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(url, *options, columns=COLUMNS, lines=LINES, bytes_per_s=bytes_per_s)
    try:
        if terminal.until(b"queues", 30) is None:
            raise SystemExit("the console did not show itself")
        yield terminal
    finally:
        terminal.close()


def load_of(terminal: PseudoTerminal, settle: float, seconds: float) -> dict[str, Any]:
    """Bytes a second and percent of a core, once what comes first is over."""
    terminal.drain(settle)
    received, used, began = terminal.received, terminal.cpu_s, time.monotonic()
    terminal.drain(seconds)
    span = time.monotonic() - began
    return {
        "bytes_per_s": round((terminal.received - received) / span),
        "cpu_percent": round((terminal.cpu_s - used) / span * 100, 1),
    }


def open_line(terminal: PseudoTerminal) -> None:
    """Open the command line; a terminal that is slow may take an escape and a colon for one key."""
    for _ in range(3):
        terminal.press(":")
        terminal.drain(0.3)
        terminal.press(PROBE)
        if terminal.until(PROBE.encode(), 20) is not None:
            terminal.drain(0.2)
            return
        terminal.press("\x1b")
        terminal.drain(1)
    raise SystemExit("the command line did not open")


def type_letters(terminal: PseudoTerminal, keys: int) -> dict[str, Any]:
    """Type letters with pauses; milliseconds from each press to its paint."""
    samples: list[float] = []
    terminal.drain(3)
    while len(samples) < keys:
        open_line(terminal)
        # No letter stands where it stood before: a cell that stays as it is is not written.
        turn = len(samples) // len(LETTERS) % len(LETTERS)
        for letter in LETTERS[turn:] + LETTERS[:turn]:
            pressed = terminal.press(letter)
            painted = terminal.until(letter.encode(), 30)
            if painted is None:
                raise SystemExit("a key was not painted within 30 seconds")
            samples.append((painted - pressed) * 1_000)
            # Never in step with the frames of the tokens.
            terminal.drain(0.05 + 0.013 * (len(samples) % 7))
        terminal.press("\x1b")
        terminal.drain(0.3)
    return {
        "key_p50_ms": round(percentile(samples, 0.5), 1),
        "key_p95_ms": round(percentile(samples, 0.95), 1),
        "keys": len(samples),
    }


async def idle(quick: bool) -> dict[str, Any]:
    """Look at 200 queues with nothing going on but ages."""
    async with fresh_server() as (url, _):
        await fill(url, 200)
        with console(url) as terminal:
            return {"queues": 200, **await asyncio.to_thread(load_of, terminal, 8, 6 if quick else 20)}


async def tokens(quick: bool) -> dict[str, Any]:
    """Look at four panes of tokens."""
    async with fresh_server() as (url, connection), talking(url, connection, 2_000) as talk:
        with console(url, QUEUE, "--screen", "streams") as terminal:
            load = await asyncio.to_thread(load_of, terminal, 5, 5 if quick else 15)
        return {"panes": PANES, "tokens_per_s": await talk.rate(), **load}


async def slow_link(quick: bool) -> dict[str, Any]:
    """Type over a slow link while tokens come."""
    async with fresh_server() as (url, connection), talking(url, connection, 2_000) as talk:
        with console(url, QUEUE, "--screen", "streams", bytes_per_s=SLOW_LINK) as terminal:
            keys = await asyncio.to_thread(type_letters, terminal, 20 if quick else 60)
        return {"link_bytes_per_s": SLOW_LINK, "tokens_per_s": await talk.rate(), **keys}


async def _type_on(screen: str, queues: int, quick: bool) -> dict[str, Any]:
    async with fresh_server() as (url, connection):
        await fill(url, queues)
        async with talking(url, connection, 10_000) as talk:
            with console(url, "--screen", screen) as terminal:
                await asyncio.to_thread(terminal.drain, 10)
                keys = await asyncio.to_thread(type_letters, terminal, 30 if quick else 100)
            return {"queues": queues, "tokens_per_s": await talk.rate(), **keys}


async def streams(quick: bool) -> dict[str, Any]:
    """Type on the streams with many queues known."""
    return await _type_on("streams", 1_000, quick)


async def queues(quick: bool) -> dict[str, Any]:
    """Type on a long list of queues."""
    return await _type_on("queues", 1_000, quick)


async def first_frame(quick: bool) -> dict[str, Any]:
    """Start the console again and again."""
    async with fresh_server() as (url, _):
        runs, spent = [], []
        for _ in range(3 if quick else 5):
            terminal = PseudoTerminal(url, columns=COLUMNS, lines=LINES)
            shown = await asyncio.to_thread(terminal.until, b"queues", 30)
            spent.append(round(terminal.cpu_s * 1_000))
            terminal.close()
            if shown is None:
                raise SystemExit("the console did not show itself")
            runs.append(round((shown - terminal.started) * 1_000))
    return {"median_ms": statistics.median(runs), "runs_ms": runs, "cpu_ms": statistics.median(spent)}


CASES: dict[str, Callable[[bool], Awaitable[dict[str, Any]]]] = {
    "idle": idle,
    "tokens": tokens,
    "slow_link": slow_link,
    "streams": streams,
    "queues": queues,
    "first_frame": first_frame,
}


async def measure(names: list[str], quick: bool) -> dict[str, Any]:
    """Measure cases one after the other."""
    row: dict[str, Any] = {"benchmark": "terminal", "size": f"{COLUMNS}x{LINES}"}
    for name in names:
        row[name] = await CASES[name](quick)
        print(f"{name}: {row[name]}", file=sys.stderr, flush=True)
    return {**row, "reach": REACH}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer keys and shorter looks")
    parser.add_argument("--only", choices=CASES, action="append", help="measure this case, may be repeated")
    parser.add_argument("--talk", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.talk:
        asyncio.run(talk(arguments.talk, arguments.rate))
        return
    print(json.dumps(asyncio.run(measure(arguments.only or list(CASES), arguments.quick))))


if __name__ == "__main__":
    main()
