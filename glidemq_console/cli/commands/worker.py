"""`worker`: runs the workers of a module, in this process or in several."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Annotated

from typer import Argument, Option

from ..errors import Exit, Refusal
from ..option_types import duration
from ..options import option
from ..program import OWN, command, require
from ..session import Session
from ..worker_log import LogFormat, LogLevel, configure_logging

#: Beyond their grace, this is how long child processes get to hand back what they did not finish, s.
_LAST_MOMENTS = 20


@command("worker", limit=OWN)
async def worker(
    session: Session,
    app: Annotated[
        str, Argument(metavar="MODULE:ATTR", help="A Worker, a list, or a function returning them.")
    ],
    processes: Annotated[int, option("--processes", "N", "Processes.", min=1, max=1_024)] = 1,
    concurrency: Annotated[
        int | None, option("--concurrency", "N", "Jobs at once, each worker.", min=1, max=100_000)
    ] = None,
    grace: Annotated[
        int | None, option("--grace", "DUR", "For running jobs at the end (30s).", duration)
    ] = None,
    log_level: Annotated[LogLevel | None, Option("--log-level", help="What is logged (info).")] = None,
    log_format: Annotated[
        LogFormat, Option("--log-format", help="How, unless the application configures logging itself.")
    ] = LogFormat.TEXT,
) -> int:
    """Run workers until SIGTERM or Ctrl-C; what runs is finished, the rest handed back."""
    require(not session.json, "worker logs on standard error: --json has no meaning here")
    require(all(app.partition(":")), f"'{app}' is not MODULE:ATTR, for example app:worker")
    if processes > 1:
        return await _supervise(session, processes, grace)
    from glidemq_core.app.load import load_app, needs_connection, prepare
    from glidemq_core.errors import InvalidOptionError
    from glidemq_core.worker import serve

    try:
        workers = load_app(app)
    except InvalidOptionError as error:
        raise Refusal(error.message) from error
    if not configure_logging(log_level, log_format) and log_format is LogFormat.JSON:
        session.out.note("the application configures logging itself: --log-format has no effect")
    session.role = "worker"
    connection = await session.connection() if needs_connection(workers) else None
    prepare(workers, connection, concurrency=concurrency, grace=grace)
    names = ", ".join(session.out.safe(one.name) for one in workers)
    await serve(*workers, on_ready=lambda: session.out.note(f"working on {names}"))
    return Exit.DONE


async def _supervise(session: Session, processes: int, grace_ms: int | None) -> int:
    """Run the same command in child processes; when one dies the others are ended too."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Of an option that is given twice the last one counts.
    words = [*sys.argv[1:], "--processes", "1"]
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "glidemq_console", *words, start_new_session=True
        )
        for _ in range(processes)
    ]
    waits = [asyncio.create_task(child.wait()) for child in children]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({*waits, stopped}, return_when=asyncio.FIRST_COMPLETED)
    asked = stop.is_set()
    if not asked:
        session.out.note("a worker process died; ending the others")
    for child in children:
        if child.returncode is None:
            child.terminate()
    limit_s = (30_000 if grace_ms is None else grace_ms) / 1_000 + _LAST_MOMENTS
    _, late = await asyncio.wait(waits, timeout=limit_s)
    for child in children:
        if child.returncode is None:
            child.kill()
    if late:
        await asyncio.wait(late)
    stopped.cancel()
    all_well = asked and all(child.returncode == 0 for child in children)
    return Exit.DONE if all_well else Exit.REFUSED
