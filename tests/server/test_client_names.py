"""Connections tell the server who they are: `CLIENT LIST` names the library, what a connection is for, the process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import valkey
from conftest import eventually

from glidemq_core.broadcast import Broadcast
from glidemq_core.errors import InvalidOptionError
from glidemq_core.flows.producer import FlowProducer
from glidemq_core.jobs.events.queue_events import QueueEvents
from glidemq_core.producer import Producer
from glidemq_core.queue import Queue
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection
from glidemq_core.watch import Watch
from glidemq_core.worker.worker import Worker

Clients = Callable[[], list[dict[str, str]]]


@pytest.fixture
def clients(connection: Connection, server_port: int) -> Clients:
    """Who is connected now, without the connections of the test itself."""
    admin = valkey.Valkey(port=server_port)

    def listed() -> list[dict[str, str]]:
        answer: Any = admin.client_list()
        return list(answer)

    standing = {client["id"] for client in listed()}

    def found() -> list[dict[str, str]]:
        return [
            client
            for client in listed()
            if client["id"] not in standing and client["name"] != f"glidemq-client-{os.getpid()}"
        ]

    return found


def roles(clients: Clients) -> set[str]:
    """The names of all clients, which must be of this process; "" of one that has not said its name yet."""
    end = f"-{os.getpid()}"
    names = {client["name"] for client in clients()}
    assert all(name.startswith("glidemq-") and name.endswith(end) for name in names if name)
    return {name.removeprefix("glidemq-").removesuffix(end) for name in names}


@pytest.mark.parametrize(
    ("make", "use", "role"),
    [
        (lambda url: Queue("q", url), lambda queue: queue.exists(), "queue"),
        (lambda url: Producer("q", url), lambda producer: producer.context(), "producer"),
        (FlowProducer, lambda flows: flows.add_dag([]), "flows"),
        (lambda url: Broadcast("b", url), lambda broadcast: broadcast.context(), "broadcast"),
        (Watch, lambda watch: watch.known(), "watch"),
    ],
)
async def test_a_connection_of_its_own_says_whose_it_is(
    server_url: str, clients: Clients, make: Any, use: Any, role: str
) -> None:
    made = make(server_url)
    await use(made)

    assert {(client["lib-name"], client["name"]) for client in clients()} == {
        ("glidemq", f"glidemq-{role}-{os.getpid()}")
    }
    await made.close()


async def test_blocking_reads_say_what_they_wait_for(server_url: str, clients: Clients) -> None:
    async def process(job: Any) -> None:
        await asyncio.sleep(60)

    async with (
        connect(server_url, role="api") as opened,
        Worker[Any, Any]("q", process, opened, block_timeout=1_000) as worker,
        Queue[Any, Any]("q", opened) as queue,
        QueueEvents("q", server_url) as events,
    ):
        await eventually(lambda: roles(clients) >= {"api", "worker", "events"})
        job = await queue.add("n", {})
        assert job is not None
        reading = asyncio.ensure_future(anext(aiter(queue.stream(job.id))))
        await eventually(lambda: roles(clients) == {"api", "worker", "events", "stream"})
        waiting = asyncio.ensure_future(queue.add_and_wait("n", {}))
        await eventually(lambda: roles(clients) == {"api", "worker", "events", "stream", "wait"})

        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
        del events
        await worker.close(force=True)


async def test_a_command_names_itself(connection: Connection, server_url: str, clients: Clients) -> None:
    await Queue[Any, Any]("q", connection).add("n", {})
    command = (sys.executable, "-m", "glidemq_console", "events", "q", "--url", server_url)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        names = {f"glidemq-{role}-{process.pid}" for role in ("cli", "events")}
        await eventually(lambda: {client["name"] for client in clients()} == names, timeout=30)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


@asynccontextmanager
async def signed_in(admin: Connection, url: str, *rules: str) -> AsyncIterator[Connection]:
    """Connect as a user who may do all but what the rules forbid."""
    await admin.command("ACL", "SETUSER", "shy", "reset", "on", ">pw", "~*", "+@all", *rules)
    try:
        async with connect(url.replace("//", "//shy:pw@"), role="shy") as opened:
            yield opened
    finally:
        await admin.command("ACL", "DELUSER", "shy")


@pytest.mark.parametrize(
    ("rule", "may_name", "may_inform"),
    [("-client", False, False), ("-client|setname", False, True), ("-client|setinfo", True, False)],
)
async def test_users_who_may_not_name_themselves_work_without(
    connection: Connection, server_url: str, clients: Clients, rule: str, may_name: bool, may_inform: bool
) -> None:
    async with signed_in(connection, server_url, rule) as shy, await shy.dedicated(role="stream") as twin:
        assert await shy.command("ECHO", "hello") == b"hello"
        assert await twin.command("ECHO", "hello") == b"hello"
        names = {f"glidemq-{role}-{os.getpid()}" for role in ("shy", "stream")}
        found = {(client["name"], client["lib-name"]) for client in clients()}
        assert found == {(name if may_name else "", "glidemq" if may_inform else "") for name in names}


async def test_a_right_to_be_named_that_is_taken_away_keeps_nobody_out(
    connection: Connection, server_url: str, clients: Clients
) -> None:
    async with signed_in(connection, server_url) as shy:
        await shy.command("PING")
        await connection.command("ACL", "SETUSER", "shy", "-client")
        await connection.command("CLIENT", "KILL", "USER", "shy")

        async def answered() -> bool:
            try:
                return bool(await shy.command("ECHO", "hello") == b"hello")
            except (ConnectionError, TimeoutError):
                return False

        await eventually(answered, timeout=20)
        assert "" in {client["name"] for client in clients()}


@pytest.mark.parametrize("role", ["", "two words", "line\nbreak", "x" * 65, "ü", None, 7])
async def test_a_role_that_no_name_may_hold_is_refused(server_url: str, role: Any) -> None:
    with pytest.raises(InvalidOptionError, match="role"):
        await connect(server_url, role=role)
