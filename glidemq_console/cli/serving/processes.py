"""Child processes that work: started, asked how they are, ended together, started again when a file changes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import Exit
from .health import PARENT_FD, STATUSES, Report
from .sources import SourceWatch

#: Beyond their grace, this is how long child processes get to hand back what they did not finish, s.
_LAST_MOMENTS = 20
#: How long a child may take to say how it is, s.
_ANSWER_S = 3.0
_ANSWER_BYTES = 1 << 20
#: A second Ctrl-C within this time is the first one, heard twice, s.
_SAME_KEY_S = 0.4
#: Exit codes of a child that was asked to end: it did, or it had not yet begun to listen to signals.
_ENDED_AS_ASKED = (0, Exit.INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)


class Child:
    """One process, and the line on which it tells how it is."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self.process = process
        self._line = line
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._questions = 0
        self._has_answered = False

    @classmethod
    async def start(cls, words: Sequence[str], environment: dict[str, str]) -> Child:
        """Run the `glidemq` command with these words. It ends by itself when this process is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "glidemq_console",
                *words,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **environment, PARENT_FD: str(theirs.fileno())},
            )
        return cls(process, ours)

    async def report(self) -> Report:
        """Ask how it is; `silent` when it answers no more, `stopped` when it has ended."""
        if self.process.returncode is not None:
            return {"status": "stopped", "pid": self.process.pid, "workers": []}
        try:
            async with asyncio.timeout(_ANSWER_S), self._turn:
                answer = await self._ask()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            # Before its first answer it imports the application, which may take long.
            answer = {"status": "silent" if self._has_answered else "starting", "workers": []}
        return {"pid": self.process.pid, **answer}

    async def _ask(self) -> Report:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._line, limit=_ANSWER_BYTES)
        reader, writer = self._streams
        self._questions += 1
        writer.write(b"%d\n" % self._questions)
        await writer.drain()
        while True:
            number, answer = json.loads(await reader.readuntil(b"\n"))
            self._has_answered = True
            if number == self._questions:  # else it answers a question that nobody waits for any more
                report: Report = answer
                return report

    def signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    def forget(self) -> None:
        """Close the line to a process that has ended."""
        if self._streams is not None:
            self._streams[1].close()
        else:
            self._line.close()


class Supervisor:
    """Runs the same command in child processes and ends them together.

    Args:
        words: the command line of a child.
        grace_ms: what running jobs get when a child is to end.
        watch: files; when one changes the children are ended in order and started again. None: when one child dies the
            others are ended too.
        note: writes a line for people.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        processes: int,
        grace_ms: int,
        watch: SourceWatch | None,
        note: Callable[[str], None],
    ) -> None:
        self._words = list(words)
        self._number = processes
        self._limit_s = grace_ms / 1_000 + _LAST_MOMENTS
        self._watch = watch
        self._note = note
        self._children: list[Child] = []
        self._stop = asyncio.Event()
        self._stopped_at = 0.0
        self._is_ending = False

    async def report(self) -> Report:
        """How the children are, and the worst word of them."""
        reports = await asyncio.gather(*(child.report() for child in self._children))
        statuses = [_known(report.get("status")) for report in reports] or ["starting"]
        status = max(statuses, key=STATUSES.index)
        if self._is_ending:  # some have closed their lines already
            status = "draining"
        elif status == "stopped" and self._watch is not None:
            status = "starting"  # it waits for the file to be mended
        return {"status": status, "processes": reports}

    async def run(self) -> int:
        """Serve until a signal; returns the exit code."""
        with self._signals():
            while True:
                if self._watch is not None:
                    self._watch.look()
                await self._start()
                change = await self._until_over()
                all_well = await self._end()
                if change is None:
                    break
                self._note(f"{change} changed: starting again")
        return Exit.DONE if self._stop.is_set() and (all_well or self._watch is not None) else Exit.REFUSED

    async def _start(self) -> None:
        self._is_ending = False
        # Two edits within a second leave compiled code that looks fresh and is not.
        environment = {"PYTHONDONTWRITEBYTECODE": "1"} if self._watch is not None else {}
        for _ in range(self._number):
            self._children.append(await Child.start(self._words, environment))

    async def _until_over(self) -> str | None:
        """Wait for a signal (None), the end of a child (None), or a changed file, whose name is returned."""
        ends = [asyncio.create_task(child.process.wait()) for child in self._children]
        stopped = asyncio.create_task(self._stop.wait())
        changed = asyncio.create_task(self._watch.changed()) if self._watch is not None else None
        try:
            await asyncio.wait(
                {stopped, *ends, *([changed] if changed else [])}, return_when=asyncio.FIRST_COMPLETED
            )
            if self._stop.is_set():
                return None
            if changed is None:
                self._note("a worker process died; ending the others")
                return None
            if not changed.done():
                codes = ", ".join(str(end.result()) for end in ends if end.done())
                self._note(f"the worker ended (exit code {codes}); it starts again when a file changes")
                await asyncio.wait({stopped, changed}, return_when=asyncio.FIRST_COMPLETED)
            return None if self._stop.is_set() else changed.result()
        finally:
            for task in [stopped, *ends, *([changed] if changed else [])]:
                task.cancel()

    async def _end(self) -> bool:
        """End all children; returns whether each ended as it should."""
        self._is_ending = True
        asked = [child for child in self._children if child.process.returncode is None]
        for child in asked:
            child.signal(signal.SIGTERM)
        waits = [asyncio.create_task(child.process.wait()) for child in self._children]
        _, late = await asyncio.wait(waits, timeout=self._limit_s)
        for child in self._children:
            child.signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)
        codes = [child.process.returncode for child in self._children]
        for child in self._children:
            child.forget()
        all_well = len(asked) == len(codes) and all(code in _ENDED_AS_ASKED for code in codes)
        self._children = []
        return all_well

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._take, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _take(self, number: int) -> None:
        """The first signal ends the children; a second Ctrl-C is passed on: they hand back what runs, at once."""
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stopped_at = now
            self._stop.set()
        elif number == signal.SIGINT and now - self._stopped_at >= _SAME_KEY_S:
            for child in self._children:
                child.signal(signal.SIGINT)


def _known(status: Any) -> str:
    return status if status in STATUSES else "silent"
