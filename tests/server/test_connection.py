"""Reaching a server: every way in which it fails, the function library, reconnects, read-only use."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, free_port, server_words

from glidemq_core import Job, Queue, QueueEvents, Worker, errors, get_usage_summary
from glidemq_core.server import functions
from glidemq_core.server.connect import connect
from glidemq_core.server.connection import Connection

ROOT = "glide:{q}"
StartServer = Callable[..., int]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start a Valkey with extra options, on the given port or a free one; returns the port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str, port: int | None = None) -> int:
        port = port or free_port()
        folder = tmp_path / str(port)
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen([*server_words(port, folder), *options], stdout=subprocess.DEVNULL)
        running.append(process)
        _await_port(port, process)
        start.last = process  # type: ignore[attr-defined]
        return port

    yield start
    for process in running:
        process.kill()
        process.wait(10)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            return
        except OSError:
            continue
    raise AssertionError("the server ended at once")


@pytest.fixture
async def admin(connection: Connection) -> AsyncIterator[Connection]:
    """The shared server, for tests that make users; they are gone afterwards."""
    await connection.command("FUNCTION", "FLUSH")
    yield connection
    for line in await connection.command("ACL", "USERS"):
        if line != b"default":
            await connection.command("ACL", "DELUSER", line)


# --- Opening


async def test_connect_awaited_and_as_context(server_url: str) -> None:
    awaited = await connect(server_url)
    async with connect(server_url, prefix="mine") as opened:
        assert (awaited.url, awaited.prefix, opened.prefix) == (server_url, "glide", "mine")
        assert (opened.is_cluster, opened.read_only, opened.closed, opened.is_exposed) == (
            False,
            False,
            False,
            False,
        )
        assert opened.server.version.split(".")[0].isdigit()
        assert isinstance(await opened.ping(), timedelta)
        assert opened.functions_available

    assert opened.closed
    await awaited.close()
    await awaited.close()
    with pytest.raises(errors.ClosedError):
        await awaited.ping()
    with pytest.raises(errors.ClosedError):
        await awaited.dedicated()


async def test_what_is_no_connection_no_handler_and_no_actor_is_named(server_url: str) -> None:
    async def process(_: Job) -> None: ...

    strange: Any = 5
    with pytest.raises(errors.InvalidOptionError, match="named by a URL, not int"):
        await connect(strange)
    with pytest.raises(errors.InvalidOptionError, match="connection must be a URL, a Connection or None"):
        await get_usage_summary(strange)
    with pytest.raises(errors.InvalidOptionError, match="handler must be a function, not 5"):
        Worker("q", process, server_url).on("active", strange)
    async with Queue("q", server_url) as queue:
        with pytest.raises(errors.InvalidOptionError, match="actor must be an Actor, not 5"):
            await queue.approve("1", actor=strange)


async def test_a_queue_tells_which_connection_it_uses(server_url: str) -> None:
    async def process(_: Job) -> None: ...

    for owner in (Queue("q", server_url), Worker("q", process, server_url), QueueEvents("q", server_url)):
        assert owner.connection is None
        async with owner:
            assert owner.connection is not None
            await owner.connection.ping()

    async with connect(server_url) as shared:
        queue: Queue[Any, Any] = Queue("q", shared)
        assert queue.connection is shared
        await queue.close()
        await shared.ping()


async def test_types_of_payload_and_result_may_be_named_or_left_out() -> None:
    async def process(job: Job) -> str:  # a type checker takes it for Job[Any, Any]
        return str(job.data)

    queue, worker = Queue("q"), Worker("q", process)
    typed: Worker[dict[str, int], str] = Worker[dict[str, int], str]("q", process)
    assert [repr(one) for one in (queue, worker, typed)] == ["<Queue 'q'>", "<Worker 'q'>", "<Worker 'q'>"]
    assert Queue[dict[str, int], str]("q").name == "q"


async def test_a_traceback_says_what_to_try() -> None:
    with pytest.raises(errors.ServerUnavailableError) as caught:
        await connect("valkey://127.0.0.1:1")
    [*_, message, advice] = "".join(traceback.format_exception(caught.value)).splitlines()
    assert message.endswith("ServerUnavailableError: nothing listens on 127.0.0.1:1")
    assert advice == f"({caught.value.hint})"


async def test_environment_names_the_server(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIDEMQ_URL", raising=False)
    with pytest.raises(errors.InvalidOptionError):
        await connect()

    monkeypatch.setenv("GLIDEMQ_URL", server_url)
    async with connect() as opened:
        assert opened.url == server_url


async def test_nobody_there() -> None:
    with pytest.raises(errors.ServerUnavailableError, match="nothing listens") as caught:
        await connect(f"valkey://127.0.0.1:{free_port()}")

    assert isinstance(caught.value, ConnectionError)
    assert caught.value.address.startswith("127.0.0.1:")


async def test_unknown_host() -> None:
    with pytest.raises(errors.ServerUnavailableError, match="not known"):
        await connect("valkey://no-such-host.invalid")


async def test_a_silent_address_ends_with_the_connect_timeout() -> None:
    silent = socket.create_server(("127.0.0.1", 0))

    with silent, pytest.raises(errors.ServerUnavailableError, match="within 200 ms"):
        await connect(f"valkey://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=200)


async def test_a_web_server_is_no_valkey() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as web:
        port = web.sockets[0].getsockname()[1]
        with pytest.raises(errors.ServerUnavailableError, match="no Valkey server"):
            await connect(f"valkey://127.0.0.1:{port}")


async def test_passwords(start_server: StartServer) -> None:
    port = start_server("--requirepass", "sesame")
    asked = []

    async def source() -> str:
        asked.append(1)
        return "sesame"

    async with connect(f"valkey://127.0.0.1:{port}", password=source) as opened:
        twin = await opened.dedicated()
        assert await twin.command("PING") in (b"PONG", "PONG")
        await twin.close()
        assert len(asked) == 2
    for url, text in (
        (f"valkey://127.0.0.1:{port}", "asks for a password"),
        (f"valkey://:swordfish@127.0.0.1:{port}", "refuses the password"),
        (f"valkey://ann:swordfish@127.0.0.1:{port}", "'ann'"),
    ):
        with pytest.raises(errors.AuthenticationError, match=text) as caught:
            await connect(url)
        assert "swordfish" not in str(caught.value)


async def test_a_changed_password_is_asked_for_again(start_server: StartServer) -> None:
    port = start_server("--requirepass", "old")
    current = "old"

    async def source() -> str:
        return current

    async with connect(f"valkey://127.0.0.1:{port}", password=source, request_timeout=500) as opened:
        await opened.command("CONFIG", "SET", "requirepass", "new")
        current = "new"
        await opened.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")

        assert await eventually(lambda: _pings(opened))


async def _pings(connection: Connection) -> bool:
    try:
        await connection.ping()
    except errors.GlideMQError:
        return False
    return True


async def test_password_over_plain_text_stays_at_home() -> None:
    with pytest.raises(errors.PermissionDeniedError) as caught:
        await connect("valkey://:pw@8.8.8.8")

    assert (caught.value.reason, caught.value.command) == ("insecure", None)
    with pytest.raises(errors.ServerUnavailableError):
        await connect("valkey://:pw@8.8.8.8:1?insecure=1", connect_timeout=100)


async def test_an_old_server_the_driver_cannot_greet_is_too_old() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = b"# Server\r\nredis_version:5.0.14\r\n"
        while head := await reader.readline():
            words = []
            for _ in range(int(head[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            known = {b"PING": b"+PONG\r\n", b"INFO": b"$%d\r\n%s\r\n" % (len(info), info)}
            writer.write(known.get(words[0].upper(), b"-ERR unknown command\r\n"))
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as old:
        port = old.sockets[0].getsockname()[1]
        with pytest.raises(errors.UnsupportedServerError, match=r"version 5\.0\.14") as refused:
            await connect(f"valkey://127.0.0.1:{port}")
    assert (refused.value.feature, refused.value.found) == ("functions", "5.0.14")


async def test_a_server_without_functions_is_too_old(start_server: StartServer) -> None:
    renamed = [x for name in ("FUNCTION", "FCALL", "FCALL_RO") for x in ("--rename-command", name, "")]
    port = start_server(*renamed)

    with pytest.raises(errors.UnsupportedServerError) as caught:
        await connect(f"valkey://127.0.0.1:{port}")

    assert (caught.value.feature, caught.value.needed) == ("functions", "7.0")
    assert caught.value.found


async def test_a_lone_server_is_no_cluster(server_url: str) -> None:
    with pytest.raises(errors.InvalidOptionError, match="no cluster"):
        await connect(server_url + "?cluster=1")


# --- Calls


async def test_library_is_loaded_when_absent_and_again_when_it_vanished(admin: Connection) -> None:
    assert await admin.read("version", ROOT) == functions.build().encode()

    await admin.command("FUNCTION", "FLUSH")
    answers = await asyncio.gather(*(admin.read("version", ROOT) for _ in range(50)))
    assert set(answers) == {functions.build().encode()}

    await admin.command("FUNCTION", "FLUSH")
    assert (
        await admin.read_many([("version", ROOT), ("version", "glide:{r}")])
        == [functions.build().encode()] * 2
    )


async def test_a_loaded_library_is_never_replaced(admin: Connection) -> None:
    await admin.command("FUNCTION", "FLUSH")
    body = f"#!lua name={functions.LIBRARY}\nserver.register_function{{function_name='{functions.LIBRARY}_version'," \
        "callback=function() return 'other build' end, flags={'no-writes'}}"  # fmt: skip
    await admin.command("FUNCTION", "LOAD", body)

    with pytest.raises(errors.ServerError, match="another build"):
        await admin.call("add", ROOT)

    assert await admin.read("version", ROOT) == b"other build"
    await admin.command("FUNCTION", "FLUSH")


async def test_an_error_stands_in_its_place(admin: Connection) -> None:
    await admin.command("SET", "text", "x")

    first, second, third = await admin.pipeline([("GET", "text"), ("LPUSH", "text", "y"), ("GET", "text")])
    good, bad = await admin.read_many([("version", ROOT), ("nonsense", ROOT)])

    assert (first, third, good) == (b"x", b"x", functions.build().encode())
    assert isinstance(second, errors.ServerError)
    assert second.code == "WRONGTYPE"
    assert isinstance(bad, errors.ServerError)


async def test_a_foreign_key_is_named(admin: Connection) -> None:
    await admin.command("SET", f"{ROOT}:stream", "not a stream")

    with pytest.raises(errors.ServerError, match=r"glide:\{q\}:stream") as caught:
        await admin.command("XLEN", f"{ROOT}:stream")

    assert (caught.value.command, caught.value.code) == ("XLEN", "WRONGTYPE")


async def test_a_read_only_connection_sends_no_change(server_url: str, admin: Connection) -> None:
    await admin.check_functions()
    async with connect(server_url, read_only=True) as viewer:
        sent = viewer.stats.commands
        for attempt in (
            viewer.call("add", ROOT),
            viewer.command("SET", "k", "v"),
            viewer.pipeline([("DEL", "k")]),
        ):
            with pytest.raises(errors.PermissionDeniedError) as caught:
                await attempt
            assert caught.value.reason == "read_only"
        assert viewer.stats.commands == sent
        assert await viewer.read("version", ROOT) == functions.build().encode()
        assert await viewer.command("HGETALL", "k") == {}

        await admin.command("FUNCTION", "FLUSH")
        with pytest.raises(errors.PermissionDeniedError):
            await viewer.read("version", ROOT)
        assert not viewer.functions_available


@pytest.mark.parametrize(
    ("rules", "usable"),
    [("+@read +@connection", False), ("+@all -@write -function", True), ("+@read +fcall_ro", True)],
)
async def test_users_with_few_rights(server_url: str, admin: Connection, rules: str, usable: bool) -> None:
    await admin.check_functions()
    await admin.command("ACL", "SETUSER", "viewer", "on", ">pw", "~*", *rules.split())

    async with connect(server_url.replace("//", "//viewer:pw@")) as viewer:
        assert viewer.functions_available is usable
        assert await viewer.command("HGETALL", "nothing") == {}
        with pytest.raises(errors.PermissionDeniedError) as caught:
            await viewer.command("SET", "k", "v")
        assert (caught.value.reason, caught.value.command) == ("acl", "SET")


async def test_more_requests_than_slots_wait_for_their_turn(server_url: str) -> None:
    async with connect(server_url, max_inflight=3) as narrow:
        answers = await asyncio.gather(*(narrow.command("ECHO", str(i)) for i in range(200)))

    assert answers == [str(i).encode() for i in range(200)]


async def test_a_server_that_hangs_is_a_timeout(start_server: StartServer) -> None:
    port = start_server()
    async with connect(f"valkey://127.0.0.1:{port}", request_timeout=200) as opened:
        await opened.command("CLIENT", "PAUSE", "1000", "ALL")
        with pytest.raises(errors.CallTimeoutError) as caught:
            await opened.command("GET", "k")

    assert (caught.value.command, caught.value.timeout_ms) == ("GET", 200)


# --- Losing the server


async def test_a_restarted_server_is_found_again(start_server: StartServer) -> None:
    port = start_server()
    async with connect(f"valkey://127.0.0.1:{port}", request_timeout=1_000) as opened:
        start_server.last.kill()  # type: ignore[attr-defined]
        start_server.last.wait()  # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(errors.ServerUnavailableError):
                await opened.read("version", ROOT)

        start_server(port=port)

        assert await eventually(lambda: _pings(opened))
        assert await opened.read("version", ROOT) == functions.build().encode()


async def test_a_broken_blocking_read_warns_the_other_clients(start_server: StartServer) -> None:
    port = start_server()
    async with connect(f"valkey://127.0.0.1:{port}", request_timeout=60_000) as opened:
        reader = await opened.dedicated()
        reading = asyncio.create_task(reader.command("XREAD", "BLOCK", "60000", "STREAMS", "s", "$"))
        await eventually(lambda: _blocked(opened, 1))
        start_server.last.kill()  # type: ignore[attr-defined]
        start_server.last.wait()  # type: ignore[attr-defined]
        with pytest.raises(errors.ServerUnavailableError):
            await reading

        with pytest.raises(errors.ServerUnavailableError):
            await asyncio.wait_for(opened.ping(), 10)
        await reader.close()


async def test_reads_survive_a_killed_connection(server_url: str, admin: Connection) -> None:
    async with connect(server_url) as opened:
        mine = await opened.command("CLIENT", "ID")
        await admin.command("CLIENT", "KILL", "ID", str(mine))

        assert await opened.read("version", ROOT) == functions.build().encode()


async def test_a_blocking_read_outlives_the_request_timeout(server_url: str, admin: Connection) -> None:
    async with connect(server_url, request_timeout=200) as opened:
        reader = await opened.dedicated()
        reading = asyncio.create_task(reader.command("XREAD", "BLOCK", "10000", "STREAMS", "s", "$"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), 0.6)
        assert isinstance(await opened.ping(), timedelta)
        await admin.command("XADD", "s", "*", "k", "v")

        assert await reading
        await reader.close()


async def test_closing_ends_a_blocking_read(server_url: str, admin: Connection) -> None:
    async with connect(server_url) as opened:
        reader = await opened.dedicated()
        reading = asyncio.create_task(reader.command("XREAD", "BLOCK", "60000", "STREAMS", "s", "$"))
        await eventually(lambda: _blocked(admin, 1))

        await reader.close()

        with pytest.raises(errors.ClosedError):
            await reading
        await eventually(lambda: _blocked(admin, 0))


async def _blocked(admin: Connection, count: int) -> bool:
    return (await admin.command("INFO", "clients")).count(b"blocked_clients:%d\r" % count) == 1


async def test_a_library_that_vanishes_again_after_it_was_loaded_fails_no_call(
    admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loaded = admin._client._load, []

    async def flushed_at_once(seen: int) -> None:
        await load(seen)
        loaded.append(seen)
        if len(loaded) < 4:
            await admin.command("FUNCTION", "FLUSH")

    monkeypatch.setattr(admin._client, "_load", flushed_at_once)
    assert await admin.call("version", ROOT) == functions.build().encode()
    assert len(loaded) == 4
