"""A command that gets the review on its standard input."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from contextlib import suppress

from ..errors import UsageProblem
from .delivery import Notice

#: How long a command may run, s, and how long it has to end when it is asked to.
_PATIENCE_S = 60.0
_END_S = 2.0
#: Bytes of what a command says that are kept, the last ones.
_SAID = 4_096


class Program:
    """Runs a command for each notice, without a shell: nothing of a job becomes part of the command line.

    Args:
        line: the command and its arguments, quoted as in a shell.
    Raises:
        UsageProblem: the line is empty, or its quotes do not match.
    """

    def __init__(self, line: str, *, patience_s: float = _PATIENCE_S) -> None:
        try:
            self._words = shlex.split(line)
        except ValueError as error:
            raise UsageProblem(f"--on-new cannot be read as a command: {error}") from None
        if not self._words:
            raise UsageProblem("--on-new names no command")
        self._patience_s = patience_s

    async def deliver(self, notice: Notice) -> str | None:
        """Run the command; returns why it failed, with the last line that it said."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # Its children end with it.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return f"cannot run '{self._words[0]}': {reason}"
        try:
            async with asyncio.timeout(self._patience_s):
                said = await _talk(child, notice.body)
                code = await child.wait()
        except TimeoutError:
            return f"'{self._words[0]}' did not end within {self._patience_s:g} s and was stopped"
        finally:
            if child.returncode is None:
                await _stop(child)
        if code == 0:
            return None
        how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        lines = said.decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"'{self._words[0]}' {how}" + (f": {last.strip()}" if last else "")


async def _talk(child: asyncio.subprocess.Process, body: bytes) -> bytes:
    """Hand over the review and read what the command says; only the end of it is kept."""
    assert child.stdin is not None
    assert child.stdout is not None

    async def write(pipe: asyncio.StreamWriter) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
            pipe.write(body + b"\n")
            await pipe.drain()
        pipe.close()

    writing = asyncio.create_task(write(child.stdin))
    said = b""
    try:
        while piece := await child.stdout.read(65_536):
            said = (said + piece)[-_SAID:]
        await writing
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    return said


async def _stop(child: asyncio.subprocess.Process) -> None:
    """End a command and what it started: in order first, then at once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.shield(child.wait())
                return
