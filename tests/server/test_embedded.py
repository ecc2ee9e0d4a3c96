"""Our own server: one per folder, shared, safe to start from anywhere, gone when nobody needs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import eventually, free_port
from platformdirs import user_data_path

from glidemq_core import errors
from glidemq_core.server.connect import connect
from glidemq_core.server.embedded.folder import Folder
from glidemq_core.server.embedded.server import EmbeddedServer

USE = """
import asyncio, sys
from glidemq_core.server.connect import connect
async def main():
    async with connect("embedded:" + sys.argv[1]) as c:
        await c.command("INCR", "starts")
        print((await c.command("INFO", "server")).decode().split("process_id:")[1].split()[0], flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A data folder whose server is stopped afterwards."""
    path = tmp_path / "data"
    yield path
    await EmbeddedServer(path).stop()


def use(folder: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its stdin closes; prints the server's process id."""
    return subprocess.Popen(
        [sys.executable, "-c", USE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_server_that_outlives_us_is_no_leak(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    script = "import asyncio, sys; from glidemq_core.server.embedded.server import EmbeddedServer as S\n"
    started = subprocess.run(
        [
            sys.executable,
            "-W",
            "always",
            "-c",
            script + "asyncio.run(S(sys.argv[1]).start(keep=True))",
            folder,
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert asyncio.run(EmbeddedServer(folder).stop())
    assert "still running" not in started.stderr


def watchdog_runs(folder: Path) -> bool:
    return Folder(folder).is_locked("watchdog")


async def test_start_join_stop(folder: Path) -> None:
    server = EmbeddedServer(folder)
    assert not (await server.status()).running
    assert not await server.stop()

    first = await server.start()
    second = await EmbeddedServer(folder).start()

    assert first == second
    assert first.running
    assert (first.url, first.data_dir) == (f"valkey://127.0.0.1:{first.port}", str(folder))
    # Not one that the system may give to a client.
    assert first.port is not None
    assert 20_000 <= first.port < 32_000
    async with connect(server.url) as connection:
        assert await connection.command("CONFIG", "GET", "bind") == {b"bind": b"127.0.0.1"}
        assert await connection.command("CONFIG", "GET", "appendonly") == {b"appendonly": b"yes"}
    assert await server.stop()
    assert await server.status() == await EmbeddedServer(folder).status()
    assert not (await server.status()).running


async def test_only_the_owner_can_read_the_password(folder: Path) -> None:
    async with EmbeddedServer(folder) as server:
        password = json.loads((folder / "server.json").read_text())["password"]
        status = await server.status()

        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
        assert len(password) >= 32
        assert password not in repr(status) + repr(server) + (folder / "server.log").read_text()
        command = Path(f"/proc/{status.pid}/cmdline")
        assert not command.exists() or password not in command.read_text()
        with pytest.raises(errors.AuthenticationError):
            await connect(status.url)


async def test_names_live_beside_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIDEMQ_DATA", str(tmp_path))

    assert EmbeddedServer().data_dir == tmp_path / "default"
    assert EmbeddedServer("demo").data_dir == tmp_path / "demo"
    assert EmbeddedServer(Path("demo")).data_dir == Path.cwd() / "demo"
    assert EmbeddedServer.of_url("embedded:demo?prefix=x")[1] == "?prefix=x"
    assert EmbeddedServer.of_url("embedded:/a/b")[0].data_dir == Path("/a/b")
    for name in ("a b", "-x", "x" * 65, "a:b"):
        with pytest.raises(errors.InvalidOptionError):
            EmbeddedServer(name)


@pytest.mark.parametrize("home", [None, "", "/somewhere/data", "not/absolute", "~/data"])
def test_the_default_is_where_the_platform_has_data(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIDEMQ_DATA", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", home)

    assert EmbeddedServer().data_dir == user_data_path("glidemq", appauthor=False) / "default"


async def test_connect_starts_it_and_shows_no_password(folder: Path) -> None:
    async with connect(f"embedded:{folder}?prefix=mine") as connection:
        assert (connection.url, connection.prefix) == (f"embedded:{folder}?prefix=mine", "mine")
        assert connection.functions_available
        assert "@" not in repr(connection)


async def test_data_survives_a_stop_and_a_crash(folder: Path) -> None:
    server = EmbeddedServer(folder)
    for expected in (1, 2, 3):
        status = await server.start()
        async with connect(server.url) as connection:
            assert await connection.command("INCR", "starts") == expected
        if expected == 1:
            await server.stop()
        else:
            assert status.pid is not None
            os.kill(status.pid, signal.SIGKILL)
            await server.wait_stopped()


@pytest.mark.thorough
async def test_eight_processes_start_one_server(folder: Path) -> None:
    users = [use(folder) for _ in range(8)]

    said = [await asyncio.to_thread(user.stdout.readline) for user in users if user.stdout]

    assert len(set(said)) == 1
    assert said[0].strip() == str((await EmbeddedServer(folder).status()).pid)
    for user in users:
        user.communicate(timeout=30)
    async with connect(f"embedded:{folder}") as connection:
        assert await connection.command("GET", "starts") == b"8"


async def test_a_killed_owner_blocks_nobody(folder: Path) -> None:
    owner = use(folder)
    assert owner.stdout is not None
    pid = await asyncio.to_thread(owner.stdout.readline)
    owner.kill()
    owner.communicate()

    async with EmbeddedServer(folder) as server:
        assert str((await server.status()).pid) == pid.strip()


async def test_a_server_killed_under_its_users_is_replaced_on_the_same_port(folder: Path) -> None:
    async with connect(f"embedded:{folder}", request_timeout=1_000) as connection:
        server = EmbeddedServer(folder)
        before = await server.status()
        await connection.command("SET", "k", "v")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        await server.wait_stopped()

        after = await server.start()

        assert after.pid != before.pid
        assert after.port == before.port, (folder / "server.log").read_text()[-2_000:]
        assert await eventually(lambda: _get(connection, "k")) == b"v"
        await server.close()


async def test_a_port_that_comes_free_a_little_late_is_still_the_same(folder: Path) -> None:
    """What a killed server held goes bit by bit: its lock may go before its port."""
    server = EmbeddedServer(folder)
    before = await server.start()
    await server.stop()
    assert before.port is not None
    with socket.create_server(("127.0.0.1", before.port)) as late:
        asyncio.get_running_loop().call_later(0.1, late.close)
        assert (await server.start()).port == before.port


async def _get(connection: object, key: str) -> object:
    try:
        return await connection.command("GET", key)  # type: ignore[attr-defined]
    except errors.GlideMQError:
        return None


async def test_stale_files_block_nobody_and_hit_no_stranger(folder: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (folder / "data").mkdir(parents=True)
    (folder / "server.pid").write_text(f"{stranger.pid}\n")
    (folder / "server.json").write_text(f'{{"port": {free_port()}, "password": "{"x" * 40}", "keep": true}}')

    async with EmbeddedServer(folder) as server:
        assert (await server.status()).running
        await server.stop()

    assert stranger.poll() is None
    stranger.communicate()


async def test_a_damaged_state_file_is_replaced(folder: Path) -> None:
    folder.mkdir()
    (folder / "server.json").write_text("{half")

    async with EmbeddedServer(folder) as server:
        assert (await server.status()).running


async def test_it_ends_when_nobody_has_used_it_for_a_while(folder: Path) -> None:
    server = EmbeddedServer(folder, linger=300)
    await server.start()
    async with connect(server.url):
        await server.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.wait_stopped(), 1)

    await asyncio.wait_for(server.wait_stopped(), 20)
    await eventually(lambda: not watchdog_runs(folder))


async def test_it_ends_when_its_last_user_is_killed(folder: Path) -> None:
    server = EmbeddedServer(folder, linger=300)
    await server.start()
    user = use(folder)
    assert user.stdout is not None
    await asyncio.to_thread(user.stdout.readline)
    await server.close()
    user.kill()
    user.communicate()

    await asyncio.wait_for(server.wait_stopped(), 20)


async def test_a_kept_server_stays_until_it_is_stopped(folder: Path) -> None:
    server = EmbeddedServer(folder, linger=100)
    await server.start(keep=True)
    await server.close()

    await eventually(lambda: not watchdog_runs(folder))
    assert (await server.status()).running

    await server.stop()
    await server.start()
    await eventually(lambda: watchdog_runs(folder))
    await server.close()
    await asyncio.wait_for(server.wait_stopped(), 20)


async def test_a_killed_watchdog_is_replaced(folder: Path) -> None:
    async with EmbeddedServer(folder, linger=300) as server:
        await eventually(lambda: watchdog_runs(folder))
        listed = subprocess.run(
            ["ps", "-ww", "-ax", "-o", "pid=,command="], capture_output=True, text=True, check=True
        ).stdout
        mine = [line for line in listed.splitlines() if "embedded.watchdog" in line and str(folder) in line]
        os.kill(int(mine[0].split()[0]), signal.SIGKILL)
        await eventually(lambda: not watchdog_runs(folder))
        await server.start()
        await eventually(lambda: watchdog_runs(folder))

    await asyncio.wait_for(server.wait_stopped(), 20)


async def test_a_deleted_folder_leaves_no_server_behind(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    server = EmbeddedServer(path, linger=300)
    await server.start()
    await server.close()
    await eventually(lambda: watchdog_runs(path))
    path.rename(tmp_path / "elsewhere")

    moved = Folder(tmp_path / "elsewhere")
    await eventually(lambda: not moved.is_locked("server"), timeout=20)


async def test_a_wished_port(folder: Path) -> None:
    port = free_port()
    async with EmbeddedServer(folder, port=port) as server:
        assert (await server.status()).port == port
        with pytest.raises(errors.EmbeddedServerError, match="already runs"):
            await EmbeddedServer(folder, port=free_port()).start()


async def test_a_taken_port_is_told(folder: Path, server_port: int) -> None:
    with pytest.raises(errors.EmbeddedServerError, match=f"port {server_port} is taken"):
        await EmbeddedServer(folder, port=server_port).start()


async def test_an_unusable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(errors.EmbeddedServerError, match="cannot use data folder") as caught:
        await EmbeddedServer(tmp_path / "file" / "data").start()

    assert caught.value.data_dir == str(tmp_path / "file" / "data")
    assert "GLIDEMQ_DATA" in (caught.value.hint or "")


async def test_a_folder_in_use_for_something_else_keeps_its_rights(tmp_path: Path) -> None:
    home = tmp_path / "project"
    home.mkdir(mode=0o755)
    (home / "notes.txt").write_text("mine")

    assert not (await EmbeddedServer(home).status()).running
    assert not await EmbeddedServer(home).stop()
    assert [path.name for path in home.iterdir()] == ["notes.txt"], "asking leaves no trace"
    for _ in range(2):
        async with EmbeddedServer(home) as server:
            assert (await server.status()).running
        assert home.stat().st_mode & 0o777 == 0o755
    async with EmbeddedServer(home) as server:
        assert (home / "server.json").stat().st_mode & 0o777 == 0o600
        assert (home / "data").stat().st_mode & 0o777 == 0o700
        await server.stop()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
async def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "notes.txt").write_text("ours")
    shared.chmod(mode)
    planted = {"port": 6379, "password": "planted-password-x", "keep": True}
    (shared / "server.json").write_text(json.dumps(planted))
    (shared / "start.lock").write_text("")
    before = sorted(path.name for path in shared.iterdir())

    server = EmbeddedServer(shared)
    for use_it in (server.start, server.stop, server.status):
        with pytest.raises(errors.EmbeddedServerError, match="others may write") as caught:
            await use_it()
        assert f"chmod go-w {shared}" in (caught.value.hint or "")
    with pytest.raises(errors.EmbeddedServerError, match="others may write"):
        _ = server.url
    assert sorted(path.name for path in shared.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["server.json", "server.log", "server.pid", "start.lock", "users.lock", "data"]
)
async def test_a_link_in_the_folder_is_refused_and_not_followed(tmp_path: Path, name: str) -> None:
    folder, victim = tmp_path / "folder", tmp_path / "victim"
    folder.mkdir(mode=0o700)
    victim.mkdir() if name == "data" else victim.write_text("precious")
    (folder / name).symlink_to(victim)

    with pytest.raises(errors.EmbeddedServerError, match=f"{name}' is a link"):
        await EmbeddedServer(folder).start()

    assert victim.is_dir() if name == "data" else victim.read_text() == "precious"
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["", "server.json", "data"])
async def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    async with EmbeddedServer(folder) as server:
        await server.stop()
    os.chown(folder / name, 12345, 12345)

    with pytest.raises(errors.EmbeddedServerError, match="belongs to another user"):
        await EmbeddedServer(folder).start()


async def test_a_loose_umask_does_not_lock_us_out(folder: Path) -> None:
    before = os.umask(0o002)
    try:
        for _ in range(2):
            async with EmbeddedServer(folder) as server:
                assert (await server.status()).running
                await server.stop()
    finally:
        os.umask(before)
    loose = [path.name for path in folder.iterdir() if path.stat().st_mode & 0o077]
    assert not loose


@pytest.mark.parametrize(
    "query", ["?bogus=1", "?insecure=maybe", "?prefix={x}", "?prefix=a&prefix=b", "?ca=/nowhere"]
)
async def test_a_wrong_url_is_refused_before_a_file_is_made(tmp_path: Path, query: str) -> None:
    with pytest.raises(errors.InvalidOptionError):
        await connect(f"embedded:{tmp_path}/data{query}")
    with pytest.raises(errors.InvalidOptionError):
        EmbeddedServer.of_url(f"embedded:{tmp_path}/data{query}")
    with pytest.raises(errors.InvalidOptionError):
        await connect(f"embedded:{tmp_path}/data", request_timeout=-1)

    assert not (tmp_path / "data").exists()


async def test_a_platform_without_a_server_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(errors.EmbeddedServerError, match="no embedded server for this platform") as caught:
        await EmbeddedServer(folder).start()

    assert "--url" in (caught.value.hint or "")


async def test_damaged_data_is_told_with_the_log(folder: Path) -> None:
    server = EmbeddedServer(folder)
    await server.start()
    await server.stop()
    manifest = next((folder / "data").rglob("*.manifest"))
    manifest.write_text("nonsense\n")

    with pytest.raises(errors.EmbeddedServerError, match="ended at once") as caught:
        await server.start()

    assert caught.value.log_path == str(folder / "server.log")


async def test_a_hung_server_can_be_stopped(folder: Path) -> None:
    server = EmbeddedServer(folder)
    status = await server.start()
    assert status.pid is not None
    os.kill(status.pid, signal.SIGSTOP)

    assert await server.stop()

    assert not (await server.status()).running
