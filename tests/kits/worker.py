"""Workers that are quick to notice things, and questions about what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from conftest import eventually

from glidemq_core.errors import CallTimeoutError, ServerError, ServerUnavailableError
from glidemq_core.server.connection import Connection
from glidemq_core.worker import Worker
from kits.bench import Bench

P = "glide:{q}"


def quick(process: Any, connection: Connection, **options: Any) -> Worker:
    return Worker("q", process, connection, **{"promotion_interval": 50, "log_errors": False, **options})


async def never(_: Any) -> None:
    await asyncio.Event().wait()


async def clean(bench: Bench) -> None:
    """Nothing runs, nothing is counted as running."""
    await eventually(lambda: is_idle(bench))


async def is_idle(bench: Bench) -> bool:
    with contextlib.suppress(ServerError):
        if (await bench.command("XPENDING", f"{P}:stream", "workers"))[0]:
            return False
    return (
        int(await bench.command("GET", f"{P}:list-active") or 0) == 0
        and await bench.command("ZCARD", f"{P}:list-runs") == 0
    )


async def in_state(bench: Bench, job_id: str, *wanted: str) -> bool:
    return await bench.field(job_id, "state") in wanted


class Outage:
    """Loses calls of a connection: `before` they reach the server, or `after` they were carried out."""

    def __init__(self, connection: Connection, *, only: str | None = None) -> None:
        self.connection = connection
        self.only = only
        self.lost: list[str] = []
        #: One word a call to come: "before", "after" or "" (goes through); then all go through.
        self.plan: list[str] = []
        self._call = connection.call
        connection.call = self._lossy  # type: ignore[method-assign]

    async def _lossy(self, function: str, *args: Any) -> Any:
        fate = self.plan.pop(0) if self.plan and self.only in (None, function) else ""
        if fate:
            self.lost.append(function)
        if fate == "before":
            raise ServerUnavailableError("the connection was lost", address="it")
        reply = await self._call(function, *args)
        if fate == "after":
            raise CallTimeoutError("no answer", command=function, timeout_ms=1)
        return reply
