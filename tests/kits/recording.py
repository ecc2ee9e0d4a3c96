"""Queues and workers that repeat what was recorded, and the comparison with the recording."""

from __future__ import annotations

import asyncio
import copy
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import eventually

from glidemq_core.server.connection import Connection
from glidemq_core.wire.payload import decode_data
from glidemq_core.wire.serializer import JSON_SERIALIZER
from glidemq_core.worker import Worker
from kits.wire import assert_same_records, dump, recording

HOUR = 3_600_000
Process = Callable[[Any], Awaitable[Any]]

_MINUTE_FIELD = re.compile(r"m:\d+:(c|d)")


@pytest.fixture(autouse=True)
def steady_minute(connection: Connection) -> None:
    """A clock that starts in the middle of a minute: a test's metrics fall into one bucket."""
    shift = 30_000 - time.time_ns() // 1_000_000 % 60_000
    connection.now_ms = lambda: time.time_ns() // 1_000_000 + shift


def advance(connection: Connection, ms: int) -> None:
    clock = connection.now_ms
    connection.now_ms = lambda: clock() + ms


def worker(connection: Connection, name: str, process: Process, **options: Any) -> Worker:
    return Worker(name, process, connection, **{"promotion_interval": 50, **options})


def _durationless(keys: dict[str, Any]) -> dict[str, Any]:
    """Whether a minute has a sum of durations depends on the machine: above 0 ms or not."""
    out = copy.deepcopy(keys)
    for key, entry in out.items():
        if ":metrics:" in key:
            entry["value"] = {k: v for k, v in entry["value"].items() if not k.endswith(":d")}
    return out


async def same(
    connection: Connection,
    name: str,
    *,
    ignore: tuple[str, ...] = (),
    change: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Wait until the queue's keys are those of the recording; `change` edits the recording where ours differs."""
    wanted = _durationless(recording(name)["keys"])
    if change is not None:
        change(wanted)

    async def written() -> dict[str, Any]:
        return _durationless(await dump(connection, f"glide:{{{name}*"))

    async def equal() -> bool:
        try:
            assert_same_records(wanted, await written(), ignore=ignore)
        except AssertionError:
            return False
        return True

    try:
        await eventually(equal, interval=0.05)
    except AssertionError:
        assert_same_records(wanted, await written(), ignore=ignore)


def job(wanted: dict[str, Any], name: str, job_id: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = wanted[f"glide:{{{name}}}:job:{job_id}"]["value"]
    return found


def payload_of(fields: dict[str, Any]) -> Any:
    return decode_data(fields["data"].encode(), JSON_SERIALIZER).value


async def never(_: Any) -> None:
    await asyncio.Event().wait()


async def one(_: Any) -> int:
    return 1


def fails(message: str) -> Process:
    async def process(_: Any) -> None:
        raise ValueError(message)

    return process
