"""Runs the console in a process of its own, from taking the terminal to giving it back."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ..app import ConsoleApp
from ..model.decisions import name_of

if TYPE_CHECKING:
    from ..config.console import ConsoleConfig
    from .gc_tuning import GcTuning

#: Signals that end a process which does not listen: what waits on the terminal would stay there, out of order.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def run_console(config: ConsoleConfig, garbage: GcTuning) -> int:
    """Run the console until it is left, in a process of its own; returns the exit code."""
    app = ConsoleApp(config, garbage)
    asyncio.run(_run(app))
    tell_unsent(app)
    return app.return_code or 0


async def _run(app: ConsoleApp) -> None:
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        # One that is ignored, as nohup wants it, stays so.
        if signal.getsignal(number) is signal.SIG_DFL:
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, _end, app, number)
    await app.run_async()


def _end(app: ConsoleApp, number: int) -> None:
    """End in order: the terminal is restored, nothing that is held back is sent."""
    app.decider.give_up()
    app.exit(return_code=128 + number)


def tell_unsent(app: ConsoleApp) -> None:
    """List the decisions that have no answer: after a crash or a signal, for leaving asks."""
    decider = app.decider
    lines = [f"not sent, it still waits: {one.verb} {name_of(one.ref)}" for one in decider.pending]
    lines += [f"no answer, it may have been sent: {one.verb} {name_of(one.ref)}" for one in decider.cut_off]
    # A terminal that was closed takes no words.
    with suppress(OSError):
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
