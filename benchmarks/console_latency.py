"""How soon the console shows itself, and how soon a key press is painted while tokens rain down.

    python -m benchmarks.console_latency [--quick] [--rate 2000] [--streams 4] [--columns 160] [--lines 45]

Runs the real command in a pseudo-terminal against a server of its own, with a worker in a third process.
Letters that nothing else writes are typed on the command line; a key is painted when its letter comes out.
Prints one JSON row.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from typing import Any

from glidemq_core import NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

from .common import fresh_server, percentile

#: Typed one after the other; no token, figure or label holds one of them.
LETTERS = "жщфыэюяђљњ"
#: Typed first, to see that the line is open.
PROBE = "ш"
#: Chunks that a job sends at once, as a model's stream brings several in one packet.
BURST = 10
QUEUE = "chat"


async def talk(url: str, streams: int, rate: int) -> None:
    """Run jobs that stream at a common rate until killed."""

    async def process(job: Any) -> None:
        pause, due = BURST * streams / rate, time.monotonic()
        while True:
            words = (f"token{n} " for n in range(BURST))
            await asyncio.gather(*(job.stream({"t": word}) for word in words))
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async with Queue(QUEUE, url) as queue:
        await queue.add_bulk([NewJob("answer") for _ in range(streams)])
        async with Worker(QUEUE, process, url, concurrency=streams):
            await asyncio.Event().wait()


class Terminal:
    """A console in a pseudo-terminal."""

    def __init__(self, url: str, columns: int, lines: int) -> None:
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"GLIDEMQ_URL": url, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            command = [sys.executable, "-m", "glidemq_console", "console", QUEUE, "--screen", "streams"]
            os.execv(sys.executable, command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, wanted: bytes, seconds: float) -> float | None:
        """Read until something comes out; return the moment, None if it does not in time."""
        seen, deadline = b"", time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                break
            seen = seen[-len(wanted) :] + os.read(self.fd, 1 << 16)
            if wanted in seen:
                return time.monotonic()
        return None

    def drain(self, seconds: float) -> None:
        """Read and forget what comes out for a while."""
        self.until(b"\x00never\x00", seconds)

    def press(self, text: str) -> float:
        """Press keys; return the moment."""
        os.write(self.fd, text.encode())
        return time.monotonic()

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def open_line(terminal: Terminal) -> None:
    """Open the command line; a terminal that is slow may take an escape and a colon for one key."""
    for _ in range(3):
        terminal.press(":")
        terminal.drain(0.3)
        terminal.press(PROBE)
        if terminal.until(PROBE.encode(), 5) is not None:
            terminal.drain(0.2)
            return
        terminal.press("\x1b")
        terminal.drain(1)
    raise SystemExit("the command line did not open")


def type_letters(terminal: Terminal, keys: int) -> list[float]:
    """Type letters with pauses; return milliseconds from each press to its paint."""
    samples: list[float] = []
    while len(samples) < keys:
        open_line(terminal)
        for letter in LETTERS:
            pressed = terminal.press(letter)
            painted = terminal.until(letter.encode(), 5)
            if painted is None:
                raise SystemExit("a key was not painted within five seconds")
            samples.append((painted - pressed) * 1_000)
            # Never in step with the frames of the tokens.
            terminal.drain(0.05 + 0.013 * (len(samples) % 7))
        terminal.press("\x1b")
        terminal.drain(0.3)
    return samples


def watch(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one console."""
    terminal = Terminal(url, arguments.columns, arguments.lines)
    try:
        frame = terminal.until(b"queues", 20)
        data = terminal.until(b"token", 20)
        if frame is None or data is None:
            raise SystemExit("the console did not show the tokens")
        terminal.drain(2)
        samples = type_letters(terminal, 40 if arguments.quick else 100)
    finally:
        terminal.close()
    return {
        "first_frame_ms": round((frame - terminal.started) * 1_000),
        "first_tokens_ms": round((data - terminal.started) * 1_000),
        "key_p50_ms": round(percentile(samples, 0.5), 1),
        "key_p95_ms": round(percentile(samples, 0.95), 1),
        "key_max_ms": round(max(samples), 1),
        "keys": len(samples),
    }


async def count(connection: Connection, streams: int) -> int:
    """Chunks in all streams so far."""
    lengths = [connection.command("XLEN", f"glide:{{{QUEUE}}}:jstream:{n + 1}") for n in range(streams)]
    return sum(await asyncio.gather(*lengths))


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    async with fresh_server() as (url, connection):
        options = ["--talk", url, "--rate", str(arguments.rate), "--streams", str(arguments.streams)]
        command = [sys.executable, "-m", "benchmarks.console_latency", *options]
        talker = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(20):
                await connection.command("XREAD", "BLOCK", 0, "STREAMS", f"glide:{{{QUEUE}}}:jstream:1", "0")
            before, began = await count(connection, arguments.streams), time.monotonic()
            row = await asyncio.to_thread(watch, url, arguments)
            came = await count(connection, arguments.streams) - before
        finally:
            talker.kill()
            await talker.wait()
        seconds = time.monotonic() - began
    size = f"{arguments.columns}x{arguments.lines}"
    return {"benchmark": "console_latency", "size": size, "tokens_per_s": round(came / seconds), **row}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer keys")
    parser.add_argument("--rate", type=int, default=2_000, help="tokens a second")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--columns", type=int, default=160)
    parser.add_argument("--lines", type=int, default=45)
    parser.add_argument("--talk", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.talk:
        asyncio.run(talk(arguments.talk, arguments.streams, arguments.rate))
        return
    print(json.dumps(asyncio.run(measure(arguments))))


if __name__ == "__main__":
    main()
