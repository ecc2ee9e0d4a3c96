"""Run the demo headless, or as a console with the workload in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from glidemq_core import EmbeddedServer, EmbeddedServerError, errors
from glidemq_core.server.url import redact

from ..runtime.gc_tuning import GcTuning
from .options import DemoOptions

#: What running jobs get when a headless demo ends, ms.
_GRACE_MS = 1_500
#: How long the workload's process may take to begin, and to end, s.
_START_S, _END_S = 30, 10


def run_demo(options: DemoOptions) -> int:
    """Run the demo until its time is over, a signal ends it, or the console is closed; returns the exit code.

    Headless, the first line of stdout is `{"url", "queues"}` once everything runs; with a duration the last line
    is `{"summary"}`, and the code is 1 when nothing completed, streamed or was approved.

    Raises:
        GlideMQError: the server cannot be started or was lost.
    """
    return asyncio.run(_headless(options) if options.headless else _with_console(options))


def ready_line(options: DemoOptions) -> str:
    """Return the first line: where the demo runs, without a password, and its queues."""
    from .server import QUEUES

    return json.dumps({"url": redact(options.url), "queues": list(QUEUES)}, ensure_ascii=False)


def print_line(line: str) -> None:
    """Write one line to stdout at once."""
    print(line, flush=True)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set an event."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _headless(options: DemoOptions) -> int:
    from .pace import World
    from .server import DemoRunsError, demo_connection, run_workload

    world, stop = World(options.seed, options.speed), asyncio.Event()
    stop_on_signals(stop)

    def ready() -> None:
        print_line(ready_line(options))
        if options.duration_ms is not None:
            asyncio.get_running_loop().call_later(options.duration_ms / 1_000, stop.set)

    try:
        async with demo_connection(options, world) as connection:
            await run_workload(world, connection, stop, reviewer=True, grace_ms=_GRACE_MS, on_ready=ready)
    except DemoRunsError:
        raise EmbeddedServerError(
            "another demo is running already",
            hint="end it first, or see it with: glidemq console --url embedded:demo",
            data_dir=str(EmbeddedServer.of_url(options.url)[0].data_dir),
            log_path=None,
        ) from None
    if options.duration_ms is None:
        return 0
    summary = world.tally.summary()
    print_line(json.dumps({"summary": summary}))
    return 0 if summary["ok"] else 1


async def _with_console(options: DemoOptions) -> int:
    gc_tuning = GcTuning()
    gc_tuning.disable()
    async with _workload(options):
        # Loaded while the workload's process starts; what it takes is paid once.
        from glidemq_console.app import ConsoleApp
        from glidemq_console.config.console import ConsoleConfig
        from glidemq_console.runtime.process import report_unsent

        chosen: dict[str, Any] = {"user": options.user} if options.user else {}
        app = ConsoleApp(
            ConsoleConfig(
                url=options.url,
                label="demo",
                prefix=options.key_prefix,
                theme=options.theme,
                ascii_glyphs=options.ascii_glyphs,
                read_only=options.read_only,
                connect_options=options.connect_options,
                **chosen,
            ),
            gc_tuning,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.exit, 0)
        if options.duration_ms is not None:
            loop.call_later(options.duration_ms / 1_000, app.exit, 0)
        await app.run_async()
        report_unsent(app)
        return app.return_code or 0


@asynccontextmanager
async def _workload(options: DemoOptions) -> AsyncIterator[None]:
    """Run the workload in a process of its own, so that the screen's loop stays free; it ends with this one.

    Raises: what kept it from starting.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        __package__ or "",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env=_environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(options.to_line().encode() + b"\n")
        await process.stdin.drain()
        try:
            async with asyncio.timeout(_START_S):
                first = await process.stdout.readline()
        except TimeoutError:
            first = b""
        _check_ready(first)
        yield
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _check_ready(line: bytes) -> None:
    """Raise the error that the workload's process tells instead of its ready line."""
    try:
        answer: Mapping[str, Any] = json.loads(line)
    except ValueError:
        answer = {"error": "the demo's workload did not start"}
    if "error" in answer:
        kind = getattr(errors, str(answer.get("type")), errors.GlideMQError)
        raise kind(answer["error"], hint=answer.get("hint"))


def _environment() -> dict[str, str]:
    """Return our environment with this package findable, however we were started."""
    home = str(Path(__file__).parents[2])
    path = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
