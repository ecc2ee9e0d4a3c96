"""The console on a real terminal: what reaches it, how it answers keys and sizes, and how it is left."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import Any

import pytest
from conftest import eventually
from kits.hostile import BROKEN_BYTES, CORPUS, dangerous
from kits.terminal import console

from glidemq_core import Job, NewJob, Queue, Worker
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough

#: Styles of the hostile corpus that the console, which names all colours by 24 bits, never writes.
_FOREIGN_STYLE = "\x1b[31m"


def carried(text: str, limit: int = 4_000) -> str:
    """A hostile text as far as a server can hold it."""
    return text[:limit].encode("utf-8", "replace").decode()


async def seed(connection: Connection) -> None:
    """Names, payloads, tokens, reasons, errors, logs and worker ids that mean harm."""
    texts = [carried(text) for text in CORPUS.values()]

    async def process(job: Any) -> Any:
        if job.name == "streams":
            for text in texts:
                # One character a chunk: cut at every boundary.
                for character in text[:80]:
                    await job.stream_chunk("content", character)
                await job.stream_chunk("reasoning", text[:200])
                await job.stream({"type": "tool_call", "name": text[:60], "args": text[:60]})
        if job.name == "asks" and not job.signals:
            await job.stream_chunk("content", "".join(texts)[:3_000])
            await job.report_usage(model=texts[2][:60], total_tokens=3, total_cost=0.1, cost_unit="usd")
            await job.suspend(reason="why " + "".join(text[:30] for text in texts))
        if job.name == "fails":
            await job.log(texts[2])
            raise RuntimeError("oops " + "".join(text[:20] for text in texts))
        return {"".join(texts)[:500]: texts}

    async with Queue("inference", connection) as queue:
        for name in ("streams", "asks", "fails"):
            await queue.add(name, {f"k{n}": text for n, text in enumerate(texts)})
        async with Worker("inference", process, connection, concurrency=3):

            async def done() -> bool:
                counts = await queue.get_job_counts()
                return (counts.completed, counts.suspended, counts.failed) == (1, 1, 1)

            await eventually(done, timeout=60)
        await queue.add_bulk([NewJob(text[:200] or "empty", {}) for text in texts])
        keys = (await queue.context()).keys
        evil = '{"addr":"\\u001b]52;c;eA==\\u0007","pid":7,"startedAt":1,"age":1,"activeJobs":0}'
        await connection.command("SET", keys.worker("\x1b]0;owned\x07"), evil)
        await connection.command("HSET", "glide:{evil\x1b]52;c;eA==\x07}:meta", "concurrency", "1")
        for number, broken in enumerate(BROKEN_BYTES.values()):
            job = f"{keys.root}:job:b{number}"
            fields: list[str | bytes] = [
                "id",
                f"b{number}",
                "name",
                broken,
                "data",
                b'"' + broken,
                "state",
                "waiting",
            ]
            await connection.command("HSET", job, *fields)


@pytest.mark.leaves_records
async def test_not_one_dangerous_byte_reaches_the_terminal(connection: Connection, server_url: str) -> None:
    await seed(connection)
    with console(server_url, "inference") as terminal:
        await terminal.shows("inference")
        await terminal.shows("scan complete")
        since = terminal.press("\r")
        await terminal.shows("completed", since)
        for keys in ("\t" * 3, "\r", "e", "v", "\x1b", "\t", "\r", "e", "\x1b", "\t", "\r", "e", "\x1b"):
            terminal.press(keys)
            await asyncio.sleep(0.5)
        since = terminal.press(":tail inference:1\r")
        await terminal.shows("1 stream", since)
        since = terminal.press("4")
        await terminal.shows("for a person", since)
        for keys in ("\r", "\x1b", "v", "u", "\x1b", "?", "\x1b", "1", "/[/red]\x1b", "j", "5", "6", "1"):
            terminal.press(keys)
            await asyncio.sleep(0.4)
        terminal.press("q")
        assert await terminal.ends() == 0

    raw = bytes(terminal.got).decode("utf-8")
    assert _FOREIGN_STYLE not in raw
    assert terminal.screen.unknown == []
    left = terminal.text().replace("\r", "")
    around = {
        left[max(0, place.start() - 8) : place.end() + 24]
        for place in re.finditer(r"[\x00-\x08\x0b-\x1f]", left)
    }
    assert around == set()
    assert dangerous(left) == []


async def test_the_terminal_is_given_back_as_it_was(connection: Connection, server_url: str) -> None:
    with console(server_url) as terminal:
        await terminal.shows("queues")
        await terminal.shows("live")
        terminal.press("q")
        assert await terminal.ends() == 0

        raw = bytes(terminal.got)
        # The alternate screen, the mouse and bracketed paste are left, the cursor is back.
        for mode in (b"1049", b"1000", b"2004"):
            assert raw.rfind(b"\x1b[?" + mode + b"l") > raw.rfind(b"\x1b[?" + mode + b"h") >= 0
        assert raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")
        assert termios.tcgetattr(terminal.slave)[:4] == terminal.modes[:4]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_gives_the_terminal_back_and_lists_what_was_not_sent(
    connection: Connection, server_url: str, ending: signal.Signals
) -> None:
    async def ask(job: Job[Any, Any]) -> None:
        await job.suspend(reason="look at this")

    queue: Queue[Any, Any]
    async with Queue("inference", connection) as queue, Worker("inference", ask, connection):
        job = await queue.add("moderate", {})
        assert job is not None
        await eventually(lambda: queue.get_suspend_info(job.id))
        with console(server_url, "--screen", "approvals", size=(120, 30)) as terminal:
            await terminal.shows("Approve  a")
            since = terminal.press("a")
            await terminal.shows("approving in", since)
            terminal.process.send_signal(ending)

            assert await terminal.ends() == 128 + ending
            raw = bytes(terminal.got)
            assert raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h") >= 0
            assert termios.tcgetattr(terminal.slave)[:4] == terminal.modes[:4]
            assert "not sent, it still waits: approve inference:1" in terminal.text()
            assert "Traceback" not in terminal.text()
        assert await queue.get_suspend_info(job.id) is not None


async def test_a_terminal_that_is_gone_ends_the_console_even_without_a_signal(
    connection: Connection, server_url: str
) -> None:
    await Queue[Any, Any]("inference", connection).add("answer", {})
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    words = [sys.executable, "-m", "glidemq_console", "console", "--url", server_url]
    # In a session of its own it has no controlling terminal, so nobody sends SIGHUP.
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        # Only what has changed is written, so a word need not come in one piece: a frame of it has to come.
        written, deadline = 0, time.monotonic() + 30
        while written < 3_000:
            assert time.monotonic() < deadline, "the console drew nothing"
            if select.select([master], [], [], 0)[0]:
                written += len(os.read(master, 65_536))
            await asyncio.sleep(0.02)
        os.close(master)

        assert await asyncio.to_thread(process.wait, 30) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.wait()


async def test_a_command_typed_in_one_go_lands_on_its_line(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, size=(80, 24)) as terminal:
            await terminal.shows("inference")
            since = terminal.press("p")
            await eventually(queue.is_paused)
            await terminal.shows("inference paused", since)
            await terminal.shows("resume", since)

            # On the list these letters would do something else each.
            terminal.press(":resume inference\r")

            async def resumed() -> bool:
                return not await queue.is_paused()

            await eventually(resumed)


async def test_a_reason_typed_in_one_go_with_its_key_lands_in_the_dialog(
    connection: Connection, server_url: str
) -> None:
    async def ask(job: Job[Any, Any]) -> Any:
        if not job.signals:
            await job.suspend(reason="look at this")
        return job.signals[0].name

    queue: Queue[Any, Any]
    async with Queue("inference", connection) as queue, Worker("inference", ask, connection):
        for number in range(2):
            await queue.add("moderate", {"n": number})

        async def asked() -> bool:
            return (await queue.get_job_counts()).suspended == 2

        await eventually(asked)
        with console(server_url, "--screen", "approvals", size=(120, 30)) as terminal:
            await terminal.shows("Approve  a")
            # On the list `a` approves, `r` rejects again and Enter sends what is held back.
            terminal.press("rwrong area\r")

            entries = await eventually(queue.get_audit, timeout=20)
        assert ["wrong area" in str(entry) for entry in entries] == [True]


async def test_a_terminal_that_changes_its_size_is_filled_again(
    connection: Connection, server_url: str
) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, size=(80, 24)) as terminal:
            await terminal.shows("inference")
            for size, words in (((50, 10), "too small"), ((120, 40), "inference")):
                since = len(terminal.got)
                terminal.resize(*size)
                os.killpg(terminal.process.pid, signal.SIGWINCH)
                await terminal.shows(words, since)


async def test_a_key_that_comes_with_another_size_reaches_the_list(
    connection: Connection, server_url: str
) -> None:
    async with Queue("first", connection) as first, Queue("second", connection) as second:
        await first.add("answer", {})
        await second.add("moderate", {})
        with console(server_url, size=(80, 24)) as terminal:
            await terminal.shows("2 queues")
            since = len(terminal.got)
            terminal.resize(50, 10)
            os.killpg(terminal.process.pid, signal.SIGWINCH)
            await terminal.shows("too small", since)
            # What was hidden had the focus.
            terminal.resize(120, 40)
            os.killpg(terminal.process.pid, signal.SIGWINCH)
            terminal.press("j\r")
            await terminal.shows("moderate", since)


async def test_the_first_data_is_there_at_once(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        begin = time.monotonic()
        with console(server_url) as terminal:
            await terminal.shows("inference")
            # The benchmarks hold the figures; this notices what makes the start many times slower.
            assert time.monotonic() - begin < 15
