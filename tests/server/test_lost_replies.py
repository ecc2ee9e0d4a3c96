"""Replies that are lost on the way: a change is made at most once a call, whatever the driver repeats by itself."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, serving
from faults.proxy import Proxy, Trouble
from kits.cluster import running_cluster

from glidemq_core import Connection, connect, errors


@pytest.fixture(params=["server", "cluster"])
async def behind_proxy(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Connection, Proxy]]:
    """A connection whose every byte goes through a proxy, and the proxy."""
    async with AsyncExitStack() as stack:
        if request.param == "server":
            port = stack.enter_context(serving(tmp_path))
        else:
            nodes = await stack.enter_async_context(running_cluster(tmp_path, primaries=1))
            port = nodes.nodes[0].port
        proxy = Proxy(port, random.Random(7), rate=0.3)
        await proxy.start()
        stack.push_async_callback(proxy.close)
        url = f"valkey://127.0.0.1:{proxy.port}"
        if request.param == "cluster":
            # Where the cluster says that the node is, the proxy is.
            await nodes.nodes[0].ask("CONFIG", "SET", "cluster-announce-port", proxy.port)
            await eventually(lambda: _announced(nodes.nodes[0], proxy.port))
            url += "?cluster=1"
        yield await stack.enter_async_context(connect(url, request_timeout=1_000)), proxy


async def _announced(node: Any, port: int) -> bool:
    return [entry[2][1] for entry in await node.ask("CLUSTER", "SLOTS")] == [port]


@pytest.mark.parametrize("trouble", [Trouble.BEFORE, Trouble.AFTER])
async def test_a_change_whose_reply_is_lost_is_not_made_twice(
    behind_proxy: tuple[Connection, Proxy], trouble: Trouble
) -> None:
    connection, proxy = behind_proxy
    sure, unsure = 0, 0
    proxy.trouble = trouble
    while proxy.hits < 10:
        try:
            await connection.command("INCR", "{n}made")
        except (errors.ServerUnavailableError, errors.CallTimeoutError):
            unsure += 1
        else:
            sure += 1
        for answer in await _pipeline(connection):
            if isinstance(answer, int):
                sure += 1
            else:
                assert isinstance(answer, (errors.ServerUnavailableError, errors.CallTimeoutError))
                unsure += 1
    proxy.trouble = Trouble.NONE

    made = int(await eventually(lambda: _read(connection)))
    assert sure <= made <= sure + unsure


async def _pipeline(connection: Connection) -> list[Any]:
    commands = [("INCR", "{n}made"), ("INCR", "{n}made")]
    try:
        return await connection.pipeline(commands)
    except (errors.ServerUnavailableError, errors.CallTimeoutError) as error:
        return [error] * len(commands)


async def _read(connection: Connection) -> bytes | None:
    try:
        found: bytes | None = await connection.command("GET", "{n}made")
    except errors.GlideMQError:
        return None
    return found


async def test_a_connection_that_leads_nowhere_is_left_for_a_new_one(
    behind_proxy: tuple[Connection, Proxy],
) -> None:
    connection, proxy = behind_proxy
    await connection.command("SET", "{n}made", "1")
    proxy.forget()

    with pytest.raises(errors.CallTimeoutError):
        await connection.command("GET", "{n}made")

    assert await connection.command("GET", "{n}made") == b"1"
    assert await connection.pipeline([("GET", "{n}made")]) == [b"1"]


async def test_a_blocking_read_that_leads_nowhere_is_left_for_a_new_one(
    behind_proxy: tuple[Connection, Proxy],
) -> None:
    connection, proxy = behind_proxy
    reader = await connection.dedicated()
    try:
        words = ("XREAD", "BLOCK", 200, "STREAMS", "{n}stream", "0-0")
        assert not await reader.command(*words)
        proxy.forget()
        with pytest.raises(errors.CallTimeoutError):
            await reader.command(*words)
        assert not await reader.command(*words)
    finally:
        await reader.close()


async def test_a_server_that_is_silent_for_a_while_keeps_its_client(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        async with connect(f"valkey://127.0.0.1:{port}", request_timeout=300) as connection:
            client = connection.client
            pid = int((await connection.command("INFO", "server")).split(b"process_id:")[1].split()[0])
            os.kill(pid, signal.SIGSTOP)
            try:
                for _ in range(2):
                    with pytest.raises(errors.CallTimeoutError):
                        await connection.command("GET", "k")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert await eventually(lambda: _sets(connection))
            assert connection.client is client


async def _sets(connection: Connection) -> bool:
    try:
        await connection.command("SET", "k", "1")
    except errors.GlideMQError:
        return False
    return True
