"""`worker`: runs the workers of an application, in this process or in several."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from socket import socket
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ..errors import Exit, Refusal
from ..option_types import duration
from ..options import option
from ..program import OWN, command, require
from ..session import Session
from ..worker_log import LogFormat, LogLevel, configure_logging, narrator

if TYPE_CHECKING:
    from glidemq_core import Worker

#: What running jobs get at the end, ms, when nothing else is said.
_GRACE_MS = 30_000
#: The same while somebody edits the code and wants to see it run.
_RELOAD_GRACE_MS = 2_000


@command("worker", limit=OWN, fast=True)
async def worker(
    session: Session,
    targets: Annotated[
        list[str],
        Argument(
            metavar="MODULE:ATTR", help="A Worker, a list, or a function, async or not, returning them."
        ),
    ],
    processes: Annotated[int, option("--processes", "N", "Processes.", min=1, max=1_024)] = 1,
    concurrency: Annotated[
        int | None, option("--concurrency", "N", "Jobs at once, each worker.", min=1, max=100_000)
    ] = None,
    grace: Annotated[
        int | None, option("--grace", "DUR", "For running jobs at the end (30s; 2s with --reload).", duration)
    ] = None,
    health: Annotated[
        int | None, option("--health", "PORT", "Answer /live and /ready on loopback.", min=1, max=65_535)
    ] = None,
    reload: Annotated[
        bool, Option("--reload", help="Start again when a source file changes; for development.")
    ] = False,
    check: Annotated[
        bool, Option("--check", help="Import, build and connect, tell what would run, and end.")
    ] = False,
    log_level: Annotated[LogLevel | None, Option("--log-level", help="What is logged (info).")] = None,
    log_format: Annotated[
        LogFormat, Option("--log-format", help="How, unless the application configures logging itself.")
    ] = LogFormat.TEXT,
) -> int:
    """Run workers until SIGTERM or Ctrl-C; what runs is finished, the rest handed back.

    A second Ctrl-C hands back what still runs at once.
    """
    require(not session.json, "worker logs on standard error: --json has no meaning here")
    for target in targets:
        require(all(target.partition(":")), f"'{target}' is not MODULE:ATTR, for example app:worker")
    require(not (reload and processes > 1), "--reload runs one process: leave out --processes")
    require(not (check and (reload or health)), "--check runs nothing: leave out --reload and --health")
    if check:
        return await _check(session, targets, concurrency)
    if reload and grace is None:
        grace = _RELOAD_GRACE_MS
    from ..serving.health import inherited_parent

    parent = inherited_parent()
    if parent is None and (processes > 1 or reload):
        return await _supervise(
            session,
            targets if reload else (),
            processes,
            (log_level, log_format),
            grace=_GRACE_MS if grace is None else grace,
            port=health,
        )
    logs = log_level, log_format
    return await _work(session, targets, parent, logs, concurrency=concurrency, grace=grace, port=health)


async def _work(
    session: Session,
    targets: Sequence[str],
    parent: socket | None,
    logs: tuple[LogLevel | None, LogFormat],
    *,
    concurrency: int | None,
    grace: int | None,
    port: int | None,
) -> int:
    """Run the workers in this process; a `parent` asks how they are, or probes do at `port`."""
    from ..serving.health import WorkerHealth, answer_parent, listen_for_probes

    own = WorkerHealth()
    async with AsyncExitStack() as stack:
        if parent is not None:
            answering = asyncio.create_task(answer_parent(parent, own.report))
            stack.callback(answering.cancel)
        elif port is not None:
            # Before anything is imported: a port that is taken costs nothing, and an import may take long.
            stack.callback((await listen_for_probes(own.report, port)).close)
        workers = await _load(targets)
        if not configure_logging(*logs) and LogFormat.JSON in logs:
            session.out.note("the application configures logging itself: --log-format has no effect")
        await _prepare(session, workers, concurrency=concurrency, grace=grace)
        own.workers = workers
        await _serve(workers, narrator(logs[1], session.out.note), session, tells=parent is None)
    return Exit.DONE


async def _load(targets: Sequence[str]) -> list[Worker[Any, Any]]:
    from glidemq_core.app.load import load_workers
    from glidemq_core.errors import InvalidOptionError

    try:
        return await load_workers(*targets)
    except InvalidOptionError as error:
        raise Refusal(error.message) from error


async def _prepare(session: Session, workers: Sequence[Worker[Any, Any]], **given: int | None) -> None:
    """Give workers the server of the command line, if they name none, and what else it says."""
    from glidemq_core.app.load import needs_connection, prepare

    session.role = "worker"
    connection = await session.connection() if needs_connection(workers) else None
    prepare(workers, connection, **given)


async def _serve(
    workers: Sequence[Worker[Any, Any]], note: Callable[[str], None], session: Session, *, tells: bool
) -> None:
    from glidemq_core.worker import serve

    names = ", ".join(session.out.safe(one.name) for one in workers)
    told: list[bool] = []

    def closing() -> None:
        if tells and not told:
            told.append(True)
            running = sum(one.active_jobs for one in workers)
            note(_ending(running) if running else "ending")

    for one in workers:
        one.on("closing", closing)
    await serve(*workers, on_ready=lambda: note(f"working on {names}"))


def _ending(running: int) -> str:
    jobs = "1 job runs" if running == 1 else f"{running} jobs run"
    return f"ending: {jobs} and may finish; Ctrl-C again hands back what runs"


async def _supervise(
    session: Session,
    watched: Sequence[str],
    processes: int,
    logs: tuple[LogLevel | None, LogFormat],
    *,
    grace: int,
    port: int | None,
) -> int:
    """Run the same command in child processes; `watched` are the targets whose files restart them."""
    if LogFormat.JSON in logs:
        configure_logging(*logs)
    note = narrator(logs[1], session.out.note)
    from ..serving.health import listen_for_probes
    from ..serving.processes import Supervisor
    from ..serving.sources import SourceWatch, folders_of

    supervisor = Supervisor(
        sys.argv[1:],
        processes=processes,
        grace_ms=grace,
        watch=SourceWatch(folders_of(watched)) if watched else None,
        note=lambda text: note(session.out.safe(text, 400)),
    )
    async with AsyncExitStack() as stack:
        if port is not None:
            stack.callback((await listen_for_probes(supervisor.report, port)).close)
        return await supervisor.run()


async def _check(session: Session, targets: Sequence[str], concurrency: int | None) -> int:
    """Do all that comes before the first job, and tell what would run."""
    from glidemq_core.watch import Watch

    workers = await _load(targets)
    await _prepare(session, workers, concurrency=concurrency)
    code = Exit.DONE
    try:
        for one in workers:
            connection = (await one.context()).connection
            async with Watch(connection, queues=(one.name,)) as watch:
                allowed = await watch.permissions()
            name, where = session.out.safe(one.name), session.out.safe(connection.url, 200)
            jobs = "1 job" if one.options.concurrency == 1 else f"{one.options.concurrency} jobs"
            session.out.line(f"{name}: {_called(session, one)}, {jobs} at once, on {where}")
            if not allowed.can_write:
                session.out.note(f"{name}: not allowed: {session.out.safe(allowed.reason or '', 300)}")
                code = Exit.NOT_ALLOWED
    finally:
        for one in workers:
            await one.close()
    return code


def _called(session: Session, one: Worker[Any, Any]) -> str:
    """Name what runs the jobs: its handlers, or the function."""
    from glidemq_core import Handlers

    if isinstance(one.processor, Handlers):
        return "handlers " + ", ".join(session.out.safe(name) for name in one.processor.names)
    function = one.processor
    return session.out.safe(getattr(function, "__qualname__", type(function).__name__))
