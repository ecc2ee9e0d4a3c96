"""Frames on a real terminal: one in flight, each held back until it is whole, all of it again when need be."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
import time

import pytest
from conftest import eventually
from kits.terminal import Terminal, console

from glidemq_core import NewJob, Queue
from glidemq_core.server.connection import Connection

pytestmark = pytest.mark.thorough


async def test_a_frame_ends_with_a_query_and_the_next_one_waits_for_the_answer(
    connection: Connection, server_url: str
) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            await terminal.shows("live")
            await eventually(lambda: terminal.answered >= 5)
            # From the first answer on there is a query behind each frame, outside of what is held back.
            late = bytes(terminal.got).decode().split("\x1b[6n")[3:-1]
            assert all(piece.count("\x1b[?2026h") <= 1 for piece in late)
            assert all(piece.endswith("\x1b[?2026l") for piece in late)

            terminal.stop_answering()
            before, began = terminal.got.count(b"\x1b[6n"), time.monotonic()
            await asyncio.sleep(4)
            # An age ticks and figures come, twice a second, but a frame waits up to two seconds now.
            asked = terminal.got.count(b"\x1b[6n") - before
            assert asked <= (time.monotonic() - began) / 2 + 2

            terminal.press("?")
            await terminal.shows("this screen")


async def test_every_cell_is_written_while_the_terminal_holds_back_what_it_shows(
    connection: Connection, server_url: str
) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            await terminal.shows("live")
            since = terminal.press("?")
            await terminal.shows("this screen", since)
            since = terminal.press("\x1b")
            await terminal.shows("enter jobs", since)

            text = bytes(terminal.got).decode().partition("\x1b[?2026h")[2]
            outside = "".join(piece.partition("\x1b[?2026h")[0] for piece in text.split("\x1b[?2026l")[1:])
            assert re.sub(r"\x1b\[6n|\x1b\]22;[a-z-]+\x07", "", outside) == ""


async def test_answers_never_reach_the_console_as_keys(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add_bulk([NewJob("answer") for _ in range(3)])
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            terminal.press(":")
            await terminal.shows(": ")
            await eventually(lambda: terminal.answered >= 4)
            # More than are asked for, and in odd places: a digit or an R would be typed into the line.
            terminal.press("\x1b[45;160R" + "\x1b[1;1R" * 20 + "x\x1b[12;3Ry\x1b[12")
            await asyncio.sleep(0.5)
            terminal.press(";4Rz\x1b[200~pas\x1b[7;7Rted\x1b[201~")
            await terminal.shows(":xyzpasted ")
            since = terminal.press("\x1b")
            await terminal.shows("enter jobs", since)
            terminal.press("q")
            assert await terminal.ends() == 0


async def test_no_answer_is_left_for_the_shell(connection: Connection, server_url: str) -> None:
    with console(server_url, answers=True, answers_after_s=0.3) as terminal:
        await terminal.shows("queues")
        await eventually(lambda: terminal.answered >= 2)
        terminal.press("q")
        assert await terminal.ends() == 0

        assert terminal.answered == terminal.screen.log.count("6n")
        assert unread(terminal) == b""


def unread(terminal: Terminal) -> bytes:
    """What the terminal has answered and nobody has read."""
    raw = termios.tcgetattr(terminal.slave)
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 0, 0
    termios.tcsetattr(terminal.slave, termios.TCSANOW, raw)
    return os.read(terminal.slave, 1_000)


async def test_after_a_stop_everything_is_written_again(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            os.kill(terminal.process.pid, signal.SIGTSTP)
            await eventually(lambda: "?1049l" in terminal.screen.log)
            # The shell and other programs have written to the screen.
            terminal.screen.clear()
            since = len(terminal.got)
            os.kill(terminal.process.pid, signal.SIGCONT)
            await terminal.shows("inference", since)
            await terminal.shows("enter jobs", since)
            terminal.press("?")
            await terminal.shows("this screen", since)


async def test_a_size_that_comes_back_at_once_is_drawn_anew(connection: Connection, server_url: str) -> None:
    async with Queue("inference", connection) as queue:
        await queue.add("answer", {})
        with console(server_url, answers=True) as terminal:
            await terminal.shows("inference")
            await terminal.shows("live")
            terminal.screen.clear()
            since = len(terminal.got)
            os.killpg(terminal.process.pid, signal.SIGWINCH)
            await terminal.shows("inference", since)
            await terminal.shows("enter jobs", since)


async def test_little_is_written_while_nothing_happens(connection: Connection, server_url: str) -> None:
    names = [f"work-{number}" for number in range(20)]
    queues = [Queue(name, connection) for name in names]
    for queue in queues:
        await queue.add("answer", {})
    with console(server_url, answers=True, size=(160, 45)) as terminal:
        await terminal.shows("20 queues")
        await asyncio.sleep(2)
        since = len(terminal.got)
        await asyncio.sleep(4)
        # Twenty ages tick; a row whole takes some 500 bytes.
        assert len(terminal.got) - since < 4 * 3_000
