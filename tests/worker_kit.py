"""Workers that are quick to notice things, and questions about what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from bench import Bench
from conftest import eventually

from glidemq_core.connection import Connection
from glidemq_core.errors import ServerError
from glidemq_core.worker import Worker

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
