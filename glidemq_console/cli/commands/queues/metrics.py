"""`metrics`: figures of queues for Prometheus, once or for scrapers."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from ... import options
from ...options import option
from ...program import command, require, unless
from ...serving.ends import until_terminated
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.watch import Watch
    from glidemq_core.watch.metrics import Exporter

    from ...serving.http import Answer

#: Where scrapers are answered that are named by a port alone.
_LOOPBACK = "127.0.0.1"
#: Pause between two searches for queues that no registry knows, s.
_SEARCH_EVERY_S = 600.0
#: The same after a search that failed.
_RETRY_S = 15.0


@dataclass(frozen=True)
class Address:
    """Where scrapers are answered."""

    host: str
    port: int


def listening_address(text: str) -> Address:
    """Read `HOST:PORT`, `[IPv6]:PORT`, or a port of loopback."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    given = (
        port.isascii()
        and port.isdigit()
        and int(port) <= 65_535
        and (bare if host else ":" not in text)
        and (":" not in bare or host == f"[{bare}]")
        and not any(character.isspace() or character == "/" for character in bare)
    )
    if not given:
        raise BadParameter(f"'{text}' is no address to listen on: write PORT, HOST:PORT or [IPv6]:PORT")
    return Address(bare or _LOOPBACK, int(port))


@command("metrics", limit=unless("address"))
async def metrics(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    once: Annotated[
        bool, Option("--once", help="Print the figures and end; so it does without --listen.")
    ] = False,
    address: Annotated[
        Address | None,
        option(
            "--listen",
            "[HOST:]PORT",
            "Answer scrapers, on loopback unless a HOST is named.",
            listening_address,
        ),
    ] = None,
) -> int:
    """Show figures of queues as Prometheus reads them.

    `--listen` counts what ends from its start on; otherwise gauges tell of the last full minute.
    """
    require(not session.json, "metrics writes the format of Prometheus: --json has no meaning here")
    require(not (once and address), "--once and --listen contradict each other")
    wanted = options.merged(names, queue)
    from glidemq_core.watch.metrics import Exporter

    if address is None:
        found, _ = await session.chosen_queues(wanted)
        exporter = Exporter(await session.watch(), found, counting=False)
        session.out.write((await exporter.read()).encode())
        return 0
    session.role = "metrics"
    await session.check_queues(wanted)
    watch = await session.watch()
    exporter = Exporter(watch, wanted or None)
    await exporter.read()  # what ends from here on is counted
    searching = None if wanted else asyncio.create_task(_search(watch))
    try:
        await until_terminated(_serve(session, exporter, address))
    finally:
        if searching is not None:
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)
    return 0


async def _search(watch: Watch) -> None:
    """Find queues that only Node uses, slowly, and again after a while."""
    from glidemq_core.errors import GlideMQError

    while True:
        pause = _RETRY_S
        with suppress(GlideMQError):
            async for _ in watch.discover():
                pass
            pause = _SEARCH_EVERY_S
        await asyncio.sleep(pause)


async def _serve(session: Session, exporter: Exporter, address: Address) -> None:
    """Answer scrapers."""
    from http import HTTPStatus

    from glidemq_core.errors import GlideMQError
    from glidemq_core.server.url import format_address
    from glidemq_core.watch.metrics.exporter import unreachable
    from glidemq_core.watch.metrics.exposition import CONTENT_TYPE

    from ...serving.http import Answer, listen

    trouble: str | None = None

    def told(problem: str | None) -> None:
        """Say when the server goes away and when it is back, once each."""
        nonlocal trouble
        if problem is not None and trouble is None:
            session.out.note(f"cannot read the queues: {problem}")
        elif problem is None and trouble is not None:
            session.out.note("the queues can be read again")
        trouble = problem

    async def respond(path: str) -> Answer | None:
        if path != "/metrics":
            return None
        try:
            shown, status, problem = await exporter.read(), HTTPStatus.OK, None
        except GlideMQError as error:
            shown, status, problem = unreachable(), HTTPStatus.SERVICE_UNAVAILABLE, error.message
        told(problem)
        return Answer(status, shown.encode(), CONTENT_TYPE)

    server = await listen(respond, address.host, address.port, "--listen [HOST:]PORT")
    try:
        at = server.sockets[0].getsockname()[:2]
        session.out.note(f"figures at http://{format_address(at)}/metrics")
        if not ipaddress.ip_address(at[0].partition("%")[0]).is_loopback:
            session.out.note("whoever reaches this address reads the names and figures of all queues")
        await asyncio.Event().wait()
    finally:
        server.close()
