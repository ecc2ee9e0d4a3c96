"""`server`: our own Valkey, started, stopped, asked after."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import Exit
from ..option_types import some_path
from ..options import option
from ..program import Values, command, require
from ..session import Session

if TYPE_CHECKING:
    from glidemq_core.records import Server
    from glidemq_core.server.embedded.server import EmbeddedServer

#: Loading a large data folder takes its time.
_START_TIMEOUT_MS = 120_000


#: What to do with the server.
Action = StrEnum("Action", ["start", "stop", "status", "url"])


def _limit(values: Values) -> int | None:
    return None if values["foreground"] else _START_TIMEOUT_MS


@command("server", limit=_limit)
async def server(
    session: Session,
    action: Annotated[Action, Argument(help="start keeps it running until stop.", show_choices=True)],
    data: Annotated[Path | None, option("--data", "DIR", "Data folder.", some_path)] = None,
    port: Annotated[int | None, option("--port", "N", "Port; else any.", min=1, max=65_535)] = None,
    foreground: Annotated[bool, Option("--foreground", help="Run until interrupted.")] = False,
) -> int:
    """Run a Valkey of our own: loopback only, data kept in a folder. `url` prints how others reach it."""
    require(action is Action.start or not foreground, "--foreground belongs to start")
    require(action is Action.start or port is None, "--port belongs to start")
    own = _server(session, data, port)
    if action is Action.start:
        return await _start(session, own, foreground)
    if action is Action.stop:
        stopped = await own.stop()
        _show(session, await own.status(), "stopped" if stopped else "was not running")
        return Exit.DONE
    status = await own.status()
    if action is Action.url and status.running and not session.json:
        # Its one purpose is to be handed to a client, which needs the password too.
        session.out.line(own.url)
        return Exit.DONE
    if action is Action.url and status.running:
        status = replace(status, url=own.url)
        session.out.reveal = True
    if action is Action.url and not session.json:
        session.out.note(f"no server runs in {session.out.safe(status.data_dir, 400)}: glidemq server start")
        return Exit.REFUSED
    _show(session, status, "running" if status.running else "not running")
    return Exit.DONE if status.running else Exit.REFUSED


def _server(session: Session, data: Path | None, port: int | None) -> EmbeddedServer:
    """Choose the server: `--data`, else an `embedded:` URL of any source, else the default folder."""
    from glidemq_core.server.embedded.server import EmbeddedServer
    from glidemq_core.server.url import EMBEDDED, redact

    named = session.given.url
    require(
        named is None or named.startswith(EMBEDDED),
        f"server minds servers of its own: say --url embedded:NAME, not {redact(named or '')}",
    )
    path: Path | None = data
    if path is None and session.settings.url.startswith(EMBEDDED):
        path = EmbeddedServer.of_url(session.settings.url)[0].data_dir
    return EmbeddedServer(path, port=port)


async def _start(session: Session, own: EmbeddedServer, foreground: bool) -> int:
    if not foreground:
        _show(session, await own.start(keep=True), "running")
        await own.close()
        return Exit.DONE
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _show(session, await own.start(), "running")
    ended = asyncio.create_task(own.wait_stopped())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if stop.is_set():
        await own.stop()
        return Exit.DONE
    session.out.note("the server was stopped by someone else")
    return Exit.REFUSED


def _show(session: Session, status: Server, words: str) -> None:
    if session.json:
        session.out.record({"server": status})
        return
    out = session.out
    pairs = [("server", words)]
    if status.running:
        pairs += [("url", out.safe(status.url or "", 200)), ("pid", str(status.pid or "–"))]
        pairs.append(("version", out.safe(status.version or "–")))
    pairs.append(("data", out.safe(status.data_dir, 400)))
    out.fields(pairs)
