"""Run the console in a process of its own, from taking the terminal to giving it back."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

from ..model.decisions import name_of
from .resilient_app import ResilientApp

#: Signals whose default would end the process without restoring the terminal.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_console(app: ResilientApp) -> int:
    """Run the console until it is left, in a process of its own; returns the exit code."""
    asyncio.run(_run(app))
    report_unsent(app)
    return app.return_code or 0


async def _run(app: ResilientApp) -> None:
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        # A signal that is ignored, as nohup wants it, stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, _end, app, number)
    await app.run_async()


def _end(app: ResilientApp, number: int) -> None:
    """End in order: the terminal is restored, nothing that is held back is sent."""
    app.outbox.give_up()
    app.exit(return_code=128 + number)


def report_unsent(app: ResilientApp) -> None:
    """List on stderr the decisions without an answer: a crash or a signal ends the console without a question."""
    outbox = app.outbox
    lines = [f"not sent, it still waits: {one.verb} {name_of(one.ref)}" for one in outbox.pending]
    lines += [f"no answer, it may have been sent: {one.verb} {name_of(one.ref)}" for one in outbox.cut_off]
    # A closed terminal takes no output.
    with suppress(OSError):
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
