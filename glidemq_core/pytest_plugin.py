"""Fixtures for pytest: a server for the session, and an emptied connection for each test.

Loaded by pytest as the plugin `glidemq`; nothing of the engine is imported before a fixture is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from glidemq_core import Connection, Queue


@pytest.fixture(scope="session")
def glidemq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL of a server on loopback that keeps nothing, for the whole session."""
    from .testing.server import memory_server

    with memory_server(tmp_path_factory.mktemp("glidemq")) as url:
        yield url


@pytest.fixture
async def glidemq_connection(
    glidemq_server: str, request: pytest.FixtureRequest
) -> AsyncIterator[Connection]:
    """Give a connection with a prefix of its own; what the test leaves under that prefix is removed.

    An async fixture: it takes `asyncio_mode = "auto"` of pytest-asyncio, or anyio's plugin.
    """
    import zlib

    from glidemq_core import connect

    prefix = f"test-{zlib.crc32(request.node.nodeid.encode()):08x}"
    async with connect(glidemq_server, prefix=prefix) as connection:
        await _remove(connection)
        yield connection
        await _remove(connection)


@pytest.fixture
def glidemq_queue(glidemq_connection: Connection) -> Queue[Any, Any]:
    """Give the queue `test` of that connection."""
    from glidemq_core import Queue

    return Queue("test", glidemq_connection)


async def _remove(connection: Connection) -> None:
    """Remove every key of the connection's prefix."""
    cursor = b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", f"{connection.prefix}:*", "COUNT", 1_000)
        cursor, keys = await connection.command(*words)
        if keys:
            await connection.command("UNLINK", *keys)
        if cursor == b"0":
            return
