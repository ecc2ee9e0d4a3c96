"""Fixtures for pytest: a server for the session, and an emptied connection for each test.

Loaded by pytest as the plugin `glidemq`; nothing of the engine is imported before a fixture is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from glidemq_core import Connection, Queue

#: Whether a test passed: of one that did not, nobody asks what it left.
_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Note whether a test passed, for the fixtures that end after it."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.stash[_PASSED] = report.passed


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

    A test that passed fails here if it left keys outside of that prefix, or keys of jobs that are gone.

    An async fixture: it takes `asyncio_mode = "auto"` of pytest-asyncio, or anyio's plugin.
    """
    import zlib

    from glidemq_core import connect

    from .testing.leaks import all_keys, leak_message, leaked_keys

    prefix = f"test-{zlib.crc32(request.node.nodeid.encode()):08x}"
    async with connect(glidemq_server, prefix=prefix) as connection:
        await _remove(connection, await _keys_of(connection))
        before = await all_keys(connection)
        yield connection
        leaks = await leaked_keys(connection, before)
        await _remove(
            connection, [*await _keys_of(connection), *(name for names in leaks.values() for name in names)]
        )
        if leaks and request.node.stash.get(_PASSED, False):
            pytest.fail(leak_message(leaks), pytrace=False)


@pytest.fixture
def glidemq_queue(glidemq_connection: Connection) -> Queue[Any, Any]:
    """Give the queue `test` of that connection."""
    from glidemq_core import Queue

    return Queue("test", glidemq_connection)


async def _keys_of(connection: Connection) -> list[str]:
    """Return the keys of the connection's prefix."""
    from .testing.leaks import all_keys

    return [name for name in await all_keys(connection) if name.startswith(f"{connection.prefix}:")]


async def _remove(connection: Connection, names: list[str]) -> None:
    if names:
        await connection.command("UNLINK", *(name.encode("utf-8", "surrogateescape") for name in names))
